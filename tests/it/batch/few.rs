//! Few writers wait for nobody: neither for each other, nor for somebody's transaction.

use bson::{Document, doc};

use super::held::until_it_batches;
use super::{ON, ask, lsid};
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};
use crate::raw::RawClient;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_does_not_wait_for_another_clients_that_is_held_up_by_a_transaction() {
    let rs = shared::rs().await;
    let db = shared::database("few");
    let proxy = Proxy::start(&rs.seed_uri(), &[ON]);
    let increment = |id: i32| {
        let updates = [doc! {"q": {"_id": id}, "u": {"$inc": {"n": 1}}}];
        doc! {"update": "c", "updates": updates.to_vec(), "$db": &db}
    };
    let mut quick = RawClient::connect(proxy.address()).await.unwrap();
    let documents = vec![doc! {"_id": 1, "n": 0}, doc! {"_id": 2, "n": 0}];
    let insert = doc! {"insert": "c", "documents": documents, "$db": &db};
    ask(&mut quick, &insert).await.unwrap();
    until_it_batches(&proxy, &db, "c").await;
    let at_once = || proxy.count("/batch/sent_alone/first");

    // The transaction goes around the proxy, which therefore can't know that its document is held.
    let session = lsid();
    let of_transaction = |mut command: Document| {
        command.extend(doc! {"lsid": session.clone(), "txnNumber": 1_i64, "autocommit": false});
        command
    };
    let mut direct = RawClient::connect(&rs.addresses()[0]).await.unwrap();
    let mut hold = of_transaction(increment(1));
    hold.insert("startTransaction", true);
    let held = ask(&mut direct, &hold).await.unwrap();
    assert_eq!(held.get_i32("n").ok(), Some(1), "{held}");

    let mut slow = RawClient::connect(proxy.address()).await.unwrap();
    let (before, stuck) = (at_once(), increment(1));
    let stuck = tokio::spawn(async move { ask(&mut slow, &stuck).await.unwrap() });
    wait::until("the write of the held document is under way", || {
        at_once() > before
    });
    for _ in 0..3 {
        let reply = ask(&mut quick, &increment(2)).await.unwrap();
        assert_eq!(reply.get_i32("nModified").ok(), Some(1), "{reply}");
    }
    assert!(!stuck.is_finished(), "the transaction holds its document");
    // (Whoever waits goes alone in the end, after `batch.max_wait`.)
    let status = proxy.status();
    assert_eq!(at_once() - before, 4, "{:#}", status["batch"]);

    let abort = of_transaction(doc! {"abortTransaction": 1, "$db": "admin"});
    ask(&mut direct, &abort).await.unwrap();
    let reply = stuck.await.unwrap();
    assert_eq!(reply.get_i32("nModified").ok(), Some(1), "{reply}");
}
