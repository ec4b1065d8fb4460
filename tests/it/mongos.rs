//! Several mongos as upstream. No sharded cluster is at hand; two proxies in mongos posture
//! before one replica set stand in for the routers: they say `isdbgrid`, and cursors and
//! transactions must come back to the one that opened them only by the proxy's own routing.

use bson::{Document, doc};
use mongodb::Client;

use petiole::embedded::{Deployment, MongodOptions};

use crate::parts::proxy::Proxy;
use crate::parts::shared;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_mongos_is_used_in_turn_and_cursors_and_transactions_stay_where_they_began() {
    let rs = shared::rs().await;
    let routers = [0, 1].map(|_| Proxy::start(&rs.seed_uri(), &[("cache.enabled", "false")]));
    let uri = format!(
        "mongodb://{},{}/",
        routers[0].address(),
        routers[1].address()
    );
    let wide = [("upstream.local_threshold", "\"10s\"")];
    let proxy = Proxy::start(&uri, &wide);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let c = client
        .database(&shared::database("mongos"))
        .collection::<Document>("c");
    c.insert_many((0..500).map(|i| doc! {"_id": i}))
        .await
        .unwrap();
    let mut cursor = c.find(doc! {}).batch_size(7).await.unwrap();
    let mut seen = 0;
    while cursor.advance().await.unwrap() {
        seen += 1;
    }
    assert_eq!(seen, 500);
    for i in 0..10 {
        let mut session = client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        c.insert_one(doc! {"_id": 1000 + i})
            .session(&mut session)
            .await
            .unwrap();
        c.find_one(doc! {"_id": 1000 + i})
            .session(&mut session)
            .await
            .unwrap()
            .unwrap();
        session.commit_transaction().await.unwrap();
    }
    assert_eq!(c.count_documents(doc! {}).await.unwrap(), 510);
    let deployment = proxy.status();
    assert_eq!(
        deployment.pointer("/upstream/deployment").unwrap(),
        "sharded"
    );
    for router in &routers {
        assert!(
            router.count("/clients/requests") > 10,
            "both take part: {}",
            router.status()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_mongos_dies_the_other_takes_over() {
    let rs = shared::rs().await;
    let first = Proxy::start(&rs.seed_uri(), &[]);
    let second = Proxy::start(&rs.seed_uri(), &[]);
    let uri = format!("mongodb://{},{}/", first.address(), second.address());
    let proxy = Proxy::start(&uri, &[("upstream.local_threshold", "\"10s\"")]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let db = client.database("admin");
    db.run_command(doc! {"ping": 1}).await.unwrap();
    drop(first);
    crate::parts::wait::until_async("only the second is used", async || {
        let mut ok = 0;
        for _ in 0..10 {
            ok += usize::from(db.run_command(doc! {"ping": 1}).await.is_ok());
        }
        ok == 10
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_already_knows_that_there_is_a_mongos() {
    // A mongos reports the end of a write's time limit while a shard may still run it: the fence stands for longer.
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let server = Deployment::start(options).await.unwrap();
    let direct = Client::with_uri_str(server.uri()).await.unwrap();
    let fails = doc! {
        "configureFailPoint": "failCommand", "mode": "alwaysOn",
        "data": {"failCommands": ["update"], "errorCode": 50},
    };
    direct.database("admin").run_command(fails).await.unwrap();
    let router = Proxy::start(&server.uri(), &[]);
    let before_mongos = Proxy::start(&format!("mongodb://{}/", router.address()), &[]);
    for (proxy, stands) in [(&before_mongos, 1), (&router, 0)] {
        let client = Client::with_uri_str(proxy.uri()).await.unwrap();
        let update = doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a": 1}}}]};
        client.database("d").run_command(update).await.unwrap_err();
        assert_eq!(proxy.count("/fences/quarantined"), stands);
    }
}
