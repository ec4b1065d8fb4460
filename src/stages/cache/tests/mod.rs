//! The cache behind a scripted backend.

mod asleep;
mod flights;
mod replays;
mod shadows;

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};

use super::Cache;
use crate::command::{Bypass, Effect, Footprint, Namespace};
use crate::config;
use crate::pipeline::scripted::{Scripted, Step, request};
use crate::pipeline::{
    Answer, Decision, Fences, Horizon, NO_PRINCIPAL, Pipeline, Principal, Request, Stage,
};

struct Setup {
    pipeline: Arc<Pipeline>,
    backend: Arc<Scripted>,
    cache: Arc<Cache>,
    fences: Arc<Fences>,
}

fn setup(script: impl IntoIterator<Item = Document>) -> Setup {
    setup_with(script, watched_by_nobody())
}

fn setup_with(script: impl IntoIterator<Item = Document>, config: config::Cache) -> Setup {
    setup_under(script, config, Horizon::off())
}

fn setup_under(
    script: impl IntoIterator<Item = Document>,
    config: config::Cache,
    horizon: Arc<Horizon>,
) -> Setup {
    let backend = Arc::new(Scripted::replies(script));
    let fences = Fences::new(Duration::from_secs(90));
    let cache = Cache::new(&config, Arc::clone(&fences), horizon);
    let stages: Vec<Box<dyn Stage>> = vec![Box::new(Arc::clone(&cache))];
    let pipeline = Pipeline::new(stages, backend.clone(), Arc::clone(&fences));
    Setup {
        pipeline: Arc::new(pipeline),
        backend,
        cache,
        fences,
    }
}

impl Setup {
    async fn run(&self, command: Document) -> Request {
        self.ask(command).await.0
    }

    /// What was decided, and the reply.
    async fn ask(&self, command: Document) -> (Request, Document) {
        self.ask_as(&NO_PRINCIPAL, command).await
    }

    async fn ask_as(&self, principal: &Arc<Principal>, command: Document) -> (Request, Document) {
        let mut request = request(&command);
        request.principal = Arc::clone(principal);
        let reply = self.pipeline.run(&mut request).await.expect("an answer");
        let document = Document::from_reader(&mut reply.body()).expect("a document");
        (request, document)
    }
}

fn watched_by_nobody() -> config::Cache {
    config::Cache {
        external_writes: config::ExternalWrites::None,
        ..Default::default()
    }
}

/// No view, not capped, and in no collation.
fn plain() -> Document {
    doc! {"cursor": {"id": 0_i64, "ns": "d.$cmd.listCollections", "firstBatch": [{"name": "c", "type": "collection", "options": {}}]}, "ok": 1.0}
}

fn collection() -> Document {
    doc! {"cursor": {"id": 0_i64, "ns": "d.$cmd.listCollections", "firstBatch": [{"name": "c", "type": "collection"}]}, "ok": 1.0}
}

fn batch(a: i32) -> Document {
    doc! {"cursor": {"firstBatch": [{"_id": a, "a": a}], "id": 0_i64, "ns": "d.c"}, "ok": 1.0}
}

fn find() -> Document {
    doc! {"find": "c", "filter": {"a": 1}, "$db": "d"}
}

fn update() -> Document {
    doc! {"update": "c", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}], "$db": "d"}
}

#[tokio::test]
async fn a_hit_is_there_at_once_and_nothing_else_is() {
    let s = setup([collection(), batch(1), batch(1)]);
    for hits in [false, true] {
        let mut request = request(&find());
        let (_, answer) = s.pipeline.begin(&mut request);
        assert_eq!(matches!(answer, Answer::Now(Ok(_))), hits);
        drop(answer);
        s.run(find()).await;
    }
    let mut other = request(&doc! {"find": "c", "filter": {"a": 2}, "$db": "d"});
    let (_, answer) = s.pipeline.begin(&mut other);
    assert!(matches!(answer, Answer::Later(_)));
}

#[tokio::test]
async fn a_repeated_find_is_answered_from_memory() {
    let s = setup([collection(), batch(1)]);
    assert!(s.run(find()).await.trail.has(Decision::Stored));
    assert!(s.run(find()).await.trail.has(Decision::Hit));
    assert_eq!(
        s.backend.asked().len(),
        2,
        "what it is, and the read itself"
    );
    assert_eq!((s.cache.stats().hits(), s.cache.entries()), (1, 1));
}

#[tokio::test]
async fn a_write_that_changed_something_drops_it_and_one_that_did_not_keeps_it() {
    let s = setup([
        collection(),
        batch(1),
        doc! {"n": 1, "nModified": 0, "ok": 1.0},
        doc! {"n": 1, "nModified": 1, "ok": 1.0},
        batch(2),
    ]);
    s.run(find()).await;
    s.run(update()).await;
    assert!(s.run(find()).await.trail.has(Decision::Hit));
    s.run(update()).await;
    assert!(s.run(find()).await.trail.has(Decision::Stored));
}

#[tokio::test]
async fn an_answer_that_a_write_overtook_is_not_stored() {
    let s = setup([collection()]);
    let fences = Arc::clone(&s.fences);
    let write = move || {
        let on = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
        fences.begin(&on).settle(Effect::Changed);
    };
    s.backend.push(Step::During(Box::new(write), batch(1)));
    let raced = s.run(find()).await;
    assert!(raced.trail.has(Decision::Bypassed(Bypass::Raced)));
    assert_eq!(s.cache.entries(), 0);
}

#[tokio::test]
async fn a_read_during_a_write_goes_to_the_server_and_is_not_stored() {
    let s = setup([collection(), batch(1), batch(2)]);
    s.run(find()).await;
    let fence = s
        .fences
        .begin(&Footprint::Namespaces(vec![Namespace::new("d", "c")]));
    let during = s.run(find()).await;
    assert!(during.trail.has(Decision::Bypassed(Bypass::Fenced)));
    fence.settle(Effect::Unchanged);
    assert!(s.run(find()).await.trail.has(Decision::Hit), "revived");
}

#[tokio::test]
async fn an_uncommitted_write_suspends_the_collection_until_the_commit() {
    let lsid = doc! {"id": 1};
    let s = setup([
        collection(),
        batch(1),
        doc! {"n": 1, "nModified": 1, "ok": 1.0},
        batch(1),
        doc! {"ok": 1.0},
        batch(2),
    ]);
    s.run(find()).await;
    let mut in_txn = update();
    in_txn.extend(
        doc! {"lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "startTransaction": true},
    );
    s.run(in_txn).await;
    assert!(!s.run(find()).await.trail.has(Decision::Hit));
    s.run(doc! {"commitTransaction": 1, "lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"}).await;
    assert!(s.run(find()).await.trail.has(Decision::Stored));
    assert_eq!(s.pipeline.open_transactions(), 0);
}

#[tokio::test]
async fn reads_inside_a_transaction_neither_use_nor_fill_the_cache() {
    let s = setup([collection(), batch(1), batch(1)]);
    s.run(find()).await;
    let mut inside = find();
    inside.extend(
        doc! {"lsid": {"id": 1}, "txnNumber": 1_i64, "autocommit": false, "startTransaction": true},
    );
    assert!(
        s.run(inside)
            .await
            .trail
            .has(Decision::Bypassed(Bypass::Transaction))
    );
}

#[tokio::test]
async fn the_commit_of_a_transaction_that_only_read_voids_nothing() {
    let lsid = doc! {"id": 1};
    let s = setup([collection(), batch(1), batch(1), doc! {"ok": 1.0}]);
    s.run(find()).await;
    let mut inside = find();
    inside.extend(
        doc! {"lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "startTransaction": true},
    );
    s.run(inside).await;
    s.run(doc! {"commitTransaction": 1, "lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"}).await;
    assert!(s.run(find()).await.trail.has(Decision::Hit));
}

#[tokio::test]
async fn the_commit_of_a_transaction_unknown_here_voids_everything() {
    let s = setup([
        collection(),
        batch(1),
        doc! {"ok": 1.0},
        collection(),
        batch(1),
    ]);
    s.run(find()).await;
    s.run(doc! {"commitTransaction": 1, "lsid": {"id": 1}, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"}).await;
    assert!(!s.run(find()).await.trail.has(Decision::Hit));
}

#[tokio::test]
async fn a_later_transaction_of_the_session_ends_the_fence_of_an_earlier_one() {
    let statement = |n: i64, command: Document| {
        let mut c = command;
        c.extend(
            doc! {"lsid": {"id": 1}, "txnNumber": n, "autocommit": false, "startTransaction": true},
        );
        c
    };
    let s = setup([
        doc! {"n": 1, "nModified": 1, "ok": 1.0},
        doc! {"ok": 0.0, "code": 1},
        batch(1),
    ]);
    s.run(statement(1, update())).await;
    s.run(statement(2, find())).await;
    assert_eq!(
        s.pipeline.open_transactions(),
        2,
        "an error proves nothing about the first"
    );
    s.run(statement(2, find())).await;
    assert_eq!(s.pipeline.open_transactions(), 1);
}

fn view(options: Document) -> Document {
    doc! {"cursor": {"id": 0_i64, "firstBatch": [{"name": "c", "type": "view", "options": options}]}, "ok": 1.0}
}

#[tokio::test]
async fn a_view_is_dropped_by_a_write_to_what_it_reads_and_by_no_other() {
    let s = setup([
        view(doc! {"viewOn": "base", "pipeline": []}),
        collection(),
        batch(1),
        doc! {"n": 1, "ok": 1.0},
        doc! {"n": 1, "ok": 1.0},
        batch(2),
    ]);
    let insert = |into: &str| doc! {"insert": into, "documents": [{}], "$db": "d"};
    s.run(find()).await;
    s.run(insert("other")).await;
    assert!(s.run(find()).await.trail.has(Decision::Hit));
    s.run(insert("base")).await;
    assert!(s.run(find()).await.trail.has(Decision::Stored));
}

#[tokio::test]
async fn a_view_whose_definition_cannot_be_relied_on_is_not_cached() {
    let now = doc! {"viewOn": "base", "pipeline": [{"$set": {"t": "$$NOW"}}]};
    let hidden =
        doc! {"cursor": {"id": 0_i64, "firstBatch": [{"name": "c", "type": "view"}]}, "ok": 1.0};
    for (answers, why) in [
        (vec![view(now)], Bypass::Volatile),
        (vec![hidden], Bypass::UnknownCollection),
        (
            vec![view(doc! {"viewOn": "system.profile", "pipeline": []})],
            Bypass::Namespace,
        ),
    ] {
        let s = setup(answers.into_iter().chain([batch(1)]));
        assert!(
            s.run(find()).await.trail.has(Decision::Bypassed(why)),
            "{why:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_a_lookup_misses_is_known_until_it_is_written() {
    let nothing = doc! {"cursor": {"id": 0_i64, "firstBatch": []}, "ok": 1.0};
    let lookup = doc! {"aggregate": "c", "pipeline": [{"$lookup": {"from": "x", "as": "y", "pipeline": []}}], "cursor": {}, "$db": "d"};
    let s = setup([
        collection(),
        nothing,
        batch(1),
        doc! {"n": 1, "ok": 1.0},
        collection(),
        batch(1),
    ]);
    assert!(s.run(lookup.clone()).await.trail.has(Decision::Stored));
    assert!(s.run(lookup.clone()).await.trail.has(Decision::Hit));
    s.run(doc! {"insert": "x", "documents": [{}], "$db": "d"})
        .await;
    assert!(s.run(lookup).await.trail.has(Decision::Stored));
    assert_eq!(s.backend.asked().len(), 6, "what x is, again");
}

#[tokio::test]
async fn what_is_not_a_known_collection_is_not_cached() {
    let none = doc! {"cursor": {"id": 0_i64, "firstBatch": []}, "ok": 1.0};
    let s = setup([none.clone(), none, batch(1)]);
    let read = s.run(find()).await;
    assert!(
        read.trail
            .has(Decision::Bypassed(Bypass::UnknownCollection))
    );
}

#[tokio::test]
async fn a_write_by_id_leaves_reads_of_other_ids_alone() {
    let plain = doc! {"cursor": {"id": 0_i64, "firstBatch": [{"name": "c", "type": "collection", "options": {}}]}, "ok": 1.0};
    let changed = doc! {"n": 1, "nModified": 1, "ok": 1.0};
    let s = setup([
        plain,
        batch(1),
        batch(2),
        batch(3),
        changed.clone(),
        batch(4),
        changed,
        batch(5),
    ]);
    let by_id = |id: i32| doc! {"find": "c", "filter": {"_id": id}, "$db": "d"};
    for command in [by_id(1), by_id(2), find()] {
        assert!(s.run(command).await.trail.has(Decision::Stored));
    }
    let update = doc! {"update": "c", "updates": [{"q": {"_id": 1_i64}, "u": {"$inc": {"a": 1}}}], "$db": "d"};
    s.run(update).await;
    assert!(s.run(by_id(2)).await.trail.has(Decision::Hit));
    assert!(s.run(by_id(1)).await.trail.has(Decision::Stored));
    s.run(doc! {"update": "c", "updates": [{"q": {"a": 2}, "u": {"$inc": {"a": 1}}}], "$db": "d"})
        .await;
    assert!(!s.run(by_id(2)).await.trail.has(Decision::Hit));
}

#[tokio::test]
async fn in_a_capped_collection_a_write_by_id_meets_every_read() {
    let capped = doc! {"cursor": {"id": 0_i64, "firstBatch": [{"name": "c", "type": "collection", "options": {"capped": true}}]}, "ok": 1.0};
    let s = setup([capped, batch(1), doc! {"n": 1, "ok": 1.0}, batch(1)]);
    let by_id = doc! {"find": "c", "filter": {"_id": 1}, "$db": "d"};
    s.run(by_id.clone()).await;
    s.run(doc! {"insert": "c", "documents": [{"_id": 2}], "$db": "d"})
        .await;
    assert!(!s.run(by_id).await.trail.has(Decision::Hit));
}

#[tokio::test]
async fn errors_and_open_cursors_are_not_stored() {
    let open = doc! {"cursor": {"firstBatch": [], "id": 5_i64, "ns": "d.c"}, "ok": 1.0};
    let s = setup([collection(), doc! {"ok": 0.0, "code": 2}, open]);
    assert!(
        s.run(find())
            .await
            .trail
            .has(Decision::Bypassed(Bypass::NotOk))
    );
    assert!(
        s.run(find())
            .await
            .trail
            .has(Decision::Bypassed(Bypass::OpenCursor))
    );
}

#[tokio::test]
async fn a_command_that_is_longer_than_what_is_analysed_is_only_passed_on() {
    let s = setup([batch(1), collection(), batch(1), collection(), batch(1)]);
    let find = |bytes: usize| {
        let value = "x".repeat(bytes);
        doc! {"find": "c", "filter": {"a": value}, "$db": "d"}
    };
    let long = s.run(find(2 << 20)).await;
    assert!(long.trail.has(Decision::Bypassed(Bypass::TooLong)));
    // Up to there its answer is stored, but any write to the collection ends it.
    assert!(s.run(find(200 << 10)).await.trail.has(Decision::Stored));
    assert!(s.run(find(200 << 10)).await.trail.has(Decision::Hit));
    let insert = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
    s.fences.begin(&insert).settle(Effect::Changed);
    assert!(!s.run(find(200 << 10)).await.trail.has(Decision::Hit));
}

#[tokio::test]
async fn an_entry_ends_after_its_ttl_when_others_may_write_around_the_proxy() {
    let lives = |ttl| config::Cache {
        ttl,
        ..Default::default()
    };
    let short = setup_with([collection(), batch(1), batch(2)], lives(Duration::ZERO));
    short.run(find()).await;
    assert!(short.run(find()).await.trail.has(Decision::Stored));
    let long = setup_with([collection(), batch(1)], lives(Duration::from_secs(3600)));
    long.run(find()).await;
    assert!(long.run(find()).await.trail.has(Decision::Hit));
}

#[tokio::test]
async fn a_flush_leaves_nothing() {
    let s = setup([collection(), batch(1), collection(), batch(2)]);
    s.run(find()).await;
    s.cache.flush();
    assert_eq!((s.cache.entries(), s.cache.bytes()), (0, 0));
    assert!(s.run(find()).await.trail.has(Decision::Stored));
}
