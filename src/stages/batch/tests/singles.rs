//! Updates and deletes of one document each.

use bson::{Document, doc};

use super::super::Alone;
use super::model::{Bulk, Model, Trouble};
use super::{Answered, Setup, answers, insert, inserted, retryable};
use crate::config::{self, RetryableUpdates};

pub(super) fn update(id: i32, update: Document) -> Document {
    doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": update}], "$db": "d"}
}

pub(super) fn statement(id: i32, update: Document, upsert: bool) -> Document {
    let update = doc! {"q": {"_id": id}, "u": update, "upsert": upsert};
    doc! {"update": "c", "updates": [update], "$db": "d"}
}

fn upsert(id: i32) -> Document {
    statement(id, doc! {"$set": {"n": 1}}, true)
}

pub(super) fn increment(id: i32) -> Document {
    update(id, doc! {"$inc": {"n": 1}})
}

pub(super) fn delete(id: i32) -> Document {
    doc! {"delete": "c", "deletes": [{"q": {"_id": id}, "limit": 1}], "$db": "d"}
}

pub(super) fn numbered(mut command: Document, session: u8, number: i64) -> Document {
    let lsid = retryable(session, number, &[])
        .get("lsid")
        .cloned()
        .unwrap();
    command.insert("lsid", lsid);
    command.insert("txnNumber", number);
    command
}

pub(super) fn updated(n: i32, modified: i32) -> Document {
    doc! {"n": n, "electionId": 1, "opTime": 2, "nModified": modified, "ok": 1.0, "operationTime": 3}
}

fn deleted(n: i32) -> Document {
    inserted(n)
}

/// A server that holds documents 1 to 9 with `n: 0`, and that has been asked of its abilities.
pub(super) async fn setup(bulk: Bulk, retryable_updates: RetryableUpdates) -> Setup {
    let mut model = Model::gated();
    model.bulk = bulk;
    let config = config::Batch {
        at_once: 1,
        max_wait: std::time::Duration::from_secs(30),
        retryable_updates,
        ..config::Batch::default()
    };
    let setup = Setup::with(model, config).await;
    for id in 1..10 {
        setup.open_gate(1);
        let document = doc! {"insert": "c", "documents": [{"_id": id, "n": 0}], "$db": "d"};
        setup.send(document).await.unwrap().unwrap();
    }
    setup
}

/// Sends one, and the others while it is under way, so that they are one batch.
pub(super) async fn together(
    setup: &Setup,
    leader: Document,
    commands: Vec<Document>,
) -> Vec<Answered> {
    let before = setup.model.arrived();
    let first = setup.send(leader);
    setup.until(|| setup.model.arrived() > before).await;
    let handles: Vec<_> = commands.into_iter().map(|c| setup.send(c)).collect();
    let shared = &setup.batch.shared;
    setup
        .until(|| shared.groups.queued() == handles.len())
        .await;
    setup.open_gate(1000);
    let mut answers = Vec::new();
    for handle in handles {
        answers.push(handle.await.unwrap());
    }
    first.await.unwrap().unwrap();
    if let Some(gate) = &setup.model.gate {
        gate.forget_permits(usize::MAX);
    }
    answers
}

const SERVERS: [Bulk; 3] = [Bulk::None, Bulk::Numbered, Bulk::Unnumbered];

#[tokio::test]
async fn each_client_is_told_what_its_own_update_did() {
    for bulk in SERVERS {
        let setup = setup(bulk, RetryableUpdates::Idempotent).await;
        let commands = vec![
            increment(1),
            update(2, doc! {"$set": {"n": 0}}),
            increment(77),
            upsert(50),
            update(3, doc! {"$refused": 1}),
            numbered(update(4, doc! {"$set": {"n": 5}}), 1, 1),
        ];
        let replies = together(&setup, increment(9), commands).await;
        let mut upserted =
            doc! {"n": 1, "electionId": 1, "opTime": 2, "upserted": [{"index": 0, "_id": 50}]};
        upserted.extend(doc! {"nModified": 0, "ok": 1.0, "operationTime": 3});
        let mut refused = doc! {"n": 0, "electionId": 1, "opTime": 2};
        refused.insert(
            "writeErrors",
            vec![doc! {"index": 0, "code": 66, "errmsg": "refused"}],
        );
        refused.extend(doc! {"nModified": 0, "ok": 1.0, "operationTime": 3});
        let expected = [
            updated(1, 1),
            updated(1, 0),
            updated(0, 0),
            upserted,
            refused,
            updated(1, 1),
        ];
        assert_eq!(answers(replies), expected, "{bulk:?}");
        assert_eq!(
            setup.model.document(1).unwrap().get_i32("n").ok(),
            Some(1),
            "{bulk:?}"
        );
        assert_eq!(setup.fences.quarantined(), 0);
    }
}

#[tokio::test]
async fn results_in_several_parts_are_read_in_the_clients_api_version() {
    let setup = setup(Bulk::Numbered, RetryableUpdates::Idempotent).await;
    let versioned = |mut command: Document| {
        command.insert("apiVersion", "1");
        command
    };
    let commands = (1..=5).map(|id| versioned(increment(id)));
    let replies = together(&setup, versioned(increment(9)), commands.collect()).await;
    assert_eq!(answers(replies), vec![updated(1, 1); 5]);
    assert_eq!(setup.batch.stats().sent_one_by_one(), 0);
}

#[tokio::test]
async fn each_client_is_told_what_its_own_delete_did() {
    for bulk in SERVERS {
        let setup = setup(bulk, RetryableUpdates::Idempotent).await;
        let commands = vec![delete(1), delete(77), delete(2)];
        let replies = together(&setup, delete(9), commands).await;
        assert_eq!(
            answers(replies),
            [deleted(1), deleted(0), deleted(1)],
            "{bulk:?}"
        );
    }
}

#[tokio::test]
async fn two_updates_of_one_document_do_not_share_a_batch() {
    let setup = setup(Bulk::Numbered, RetryableUpdates::Idempotent).await;
    let asked = setup.model.asked().len();
    let commands = vec![increment(1), increment(1), increment(2), increment(1)];
    let replies = together(&setup, increment(9), commands).await;
    assert!(answers(replies).iter().all(|r| *r == updated(1, 1)));
    let sizes: Vec<usize> = setup.model.asked()[asked..]
        .iter()
        .filter_map(|c| c.get_array("ops").ok().map(Vec::len))
        .collect();
    assert_eq!(sizes, [2], "the others went one by one, as they came");
    assert_eq!(setup.model.document(1).unwrap().get_i32("n").ok(), Some(3));
}

#[tokio::test]
async fn a_lost_batch_of_increments_is_applied_once() {
    for bulk in [Bulk::None, Bulk::Numbered] {
        for trouble in [
            Trouble::LostBefore,
            Trouble::LostAfter,
            Trouble::Labelled,
            Trouble::Midway(1, 11601),
        ] {
            let setup = setup(bulk, RetryableUpdates::Always).await;
            setup.model.trouble([Trouble::None, trouble]);
            let commands = vec![increment(1), numbered(increment(2), 1, 1), increment(77)];
            let replies = answers(together(&setup, increment(9), commands).await);
            assert_eq!(
                replies,
                [updated(1, 1), updated(1, 1), updated(0, 0)],
                "{bulk:?} {trouble:?}"
            );
            for id in [1, 2] {
                let n = setup.model.document(id).unwrap().get_i32("n").ok();
                assert_eq!(n, Some(1), "{bulk:?} {trouble:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_numbers_a_lost_batch_is_not_sent_again() {
    let setup = setup(Bulk::Unnumbered, RetryableUpdates::Always).await;
    let warm_up = together(&setup, increment(9), vec![increment(7), increment(8)]).await;
    assert_eq!(answers(warm_up), [updated(1, 1), updated(1, 1)]);
    // What must not be applied twice, and may be sent again, isn't batched there from now on.
    setup.open_gate(1);
    let alone = setup.send(numbered(increment(3), 2, 1)).await.unwrap();
    assert_eq!(alone.unwrap(), updated(1, 1));
    assert_eq!(setup.alone(Alone::Retryable), 1);
    setup.model.trouble([Trouble::None, Trouble::LostAfter]);
    let replies = together(&setup, increment(9), vec![increment(1), increment(2)]).await;
    assert!(replies.iter().all(|r| r.as_ref().is_err_and(|f| f.sent)));
    assert_eq!(setup.model.document(1).unwrap().get_i32("n").ok(), Some(1));
}

#[tokio::test]
async fn a_server_that_refuses_numbers_is_not_offered_them_again() {
    let setup = setup(Bulk::Unnumbered, RetryableUpdates::Always).await;
    let writes = |n| [1, 2, 3].map(|client| numbered(increment(client.into()), client, n));
    let replies = together(&setup, increment(9), writes(1).to_vec()).await;
    assert_eq!(answers(replies), vec![updated(1, 1); 3]);
    setup.open_gate(3);
    for write in writes(2) {
        assert_eq!(setup.send(write).await.unwrap().unwrap(), updated(1, 1));
    }
    assert_eq!(setup.alone(Alone::Retryable), 3);
    let asked = setup.model.asked();
    let offered = asked.iter().filter(|c| c.contains_key("stmtIds"));
    assert_eq!(offered.count(), 1);
}

#[tokio::test]
async fn what_may_not_be_merged_goes_alone() {
    let setup = setup(Bulk::None, RetryableUpdates::Idempotent).await;
    setup.open_gate(1000);
    let two = doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": {}}, {"q": {"_id": 2}, "u": {}}], "$db": "d"};
    let cases = [
        (numbered(increment(1), 1, 1), Alone::Retryable),
        (two, Alone::Several),
    ];
    for (command, why) in cases {
        setup.send(command).await.unwrap().unwrap();
        assert_eq!(setup.alone(why), 1, "{why:?}");
    }
}

#[tokio::test]
async fn a_client_with_large_inserts_holds_up_nobody() {
    let setup = Setup::new(Model::gated()).await;
    let many: Vec<Document> = (1000..1150).map(|id| doc! {"_id": id}).collect();
    let before = setup.model.arrived();
    let large = setup.send(doc! {"insert": "c", "documents": many, "ordered": false, "$db": "d"});
    setup.until(|| setup.model.arrived() > before).await;
    let small = setup.send(insert(1));
    setup.until(|| setup.model.arrived() > before + 1).await;
    let (large_ones, first) = (setup.alone(Alone::Large), setup.alone(Alone::First));
    assert_eq!((large_ones, first), (1, 1), "neither waits for the other");
    setup.open_gate(2);
    assert_eq!(small.await.unwrap().unwrap(), inserted(1));
    large.await.unwrap().unwrap();
}
