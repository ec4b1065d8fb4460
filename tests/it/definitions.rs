//! What names mean: views, views on them, joins, time series, and what a server deletes by itself (docs/coherence.md, rules 8 and 11).

use bson::{DateTime, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Client, Database};
use petiole::embedded::{Deployment, MongodOptions};

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::{until, until_async};

async fn database(uri: &str, name: &str) -> Database {
    Client::with_uri_str(uri).await.unwrap().database(name)
}

async fn answers(db: &Database, collection: &str, pipeline: &[Document]) -> Vec<Document> {
    let collection = db.collection::<Document>(collection);
    let cursor = collection.aggregate(pipeline.to_vec()).await.unwrap();
    cursor.try_collect().await.unwrap()
}

async fn define(db: &Database, name: &str, on: &str, pipeline: &[Document]) {
    let view = doc! {"create": name, "viewOn": on, "pipeline": pipeline};
    db.run_command(view).await.unwrap();
}

/// Whether one of a few reads is answered from memory.
async fn is_kept(proxy: &Proxy, db: &Database, collection: &str, pipeline: &[Document]) -> bool {
    let before = proxy.count("/cache/hits");
    for _ in 0..4 {
        answers(db, collection, pipeline).await;
    }
    proxy.count("/cache/hits") > before
}

const EXACT: [(&str, &str); 2] = [
    ("cache.external_writes", "\"none\""),
    ("cache.shadow_share", "0.0"),
];

/// A proxy that watches, and whose answers would live for ever.
fn watching(uri: &str) -> Proxy {
    let proxy = Proxy::start(
        uri,
        &[("cache.ttl", "\"1h\""), ("cache.shadow_share", "0.0")],
    );
    until("watching", || {
        proxy.status()["watch"]["state"] == "watching"
    });
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_changes_by_itself_keeps_every_read_of_it_out_of_memory() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &EXACT);
    let db = database(&proxy.uri(), &shared::database("volatile")).await;
    let one = db.collection::<Document>("one");
    one.insert_one(doc! {"_id": 0, "up": 0}).await.unwrap();
    let now = doc! {"$set": {"t": "$$NOW"}};
    let within = |pipeline: &[Document]| doc! {"$facet": {"a": pipeline}};
    let definitions = [
        ("stable", vec![doc! {"$match": {"_id": 0}}], true),
        ("now", vec![now.clone()], false),
        ("random", vec![doc! {"$set": {"r": {"$rand": {}}}}], false),
        ("sample", vec![doc! {"$sample": {"size": 1}}], false),
        ("facet", vec![within(std::slice::from_ref(&now))], false),
        (
            "union",
            vec![doc! {"$unionWith": {"coll": "one", "pipeline": [now.clone()]}}],
            false,
        ),
        (
            "joined",
            vec![doc! {"$lookup": {"from": "now", "pipeline": [], "as": "x"}}],
            false,
        ),
    ];
    for (name, pipeline, stable) in definitions {
        define(&db, name, "one", &pipeline).await;
        let on = format!("on_{name}");
        define(&db, &on, name, &[doc! {"$match": {}}]).await;
        for view in [name, &on] {
            let joins = [
                doc! {"$lookup": {"from": view, "pipeline": [], "as": "x"}},
                doc! {"$unionWith": view},
                doc! {"$graphLookup": {"from": view, "startWith": "$up", "connectFromField": "up", "connectToField": "_id", "as": "x"}},
                within(&[doc! {"$lookup": {"from": view, "pipeline": [], "as": "x"}}]),
            ];
            assert_eq!(is_kept(&proxy, &db, view, &[]).await, stable, "{view}");
            for join in joins {
                if name == "facet" && join.contains_key("$facet") {
                    // The server allows none within another.
                    continue;
                }
                let kept = is_kept(&proxy, &db, "one", std::slice::from_ref(&join)).await;
                assert_eq!(kept, stable, "{view}: {join}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_made_of_several_names_ends_with_writes_to_each_and_with_no_other() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &EXACT);
    let db = database(&proxy.uri(), &shared::database("names")).await;
    for name in ["a", "b", "c", "other"] {
        let c = db.collection::<Document>(name);
        c.insert_one(doc! {"_id": 0, "n": 0}).await.unwrap();
    }
    define(&db, "v", "b", &[doc! {"$unionWith": "c"}]).await;
    let union = |name: &str| vec![doc! {"$unionWith": name}];
    // (What it reads, how, and whose writes concern it.)
    let reads = [
        ("v", vec![], vec!["b", "c"]),
        ("a", union("v"), vec!["a", "b", "c"]),
        ("a", union("b"), vec!["a", "b"]),
        ("a", union("not there"), vec!["a", "not there"]),
    ];
    let mut n = 0;
    for (on, pipeline, concerned) in reads {
        for written in ["a", "b", "c", "other", "not there"] {
            let ends = concerned.contains(&written);
            until_async("a hit", async || is_kept(&proxy, &db, on, &pipeline).await).await;
            n += 1;
            let c = db.collection::<Document>(written);
            let update = c.update_one(doc! {"_id": 0}, doc! {"$set": {"n": n}});
            update.upsert(true).await.unwrap();
            let before = proxy.count("/cache/hits");
            let found = answers(&db, on, &pipeline).await;
            let shows = found.iter().any(|d| d.get_i32("n").ok() == Some(n));
            assert_eq!(shows, ends, "{on} {pipeline:?}, {written}: {found:?}");
            // (That an answer ends too early may be a matter of shared scopes, but not of all the names.)
            if ends {
                let hits = proxy.count("/cache/hits") - before;
                assert_eq!(hits, 0, "{on} {pipeline:?}, {written}");
            }
        }
    }
    let (read, mut kept) = (union("b"), 0);
    for i in 0..10 {
        until_async("a hit", async || is_kept(&proxy, &db, "a", &read).await).await;
        let c = db.collection::<Document>(&format!("another_{i}"));
        // (The first write creates it, which is another matter.)
        for n in 0..2 {
            c.insert_one(doc! {"_id": n}).await.unwrap();
        }
        let before = proxy.count("/cache/hits");
        answers(&db, "a", &read).await;
        kept += proxy.count("/cache/hits") - before;
    }
    assert!(kept >= 8, "{kept} of 10");
}

/// Each way to define a view anew; it reads `base` before and `other` afterwards, or the clock.
async fn redefine(db: &Database, how: usize, pipeline: &[Document]) {
    if how == 0 {
        let change = doc! {"collMod": "v", "viewOn": "other", "pipeline": pipeline};
        db.run_command(change).await.unwrap();
    } else {
        db.collection::<Document>("v").drop().await.unwrap();
        define(db, "v", "other", pipeline).await;
    }
}

async fn a_redefined_view_is_followed(proxy: &Proxy, around: Option<&str>) {
    for how in 0..2 {
        let name = shared::database("redefined");
        let db = database(&proxy.uri(), &name).await;
        let by = match around {
            Some(uri) => database(uri, &name).await,
            None => db.clone(),
        };
        for (name, n) in [("base", 1), ("other", 2)] {
            let c = db.collection::<Document>(name);
            c.insert_one(doc! {"_id": 0, "n": n}).await.unwrap();
        }
        define(&db, "v", "base", &[]).await;
        define(&db, "w", "v", &[]).await;
        // A view on it, and a join of it.
        let reads = [("w", vec![]), ("base", vec![doc! {"$unionWith": "v"}])];
        let shown = async |n: i32| {
            for (on, pipeline) in &reads {
                let found = answers(&db, on, pipeline).await;
                if found.last().is_none_or(|d| d.get_i32("n").ok() != Some(n)) {
                    return false;
                }
            }
            true
        };
        for (on, pipeline) in &reads {
            until_async("a hit", async || is_kept(proxy, &db, on, pipeline).await).await;
        }
        redefine(&by, how, &[]).await;
        match around {
            Some(_) => until_async("the new definition", async || shown(2).await).await,
            None => assert!(shown(2).await),
        }
        // What it reads now is known as well: a write here is seen at once.
        for n in 10..15 {
            for (on, pipeline) in &reads {
                until_async("a hit", async || is_kept(proxy, &db, on, pipeline).await).await;
            }
            let other = db.collection::<Document>("other");
            let set = doc! {"$set": {"n": n}};
            other.update_one(doc! {"_id": 0}, set).await.unwrap();
            assert!(shown(n).await, "{n}");
        }
        redefine(&by, how, &[doc! {"$set": {"t": "$$NOW"}}]).await;
        let times = async || answers(&db, "w", &[]).await[0].get_datetime("t").copied();
        until_async("the clock", async || times().await.is_ok()).await;
        if around.is_none() {
            for (on, pipeline) in &reads {
                assert!(!is_kept(proxy, &db, on, pipeline).await, "{on}");
            }
        }
        until_async("nothing is kept", async || {
            !is_kept(proxy, &db, "w", &[]).await && !is_kept(proxy, &db, "base", &reads[1].1).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_redefined_here_is_followed() {
    let rs = shared::rs().await;
    a_redefined_view_is_followed(&Proxy::start(&rs.seed_uri(), &EXACT), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_redefined_around_the_proxy_is_followed() {
    let rs = shared::rs().await;
    let proxy = watching(&rs.seed_uri());
    a_redefined_view_is_followed(&proxy, Some(&rs.uri())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_deletes_by_itself_leaves_the_answers() {
    let options = MongodOptions::default().set_parameter("ttlMonitorSleepSecs", "1");
    let rs = Deployment::start(options).await.unwrap();
    let clustered =
        |name: &str| doc! {"create": name, "clusteredIndex": {"key": {"_id": 1}, "unique": true}};
    for proxy in [
        Proxy::start(&rs.seed_uri(), &EXACT),
        watching(&rs.seed_uri()),
    ] {
        let db = database(&proxy.uri(), &shared::database("expiry")).await;
        let mut first = clustered("clustered");
        first.insert("expireAfterSeconds", 1);
        let now = DateTime::now();
        let series =
            doc! {"create": "series", "timeseries": {"timeField": "_id"}, "expireAfterSeconds": 1};
        let later = doc! {"create": "series_later", "timeseries": {"timeField": "_id"}};
        let plain = doc! {"create": "indexed"};
        for create in [first, clustered("clustered_later"), series, later, plain] {
            db.run_command(create).await.unwrap();
        }
        let names = [
            "clustered",
            "clustered_later",
            "series",
            "series_later",
            "indexed",
        ];
        for name in names {
            define(&db, &format!("view_of_{name}"), name, &[]).await;
            // (Of a time series whole buckets expire, an hour after their last time could be.)
            let time = match name.starts_with("series") {
                true => DateTime::from_millis(now.timestamp_millis() - 3 * 3_600_000),
                false => now,
            };
            let c = db.collection::<Document>(name);
            c.insert_one(doc! {"_id": time, "t": time}).await.unwrap();
        }
        db.collection::<Document>("one")
            .insert_one(doc! {"_id": 0})
            .await
            .unwrap();
        let found = async |name: &str| {
            let direct = answers(&db, name, &[]).await.len();
            let viewed = answers(&db, &format!("view_of_{name}"), &[]).await.len();
            let joined = answers(&db, "one", &[doc! {"$unionWith": name}])
                .await
                .len()
                - 1;
            direct + viewed + joined
        };
        for name in names {
            found(name).await;
            found(name).await;
        }
        for name in ["clustered_later", "series_later"] {
            let change = doc! {"collMod": name, "expireAfterSeconds": 1};
            db.run_command(change).await.unwrap();
        }
        let keys = doc! {"key": {"t": 1}, "name": "t", "expireAfterSeconds": 1};
        let indexes = doc! {"createIndexes": "indexed", "indexes": [keys]};
        db.run_command(indexes).await.unwrap();
        for name in names {
            // Until the server has deleted it, answers are stored again and again.
            until_async(name, async || found(name).await == 0).await;
        }
        assert!(proxy.count("/cache/hits") > 0, "{}", proxy.status());
    }
}
