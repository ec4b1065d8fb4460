//! Who waits for whom: writes without a reply, and one client that sends more than all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bson::{Document, doc};
use mongodb::Client;

use super::{ON, ONE_AT_ONCE, ask};
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};
use crate::raw::{RawClient, Section, encode};

const MORE_TO_COME: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn writes_without_a_reply_are_batched_and_their_clients_next_read_sees_them() {
    const CLIENTS: i32 = 24;
    const WRITES: i32 = 30;
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[ON, ONE_AT_ONCE]);
    let db = shared::database("silent");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, db) = (proxy.address().to_owned(), db.clone());
            tokio::spawn(async move {
                let mut connection = RawClient::connect(&address).await.unwrap();
                for write in 0..WRITES {
                    let id = client * 1000 + write;
                    let insert = doc! {
                        "insert": "c", "documents": [{"_id": id, "n": 0}], "writeConcern": {"w": 0}, "$db": &db,
                    };
                    let update = doc! {
                        "update": "c", "updates": [{"q": {"_id": id}, "u": {"$inc": {"n": 1}}}],
                        "writeConcern": {"w": 0}, "$db": &db,
                    };
                    for command in [insert, update] {
                        let body = [Section::Body(encode(&command))];
                        connection.send(MORE_TO_COME, &body).await.unwrap();
                    }
                    let find = doc! {"find": "c", "filter": {"_id": id}, "$db": &db};
                    let reply = ask(&mut connection, &find).await.unwrap();
                    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch");
                    let found = batch.unwrap()[0].as_document().unwrap();
                    assert_eq!(found.get_i32("n").ok(), Some(1), "{reply}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let direct = Client::with_uri_str(rs.uri()).await.unwrap();
    let c = direct.database(&db).collection::<Document>("c");
    let stored = c.count_documents(doc! {}).await.unwrap();
    assert_eq!(stored, (CLIENTS * WRITES) as u64);
    for kind in ["insert", "update"] {
        let batched = proxy.count(&format!("/batch/kinds/{kind}/batched"));
        assert!(batched > 50, "{:#}", proxy.status()["batch"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_huge_inserts_does_not_starve_single_writers() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[ON]);
    let db = shared::database("crowd");
    let stop = Arc::new(AtomicBool::new(false));
    let done: Arc<Vec<AtomicUsize>> = Arc::new((0..64).map(|_| AtomicUsize::new(0)).collect());
    let clients: Vec<_> = (0..64_usize)
        .map(|client| {
            let (address, db) = (proxy.address().to_owned(), db.clone());
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut connection = RawClient::connect(&address).await.unwrap();
                let count = if client == 0 { 1000 } else { 1 };
                while !stop.load(Relaxed) {
                    let documents: Vec<Document> = (0..count)
                        .map(|n| doc! {"client": client as i32, "n": n})
                        .collect();
                    let command =
                        doc! {"insert": "c", "documents": documents, "ordered": false, "$db": &db};
                    let reply = ask(&mut connection, &command).await.unwrap();
                    assert_eq!(reply.get_i32("n").ok(), Some(count), "{reply}");
                    done[client].fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let counts = || -> Vec<usize> { done.iter().map(|n| n.load(Relaxed)).collect() };
    wait::until_async("all are served", async || counts().iter().all(|&n| n > 0)).await;
    let before = counts();
    // By level, not by the clock.
    wait::until_async("the huge writer is served", async || {
        counts()[0] >= before[0] + 20
    })
    .await;
    let served: Vec<usize> = counts().iter().zip(&before).map(|(n, b)| n - b).collect();
    stop.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    // It has sent twenty thousand documents meanwhile.
    assert!(served[1..].iter().all(|&n| n >= 2), "{served:?}");
    assert!(proxy.count("/batch/sent_alone/large") >= 10);
}
