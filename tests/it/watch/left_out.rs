//! Collections that are written and never read: the watch leaves them out, and nobody sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::options::WriteConcern;
use mongodb::{Client, Collection};
use parking_lot::Mutex;
use petiole::embedded::{Deployment, MongodOptions};
use tokio::time::Instant;

use super::faults::deployment;
use crate::parts::proxy::Proxy;
use crate::parts::wait::{PATIENCE, until, until_async};

/// More events than make it worth it.
const MANY: i32 = 6000;

async fn client(uri: &str) -> Client {
    Client::with_uri_str(uri).await.unwrap()
}

fn at(client: &Client, name: &str) -> Collection<Document> {
    client.database("bot").collection(name)
}

/// A deployment of one, and a proxy before it that watches it.
async fn parts() -> (Deployment, Proxy) {
    let rs = deployment(MongodOptions::replica_set(1)).await;
    let overrides = [("cache.ttl", "\"1h\""), ("cache.max_lag", "\"300ms\"")];
    let proxy = Proxy::start(&rs.uri(), &overrides);
    until("watching", || {
        proxy.status()["watch"]["state"] == "watching"
    });
    (rs, proxy)
}

async fn fill(c: &Collection<Document>) {
    for start in (0..MANY).step_by(1000) {
        let documents = (start..start + 1000).map(|id| doc! {"_id": id, "v": 0});
        c.insert_many(documents).await.unwrap();
    }
}

/// Waits until one collection is left out.
#[track_caller]
fn until_left_out(proxy: &Proxy) {
    let start = Instant::now();
    while proxy.count("/watch/left_out") != 1 {
        let watch = &proxy.status()["watch"];
        assert!(start.elapsed() < PATIENCE, "not left out: {watch}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn value(c: &Collection<Document>) -> i32 {
    let found = c.find_one(doc! {"_id": 0}).await.unwrap();
    found.unwrap().get_i32("v").unwrap()
}

async fn set(c: &Collection<Document>, v: i32) {
    let update = c.update_one(doc! {"_id": 0}, doc! {"$set": {"v": v}});
    update
        .write_concern(WriteConcern::majority())
        .await
        .unwrap();
}

async fn until_hits(proxy: &Proxy, c: &Collection<Document>) {
    until_async("hits", async || {
        let before = proxy.count("/cache/hits");
        value(c).await;
        proxy.count("/cache/hits") > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_written_isnt_watched_until_it_is_read() {
    let (rs, proxy) = parts().await;
    let (through, around) = (client(&proxy.uri()).await, client(&rs.uri()).await);
    let (log, read) = (at(&through, "log"), at(&through, "read"));
    // (Of one write: it is never left out itself.)
    read.insert_one(doc! {"_id": 0, "v": 0}).await.unwrap();
    until_hits(&proxy, &read).await;
    fill(&log).await;
    until_left_out(&proxy);

    // Others are watched as before, and nothing is told of the log.
    let mut seen = proxy.count("/watch/events");
    set(&at(&around, "read"), 1).await;
    until("its event", || proxy.count("/watch/events") > seen);
    assert_eq!(value(&read).await, 1);
    seen = proxy.count("/watch/events");
    for v in 1..=100 {
        set(&at(&around, "log"), v).await;
    }
    set(&at(&around, "read"), 2).await;
    until("its event", || proxy.count("/watch/events") > seen);
    assert_eq!(value(&read).await, 2);
    let events = proxy.count("/watch/events") - seen;
    assert_eq!(events, 1, "of 101 writes");
    assert_eq!(proxy.count("/watch/left_out"), 1);
    until("watching", || {
        proxy.status()["watch"]["state"] == "watching"
    });

    // Who reads it gets what is there, and from then on it is watched.
    assert_eq!(value(&at(&through, "log")).await, 100);
    assert_eq!(proxy.count("/cache/bypass_reasons/unwatched"), 1);
    until_hits(&proxy, &log).await;
    assert_eq!(proxy.count("/watch/left_out"), 0);
    set(&at(&around, "log"), 101).await;
    until_async("the new value", async || value(&log).await == 101).await;

    // It isn't left out again soon, read or not.
    fill(&at(&around, "more")).await;
    until_left_out(&proxy);
    log.delete_many(doc! {}).await.unwrap();
    fill(&log).await;
    set(&at(&around, "read"), 3).await;
    until_async("the new value", async || value(&read).await == 3).await;
    assert_eq!(proxy.count("/watch/left_out"), 1);
}

/// Writes around the proxy while collections are left out and seen again: what was acknowledged more than
/// `max_lag` before a read was sent is in its answer.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_older_than_max_lag_is_served_when_a_collection_is_seen_again() {
    const MAX_LAG: Duration = Duration::from_millis(300);
    const COLLECTIONS: usize = 12;
    const BURST: i32 = 10;
    let (rs, proxy) = parts().await;
    let (through, around) = (client(&proxy.uri()).await, client(&rs.uri()).await);
    for n in 0..COLLECTIONS {
        let name = format!("log{n}");
        fill(&at(&through, &name)).await;
        until_left_out(&proxy);
        // When each value was acknowledged.
        let acknowledged = Arc::new(Mutex::new(vec![Instant::now()]));
        let over = Arc::new(AtomicBool::new(false));
        let writer = {
            let (c, acknowledged, over) = (at(&around, &name), acknowledged.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(SeqCst) {
                    let v = acknowledged.lock().len() as i32;
                    set(&c, v).await;
                    acknowledged.lock().push(Instant::now());
                    if v % BURST == 0 {
                        // Long enough for what was missed to show.
                        tokio::time::sleep(MAX_LAG + MAX_LAG / 2).await;
                    }
                }
            })
        };
        let readers = (0..2).map(|_| {
            let (c, acknowledged, over) = (at(&through, &name), acknowledged.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(SeqCst) {
                    let sent = Instant::now();
                    let seen = value(&c).await as usize;
                    let next = acknowledged.lock().get(seen + 1).copied();
                    assert!(
                        next.is_none_or(|next| next + MAX_LAG >= sent),
                        "{seen}, although the next was acknowledged {:?} before",
                        next.map(|next| sent - next)
                    );
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        let hits = proxy.count("/cache/hits");
        until("hits", || proxy.count("/cache/hits") > hits + 20);
        until("a second burst", || {
            acknowledged.lock().len() as i32 > BURST + 1
        });
        over.store(true, SeqCst);
        writer.await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
        let last = acknowledged.lock().len() as i32 - 1;
        until_async("the last value", async || {
            value(&at(&through, &name)).await == last
        })
        .await;
        assert_eq!(proxy.count("/watch/left_out"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_left_out_and_takes_anothers_name_is_seen() {
    let (rs, proxy) = parts().await;
    let (through, around) = (client(&proxy.uri()).await, client(&rs.uri()).await);
    let read = at(&through, "read");
    read.insert_one(doc! {"_id": 0, "v": 7}).await.unwrap();
    until_hits(&proxy, &read).await;
    fill(&at(&through, "log")).await;
    until_left_out(&proxy);
    until_hits(&proxy, &read).await;
    let rename = doc! {"renameCollection": "bot.log", "to": "bot.read", "dropTarget": true};
    around.database("admin").run_command(rename).await.unwrap();
    until_async("the log's document", async || value(&read).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_leave_something_out_is_asked_for_all() {
    let (rs, proxy) = parts().await;
    let (through, around) = (client(&proxy.uri()).await, client(&rs.uri()).await);
    let read = at(&through, "read");
    read.insert_one(doc! {"_id": 0, "v": 7}).await.unwrap();
    until_hits(&proxy, &read).await;
    let refuse = doc! {
        "configureFailPoint": "failCommand",
        "mode": {"times": 1},
        "data": {"failCommands": ["aggregate"], "errorCode": 2, "appName": "petiole-watch"},
    };
    around.database("admin").run_command(refuse).await.unwrap();
    let before = proxy.count("/watch/reopenings");
    fill(&at(&through, "log")).await;
    until("another stream", || {
        proxy.count("/watch/reopenings") > before
    });
    until("watching", || {
        proxy.status()["watch"]["state"] == "watching"
    });
    assert_eq!(proxy.count("/watch/left_out"), 0);
    for (name, v) in [("read", 8), ("log", 9)] {
        until_hits(&proxy, &at(&through, name)).await;
        set(&at(&around, name), v).await;
        until_async("the new value", async || {
            value(&at(&through, name)).await == v
        })
        .await;
    }
}
