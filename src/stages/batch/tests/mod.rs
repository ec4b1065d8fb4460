//! Batching in front of a model of a server.

mod again;
mod doubt;
mod far;
mod few;
mod gone;
mod kinds;
mod model;
mod order;
mod random;
mod retried;
mod singles;

use std::sync::Arc;
use std::time::Duration;

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};

use self::again::Again;
use self::model::{Model, Trouble};
use super::{Alone, Batch, Knowledge};
use crate::command::{Footprint, Namespace};
use crate::config;
use crate::pipeline::scripted::{fill_trail, request};
use crate::pipeline::{Callers, Failure, Fences, Horizon, Pipeline, Request, Stage};

struct Setup {
    pipeline: Arc<Pipeline>,
    model: Arc<Model>,
    batch: Arc<Batch>,
    fences: Arc<Fences>,
    /// Requests come with as many decisions as a trail holds.
    trails_are_full: bool,
}

type Answered = Result<Document, Failure>;

impl Setup {
    async fn new(model: Model) -> Setup {
        let config = config::Batch {
            at_once: 1,
            max_wait: Duration::from_secs(30),
            ..config::Batch::default()
        };
        Setup::with(model, config).await
    }

    async fn with(model: Model, config: config::Batch) -> Setup {
        Setup::under(model, config, up_to_date()).await
    }

    /// The stage has learnt what the collection is.
    async fn under(model: Model, config: config::Batch, horizon: Arc<Horizon>) -> Setup {
        let model = Arc::new(model);
        let fences = Fences::new(Duration::from_secs(90));
        let knowledge = Knowledge {
            fences: Arc::clone(&fences),
            upstream: model.facts(),
            collections: Arc::default(),
            horizon,
        };
        let batch = Arc::new(Batch::new(&config, 24, &knowledge));
        let stages: Vec<Box<dyn Stage>> = vec![Box::new(Arc::clone(&batch)), Box::new(Again)];
        let pipeline = Pipeline::new(stages, model.clone(), Arc::clone(&fences));
        let setup = Setup {
            pipeline: Arc::new(pipeline),
            model,
            batch,
            fences,
            trails_are_full: false,
        };
        let first = setup.send(insert(-1));
        setup.open_gate(1);
        first.await.unwrap().unwrap();
        setup.until(|| setup.knows_collection()).await;
        setup
    }

    fn knows_collection(&self) -> bool {
        let insert = request(&insert(0));
        let kinds = &self.batch.shared.collections;
        kinds.is_known(&insert)
    }

    fn open_gate(&self, permits: usize) {
        if let Some(gate) = &self.model.gate {
            gate.add_permits(permits);
        }
    }

    fn send(&self, command: Document) -> tokio::task::JoinHandle<Answered> {
        self.send_from(Callers::None, command)
    }

    fn send_from(&self, callers: Callers, command: Document) -> tokio::task::JoinHandle<Answered> {
        let pipeline = Arc::clone(&self.pipeline);
        let mut request = request(&command);
        request.callers = callers;
        if self.trails_are_full {
            fill_trail(&mut request);
        }
        tokio::spawn(async move { run(&pipeline, request).await })
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(std::time::Instant::now() < deadline, "waited too long");
            tokio::task::yield_now().await;
        }
    }

    /// Sends the first, and the others while it is under way, so that they are one batch.
    async fn together(&self, commands: impl IntoIterator<Item = Document>) -> Vec<Answered> {
        let handles = self.queued(commands).await;
        self.open_gate(1000);
        let mut answers = Vec::new();
        for handle in handles {
            answers.push(handle.await.unwrap());
        }
        answers
    }

    async fn queued(
        &self,
        commands: impl IntoIterator<Item = Document>,
    ) -> Vec<tokio::task::JoinHandle<Answered>> {
        let commands = commands.into_iter().map(|c| (Callers::None, c));
        self.queued_from(commands).await
    }

    async fn queued_from(
        &self,
        commands: impl IntoIterator<Item = (Callers, Document)>,
    ) -> Vec<tokio::task::JoinHandle<Answered>> {
        let before = self.model.arrived();
        let leader = self.send(insert(1_000_000 + before as i32));
        self.until(|| self.model.arrived() > before).await;
        let send = |(callers, command)| self.send_from(callers, command);
        let handles: Vec<_> = commands.into_iter().map(send).collect();
        let shared = &self.batch.shared;
        self.until(|| shared.groups.queued() == handles.len()).await;
        drop(leader);
        handles
    }

    fn alone(&self, why: Alone) -> u64 {
        let mut counts = self.batch.stats().sent_alone();
        counts.find(|(w, _)| *w == why).unwrap().1
    }
}

async fn run(pipeline: &Pipeline, mut request: Request) -> Answered {
    let reply = pipeline.run(&mut request).await?;
    Ok(Document::from_reader(reply.body()).unwrap())
}

/// A watch that has seen everything, for as long as a test may take.
fn up_to_date() -> Arc<Horizon> {
    let horizon = Horizon::starting(Duration::from_secs(3600));
    horizon.begun(1);
    horizon.polled(horizon.clock().now(), 1);
    horizon
}

fn insert(id: i32) -> Document {
    doc! {"insert": "c", "documents": [{"_id": id}], "ordered": true, "$db": "d"}
}

fn retryable(session: u8, number: i64, ids: &[i32]) -> Document {
    let id = Binary {
        subtype: BinarySubtype::Uuid,
        bytes: vec![session; 16],
    };
    let documents: Vec<Document> = ids.iter().map(|id| doc! {"_id": id}).collect();
    doc! {
        "insert": "c", "documents": documents, "ordered": false, "lsid": {"id": id}, "txnNumber": number,
        "$db": "d",
    }
}

fn duplicate(index: i32, id: i32) -> Document {
    doc! {
        "index": index, "code": 11000, "errmsg": format!("E11000 dup key: {id}"),
        "keyPattern": {"_id": 1}, "keyValue": {"_id": id},
    }
}

fn inserted(n: i32) -> Document {
    doc! {"n": n, "electionId": 1, "opTime": 2, "ok": 1.0, "operationTime": 3}
}

fn answers(answered: Vec<Answered>) -> Vec<Document> {
    answered.into_iter().map(|a| a.unwrap()).collect()
}

#[tokio::test]
async fn a_lone_write_leaves_at_once_as_it_came() {
    let setup = Setup::new(Model::default()).await;
    let command = retryable(1, 1, &[5]);
    let reply = setup.send(command.clone()).await.unwrap().unwrap();
    assert_eq!(reply, inserted(1));
    assert_eq!(setup.model.asked().pop().unwrap(), command);
    assert_eq!(setup.alone(Alone::First), 1);
    assert_eq!(setup.batch.groups(), 0);
}

#[tokio::test]
async fn writes_that_come_while_one_is_under_way_leave_together_and_each_gets_its_own_reply() {
    let setup = Setup::new(Model::gated()).await;
    let many = doc! {"insert": "c", "documents": [{"_id": 3}, {"_id": 1}, {"_id": 4}], "ordered": false, "$db": "d"};
    let replies = setup
        .together([insert(1), many, insert(2), insert(2)])
        .await;
    let failed = |n: i32, error: Document| doc! {"n": n, "electionId": 1, "opTime": 2, "writeErrors": [error], "ok": 1.0, "operationTime": 3};
    assert_eq!(
        answers(replies),
        [
            inserted(1),
            failed(2, duplicate(1, 1)),
            inserted(1),
            failed(0, duplicate(0, 2))
        ]
    );
    let batch = setup.model.asked().pop().unwrap();
    assert_eq!(batch.get_array("documents").unwrap().len(), 6);
    assert!(!batch.get_bool("ordered").unwrap() && batch.contains_key("txnNumber"));
    assert_eq!(setup.batch.groups(), 0);
    assert_eq!(setup.fences.quarantined(), 0);
}

#[tokio::test]
async fn a_standalones_batch_has_no_session() {
    let mut model = Model::gated();
    model.standalone = true;
    let setup = Setup::new(model).await;
    let replies = setup.together([insert(1), insert(2)]).await;
    assert_eq!(answers(replies), [inserted(1), inserted(1)]);
    let batch = setup.model.asked().pop().unwrap();
    assert_eq!(batch.get_array("documents").unwrap().len(), 2);
    assert!(!batch.contains_key("lsid") && !batch.contains_key("txnNumber"));
}

#[tokio::test]
async fn a_standalones_batch_that_is_refused_is_sent_one_by_one_and_one_that_is_cut_short_is_not() {
    let mut model = Model::gated();
    model.standalone = true;
    let setup = Setup::new(model).await;
    let broken = doc! {"insert": "c", "documents": [{"_id": 2, "broken": 1}], "$db": "d"};
    let replies = answers(setup.together([insert(1), broken]).await);
    assert_eq!(replies[0], inserted(1));
    assert_eq!(replies[1].get_i32("code").unwrap(), 22);
    setup
        .model
        .trouble([Trouble::None, Trouble::Midway(1, 11601)]);
    let setup = Setup {
        model: setup.model,
        ..setup
    };
    let replies = answers(setup.together([insert(3), insert(4)]).await);
    assert!(
        replies
            .iter()
            .all(|r| r.get_i32("code").ok() == Some(11601))
    );
}

#[tokio::test]
async fn what_may_not_be_merged_goes_alone() {
    let setup = Setup::new(Model::default()).await;
    let with = |more: Document| {
        let mut command = insert(1);
        command.extend(more);
        command
    };
    let cases = [
        (with(doc! {"comment": "x"}), Alone::Fields),
        (with(doc! {"let": {}}), Alone::Fields),
        (with(doc! {"readConcern": {}}), Alone::Fields),
        (with(doc! {"ordered": 1}), Alone::Fields),
        (with(doc! {"txnNumber": 1_i64}), Alone::Fields),
        (with(doc! {"lsid": {"id": 1}}), Alone::Fields),
        (with(doc! {"documents": []}), Alone::Fields),
        (with(doc! {"documents": "x"}), Alone::Fields),
        (with(doc! {"writeConcern": {"w": 0}}), Alone::Fields),
        (with(doc! {"maxTimeMS": 5}), Alone::MaxTime),
        (
            with(doc! {"documents": [{"_id": 1}, {"_id": 2}]}),
            Alone::Ordered,
        ),
        (
            with(doc! {"documents": [{"_id": 1, "x": vec![0_i64; 1 << 19]}]}),
            Alone::Large,
        ),
        (with(doc! {"insert": "system.js"}), Alone::Namespace),
        (with(doc! {"insert": "c\0d"}), Alone::Fields),
        (
            with(doc! {"$clusterTime": {"clusterTime": bson::Timestamp { time: 1, increment: 1 }}}),
            Alone::Fields,
        ),
        (with(doc! {"$db": "local"}), Alone::Namespace),
        (
            with(
                retryable(1, 1, &[1])
                    .into_iter()
                    .chain([("documents".to_owned(), bson::bson!([{"a": 1}]))])
                    .collect(),
            ),
            Alone::NoId,
        ),
        (
            with(doc! {"lsid": {"id": 1}, "txnNumber": 1_i64, "autocommit": false}),
            Alone::Transaction,
        ),
    ];
    for (command, why) in cases {
        let before = setup.alone(why);
        // What the model makes of it doesn't matter here.
        let _ = setup.send(command.clone()).await;
        assert_eq!(setup.alone(why), before + 1, "{why:?}: {command}");
    }
}

#[tokio::test]
async fn only_equal_writes_share_a_batch() {
    let setup = Setup::new(Model::gated()).await;
    let mut majority = insert(2);
    majority.insert("writeConcern", doc! {"w": "majority"});
    let mut bypass = insert(3);
    bypass.insert("bypassDocumentValidation", true);
    let mut elsewhere = insert(4);
    elsewhere.insert("insert", "other");
    let before = setup.model.arrived();
    let handles = [insert(1), majority, bypass, elsewhere].map(|c| setup.send(c));
    setup.until(|| setup.model.arrived() == before + 4).await;
    setup.open_gate(10);
    for handle in handles {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    assert_eq!(setup.alone(Alone::First), 3);
    // (And the first of the setup.)
    assert_eq!(setup.alone(Alone::Unknown), 2);
}

#[tokio::test]
async fn nothing_queues_where_an_open_transaction_has_written() {
    let setup = Setup::new(Model::gated()).await;
    let ns = Namespace::new("d", "c");
    let held = setup.fences.hold(&Footprint::Namespaces(vec![ns]));
    let before = setup.model.arrived();
    let handles = [insert(1), insert(2)].map(|c| setup.send(c));
    setup.until(|| setup.model.arrived() == before + 2).await;
    assert_eq!(setup.alone(Alone::Held), 2);
    setup.open_gate(2);
    for handle in handles {
        handle.await.unwrap().unwrap();
    }
    drop(held);
}

#[tokio::test]
async fn one_clients_broken_document_fails_only_that_client() {
    let setup = Setup::new(Model::gated()).await;
    let broken = doc! {"insert": "c", "documents": [{"_id": 2, "broken": 1}], "$db": "d"};
    let replies = answers(
        setup
            .together([insert(1), broken, retryable(1, 1, &[3])])
            .await,
    );
    assert_eq!(replies[0], inserted(1));
    assert_eq!(replies[1].get_i32("code").unwrap(), 22);
    assert_eq!(replies[2], inserted(1));
    assert_eq!(setup.batch.stats().sent_one_by_one(), 3);
}

#[tokio::test]
async fn a_lost_batch_is_sent_again_and_nothing_is_applied_twice() {
    for trouble in [Trouble::LostBefore, Trouble::LostAfter, Trouble::Labelled] {
        let setup = Setup::new(Model::gated()).await;
        setup.model.trouble([Trouble::None, trouble]);
        let replies = setup
            .together([insert(1), retryable(1, 1, &[2]), insert(1)])
            .await;
        let replies = answers(replies);
        assert_eq!(replies[..2], [inserted(1), inserted(1)], "{trouble:?}");
        assert_eq!(replies[2].get_array("writeErrors").unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_batch_that_is_cut_short_is_completed_one_by_one() {
    let setup = Setup::new(Model::gated()).await;
    setup
        .model
        .trouble([Trouble::None, Trouble::Midway(1, 11601)]);
    let replies = setup
        .together([insert(1), retryable(1, 1, &[2]), insert(3)])
        .await;
    assert_eq!(answers(replies), [inserted(1), inserted(1), inserted(1)]);
}

#[tokio::test]
async fn a_batch_that_was_never_sent_leaves_no_doubt() {
    let setup = Setup::new(Model::gated()).await;
    setup.model.trouble([Trouble::None, Trouble::Unsent]);
    let write = retryable(1, 1, &[1]);
    let replies = setup.together([write.clone(), insert(2)]).await;
    assert!(replies.iter().all(|r| r.as_ref().is_err_and(|f| !f.sent)));
    assert_eq!(setup.send(write).await.unwrap().unwrap(), inserted(1));
    assert_eq!(setup.fences.quarantined(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_takes_its_write_with_it_and_nobody_elses() {
    let setup = Setup::new(Model::gated()).await;
    let handles = setup
        .queued([retryable(1, 1, &[1]), insert(2), insert(3)])
        .await;
    handles[0].abort();
    setup
        .until(|| setup.batch.shared.groups.queued() == 2)
        .await;
    setup.open_gate(10);
    for handle in handles.into_iter().skip(1) {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    assert!(setup.model.document(1).is_none());
    assert_eq!(
        setup.send(retryable(1, 1, &[1])).await.unwrap().unwrap(),
        inserted(1)
    );
}

#[tokio::test]
async fn a_client_that_leaves_during_its_batch_takes_nobodys_write_with_it() {
    let setup = Setup::new(Model::gated()).await;
    let handles = setup.queued([retryable(1, 1, &[1]), insert(2)]).await;
    let before = setup.model.arrived();
    setup.open_gate(1);
    setup.until(|| setup.model.arrived() > before).await;
    handles[0].abort();
    setup.open_gate(10);
    let mut handles = handles.into_iter().skip(1);
    assert_eq!(handles.next().unwrap().await.unwrap().unwrap(), inserted(1));
    let again = setup.send(retryable(1, 1, &[1])).await.unwrap().unwrap();
    assert_eq!(again.get_array("retriedStmtIds").unwrap().len(), 1);
}

#[tokio::test]
async fn if_the_first_client_leaves_the_others_go_on() {
    let setup = Setup::new(Model::gated()).await;
    let before = setup.model.arrived();
    let leader = setup.send(insert(1));
    setup.until(|| setup.model.arrived() > before).await;
    let others = [insert(2), insert(3)].map(|c| setup.send(c));
    setup
        .until(|| setup.batch.shared.groups.queued() == 2)
        .await;
    leader.abort();
    setup.open_gate(10);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), inserted(1));
    }
    assert_eq!(
        setup.fences.quarantined(),
        1,
        "the first one's outcome is unknown"
    );
}

#[tokio::test]
async fn a_write_that_has_waited_long_goes_alone() {
    let config = config::Batch {
        at_once: 1,
        max_wait: Duration::from_millis(20),
        ..config::Batch::default()
    };
    let setup = Setup::with(Model::gated(), config).await;
    let before = setup.model.arrived();
    let stuck = setup.send(insert(1));
    setup.until(|| setup.model.arrived() > before).await;
    let impatient = setup.send(retryable(1, 1, &[2]));
    setup.until(|| setup.model.arrived() == before + 2).await;
    assert_eq!(setup.alone(Alone::WaitedLong), 1);
    setup.open_gate(2);
    assert_eq!(impatient.await.unwrap().unwrap(), inserted(1));
    assert_eq!(stuck.await.unwrap().unwrap(), inserted(1));
}

#[tokio::test]
async fn a_batch_ends_at_its_limits() {
    let config = config::Batch {
        at_once: 1,
        max_documents: 3,
        max_wait: Duration::from_secs(30),
        ..config::Batch::default()
    };
    let setup = Setup::with(Model::gated(), config).await;
    answers(setup.together((1..=7).map(insert)).await);
    let sizes: Vec<usize> = setup
        .model
        .asked()
        .iter()
        .skip(2)
        .map(|c| c.get_array("documents").unwrap().len())
        .collect();
    assert_eq!(sizes, [3, 3, 1]);
}

#[tokio::test]
async fn with_linger_the_first_write_waits_for_others_too() {
    let config = config::Batch {
        at_once: 1,
        linger: Duration::from_millis(30),
        ..config::Batch::default()
    };
    let setup = Setup::with(Model::default(), config).await;
    let handles = [insert(1), insert(2), insert(3)].map(|c| setup.send(c));
    for handle in handles {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    let batch = setup.model.asked().pop().unwrap();
    assert_eq!(batch.get_array("documents").unwrap().len(), 3);
}
