//! What clients of a proxy see of writes that go around it.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::options::WriteConcern;
use mongodb::{Client, Collection};
use petiole::embedded::{MongodOptions, Signal};
use tokio::time::Instant;

use super::faults::{be_patient, deployment};
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::{until, until_async};

async fn collection(uri: &str, db: &str) -> Collection<Document> {
    let client = Client::with_uri_str(uri).await.unwrap();
    client.database(db).collection("c")
}

async fn value(c: &Collection<Document>, id: i32) -> i32 {
    let found = c.find_one(doc! {"_id": id}).await.unwrap();
    found.unwrap().get_i32("v").unwrap()
}

async fn set(c: &Collection<Document>, v: i32, concern: WriteConcern) {
    let update = c.update_one(doc! {"_id": 0}, doc! {"$set": {"v": v}});
    update.write_concern(concern).await.unwrap();
}

fn watch_is(proxy: &Proxy, state: &str) -> bool {
    proxy.status()["watch"]["state"] == state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_around_the_proxy_ends_what_it_changed_and_nothing_else() {
    const MAX_LAG: Duration = Duration::from_secs(1);
    // (Of its own: what others write may end this too, if it shares a scope.)
    let rs = deployment(MongodOptions::default()).await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("cache.ttl", "\"1h\"")]);
    let through = collection(&proxy.uri(), "d").await;
    let around = collection(&rs.uri(), "d").await;
    around
        .insert_many((0..2).map(|id| doc! {"_id": id, "v": 0}))
        .await
        .unwrap();
    until("watching", || watch_is(&proxy, "watching"));
    let (mut delays, mut stayed) = (Vec::new(), 0);
    for v in 1..=50 {
        // Until both are served from memory.
        until_async("hits", async || {
            let before = proxy.count("/cache/hits");
            value(&through, 0).await;
            value(&through, 1).await;
            proxy.count("/cache/hits") == before + 2
        })
        .await;
        set(&around, v, WriteConcern::majority()).await;
        let written = Instant::now();
        until_async("the new value", async || value(&through, 0).await == v).await;
        delays.push(written.elapsed());
        let before = proxy.count("/cache/hits");
        let asked = Instant::now();
        let lag = proxy.status()["watch"]["lag_ms"].as_u64();
        value(&through, 1).await;
        // What the watch knows ages no faster than time passes.
        let oldest = lag.map(|lag| Duration::from_millis(lag + 1) + asked.elapsed());
        if oldest.is_some_and(|oldest| oldest < MAX_LAG) {
            assert!(proxy.count("/cache/hits") > before, "the other one stays");
            stayed += 1;
        }
    }
    assert!(stayed > 0, "the watch was too late each time");
    delays.sort();
    let (median, most) = (delays[25], delays[49]);
    println!("from acknowledged to visible: median {median:?}, most {most:?}");
    assert!(median < Duration::from_millis(500), "{median:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_majority_stalls_nothing_older_than_max_lag_is_served() {
    const MAX_LAG: Duration = Duration::from_millis(300);
    let rs = deployment(MongodOptions::replica_set(3)).await;
    be_patient(&rs).await;
    let overrides = [("cache.ttl", "\"1h\""), ("cache.max_lag", "\"300ms\"")];
    let proxy = Proxy::start(&rs.uri(), &overrides);
    let through = collection(&proxy.uri(), "d").await;
    let around = collection(&rs.uri(), "d").await;
    around.insert_one(doc! {"_id": 0, "v": 0}).await.unwrap();
    until_async("a hit", async || {
        value(&through, 0).await;
        proxy.count("/cache/hits") > 0
    })
    .await;
    let primary = rs.primary_index().await.unwrap();
    let others: Vec<usize> = (0..3).filter(|&i| i != primary).collect();
    for &other in &others {
        rs.signal(other, Signal::Stop).unwrap();
    }
    let mut v = 0;
    while !watch_is(&proxy, "blind") {
        v += 1;
        // Only the primary will have it.
        set(&around, v, WriteConcern::nodes(1)).await;
        let late = Instant::now() + MAX_LAG;
        // Served from memory or not: beyond `max_lag` it's the new one.
        until_async("max_lag is over", async || {
            let asked = Instant::now();
            let seen = value(&through, 0).await;
            assert!(seen == v || asked <= late, "{seen} instead of {v}");
            asked > late
        })
        .await;
    }
    for &other in &others {
        rs.signal(other, Signal::Cont).unwrap();
    }
    until("watching", || watch_is(&proxy, "watching"));
    until_async("hits again", async || {
        let before = proxy.count("/cache/hits");
        assert_eq!(value(&through, 0).await, v);
        proxy.count("/cache/hits") > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_while_mongod_is_restarted_and_the_primary_steps_down_are_seen() {
    let rs = deployment(MongodOptions::replica_set(3)).await;
    let proxy = Proxy::start(&rs.uri(), &[("cache.ttl", "\"1h\"")]);
    let through = collection(&proxy.uri(), "d").await;
    let around = collection(&rs.uri(), "d").await;
    around.insert_one(doc! {"_id": 0, "v": 0}).await.unwrap();
    for v in 1..=4 {
        until_async("a hit", async || {
            let before = proxy.count("/cache/hits");
            let read = through.find_one(doc! {"_id": 0}).await;
            read.is_ok() && proxy.count("/cache/hits") > before
        })
        .await;
        if v % 2 == 0 {
            rs.step_down(Duration::from_secs(5)).await.unwrap();
        } else {
            let primary = rs.primary_index().await.unwrap();
            rs.restart(primary).await.unwrap();
        }
        until_async("the write is taken", async || {
            let update = around.update_one(doc! {"_id": 0}, doc! {"$set": {"v": v}});
            let majority = update.write_concern(WriteConcern::majority());
            majority.await.is_ok()
        })
        .await;
        let late = Instant::now() + Duration::from_secs(1);
        until_async("max_lag is over", async || {
            let asked = Instant::now();
            let seen = through.find_one(doc! {"_id": 0}).await.ok().flatten();
            let seen = seen.and_then(|found| found.get_i32("v").ok());
            assert!(
                seen.is_none_or(|seen| seen == v) || asked <= late,
                "{seen:?}, not {v}"
            );
            asked > late && seen.is_some()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_voids_the_cache_also_where_only_one_member_is_known() {
    let rs = deployment(MongodOptions::default()).await;
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let mut proxies = Vec::new();
    for direct in ["false", "true"] {
        let uri = format!("mongodb://{}/?directConnection={direct}", rs.addresses()[0]);
        let settings = [
            ("cache.ttl", "\"1h\""),
            ("cache.external_writes", "\"none\""),
        ];
        proxies.push(Proxy::start(&uri, &settings));
    }
    let around = client.database("d").collection::<Document>("c");
    around.insert_one(doc! {"_id": 0, "v": 0}).await.unwrap();
    for proxy in &proxies {
        let through = collection(&proxy.uri(), "d").await;
        until_async("a hit", async || {
            value(&through, 0).await;
            proxy.count("/cache/hits") > 0
        })
        .await;
    }
    // (Its only member is elected again. What it wrote in the last term may have been rolled back.)
    rs.step_down(Duration::from_secs(3)).await.unwrap();
    for proxy in &proxies {
        until("the new term is known", || {
            proxy.log().contains("new_term=true")
        });
        let through = collection(&proxy.uri(), "d").await;
        let before = proxy.count("/cache/hits");
        value(&through, 0).await;
        assert_eq!(proxy.count("/cache/hits"), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_a_time_series_that_others_write() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("cache.ttl", "\"1h\"")]);
    let name = shared::database("series");
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let db = client.database(&name);
    let series = doc! {"create": "ts", "timeseries": {"timeField": "t"}};
    db.run_command(series).await.unwrap();
    let view = doc! {"create": "c", "viewOn": "ts", "pipeline": [{"$project": {"x": 1}}]};
    db.run_command(view).await.unwrap();
    let through = collection(&proxy.uri(), &name).await;
    let count = async || through.count_documents(doc! {}).await.unwrap();
    for n in 1..4_i64 {
        let point = doc! {"t": bson::DateTime::from_millis(n), "x": n};
        let ts = db.collection::<Document>("ts");
        ts.insert_one(point).await.unwrap();
        until_async("the new count", async || count().await == n as u64).await;
        until_async("a hit", async || {
            let before = proxy.count("/cache/hits");
            assert_eq!(count().await, n as u64);
            proxy.count("/cache/hits") > before
        })
        .await;
    }
}
