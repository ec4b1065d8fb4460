//! Cursors that wait for something new hold no link that others need.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::options::{ClientOptions, Credential};
use mongodb::{Client, Database};
use tokio::task::JoinHandle;

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};
use crate::parts::wait;
use crate::raw::{RawClient, Section, encode};

const STREAMS: u64 = 6;
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// A client whose `getMore` waits at the server.
async fn waiting(proxy: &Proxy, open: &Document, db: &str) -> RawClient {
    let mut asker = Asker::connect(proxy.address()).await;
    let id = asker.ask(open).await.cursor();
    let limit = LONG.as_millis() as i64;
    let more = doc! {"getMore": id, "collection": "c", "maxTimeMS": limit, "$db": db};
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let sections = [Section::Body(encode(&more))];
    client.send(0, &sections).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_beside_any_number_of_waiting_cursors() {
    let rs = shared::rs().await;
    let settings = [
        ("upstream.max_links", "1"),
        ("upstream.link_idle_timeout", "1s"),
        ("cache.enabled", "false"),
    ];
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let db = shared::database("waiting");
    let mut other = Asker::connect(proxy.address()).await;
    other
        .ask(&doc! {"create": "c", "capped": true, "size": 65_536, "$db": &db})
        .await;
    other
        .ask(&doc! {"insert": "c", "documents": [{"_id": 0}], "$db": &db})
        .await;
    let watch = doc! {"$changeStream": {}};
    let stream = doc! {"aggregate": "c", "pipeline": [watch], "cursor": {}, "$db": &db};
    // (A tailable cursor on which nothing was found is closed at once.)
    let tail = doc! {"find": "c", "tailable": true, "awaitData": true, "batchSize": 1, "$db": &db};
    let mut waits = Vec::new();
    for n in 0..STREAMS {
        let open = if n % 2 == 0 { &stream } else { &tail };
        waits.push(waiting(&proxy, open, &db).await);
    }
    wait::until("all of them wait", || {
        proxy.count("/pool/awaiting") == STREAMS
    });
    assert_eq!(proxy.count("/pool/links"), 1);
    for n in 1..4 {
        let find = doc! {"find": "c", "filter": {"n": n}, "$db": &db};
        other.ask(&find).await;
    }
    other
        .ask(&doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    for (n, client) in waits.iter_mut().enumerate() {
        let reply = client.receive().await.unwrap().document().unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        let batch = reply.get_document("cursor").unwrap().get_array("nextBatch");
        assert_eq!(batch.unwrap().len(), 1, "cursor {n}: {reply}");
    }
    wait::until("links that nobody waits on are closed", || {
        proxy.count("/pool/awaiting") == 0
    });
    other.ask(&doc! {"ping": 1, "$db": &db}).await;
}

/// A client of a user, whose links the proxy can't dial: it has the one of each login.
async fn user(proxy: &Proxy, db: &str) -> Database {
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    options.max_pool_size = Some(1);
    options.direct_connection = Some(true);
    let credential = Credential::builder()
        .username(ROOT.0.to_owned())
        .password(ROOT.1.to_owned());
    options.credential = Some(credential.build());
    let db = Client::with_options(options).unwrap().database(db);
    db.run_command(doc! {"ping": 1}).await.unwrap();
    db
}

/// The first event of a stream that waits at the server.
async fn first_event(client: Database) -> JoinHandle<Option<Document>> {
    let c = client.collection::<Document>("c");
    let mut stream = c.watch().max_await_time(LONG).await.unwrap();
    tokio::spawn(async move {
        let event = stream.try_next().await.unwrap();
        event.and_then(|event| event.full_document)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_a_user_has_the_link_of_its_login() {
    let server = shared::auth().await;
    let settings = [("upstream.max_links", "1"), ("cache.enabled", "false")];
    let proxy = Proxy::start(&server.seed_uri(), &settings);
    let db = shared::database("streams");
    let first = user(&proxy, &db).await;
    first.create_collection("c").await.unwrap();
    let mut streams = vec![first_event(first).await];
    wait::until("it waits", || proxy.count("/pool/awaiting") == 1);
    // There is room for one link of these two.
    let others = [user(&proxy, &db).await, user(&proxy, &db).await];
    for client in others {
        streams.push(first_event(client).await);
    }
    wait::until("all wait", || proxy.count("/pool/awaiting") == 3);
    let c = user(&proxy, &db).await.collection::<Document>("c");
    for n in 0..3 {
        assert_eq!(c.count_documents(doc! {"n": n}).await.unwrap(), 0);
    }
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    for stream in streams {
        assert_eq!(stream.await.unwrap(), Some(doc! {"_id": 1}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_streams_leave_a_link_where_there_are_fewer_links_than_clients() {
    let server = shared::auth().await;
    let settings = [("upstream.max_links", "2"), ("cache.enabled", "false")];
    let proxy = Proxy::start(&server.seed_uri(), &settings);
    let db = shared::database("fewer");
    let other = user(&proxy, &db).await;
    other.create_collection("c").await.unwrap();
    let [first, second, third] = [
        user(&proxy, &db).await,
        user(&proxy, &db).await,
        user(&proxy, &db).await,
    ];
    let mut streams = Vec::new();
    for client in [first, second, third] {
        streams.push(first_event(client).await);
    }
    wait::until("one waits at the server, the others for a link", || {
        proxy.count("/pool/awaiting") == 1 && proxy.count("/pool/waiting") == 2
    });
    let c = other.collection::<Document>("c");
    for n in 0..3 {
        assert_eq!(c.count_documents(doc! {"n": n}).await.unwrap(), 0);
    }
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    for stream in streams {
        assert_eq!(stream.await.unwrap(), Some(doc! {"_id": 1}));
    }
}
