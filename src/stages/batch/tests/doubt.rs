//! Batches that were lost once and then answered: the lost try may still land.

use super::model::Bulk;
use super::singles::{increment, numbered, setup as singles_setup, together, update, updated};
use super::*;
use crate::config::RetryableUpdates;

fn codes(replies: Vec<Answered>) -> Vec<Option<i32>> {
    let code = |reply: Document| reply.get_i32("code").ok();
    answers(replies).into_iter().map(code).collect()
}

#[tokio::test]
async fn an_error_after_a_lost_try_leaves_every_members_fence_standing() {
    for trails_are_full in [false, true] {
        let mut setup = Setup::new(Model::gated()).await;
        setup.trails_are_full = trails_are_full;
        setup
            .model
            .trouble([Trouble::None, Trouble::LostBefore, Trouble::NotPrimary]);
        let replies = setup.together([insert(1), retryable(1, 1, &[2])]).await;
        assert_eq!(codes(replies), [Some(10107); 2]);
        assert_eq!(setup.fences.quarantined(), 2, "full: {trails_are_full}");
    }
}

#[tokio::test]
async fn what_is_asked_for_by_itself_after_a_lost_try_is_settled_by_success_only() {
    let setup = Setup::new(Model::gated()).await;
    setup.model.trouble([
        Trouble::None,
        Trouble::LostBefore,
        Trouble::Midway(0, 11601),
        Trouble::None,
        Trouble::Refused(13, "not authorized"),
    ]);
    let replies = setup.together([insert(1), insert(2)]).await;
    assert_eq!(codes(replies), [None, Some(13)]);
    assert_eq!(setup.fences.quarantined(), 1);
}

#[tokio::test]
async fn a_drivers_retry_that_is_lost_and_then_refused_leaves_its_fence_standing() {
    let setup = Setup::new(Model::gated()).await;
    let write = retryable(1, 1, &[1]);
    let interrupted = Trouble::Refused(11601, "interrupted");
    setup
        .model
        .trouble([Trouble::None, Trouble::Midway(0, 11601), interrupted]);
    let replies = setup.together([write.clone(), insert(2)]).await;
    assert_eq!(codes(replies), [Some(11601), None]);
    assert_eq!(setup.fences.quarantined(), 0, "no try was lost");
    setup
        .model
        .trouble([Trouble::LostBefore, Trouble::NotPrimary]);
    let reply = setup.send(write).await.unwrap().unwrap();
    assert_eq!(reply.get_i32("code").ok(), Some(10107));
    assert_eq!(setup.fences.quarantined(), 1);
}

#[tokio::test]
async fn a_write_that_was_alone_in_the_queue_keeps_its_doubt() {
    let setup = Setup::new(Model::gated()).await;
    setup
        .model
        .trouble([Trouble::None, Trouble::LostBefore, Trouble::NotPrimary]);
    let replies = setup.together([retryable(1, 1, &[1])]).await;
    assert_eq!(codes(replies), [Some(10107)]);
    assert_eq!(setup.fences.quarantined(), 1);
}

#[tokio::test]
async fn after_a_lost_try_a_refusal_does_not_send_the_writes_again_under_other_numbers() {
    let refusals = [
        (Bulk::None, Trouble::Refused(20, "no retryable writes")),
        (Bulk::Numbered, Trouble::Refused(20, "no retryable writes")),
        (
            Bulk::Numbered,
            Trouble::Refused(40415, "BSON field 'bulkWrite.stmtIds' is an unknown field."),
        ),
    ];
    for (bulk, refusal) in refusals {
        let setup = singles_setup(bulk, RetryableUpdates::Always).await;
        setup
            .model
            .trouble([Trouble::None, Trouble::LostAfter, refusal]);
        let commands = vec![increment(1), numbered(increment(2), 1, 1)];
        let replies = together(&setup, increment(9), commands).await;
        assert_eq!(answers(replies), [updated(1, 1), updated(1, 1)]);
        for id in [1, 2] {
            let n = setup.model.document(id).unwrap().get_i32("n").ok();
            assert_eq!(n, Some(1), "{bulk:?} {refusal:?}");
        }
    }
}

#[tokio::test]
async fn after_a_lost_try_what_failed_in_a_bulk_write_is_asked_for_under_the_batchs_numbers() {
    let setup = singles_setup(Bulk::Numbered, RetryableUpdates::Always).await;
    setup.model.trouble([Trouble::None, Trouble::LostBefore]);
    let commands = vec![increment(1), update(2, doc! {"$refused": 1})];
    let before = setup.model.asked().len();
    let replies = answers(together(&setup, increment(9), commands).await);
    assert_eq!(replies[0], updated(1, 1));
    assert_eq!(replies[1].get_array("writeErrors").unwrap().len(), 1);
    let asked = &setup.model.asked()[before + 1..];
    assert!(
        asked.iter().all(|c| c.contains_key("txnNumber")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_drivers_retry_of_a_batch_that_failed_twice_is_sent_once() {
    for bulk in [Bulk::None, Bulk::Numbered] {
        let setup = singles_setup(bulk, RetryableUpdates::Always).await;
        setup
            .model
            .trouble([Trouble::None, Trouble::LostBefore, Trouble::LostBefore]);
        let writes = [1, 2, 3].map(|client| numbered(increment(client.into()), client, 1));
        let replies = together(&setup, increment(9), writes.to_vec()).await;
        assert!(replies.iter().all(|r| r.as_ref().is_err_and(|f| f.sent)));
        setup.open_gate(1000);
        for write in writes {
            let before = setup.model.asked().len();
            setup.model.trouble([Trouble::LostBefore]);
            let outcome = setup.send(write).await.unwrap();
            assert!(outcome.is_err(), "{bulk:?} {outcome:?}");
            assert_eq!(setup.model.asked().len() - before, 1, "{bulk:?}");
        }
    }
}

/// What is wrong with two of these may be too much for one reply.
fn large(id: i32) -> Document {
    let mut insert = insert(id);
    let document = doc! {"_id": id, "v": "x".repeat(300_000)};
    insert.insert("documents", [document].as_slice());
    insert
}

#[tokio::test]
async fn a_lost_batch_whose_reply_may_have_been_too_large_is_asked_for_one_by_one() {
    let setup = Setup::new(Model::gated()).await;
    setup
        .model
        .trouble([Trouble::None, Trouble::LostAfter, Trouble::LostAfter]);
    let replies = setup.together([large(1), large(2)]).await;
    assert_eq!(answers(replies), [inserted(1), inserted(1)]);
}

#[tokio::test]
async fn if_there_is_nobody_to_ask_one_by_one_all_are_told_so_at_once() {
    let setup = Setup::new(Model::gated()).await;
    setup.model.trouble([
        Trouble::None,
        Trouble::LostAfter,
        Trouble::LostAfter,
        Trouble::Unsent,
    ]);
    let before = setup.model.asked().len();
    let replies = setup.together([large(1), large(2), large(3)]).await;
    assert!(replies.iter().all(|r| r.as_ref().is_err_and(|f| f.sent)));
    let asked = setup.model.asked().len() - before;
    assert_eq!(asked, 1 + 2 + 1, "the first, the batch twice, one of it");
}

#[tokio::test]
async fn what_a_retry_asks_for_is_not_given_up_when_its_client_leaves() {
    let setup = Setup::new(Model::gated()).await;
    setup
        .model
        .trouble([Trouble::None, Trouble::LostAfter, Trouble::LostAfter]);
    let write = retryable(1, 1, &[1]);
    let handles = setup.queued([write.clone(), insert(2)]).await;
    setup.open_gate(3);
    for handle in handles {
        assert!(handle.await.unwrap().is_err());
    }
    let before = setup.model.arrived();
    let leaves = setup.send(write.clone());
    setup.until(|| setup.model.arrived() == before + 1).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    let again = setup.send(write);
    setup.open_gate(1);
    let reply = again.await.unwrap().unwrap();
    assert_eq!(reply.get_i32("n").ok(), Some(1));
    assert_eq!(setup.model.arrived(), before + 1, "one asks for both");
}
