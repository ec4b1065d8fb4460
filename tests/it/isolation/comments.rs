//! Whose request is it? With `upstream.comments` MongoDB's own records say so.

use bson::{Bson, Document, doc};
use futures_util::future::join_all;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::until_async;

async fn application(uri: &str, name: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.app_name = Some(name.to_owned());
    Client::with_options(options).unwrap()
}

async fn directly() -> Client {
    let uri = shared::rs().await.uri();
    Client::with_uri_str(uri).await.unwrap()
}

async fn proxy(settings: &[(&str, &str)]) -> Proxy {
    let all: Vec<_> = [("cache.enabled", "false")]
        .into_iter()
        .chain(settings.iter().copied())
        .collect();
    Proxy::start(&shared::rs().await.seed_uri(), &all)
}

/// A database whose every request is written down by its server.
async fn profiled(name: &str) -> Database {
    let direct = directly().await;
    let db = direct.database(&shared::database(name));
    let room = doc! {"create": "system.profile", "capped": true, "size": 16 << 20};
    db.run_command(room).await.unwrap();
    db.run_command(doc! {"profile": 2}).await.unwrap();
    db
}

/// The comments of what the server has written down, of one command.
async fn comments(db: &Database, filter: Document) -> Vec<Option<Bson>> {
    let profile = db.collection::<Document>("system.profile");
    let mut found = profile.find(filter).await.unwrap();
    let mut comments = Vec::new();
    while found.advance().await.unwrap() {
        let entry = found.deserialize_current().unwrap();
        let command = entry.get_document("command").unwrap();
        comments.push(command.get("comment").cloned());
    }
    comments
}

fn names(comment: &Option<Bson>, application: &str) -> bool {
    let document = comment.as_ref().and_then(Bson::as_document);
    document.is_some_and(|comment| {
        comment.get_str("application").ok() == Some(application)
            && comment
                .get_str("client")
                .is_ok_and(|client| client.starts_with("127.0.0.1:"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_records_name_the_application_and_a_clients_own_comment_stays() {
    let proxy = proxy(&[("upstream.comments", "true")]).await;
    let db = profiled("comments").await;
    let through = application(&proxy.uri(), "shop").await.database(db.name());
    let commands = [
        doc! {"insert": "c", "documents": [{"_id": 1, "a": 1}, {"_id": 2, "a": 1}]},
        doc! {"find": "c", "filter": {"a": 1}, "batchSize": 1},
        doc! {"aggregate": "c", "pipeline": [{"$match": {"a": 1}}], "cursor": {}},
        doc! {"count": "c", "query": {"a": 1}},
        doc! {"distinct": "c", "key": "a"},
        doc! {"findAndModify": "c", "query": {"_id": 1}, "update": {"$set": {"b": 1}}},
    ];
    let mut cursor = 0;
    for command in &commands {
        let reply = through.run_command(command.clone()).await.unwrap();
        if command.contains_key("find") {
            cursor = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
        }
    }
    through
        .run_command(doc! {"getMore": cursor, "collection": "c"})
        .await
        .unwrap();
    for name in [
        "insert",
        "find",
        "aggregate",
        "count",
        "distinct",
        "findAndModify",
        "getMore",
    ] {
        let field = format!("command.{name}");
        let found = comments(
            &db,
            doc! {field: {"$exists": true}, "ns": format!("{}.c", db.name())},
        )
        .await;
        assert_eq!(found.len(), 1, "{name}");
        assert!(names(&found[0], "shop"), "{name}: {found:?}");
    }
    let own = doc! {"find": "c", "filter": {"own": 1}, "comment": "my own"};
    through.run_command(own).await.unwrap();
    let found = comments(&db, doc! {"command.filter.own": 1}).await;
    assert_eq!(found, [Some(Bson::from("my own"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn current_op_names_the_application_of_a_request_under_way() {
    let proxy = proxy(&[("upstream.comments", "true")]).await;
    let direct = directly().await;
    let name = shared::database("current_op");
    let app = format!("app {name}");
    let db = application(&proxy.uri(), &app).await.database(&name);
    db.collection("c").insert_one(doc! {"a": 1}).await.unwrap();
    let slow = doc! {"find": "c", "filter": {"$where": "sleep(30000) || true"}};
    let asking = tokio::spawn(async move { db.run_command(slow).await });
    until_async("it is named", async || {
        let looks = [
            doc! {"$currentOp": {"allUsers": true}},
            doc! {"$match": {"command.comment.application": &app, "command.find": "c"}},
        ];
        let mut found = direct.database("admin").aggregate(looks).await.unwrap();
        found.advance().await.unwrap()
    })
    .await;
    let looks = [
        doc! {"$currentOp": {"allUsers": true}},
        doc! {"$match": {"command.comment.application": &app}},
    ];
    let mut found = direct.database("admin").aggregate(looks).await.unwrap();
    while found.advance().await.unwrap() {
        let op = found.deserialize_current().unwrap().get("opid").cloned();
        let kill = doc! {"killOp": 1, "op": op.unwrap()};
        direct.database("admin").run_command(kill).await.unwrap();
    }
    assert!(asking.await.unwrap().is_err(), "it was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_names_the_application_of_all_its_writes_or_their_number_only() {
    let settings = [("upstream.comments", "true"), ("batch.at_once", "1")];
    let proxy = proxy(&settings).await;
    let db = profiled("batch_comments").await;
    let (shop, game) = (
        application(&proxy.uri(), "shop").await,
        application(&proxy.uri(), "game").await,
    );
    let batches = async |collection: &str| {
        let filter = doc! {"command.insert": collection, "command.comment.clients": {"$gt": 1}};
        comments(&db, filter).await
    };
    for (collection, clients) in [("same", [&shop, &shop]), ("mixed", [&shop, &game])] {
        until_async("a batch of both", async || {
            let inserts = (0..40).map(|n| {
                let database = clients[n % 2].database(db.name());
                async move {
                    let documents = database.collection::<Document>(collection);
                    documents.insert_one(doc! {"n": n as i32}).await.unwrap();
                }
            });
            join_all(inserts).await;
            let shared = match collection {
                "same" => Some("shop"),
                _ => None,
            };
            batches(collection)
                .await
                .iter()
                .flatten()
                .any(|comment| comment.as_document().unwrap().get_str("application").ok() == shared)
        })
        .await;
    }
    let same = batches("same").await;
    assert!(same.iter().flatten().all(|comment| {
        comment.as_document().unwrap().get_str("application").ok() == Some("shop")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_nothing_is_added() {
    let proxy = proxy(&[]).await;
    let db = profiled("no_comments").await;
    let through = application(&proxy.uri(), "shop").await.database(db.name());
    let find = doc! {"find": "c", "filter": {"a": 1}};
    through.run_command(find).await.unwrap();
    assert_eq!(comments(&db, doc! {"command.find": "c"}).await, [None]);
}
