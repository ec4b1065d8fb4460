//! The stage against a script: what is sent how often, and what the client gets.

use bson::{Document, doc};

use super::*;
use crate::command::Footprint;
use crate::pipeline::scripted::{Scripted, Step, fill_trail, request};
use crate::pipeline::{Backend, Fences, Pipeline, Writer};

struct Place {
    backend: Arc<Scripted>,
    retry: Arc<Retry>,
    pipeline: Pipeline,
    fences: Arc<Fences>,
}

fn place(config: &config::Retry) -> Place {
    let facts = Arc::new(UpstreamFacts::default());
    let writer = Writer {
        numbers: true,
        ..Writer::default()
    };
    facts.publish(|facts| facts.writer = Some(Arc::new(writer)));
    let retry = Arc::new(Retry::new(config, facts));
    let backend = Arc::new(Scripted::default());
    let fences = Fences::new(Duration::from_secs(60));
    let way: Arc<dyn Backend> = backend.clone();
    let stages: Vec<Box<dyn Stage>> = vec![Box::new(Arc::clone(&retry))];
    Place {
        pipeline: Pipeline::new(stages, way, Arc::clone(&fences)),
        backend,
        retry,
        fences,
    }
}

impl Place {
    fn answers(&self, steps: impl IntoIterator<Item = Step>) {
        steps.into_iter().for_each(|step| self.backend.push(step));
    }

    async fn ask(&self, command: Document) -> Result<Document, Failure> {
        let reply = self.pipeline.run(&mut request(&command)).await?;
        Ok(Document::from_reader(&mut reply.body()).unwrap())
    }

    fn sent(&self) -> usize {
        self.backend.asked().len()
    }
}

fn lost() -> Step {
    Step::Fail(Failure::lost("gone"))
}

fn error(code: i32, labels: &[&str]) -> Step {
    let mut reply = doc! {"ok": 0.0, "code": code};
    if !labels.is_empty() {
        reply.insert("errorLabels", labels.to_vec());
    }
    Step::Reply(reply)
}

fn fine() -> Step {
    Step::Reply(doc! {"n": 1, "ok": 1.0})
}

fn find() -> Document {
    doc! {"find": "c", "lsid": {"id": 1}, "$db": "d"}
}

fn increment(number: Option<i64>) -> Document {
    let id = bson::Uuid::from_bytes([7; 16]);
    let mut update = doc! {
        "update": "c", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"v": 1}}}],
        "lsid": {"id": id}, "$db": "d",
    };
    if let Some(number) = number {
        update.insert("txnNumber", number);
    }
    update
}

const OVERLOAD: [&str; 2] = ["SystemOverloadedError", "RetryableError"];
const WRITE: [&str; 1] = ["RetryableWriteError"];

#[tokio::test]
async fn a_read_is_sent_once_more_after_a_lost_link_or_a_listed_code() {
    for failure in [lost as fn() -> Step, || error(10107, &[])] {
        let place = place(&config::Retry::default());
        place.answers([failure(), fine()]);
        assert_eq!(place.ask(find()).await.unwrap(), doc! {"n": 1, "ok": 1.0});
        assert_eq!((place.sent(), place.retry.stats().reads()), (2, 1));
        place.answers([failure(), failure(), fine()]);
        let outcome = place.ask(find()).await;
        assert!(outcome.is_err() || outcome.is_ok_and(|r| r.get_f64("ok").ok() == Some(0.0)));
        assert_eq!(place.sent(), 4, "one retry");
    }
}

#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once() {
    let place = place(&config::Retry::default());
    let many = doc! {"update": "c", "updates": [{"q": {}, "u": {}, "multi": true}], "$db": "d"};
    let more = doc! {"getMore": 5_i64, "collection": "c", "$db": "d"};
    let mut inside = find();
    inside.extend(doc! {"txnNumber": 1_i64, "autocommit": false});
    for (sent, command) in [many, more, inside].into_iter().enumerate() {
        place.answers([lost()]);
        assert!(place.ask(command).await.is_err());
        assert_eq!(place.sent(), sent + 1);
    }
    place.answers([error(11000, &[])]);
    place.ask(find()).await.unwrap();
    assert_eq!(place.sent(), 4, "an error that would come again");
}

#[tokio::test]
async fn a_write_with_a_number_is_sent_again_as_it_was() {
    let place = place(&config::Retry::default());
    place.answers([lost(), fine()]);
    place.ask(increment(Some(3))).await.unwrap();
    let asked = place.backend.asked();
    assert_eq!(asked[0], asked[1]);
    assert_eq!(asked[0], increment(Some(3)));
    assert_eq!(place.fences.quarantined(), 0, "the retry was answered");
}

#[tokio::test]
async fn labels_decide_for_writes_and_are_relayed() {
    let place = place(&config::Retry::default());
    place.answers([error(91, &[]), error(91, &WRITE), error(91, &WRITE)]);
    place.ask(increment(Some(1))).await.unwrap();
    assert_eq!(place.sent(), 1, "no label");
    let reply = place.ask(increment(Some(2))).await.unwrap();
    assert_eq!(place.sent(), 3);
    assert_eq!(
        reply,
        doc! {"ok": 0.0, "code": 91, "errorLabels": ["RetryableWriteError"]}
    );
}

#[tokio::test]
async fn a_write_without_a_number_gets_one_and_its_reply_does_not_show_it() {
    let place = place(&config::Retry::default());
    let retried = doc! {"n": 1, "nModified": 1, "retriedStmtIds": [0], "ok": 1.0};
    place.answers([
        lost(),
        Step::Reply(retried),
        fine(),
        error(91, &WRITE),
        error(91, &WRITE),
    ]);
    let reply = place.ask(increment(None)).await.unwrap();
    assert_eq!(reply, doc! {"n": 1, "nModified": 1, "ok": 1.0});
    place.ask(increment(None)).await.unwrap();
    let asked = place.backend.asked();
    let id = |at: usize| asked[at].get_document("lsid").unwrap().get("id").cloned();
    let number = |at: usize| asked[at].get_i64("txnNumber").unwrap();
    assert_eq!((id(0), number(0)), (id(1), number(1)), "the same write");
    assert_eq!((id(0), number(0) + 1), (id(2), number(2)), "the next one");
    assert_ne!(
        id(0),
        increment(None)
            .get_document("lsid")
            .unwrap()
            .get("id")
            .cloned()
    );
    let reply = place.ask(increment(None)).await.unwrap();
    assert_eq!(
        reply,
        doc! {"ok": 0.0, "code": 91},
        "the label was the number's"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_gets_a_number_unless_it_asks_for_one_members_word_only() {
    for (concern, gets_one) in [
        (doc! {"w": "majority"}, true),
        (doc! {"w": 2}, true),
        (doc! {"w": 1, "j": true}, true),
        (doc! {"j": false, "w": 1.0}, false),
        (doc! {"w": 1}, false),
    ] {
        let place = place(&config::Retry::default());
        place.answers([fine()]);
        let mut write = increment(None);
        write.insert("writeConcern", &concern);
        place.ask(write).await.unwrap();
        let has_one = place.backend.asked()[0].contains_key("txnNumber");
        assert_eq!(has_one, gets_one, "{concern}");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_numbers_gets_the_write_as_it_came() {
    let place = place(&config::Retry::default());
    place.answers([error(20, &[]), fine()]);
    place.ask(increment(None)).await.unwrap();
    assert_eq!(place.backend.asked()[1], increment(None));
}

#[tokio::test]
async fn a_write_lost_twice_stays_fenced() {
    let place = place(&config::Retry::default());
    place.answers([lost(), error(10107, &WRITE), lost(), lost()]);
    place.ask(increment(None)).await.unwrap();
    assert_eq!(place.fences.quarantined(), 1, "the first may still land");
    assert!(place.ask(increment(None)).await.unwrap_err().sent);
    assert_eq!(place.fences.quarantined(), 2);
    let asked = place.backend.asked();
    assert_ne!(
        asked[0].get("lsid"),
        asked[2].get("lsid"),
        "a session in doubt rests"
    );
}

#[tokio::test]
async fn an_error_that_says_nothing_was_written_gives_way_to_the_one_before() {
    let place = place(&config::Retry::default());
    place.answers([
        error(91, &WRITE),
        error(10107, &["RetryableWriteError", "NoWritesPerformed"]),
    ]);
    let reply = place.ask(increment(Some(1))).await.unwrap();
    assert_eq!(reply.get_i32("code").ok(), Some(91));
    let wanted = "primary".to_owned();
    let nowhere = Fault::NoServer {
        wanted,
        waited_ms: 1,
    };
    place.answers([error(189, &WRITE), Step::Fail(Failure::unsent(nowhere))]);
    let reply = place.ask(increment(Some(2))).await.unwrap();
    assert_eq!(
        reply.get_i32("code").ok(),
        Some(189),
        "no server for the retry"
    );
}

#[tokio::test]
async fn a_client_who_must_authenticate_anew_is_told_so_whatever_failed_before() {
    let gone = || Step::Fail(Failure::unsent(Fault::PrincipalGone));
    let place = place(&config::Retry::default());
    place.answers([lost(), gone()]);
    let failure = place.ask(increment(Some(1))).await.unwrap_err();
    assert!(matches!(failure.fault, Fault::PrincipalGone));
    assert!(failure.sent, "the first try may have been executed");
    assert_eq!(place.fences.quarantined(), 1, "or may yet be");
    place.answers([error(10107, &WRITE), gone()]);
    let reply = place.ask(increment(Some(2))).await.unwrap();
    assert_eq!(reply.get_i32("code").ok(), Some(91));
    let labels = reply.get_array("errorLabels").unwrap();
    assert_eq!(labels, bson::bson!([WRITE[0]]).as_array().unwrap());
    assert_eq!(place.fences.quarantined(), 1, "nothing is under way");
}

#[tokio::test]
async fn a_session_of_the_proxys_own_serves_again_once_its_write_has_been_answered() {
    let place = place(&config::Retry::default());
    let gone = Failure::unsent(Fault::PrincipalGone);
    place.answers([error(10107, &WRITE), Step::Fail(gone), fine()]);
    let reply = place.ask(increment(None)).await.unwrap();
    assert_eq!(reply.get_i32("code").ok(), Some(91));
    assert!(
        !reply.contains_key("errorLabels"),
        "the label was the number's"
    );
    place.ask(increment(None)).await.unwrap();
    let asked = place.backend.asked();
    assert_eq!(asked[0].get("lsid"), asked[2].get("lsid"));
    assert_eq!(place.fences.quarantined(), 0);
}

#[tokio::test]
async fn a_drivers_own_retry_is_not_retried_again() {
    let place = place(&config::Retry::default());
    place.answers((0..3).map(|_| lost()));
    assert!(place.ask(increment(Some(1))).await.is_err());
    assert!(place.ask(increment(Some(1))).await.is_err());
    assert_eq!(place.sent(), 3, "twice here, once for the driver's retry");
    place.answers([lost(), lost(), error(91, &[])]);
    assert!(place.ask(find()).await.is_err());
    place.ask(find()).await.unwrap();
    assert_eq!(place.sent(), 6);
    place.answers([lost(), fine()]);
    place.ask(find()).await.unwrap();
    assert_eq!(place.sent(), 8, "and the read after that is as any other");
}

#[tokio::test]
async fn what_is_known_to_be_a_drivers_retry_is_not_retried_again() {
    let place = place(&config::Retry::default());
    place.answers([lost()]);
    let mut again = request(&increment(Some(1)));
    again.note_spent();
    assert!(place.pipeline.run(&mut again).await.is_err());
    assert_eq!(place.sent(), 1);
}

#[tokio::test]
async fn what_an_overloaded_server_refuses_is_sent_twice_more_with_pauses() {
    let place = place(&config::Retry::default());
    let more = doc! {"getMore": 5_i64, "collection": "c", "$db": "d"};
    place.answers([error(462, &OVERLOAD), error(462, &OVERLOAD), fine()]);
    place.ask(more.clone()).await.unwrap();
    assert_eq!((place.sent(), place.retry.stats().overloads()), (3, 2));
    place.answers((0..3).map(|_| error(462, &OVERLOAD)));
    place.ask(more.clone()).await.unwrap();
    assert_eq!(place.sent(), 6);
    place.answers([error(462, &OVERLOAD[..1])]);
    place.ask(more).await.unwrap();
    assert_eq!(place.sent(), 7, "it may have been executed");
}

#[tokio::test]
async fn no_retry_begins_after_max_time_ms() {
    let place = place(&config::Retry {
        base_backoff: Duration::from_secs(3600),
        ..config::Retry::default()
    });
    let mut limited = find();
    limited.insert("maxTimeMS", 1);
    place.answers([error(462, &OVERLOAD)]);
    place.ask(limited).await.unwrap();
    assert_eq!(place.sent(), 1);
}

#[tokio::test]
async fn without_budget_nothing_is_retried() {
    let place = place(&config::Retry {
        budget: 2,
        ..config::Retry::default()
    });
    for _ in 0..5 {
        place.answers([lost()]);
        place.answers([lost()]);
    }
    for n in 0..4_i64 {
        assert!(place.ask(increment(Some(n))).await.is_err());
    }
    assert_eq!(place.sent(), 6, "four and two retries");
    assert_eq!(place.retry.stats().given_up(), 4);
}

#[tokio::test]
async fn a_commit_is_sent_again_with_majority() {
    let place = place(&config::Retry::default());
    let commit = doc! {"commitTransaction": 1, "lsid": {"id": 1}, "txnNumber": 1_i64,
    "autocommit": false, "$db": "admin"};
    place.answers([lost(), fine()]);
    place.ask(commit).await.unwrap();
    let concern = place.backend.asked()[1]
        .get_document("writeConcern")
        .cloned();
    assert_eq!(
        concern.ok(),
        Some(doc! {"w": "majority", "wtimeout": 10_000})
    );
}

/// What a write whose trail is full has become, beside one whose trail is empty: replies, commands sent, fences that stand,
/// writes that count as a change.
#[tokio::test]
async fn a_full_trail_changes_nothing() {
    type Prepare = fn(&mut Request);
    let nothing: Prepare = |_| ();
    let at = |time| {
        let ts = bson::Timestamp { time, increment: 0 };
        doc! {"n": 1, "nModified": 1, "opTime": {"ts": ts, "t": 1_i64}, "ok": 1.0}
    };
    let mut executed = at(6);
    executed.insert("retriedStmtIds", [0].as_slice());
    for full in [false, true] {
        let place = place(&config::Retry::default());
        let ask = async |command: Document, prepare: Prepare| {
            let mut request = request(&command);
            if full {
                fill_trail(&mut request);
            }
            prepare(&mut request);
            place.pipeline.run(&mut request).await
        };
        let number = |at: usize| place.backend.asked()[at].get_i64("txnNumber").ok();
        // In doubt: the fence stays, and so does the number of the proxy's own session.
        place.answers([lost(), error(10107, &WRITE), lost(), error(10107, &WRITE)]);
        ask(increment(None), nothing).await.unwrap();
        ask(increment(Some(1)), nothing).await.unwrap();
        assert_eq!(place.fences.quarantined(), 2, "full: {full}");
        place.answers([fine()]);
        ask(increment(None), nothing).await.unwrap();
        assert_eq!(number(4), Some(1), "full: {full}");
        // Executed before: the time in the reply isn't that of the write, whose event counts.
        place.answers([lost(), Step::Reply(executed.clone())]);
        ask(increment(None), nothing).await.unwrap();
        let before = place.fences.invalidations();
        place.fences.landed(&Footprint::Everything, 6 << 32);
        assert_eq!(place.fences.invalidations(), before + 1, "full: {full}");
        // Unacknowledged: no number.
        place.answers([fine()]);
        ask(increment(None), Request::note_unacknowledged)
            .await
            .unwrap();
        assert_eq!(number(7), None, "full: {full}");
        // Batched: the time in the reply may be that of another client's write, whose event counts.
        place.answers([Step::Reply(at(7))]);
        ask(increment(None), Request::note_batched).await.unwrap();
        let before = place.fences.invalidations();
        place.fences.landed(&Footprint::Everything, 7 << 32);
        assert_eq!(place.fences.invalidations(), before + 1, "full: {full}");
        // A driver's retry of what has been retried here: sent once.
        place.answers([lost()]);
        assert!(
            ask(increment(Some(2)), Request::note_spent)
                .await
                .is_err_and(|failure| failure.sent)
        );
        assert_eq!(place.sent(), 10, "full: {full}");
    }
}
