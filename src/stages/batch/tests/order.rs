//! The order in which a session's writes land.

use super::model::{Model, Trouble};
use super::*;

/// A write of session 1 that goes by itself.
fn by_itself(number: i64, id: i32) -> Document {
    let mut command = doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"$set": {"v": number}}}], "$db": "d"};
    let like = retryable(1, number, &[]);
    command.insert("lsid", like.get("lsid").cloned());
    command.insert("txnNumber", number);
    command
}

fn in_transaction(number: i64, id: i32) -> Document {
    let mut command = by_itself(number, id);
    command.extend(doc! {"autocommit": false, "startTransaction": true});
    command
}

#[tokio::test]
async fn what_comes_behind_a_write_in_a_batch_waits_until_that_is_over_whatever_it_is() {
    for next in [by_itself(2, 1), retryable(1, 2, &[7])] {
        let setup = Setup::new(Model::gated()).await;
        let handles = setup.queued([retryable(1, 1, &[1]), insert(2)]).await;
        let in_queue = setup.send(next.clone());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        // (Were it at the server already, it would be the second there.)
        setup.open_gate(10);
        for handle in handles {
            assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
        }
        let reply = in_queue.await.unwrap().unwrap();
        assert_eq!(reply.get_i32("n").ok(), Some(1), "{next}");
        let first = |of: &Document| of.get_array("documents").ok()?.first().cloned();
        let asked = setup.model.asked();
        let of_batch = asked
            .iter()
            .position(|c| first(c) == first(&retryable(1, 1, &[1])));
        assert!(of_batch.unwrap() < asked.len() - 1, "{next}");
    }
}

#[tokio::test]
async fn a_write_in_a_batch_that_may_still_land_is_ended_before_the_next_of_its_session() {
    for next in [by_itself(2, 1), in_transaction(2, 1), retryable(1, 2, &[7])] {
        let setup = Setup::new(Model::gated()).await;
        let lost = [Trouble::None, Trouble::LostBefore, Trouble::LostBefore];
        setup.model.trouble(lost);
        let replies = setup.together([retryable(1, 1, &[1]), insert(2)]).await;
        assert!(replies.iter().all(|r| r.as_ref().is_err_and(|f| f.sent)));
        let lost = setup.model.asked().pop().unwrap();
        setup.open_gate(10);
        setup.send(next.clone()).await.unwrap().unwrap();
        let asked = setup.model.asked();
        let [.., empty, last] = asked.as_slice() else {
            panic!("{asked:?}");
        };
        assert_eq!(empty.get("lsid"), lost.get("lsid"), "{next}");
        let number = |of: &Document| of.get_i64("txnNumber").unwrap();
        assert_eq!(number(empty), number(&lost) + 1, "{next}");
        assert_eq!(empty.get("insert"), lost.get("insert"), "{next}");
        assert_eq!(last.get("lsid"), next.get("lsid"));
        // Once is enough; and the lost one, should it come now, is refused.
        let before = setup.model.asked().len();
        setup.send(by_itself(3, 1)).await.unwrap().unwrap();
        assert_eq!(setup.model.asked().len(), before + 1);
        assert!(setup.model.document(1).is_none());
    }
}

#[tokio::test]
async fn nothing_is_sent_behind_a_write_that_may_still_land_and_cannot_be_ended() {
    let setup = Setup::new(Model::gated()).await;
    let lost = [Trouble::LostBefore; 4];
    setup.model.trouble([Trouble::None].into_iter().chain(lost));
    setup.together([retryable(1, 1, &[1]), insert(2)]).await;
    setup.open_gate(10);
    let before = setup.model.asked().len();
    let failure = setup.send(by_itself(2, 1)).await.unwrap().unwrap_err();
    assert!(!failure.sent);
    let asked = setup.model.asked();
    let numbers = asked.iter().skip(before);
    assert!(
        numbers
            .clone()
            .all(|c| c.get("lsid") != by_itself(2, 1).get("lsid"))
    );
    setup.send(by_itself(2, 1)).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_earlier_number_is_refused_once_a_later_one_went_in_a_batch() {
    let setup = Setup::new(Model::gated()).await;
    setup.together([retryable(1, 5, &[1]), insert(2)]).await;
    setup.open_gate(10);
    for late in [by_itself(4, 1), in_transaction(4, 1), retryable(1, 4, &[3])] {
        let before = setup.model.asked().len();
        let refused = setup.send(late).await.unwrap().unwrap();
        assert_eq!(refused.get_i32("code").ok(), Some(225));
        assert_eq!(setup.model.asked().len(), before);
    }
}

#[tokio::test]
async fn behind_a_transaction_that_is_not_over_the_next_of_its_session_goes_by_itself() {
    let setup = Setup::new(Model::gated()).await;
    setup.open_gate(2);
    setup.send(in_transaction(1, 1)).await.unwrap().unwrap();
    setup.send(in_transaction(1, 1)).await.unwrap().unwrap();
    let before = setup.model.arrived();
    let other = setup.send(insert(9));
    setup.until(|| setup.model.arrived() == before + 1).await;
    let next = setup.send(retryable(1, 2, &[2]));
    setup.until(|| setup.model.arrived() == before + 2).await;
    assert_eq!(setup.alone(Alone::Stray), 1);
    setup.open_gate(10);
    assert_eq!(next.await.unwrap().unwrap(), inserted(1));
    assert_eq!(other.await.unwrap().unwrap(), inserted(1));
}
