//! The default read concern: a read that states none is kept only while that is local (docs/coherence.md, rules 10 and 14).

use bson::{Document, doc};
use mongodb::options::ReadConcern;
use mongodb::{Client, Collection, Database};
use petiole::embedded::{Deployment, MongodOptions};

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::{until, until_async};

async fn client(uri: &str) -> Client {
    Client::with_uri_str(uri).await.unwrap()
}

async fn set_default(client: &Client, level: &str) {
    let level = doc! {"level": level};
    let change = doc! {"setDefaultRWConcern": 1, "defaultReadConcern": level};
    client.database("admin").run_command(change).await.unwrap();
}

/// Whether one of a few reads is answered from memory.
async fn is_kept(proxy: &Proxy, c: &Collection<Document>, concern: Option<ReadConcern>) -> bool {
    let before = proxy.count("/cache/hits");
    for _ in 0..4 {
        let find = c.find_one(doc! {"_id": 1});
        match &concern {
            Some(concern) => find.read_concern(concern.clone()).await.unwrap(),
            None => find.await.unwrap(),
        };
    }
    proxy.count("/cache/hits") > before
}

async fn collection(db: Database) -> Collection<Document> {
    let c = db.collection::<Document>("c");
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    c
}

fn start(uri: &str, writes: &str) -> Proxy {
    let writes = format!("\"{writes}\"");
    let sets = [
        ("cache.external_writes", writes.as_str()),
        ("cache.shadow_share", "0.0"),
    ];
    let proxy = Proxy::start(uri, &sets);
    if writes.contains("watch") {
        until("watching", || {
            proxy.status()["watch"]["state"] == "watching"
        });
    }
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_a_read_concern_is_kept_only_while_the_default_is_local() {
    // (Of its own: the default is everybody's.)
    let rs = Deployment::start(MongodOptions::default()).await.unwrap();
    let around = client(&rs.uri()).await;
    for writes in ["none", "watch"] {
        set_default(&around, "majority").await;
        let proxy = start(&rs.seed_uri(), writes);
        let through = client(&proxy.uri()).await;
        let c = collection(through.database(&shared::database("default"))).await;
        assert!(!is_kept(&proxy, &c, None).await, "{writes}: set before");
        assert!(is_kept(&proxy, &c, Some(ReadConcern::local())).await);
        set_default(&through, "local").await;
        assert!(is_kept(&proxy, &c, None).await, "{writes}: local");
        set_default(&through, "majority").await;
        assert!(!is_kept(&proxy, &c, None).await, "{writes}: set here");
        set_default(&around, "local").await;
        until_async("kept again", async || is_kept(&proxy, &c, None).await).await;
        set_default(&around, "majority").await;
        until_async("not kept any more", async || {
            // (Another read each time, so that there is one which asks.)
            let id = bson::oid::ObjectId::new();
            c.find_one(doc! {"_id": id}).await.unwrap();
            !is_kept(&proxy, &c, None).await
        })
        .await;
        assert!(is_kept(&proxy, &c, Some(ReadConcern::local())).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_has_no_default_and_reads_of_it_are_kept() {
    let standalone = shared::standalone().await;
    let proxy = start(&standalone.seed_uri(), "none");
    let through = client(&proxy.uri()).await;
    let c = collection(through.database(&shared::database("default"))).await;
    assert!(is_kept(&proxy, &c, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_user_may_only_read_knows_the_default_too() {
    let options = MongodOptions::default().with_auth("root", "pwd");
    let rs = Deployment::start(options).await.unwrap();
    let root = client(&rs.uri()).await;
    for (name, role) in [
        ("looks", "readAnyDatabase"),
        ("writes", "readWriteAnyDatabase"),
    ] {
        let role = doc! {"role": role, "db": "admin"};
        let user = doc! {"createUser": name, "pwd": "pwd", "roles": [role]};
        root.database("admin").run_command(user).await.unwrap();
    }
    let uri = rs.seed_uri().replace("root:pwd@", "looks:pwd@");
    let proxy = start(&uri, "watch");
    let through = format!(
        "mongodb://writes:pwd@{}/?directConnection=true",
        proxy.address()
    );
    let c = collection(client(&through).await.database("default")).await;
    // (Its clients may not ask. If the watch couldn't tell, all three would be kept.)
    for (level, kept) in [("local", true), ("majority", false), ("local", true)] {
        set_default(&root, level).await;
        until_async(level, async || is_kept(&proxy, &c, None).await == kept).await;
    }
}
