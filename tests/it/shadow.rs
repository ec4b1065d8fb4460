//! Every hit compared with the server's own answer while others write: they never differ.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bson::{Document, doc};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::until;

const KEYS: i32 = 40;
const TIME: Duration = Duration::from_secs(4);

fn reading(n: i32, db: &str) -> Document {
    let key = n % KEYS;
    let mut read = match n % 5 {
        0 => doc! {"find": "c", "filter": {"_id": key}},
        1 => doc! {"find": "c", "filter": {"g": key % 8}, "sort": {"v": -1, "_id": 1}, "limit": 3},
        2 => doc! {"count": "c", "query": {"v": {"$gt": key}}},
        3 => doc! {"distinct": "c", "key": "g", "query": {"v": {"$lt": key}}},
        _ => {
            doc! {"aggregate": "c", "pipeline": [{"$match": {"g": key % 8}}, {"$project": {"v": 1}}], "cursor": {}}
        }
    };
    read.insert("$db", db);
    read
}

fn writing(n: i32, db: &str) -> Document {
    let (key, v) = (n * 7 % KEYS, n * 31 % 100);
    let mut write = match n % 4 {
        0 => doc! {"update": "c", "updates": [{"q": {"_id": key}, "u": {"$set": {"v": v}}}]},
        1 => {
            doc! {"update": "c", "updates": [{"q": {"g": key % 8}, "u": {"$inc": {"v": 1}}, "multi": true}]}
        }
        2 => doc! {"delete": "c", "deletes": [{"q": {"_id": key}, "limit": 1}]},
        _ => {
            let key = (n - 1) * 7 % KEYS;
            doc! {"update": "c", "updates": [{"q": {"_id": key}, "u": {"g": v % 8, "v": v}, "upsert": true}]}
        }
    };
    write.insert("$db", db);
    write
}

/// Readers through the proxy and one writer at each address; comparisons, hits and writes.
async fn compare(proxy: &Proxy, writers: Vec<String>) {
    let db = shared::database("shadow");
    let mut asker = Asker::connect(proxy.address()).await;
    let documents: Vec<Document> = (0..KEYS)
        .map(|key| doc! {"_id": key, "g": key % 8, "v": key})
        .collect();
    asker
        .ask(&doc! {"insert": "c", "documents": documents, "$db": &db})
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for (number, address) in writers.into_iter().enumerate() {
        let (stop, db) = (Arc::clone(&stop), db.clone());
        tasks.push(tokio::spawn(async move {
            let mut asker = Asker::connect(&address).await;
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            // (Each writer has its own numbers, so that upserts don't meet.)
            let mut n = number as i32;
            while !stop.load(SeqCst) {
                pace.tick().await;
                asker.reply(&writing(n, &db)).await;
                n += 1;
            }
        }));
    }
    for reader in 0..4 {
        let (stop, db) = (Arc::clone(&stop), db.clone());
        let address = proxy.address().to_owned();
        tasks.push(tokio::spawn(async move {
            let mut asker = Asker::connect(&address).await;
            let mut n = reader * 10;
            while !stop.load(SeqCst) {
                asker.ask(&reading(n % 40, &db)).await;
                n += 1;
            }
        }));
    }
    let end = Instant::now() + TIME;
    until("enough is compared", || {
        Instant::now() > end && proxy.count("/cache/shadow/compared") > 300
    });
    stop.store(true, SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let status = proxy.status();
    println!(
        "{} hits, {}, {} invalidations",
        status["cache"]["hits"], status["cache"]["shadow"], status["cache"]["invalidations"]
    );
    assert!(proxy.count("/cache/invalidations") > 50, "{status}");
    assert_eq!(
        proxy.count("/cache/shadow/mismatches"),
        0,
        "{}",
        proxy.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hit_differs_from_the_servers_answer_while_others_write_through_the_proxy() {
    let settings = [
        ("cache.external_writes", "\"none\""),
        ("cache.shadow_share", "1.0"),
    ];
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    let writers = vec![proxy.address().to_owned(), proxy.address().to_owned()];
    compare(&proxy, writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hit_differs_from_the_servers_answer_while_others_write_around_the_proxy() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("cache.shadow_share", "1.0")]);
    until("it watches", || {
        proxy.status()["watch"]["state"] == "watching"
    });
    let writers = vec![proxy.address().to_owned(), rs.addresses()[0].clone()];
    compare(&proxy, writers).await;
}
