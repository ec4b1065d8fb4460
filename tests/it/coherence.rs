//! What the cache promises, one promise at a time (docs/coherence.md). All of them at once are in
//! `linear`.

use bson::{Document, doc};
use mongodb::Client;

use crate::parts::proxy::Proxy;
use crate::parts::{running, shared};
use crate::raw::{self, RawClient, Section};

#[tokio::test(flavor = "multi_thread")]
async fn an_unacknowledged_write_is_seen_by_the_clients_next_read() {
    let proxy = Proxy::start(
        &shared::rs().await.seed_uri(),
        &[("cache.external_writes", "\"none\"")],
    );
    let db = shared::database("unacknowledged");
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let insert = doc! {"insert": "c", "documents": [{"_id": 1, "v": 0}], "$db": &db};
    client.command(&insert).await.unwrap();
    let find = doc! {"find": "c", "filter": {"_id": 1}, "$db": &db};
    for v in 1..50 {
        client.command(&find).await.unwrap();
        let set = doc! {"q": {"_id": 1}, "u": {"$set": {"v": v}}};
        let update = doc! {"update": "c", "updates": [set], "writeConcern": {"w": 0}, "$db": &db};
        client
            .send(raw::MORE_TO_COME, &[Section::Body(raw::encode(&update))])
            .await
            .unwrap();
        let reply = Document::try_from(&*client.command(&find).await.unwrap()).unwrap();
        let batch = reply
            .get_document("cursor")
            .unwrap()
            .get_array("firstBatch")
            .unwrap();
        assert_eq!(batch[0].as_document().unwrap().get_i32("v").ok(), Some(v));
    }
    assert!(proxy.count("/cache/stores") > 40, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_around_the_proxy_are_seen_after_the_ttl() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("cache.ttl", "\"300ms\"")]);
    let name = shared::database("around");
    let through = Client::with_uri_str(proxy.uri())
        .await
        .unwrap()
        .database(&name)
        .collection::<Document>("c");
    let around = Client::with_uri_str(rs.uri())
        .await
        .unwrap()
        .database(&name)
        .collection::<Document>("c");
    through.insert_one(doc! {"_id": 1, "v": 0}).await.unwrap();
    through.find_one(doc! {"_id": 1}).await.unwrap();
    around
        .update_one(doc! {"_id": 1}, doc! {"$set": {"v": 1}})
        .await
        .unwrap();
    let written = std::time::Instant::now();
    crate::parts::wait::until_async("the new value is seen", async || {
        through
            .find_one(doc! {"_id": 1})
            .await
            .unwrap()
            .unwrap()
            .get_i32("v")
            .ok()
            == Some(1)
    })
    .await;
    let bound = std::time::Duration::from_secs(5);
    assert!(
        written.elapsed() < bound,
        "seen only after {:?}",
        written.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_the_collections_it_reads() {
    let proxy = Proxy::start(
        &shared::rs().await.seed_uri(),
        &[("cache.external_writes", "\"none\"")],
    );
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let db = client.database(&shared::database("views"));
    let base = db.collection::<Document>("base");
    base.insert_one(doc! {"_id": 1, "v": 0}).await.unwrap();
    db.run_command(doc! {"create": "view", "viewOn": "base", "pipeline": []})
        .await
        .unwrap();
    let view = db.collection::<Document>("view");
    for v in 1..20 {
        base.update_one(doc! {"_id": 1}, doc! {"$set": {"v": v}})
            .await
            .unwrap();
        for _ in 0..2 {
            assert_eq!(
                view.find_one(doc! {})
                    .await
                    .unwrap()
                    .unwrap()
                    .get_i32("v")
                    .ok(),
                Some(v)
            );
        }
    }
    db.run_command(doc! {"collMod": "view", "viewOn": "base", "pipeline": [{"$set": {"v": 99}}]})
        .await
        .unwrap();
    assert_eq!(
        view.find_one(doc! {})
            .await
            .unwrap()
            .unwrap()
            .get_i32("v")
            .ok(),
        Some(99)
    );
    assert!(proxy.count("/cache/hits") >= 15, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_cut_off_by_a_crash_is_fenced_until_the_server_is_another_process() {
    let options = petiole::embedded::MongodOptions::standalone();
    let deployment = petiole::embedded::Deployment::start(options).await.unwrap();
    let settings = [
        ("cache.external_writes", "\"none\""),
        ("upstream.failover_wait", "\"30s\""),
        ("server.lost_upstream", "\"error\""),
    ];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client
        .command(&doc! {"insert": "c", "documents": [{"_id": 1}], "writeConcern": {"j": true}, "$db": "d"})
        .await
        .unwrap();
    let find = doc! {"find": "c", "filter": {"_id": 1}, "$db": "d"};
    client.command(&find).await.unwrap();
    client.command(&find).await.unwrap();
    assert_eq!(proxy.count("/cache/hits"), 1);
    let mut writer = RawClient::connect(proxy.address()).await.unwrap();
    let slow =
        doc! {"q": {"$where": "sleep(60000) || true"}, "u": {"$set": {"a": 1}}, "multi": true};
    let slow = doc! {"update": "c", "updates": [slow], "$db": "d"};
    let writing = tokio::spawn(async move { writer.command(&slow).await });
    running::until_running(&deployment.addresses()[0], "d.c").await;
    deployment.kill(0).unwrap();
    let reply = Document::try_from(&*writing.await.unwrap().unwrap()).unwrap();
    assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    assert_eq!(proxy.count("/fences/quarantined"), 1, "{}", proxy.status());
    deployment.restart(0).await.unwrap();
    crate::parts::wait::until("the fence ends with the process", || {
        proxy.count("/fences/quarantined") == 0
    });
    let before = proxy.count("/cache/hits");
    client.command(&find).await.unwrap();
    assert_eq!(
        proxy.count("/cache/hits"),
        before,
        "what was cached before the crash is void"
    );
    client.command(&find).await.unwrap();
    assert_eq!(
        proxy.count("/cache/hits"),
        before + 1,
        "and caching goes on"
    );
}
