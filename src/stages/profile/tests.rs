use std::sync::Arc;

use bson::{Document, doc};

use super::*;
use crate::command::Bypass;
use crate::pipeline::scripted::request;
use crate::pipeline::{Decision, NO_PRINCIPAL, Reply, Request};
use crate::wire::build::{self, DocBuf};
use crate::wire::doc::kind;
use crate::wire::frame::Frame;
use crate::wire::op_msg::OpMsg;

fn profile(max_shapes: usize) -> Profile {
    let config = config::Profile {
        max_shapes,
        slow_threshold: Duration::from_secs(1),
        ..config::Profile::default()
    };
    Profile::new(&config, 2, true)
}

fn find(field: &str, value: i32) -> Document {
    doc! {"find": "users", "filter": {field: value}, "$db": "game"}
}

fn answer(profile: &Profile, command: &Document, decisions: &[Decision], documents: usize) {
    let mut asked = request(command);
    decisions.iter().for_each(|d| asked.trail.note(*d));
    answer_with(profile, asked, documents);
}

fn answer_with(profile: &Profile, mut asked: Request, documents: usize) {
    let batch = vec![doc! {"a": 1}; documents];
    let reply = doc! {"cursor": {"firstBatch": batch, "id": 0_i64, "ns": "game.users"}, "ok": 1.0};
    let reply = Reply::document(&asked.frame, &reply.to_vec().unwrap());
    profile.note(&mut asked, &Ok(reply));
}

fn batch(profile: &Profile, command: &Document, key: &str, documents: usize, cursor: i64) {
    let mut asked = request(command);
    let batch = vec![doc! {"a": 1}; documents];
    let reply = doc! {"cursor": {key: batch, "id": cursor, "ns": "game.users"}, "ok": 1.0};
    let reply = Reply::document(&asked.frame, &reply.to_vec().unwrap());
    profile.note(&mut asked, &Ok(reply));
}

#[test]
fn further_batches_count_towards_the_query_that_opened_the_cursor() {
    let profile = profile(10);
    let more = |cursor: i64| doc! {"getMore": cursor, "collection": "users", "$db": "game"};
    batch(&profile, &find("a", 1), "firstBatch", 2, 7);
    // (Gathered in between, as if seconds passed.)
    assert_eq!(profile.shapes().len(), 1);
    batch(&profile, &more(7), "nextBatch", 3, 7);
    batch(&profile, &more(7), "nextBatch", 1, 0);
    let shapes = profile.shapes();
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    let counts = &shapes[0].counts;
    assert_eq!((counts.count, counts.upstream), (1, 1));
    assert_eq!((counts.documents, counts.upstream_documents), (6, 6));
    // One of which nothing is known, and one that waits for what is yet to come, have a shape of their own.
    batch(&profile, &more(7), "nextBatch", 1, 0);
    let stream = doc! {"aggregate": "users", "pipeline": [{"$changeStream": {}}], "cursor": {}, "$db": "game"};
    batch(&profile, &stream, "firstBatch", 0, 8);
    batch(&profile, &more(8), "nextBatch", 1, 8);
    let shapes = profile.shapes();
    let of = |name: &str| {
        shapes
            .iter()
            .find(|s| s.command == name)
            .map(|s| s.counts.count)
    };
    assert_eq!(
        (of("find"), of("getMore"), of("aggregate")),
        (Some(1), Some(2), Some(1))
    );
}

#[test]
fn requests_of_one_shape_are_summed_up_with_what_the_cache_did() {
    let profile = profile(10);
    answer(
        &profile,
        &find("a", 1),
        &[Decision::Miss, Decision::Stored],
        2,
    );
    answer(&profile, &find("a", 2), &[Decision::Hit], 3);
    answer(&profile, &find("a", 3), &[Decision::Joined], 1);
    answer(
        &profile,
        &find("a", 3),
        &[Decision::Bypassed(Bypass::Fenced)],
        1,
    );
    let mut failed = request(&find("a", 4));
    let error = Reply::document(
        &failed.frame,
        &doc! {"ok": 0.0, "code": 50}.to_vec().unwrap(),
    );
    profile.note(&mut failed, &Ok(error));
    let shapes = profile.shapes();
    assert_eq!(shapes.len(), 1);
    let shape = &shapes[0];
    assert_eq!(shape.text, "{filter: {a: ?}}");
    assert_eq!(shape.namespace.to_string(), "game.users");
    let c = shape.counts;
    assert_eq!((c.count, c.errors, c.documents), (5, 1, 7));
    assert_eq!((c.hit, c.miss, c.joined, c.bypass), (1, 1, 1, 1));
    assert_eq!((c.upstream, c.upstream_documents), (3, 3));
    assert!(shape.latency.max >= shape.latency.p50);
}

#[test]
fn beyond_some_thousands_in_a_second_hits_are_counted_one_in_eight_for_eight() {
    let profile = Arc::new(profile(10));
    // A thread of its own, for its own count of hits.
    let other = Arc::clone(&profile);
    std::thread::spawn(move || {
        for _ in 0..EXACT + 8000 {
            answer(&other, &find("a", 1), &[Decision::Hit], 1);
        }
    })
    .join()
    .unwrap();
    let counts = profile.shapes()[0].counts;
    assert_eq!(counts.count, u64::from(EXACT) + 8000);
    assert_eq!(counts.hit, counts.count);
}

#[test]
fn the_number_of_shapes_is_bounded_and_those_that_matter_stay() {
    let profile = profile(64);
    for round in 0..20_000 {
        answer(&profile, &find(&format!("f{round}x"), 1), &[], 1);
        answer(&profile, &find("steady", 1), &[], 1);
    }
    assert_eq!(profile.len(), 64);
    assert!(profile.dropped() > 19_000, "{}", profile.dropped());
    let steady = profile.shapes();
    let steady = steady.iter().find(|s| s.text == "{filter: {steady: ?}}");
    assert_eq!(steady.map(|s| s.counts.count), Some(20_000));
}

#[test]
fn a_shape_that_begins_to_matter_gets_in() {
    let profile = profile(8);
    for n in 0..8 {
        answer(&profile, &find(&format!("f{n}x"), 1), &[], 1);
    }
    for _ in 0..3 {
        answer(&profile, &find("late", 1), &[], 1);
    }
    let shapes = profile.shapes();
    assert!(
        shapes
            .iter()
            .any(|s| s.text == "{filter: {late: ?}}" && s.counts.count == 2)
    );
}

#[test]
fn samples_hold_the_first_statement_and_nothing_of_the_session() {
    let profile = profile(8);
    let update = doc! {"update": "users", "updates": [{"q": {"a": 5}, "u": {"$set": {"b": 1}}}, {"q": {"a": 6}, "u": {"$set": {"b": 1}}}],
    "lsid": {"id": 1}, "txnNumber": 4_i64, "$db": "game"};
    answer(&profile, &update, &[], 0);
    for _ in 0..100 {
        answer(&profile, &find("a", 1), &[], 0);
    }
    let observed = profile.observed();
    let of = |kind| observed.iter().find(|o| o.kind == kind).unwrap();
    assert_eq!(
        of(crate::command::Kind::Update).samples,
        [
            doc! {"update": "users", "$db": "game", "updates": [{"q": {"a": 5}, "u": {"$set": {"b": 1}}}]}
        ]
    );
    assert_eq!(
        of(crate::command::Kind::Find).samples.len(),
        1,
        "not one for each request"
    );
    assert_eq!(of(crate::command::Kind::Find).upstream_calls, 100);
}

#[test]
fn slow_requests_are_kept_masked_and_only_so_many_in_a_second() {
    let config = config::Profile {
        slow_threshold: Duration::ZERO,
        slow_per_second: 2,
        ..config::Profile::default()
    };
    let masked = Profile::new(&config, 1, false);
    for n in 0..5 {
        answer(&masked, &find("a", n), &[], 3);
    }
    assert_eq!((masked.slow().seen(), masked.slow().last().len()), (5, 2));
    let last = &masked.slow().last()[0];
    assert_eq!(
        (last.shape.as_str(), last.text.as_deref(), last.documents),
        ("{filter: {a: ?}}", None, 3)
    );
    masked.sweep();
    answer(&masked, &find("a", 9), &[], 3);
    assert_eq!(masked.slow().last().len(), 3);
    let config = config::Profile {
        slow_values: true,
        ..config
    };
    let shown = Profile::new(&config, 1, false);
    answer(&shown, &find("a", 77), &[], 3);
    assert!(
        shown.slow().last()[0]
            .text
            .as_deref()
            .unwrap()
            .contains("77")
    );
}

#[test]
fn a_command_nested_deeper_than_servers_allow_is_neither_shown_nor_kept() {
    let config = config::Profile {
        slow_threshold: Duration::ZERO,
        slow_values: true,
        ..config::Profile::default()
    };
    let profile = Profile::new(&config, 1, true);
    for depth in [900, 500_000] {
        answer_with(&profile, request_of(&nested(depth)), 0);
        let text = profile.slow().last()[0].text.clone().unwrap();
        assert!(text.starts_with("not shown: "), "{text}");
    }
    assert!(profile.observed().iter().all(|o| o.samples.is_empty()));
}

#[test]
fn of_a_long_command_no_text_is_made_and_names_are_cut() {
    let config = config::Profile {
        slow_threshold: Duration::ZERO,
        slow_values: true,
        max_shapes: 1,
        ..config::Profile::default()
    };
    let profile = Profile::new(&config, 1, true);
    answer(&profile, &doc! {"find": "c", "$db": "d"}, &[], 0);
    // (This shape finds no place in the table.)
    let name = "x".repeat(1 << 20);
    let long = doc! {"find": &name, "filter": {"a": &name}, "$db": &name};
    answer(&profile, &long, &[], 0);
    let slow = &profile.slow().last()[0];
    let text = slow.text.as_deref().unwrap();
    assert!(text.starts_with("not shown: ") && text.len() < 50, "{text}");
    assert!(slow.namespace.db.len() < 300 && slow.namespace.collection.len() < 300);
}

/// A find by an array in an array and so on, as bytes: to make and to drop that many values would overflow the stack, as
/// reading them would.
fn nested(depth: usize) -> Vec<u8> {
    let mut array: Vec<u8> = Vec::new();
    for level in (1..=depth).rev() {
        array.extend(i32::try_from(5 + 8 * level).unwrap().to_le_bytes());
        array.extend(b"\x040\0");
    }
    array.extend(DocBuf::new().finish());
    array.extend(vec![0; depth]);
    let mut find = DocBuf::new();
    find.append_str("find", "c");
    find.append_doc_with("filter", |out| {
        out.append_value("a", kind::ARRAY, &array);
    });
    find.append_str("$db", "d");
    find.finish()
}

fn request_of(body: &[u8]) -> Request {
    let frame = Frame {
        bytes: build::op_msg(7, 0, 0, body),
    };
    let msg = OpMsg::parse(&frame).unwrap();
    Request::new(frame, msg, NO_PRINCIPAL.clone())
}

#[test]
fn what_waits_at_the_server_for_something_new_is_not_slow_and_took_no_time() {
    let config = config::Profile {
        slow_threshold: Duration::from_millis(1),
        ..config::Profile::default()
    };
    let profile = Profile::new(&config, 1, false);
    let more = doc! {"getMore": 7_i64, "collection": "users", "$db": "game"};
    for decisions in [&[Decision::Awaited][..], &[]] {
        let mut asked = request(&more);
        decisions.iter().for_each(|d| asked.trail.note(*d));
        asked.answered_in = Some(Duration::from_secs(9));
        answer_with(&profile, asked, 0);
    }
    profile.gather();
    assert_eq!(profile.slow().seen(), 1);
    let shapes = profile.shapes();
    let [shape] = shapes.as_slice() else {
        panic!("one shape: {shapes:?}")
    };
    assert_eq!((shape.counts.count, shape.counts.micros), (2, 9_000_000));
}
