//! What is served from memory after the proxy or its machine was stopped for a while.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use petiole::config::ExternalWrites;
use petiole::embedded::{Deployment, MongodOptions, Signal};
use petiole::proxy;

use crate::parts::asker::Asker;
use crate::parts::in_process;
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::{until, until_async};
use crate::raw::RawClient;
use crate::watch::{be_patient, deployment};

const LONG: Duration = Duration::from_secs(3600);

fn find(db: &str) -> Document {
    doc! {"find": "c", "filter": {"_id": 1}, "$db": db}
}

fn set(db: &str, v: i32) -> Document {
    let update = doc! {"q": {"_id": 1}, "u": {"$set": {"v": v}}, "upsert": true};
    doc! {"update": "c", "updates": [update], "writeConcern": {"w": 1}, "$db": db}
}

fn value(answer: &crate::parts::asker::Answer) -> i32 {
    answer.batch()[0].get_i32("v").unwrap()
}

async fn caching(uri: &str, writes: ExternalWrites, lasts: Duration) -> proxy::Proxy {
    in_process::start(uri, |config| {
        config.cache.enabled = true;
        config.cache.external_writes = writes;
        config.cache.ttl = lasts;
        config.cache.max_lag = lasts;
    })
    .await
}

async fn hit(asker: &mut Asker, db: &str) -> i32 {
    let mut seen = 0;
    until_async("a hit", async || {
        let answer = asker.ask(&find(db)).await;
        seen = value(&answer);
        answer.hit
    })
    .await;
    seen
}

async fn hold_back(rs: &Deployment, signal: Signal) {
    let primary = rs.primary_index().await.unwrap();
    for member in (0..3).filter(|&m| m != primary) {
        rs.signal(member, signal).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_watch_has_not_seen_since_the_machine_slept_is_not_served() {
    let rs = deployment(MongodOptions::replica_set(3)).await;
    be_patient(&rs).await;
    let proxy = caching(&rs.uri(), ExternalWrites::Watch, LONG).await;
    let primary = rs.primary_index().await.unwrap();
    let mut direct = Asker::connect(&rs.addresses()[primary]).await;
    let mut through = Asker::connect(&proxy.address().to_string()).await;
    direct.ask(&set("d", 1)).await;
    hit(&mut through, "d").await;
    // Without a majority there is no event: the proxy doesn't hear of the next write.
    hold_back(&rs, Signal::Stop).await;
    let mut v = 1;
    until_async("an unseen write", async || {
        v += 1;
        direct.ask(&set("d", v)).await;
        let answer = through.ask(&find("d")).await;
        answer.hit && value(&answer) < v
    })
    .await;
    proxy.shared().horizon.clock().sleep(LONG * 2);
    let answer = through.ask(&find("d")).await;
    assert_eq!((value(&answer), answer.hit), (v, false));
    hold_back(&rs, Signal::Cont).await;
    assert_eq!(hit(&mut through, "d").await, v);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lives_for_a_time_is_over_when_the_machine_has_slept_for_longer() {
    let rs = shared::rs().await;
    let proxy = caching(&rs.seed_uri(), ExternalWrites::Ttl, LONG).await;
    let db = shared::database("asleep");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    let mut through = Asker::connect(&proxy.address().to_string()).await;
    direct.ask(&set(&db, 1)).await;
    hit(&mut through, &db).await;
    direct.ask(&set(&db, 2)).await;
    assert_eq!(hit(&mut through, &db).await, 1, "it isn't watched");
    proxy.shared().horizon.clock().sleep(LONG);
    let answer = through.ask(&find(&db)).await;
    assert_eq!((value(&answer), answer.hit), (2, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lives_for_ever_is_void_soon_after_the_machine_has_slept() {
    let rs = shared::rs().await;
    let proxy = caching(&rs.seed_uri(), ExternalWrites::None, LONG).await;
    let db = shared::database("asleep");
    let mut through = Asker::connect(&proxy.address().to_string()).await;
    through.ask(&set(&db, 1)).await;
    hit(&mut through, &db).await;
    let before = proxy.shared().pipeline.fences().generation();
    proxy.shared().horizon.clock().sleep(LONG);
    until("it is noticed", || {
        proxy.shared().pipeline.fences().generation() > before
    });
    assert!(!through.ask(&find(&db)).await.hit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waited_while_the_proxy_was_stopped_is_not_answered_with_the_past() {
    const MAX_LAG: Duration = Duration::from_millis(300);
    let rs = shared::rs().await;
    let settings = [
        ("cache.max_lag", "\"300ms\""),
        ("cache.shadow_share", "0.0"),
    ];
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let db = shared::database("stopped");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    let mut through = Asker::connect(proxy.address()).await;
    let mut raw = RawClient::connect(proxy.address()).await.unwrap();
    for v in (1..10).step_by(2) {
        direct.ask(&set(&db, v)).await;
        until_async("a hit", async || hit(&mut through, &db).await == v).await;
        proxy.signal("STOP");
        direct.ask(&set(&db, v + 1)).await;
        let written = Instant::now();
        until("it is older than the lag", || written.elapsed() > MAX_LAG);
        // It lies in the socket when the proxy goes on.
        let waiting = async {
            let reply = raw.command(&find(&db)).await.unwrap();
            Document::try_from(&*reply).unwrap()
        };
        let (reply, ()) = tokio::join!(waiting, async { proxy.signal("CONT") });
        let cursor = reply.get_document("cursor").unwrap();
        let batch = cursor.get_array("firstBatch").unwrap();
        let seen = batch[0].as_document().unwrap().get_i32("v").unwrap();
        assert_eq!(seen, v + 1, "{reply}");
    }
}
