//! What becomes of fences by what the server answered.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};

use super::scripted::{Scripted, Step, request};
use super::{Failure, Fences, Pipeline, Principal, Reads, Request, Stamp};

struct Setup {
    pipeline: Arc<Pipeline>,
    backend: Arc<Scripted>,
    fences: Arc<Fences>,
}

fn setup(script: impl IntoIterator<Item = Document>) -> Setup {
    let backend = Arc::new(Scripted::replies(script));
    let fences = Fences::new(Duration::from_secs(90));
    let pipeline = Pipeline::new(Vec::new(), backend.clone(), Arc::clone(&fences));
    Setup {
        pipeline: Arc::new(pipeline),
        backend,
        fences,
    }
}

const READ: Reads<'_> = Reads::Documents {
    db: "d",
    collection: "c",
};

impl Setup {
    fn stored(&self) -> Stamp {
        self.fences.open(READ).expect("nothing is under way")
    }

    /// Whether an answer that is stored now outlives the command.
    async fn spares(&self, command: Document, reply: Document) -> bool {
        let stored = self.stored();
        self.backend.push(Step::Reply(reply));
        let _ = self.pipeline.run(&mut request(&command)).await;
        self.fences.valid(&stored)
    }

    /// Whether an answer may be served while the command is under way, as `principal`.
    async fn serves_during(&self, command: Document, principal: u64, reply: Document) -> bool {
        let stored = self.stored();
        let sender = self.backend.push_later();
        let pipeline = Arc::clone(&self.pipeline);
        let mut sent = asked_by(principal, &command);
        let before = self.backend.asked().len();
        let running = tokio::spawn(async move {
            let _ = pipeline.run(&mut sent).await;
        });
        while self.backend.asked().len() == before {
            tokio::task::yield_now().await;
        }
        let valid = self.fences.valid(&stored);
        let _ = sender.send(Ok(reply));
        running.await.unwrap();
        valid
    }
}

fn asked_by(principal: u64, command: &Document) -> Request {
    let mut request = request(command);
    let name = String::new();
    request.principal = Arc::new(Principal {
        id: principal,
        name,
    });
    request
}

fn error(code: i32, text: &str) -> Document {
    doc! {"ok": 0.0, "code": code, "errmsg": text}
}

fn no_login() -> Document {
    error(13, "command insert requires authentication")
}

fn statement(number: i64, first: bool) -> Document {
    let mut statement = doc! {
        "update": "c", "updates": [], "lsid": {"id": 1}, "txnNumber": number, "autocommit": false, "$db": "d",
    };
    if first {
        statement.insert("startTransaction", true);
    }
    statement
}

#[tokio::test]
async fn a_refused_command_leaves_answers_alone() {
    let setup = setup([]);
    for (command, code) in [
        (doc! {"frobnicate": 1, "$db": "d"}, 59),
        (doc! {"createUser": "u", "$db": "d"}, 13),
        (doc! {"drop": "c", "$db": "d"}, 26),
        (doc! {"update": "c", "updates": 5, "$db": "d"}, 14),
    ] {
        let spared = setup.spares(command.clone(), error(code, "")).await;
        assert!(spared, "{command}");
        let changed = !setup.spares(command.clone(), doc! {"ok": 1.0}).await;
        assert!(changed, "{command}");
    }
}

#[tokio::test]
async fn an_error_after_an_earlier_try_of_unknown_outcome_proves_nothing() {
    let setup = setup([]);
    let stored = setup.stored();
    setup
        .backend
        .push(Step::Fail(Failure::lost("the connection broke")));
    let drop = doc! {"drop": "c", "$db": "d"};
    let _ = setup.pipeline.run(&mut request(&drop)).await;
    assert!(!setup.fences.valid(&stored));
    assert_eq!(setup.fences.quarantined(), 1);
}

#[tokio::test]
async fn commands_that_need_a_login_suspend_nothing_for_clients_without_one() {
    let setup = setup([]);
    let drop = || doc! {"drop": "c", "$db": "d"};
    assert!(!setup.serves_during(drop(), 0, no_login()).await);
    assert!(setup.serves_during(drop(), 0, no_login()).await);
    let begin = || statement(1, true);
    assert!(setup.serves_during(begin(), 0, no_login()).await);
    assert_eq!(setup.pipeline.open_transactions(), 0);
    // Neither does what it can't read.
    let stored = setup.stored();
    assert!(setup.serves_during(drop(), 0, error(14, "")).await);
    assert!(setup.fences.valid(&stored));
    assert!(
        !setup.serves_during(drop(), 5, no_login()).await,
        "logged in"
    );
    setup.fences.flush(true);
    assert!(
        !setup.serves_during(drop(), 0, no_login()).await,
        "another server"
    );
}

#[tokio::test]
async fn a_command_that_was_executed_without_a_login_changes_everything() {
    let setup = setup([no_login()]);
    let drop = doc! {"drop": "c", "$db": "d"};
    let _ = setup.pipeline.run(&mut request(&drop)).await;
    let stored = setup.stored();
    assert!(setup.serves_during(drop.clone(), 0, doc! {"ok": 1.0}).await);
    assert!(!setup.fences.valid(&stored));
    assert!(!setup.serves_during(drop, 0, doc! {"ok": 1.0}).await);
}

#[tokio::test]
async fn the_server_is_asked_once_whether_an_unknown_command_would_have_needed_a_login() {
    let setup = setup([error(59, ""), no_login()]);
    let unknown = || doc! {"frobnicate": 1, "$db": "d"};
    let _ = setup.pipeline.run(&mut request(&unknown())).await;
    while setup.backend.asked().len() < 2 {
        tokio::task::yield_now().await;
    }
    let asked = setup.backend.asked();
    assert_eq!(asked.last(), Some(&doc! {"dbStats": 1, "$db": "admin"}));
    tokio::task::yield_now().await;
    assert!(setup.serves_during(unknown(), 0, error(59, "")).await);
    assert_eq!(setup.backend.asked().len(), 3);
}

#[tokio::test]
async fn a_transaction_that_was_refused_is_not_open() {
    let setup = setup([error(13, "not authorized on d to execute command")]);
    let stored = setup.stored();
    let begin = statement(1, true);
    let _ = setup.pipeline.run(&mut asked_by(5, &begin)).await;
    assert_eq!(setup.pipeline.open_transactions(), 0);
    assert!(setup.fences.valid(&stored));
    // One that goes on isn't over because a later statement was refused.
    setup.backend.push(Step::Reply(doc! {"ok": 1.0}));
    setup.backend.push(Step::Reply(error(13, "")));
    let _ = setup.pipeline.run(&mut asked_by(5, &begin)).await;
    let next = statement(1, false);
    let _ = setup.pipeline.run(&mut asked_by(5, &next)).await;
    assert_eq!(setup.pipeline.open_transactions(), 1);
    setup.backend.push(Step::Reply(error(251, "")));
    let _ = setup.pipeline.run(&mut asked_by(5, &next)).await;
    assert_eq!(setup.pipeline.open_transactions(), 0);
}

#[tokio::test]
async fn an_aborted_transaction_changes_nothing_and_a_committed_one_does() {
    for (end, spared) in [("abortTransaction", true), ("commitTransaction", false)] {
        let setup = setup([doc! {"ok": 1.0}, doc! {"ok": 1.0}]);
        let stored = setup.stored();
        let _ = setup.pipeline.run(&mut request(&statement(1, true))).await;
        assert!(!setup.fences.valid(&stored));
        let end = doc! {end: 1, "lsid": {"id": 1}, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"};
        let _ = setup.pipeline.run(&mut request(&end)).await;
        assert_eq!(setup.fences.valid(&stored), spared);
    }
}

#[tokio::test]
async fn transactions_beyond_a_number_share_one_fence_of_everything() {
    let setup = setup([]);
    let begin = |session: i32| {
        let mut statement = statement(1, true);
        statement.insert("lsid", doc! {"id": session});
        statement
    };
    for session in 0..10_000 {
        setup.backend.push(Step::Reply(doc! {"ok": 1.0}));
        let _ = setup.pipeline.run(&mut request(&begin(session))).await;
    }
    let elsewhere = Reads::Documents {
        db: "e",
        collection: "c",
    };
    assert!(setup.fences.open(elsewhere).is_some());
    for session in 10_000..10_005 {
        setup.backend.push(Step::Reply(doc! {"ok": 1.0}));
        let _ = setup.pipeline.run(&mut request(&begin(session))).await;
        assert_eq!(setup.pipeline.open_transactions(), 10_001);
    }
    assert!(setup.fences.open(elsewhere).is_none());
}
