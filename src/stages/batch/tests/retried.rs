//! What a retry is told of a write that was in a batch, and what goes behind one that may still land.

use super::model::{Model, Trouble};
use super::*;

#[tokio::test]
async fn a_retry_after_a_lost_batch_is_asked_of_the_server_under_the_batchs_numbers() {
    let setup = Setup::new(Model::gated()).await;
    setup
        .model
        .trouble([Trouble::None, Trouble::LostAfter, Trouble::LostBefore]);
    let write = retryable(1, 1, &[1, 2]);
    let replies = setup.together([insert(7), write.clone(), insert(8)]).await;
    assert!(replies.iter().all(|r| r.as_ref().is_err_and(|f| f.sent)));
    let reply = setup.send(write.clone()).await.unwrap().unwrap();
    assert_eq!(reply, inserted(2));
    let asked = setup.model.asked().pop().unwrap();
    assert_eq!(
        asked.get_array("stmtIds").unwrap(),
        &bson::bson!([1, 2]).as_array().unwrap().clone()
    );
    assert!(
        setup
            .send(write)
            .await
            .unwrap()
            .unwrap()
            .contains_key("retriedStmtIds")
    );
    assert_eq!(setup.batch.stats().journal_answers(), 1);
}

#[tokio::test]
async fn a_retry_of_an_answered_write_gets_the_same_answer() {
    let setup = Setup::new(Model::gated()).await;
    let write = retryable(1, 1, &[1]);
    setup.together([write.clone(), insert(2)]).await;
    let asked = setup.model.asked().len();
    let again = setup.send(write).await.unwrap().unwrap();
    assert_eq!(
        again,
        doc! {"n": 1, "electionId": 1, "opTime": 2, "retriedStmtIds": [0], "ok": 1.0, "operationTime": 3}
    );
    assert_eq!(setup.model.asked().len(), asked);
    let older = setup.send(retryable(1, 0, &[9])).await.unwrap().unwrap();
    assert_eq!(older.get_i32("code").unwrap(), 225);
}

#[tokio::test]
async fn a_retry_that_comes_while_the_first_try_queues_shares_its_answer() {
    let setup = Setup::new(Model::gated()).await;
    let write = retryable(1, 1, &[1]);
    let handles = setup.queued([write.clone(), insert(2)]).await;
    let again = setup.send(write);
    tokio::task::yield_now().await;
    setup.open_gate(10);
    for handle in handles {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    let again = again.await.unwrap().unwrap();
    assert_eq!(again.get("retriedStmtIds"), Some(&bson::bson!([0])));
    assert_eq!(again.get("n"), inserted(1).get("n"));
}

#[tokio::test]
async fn a_retry_of_a_write_that_went_alone_goes_alone() {
    let setup = Setup::new(Model::gated()).await;
    setup
        .model
        .trouble([Trouble::LostAfter, Trouble::LostBefore]);
    let write = retryable(1, 1, &[1]);
    let first = setup.send(write.clone());
    setup.open_gate(2);
    assert!(first.await.unwrap().is_err());
    let before = setup.model.arrived();
    let other = setup.send(insert(2));
    setup.until(|| setup.model.arrived() > before).await;
    let again = setup.send(write);
    setup.until(|| setup.model.arrived() > before + 1).await;
    setup.open_gate(2);
    assert_eq!(again.await.unwrap().unwrap().get_i32("n").unwrap(), 1);
    assert_eq!(other.await.unwrap().unwrap(), inserted(1));
}

#[tokio::test]
async fn behind_a_write_that_may_still_land_the_next_of_its_session_goes_by_itself() {
    let setup = Setup::new(Model::gated()).await;
    let before = setup.model.arrived();
    let stray = setup.send(retryable(1, 1, &[1]));
    setup.until(|| setup.model.arrived() == before + 1).await;
    let other = setup.send(insert(9));
    stray.abort();
    setup.until(|| setup.model.arrived() == before + 2).await;
    // Others' writes would wait for company; this one's number must reach the server.
    let next = setup.send(retryable(1, 2, &[2]));
    setup.until(|| setup.model.arrived() == before + 3).await;
    assert_eq!(setup.alone(Alone::Stray), 1);
    setup.open_gate(10);
    assert_eq!(next.await.unwrap().unwrap(), inserted(1));
    assert_eq!(other.await.unwrap().unwrap(), inserted(1));
    // Now the server refuses the first, and the session's writes go in batches again.
    let replies = setup.together([retryable(1, 3, &[3]), insert(4)]).await;
    assert!(replies.iter().all(|r| r.as_ref().unwrap() == &inserted(1)));
    assert_eq!(setup.alone(Alone::Stray), 1);
}
