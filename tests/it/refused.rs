//! Commands that the server refuses change nothing for others: not while they are under way, and not afterwards.

use bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential};
use mongodb::{Client, Collection};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};
use crate::parts::wait::until_async;

struct Place {
    proxy: Proxy,
    db: String,
    /// A logged-in user's.
    collection: Collection<Document>,
}

impl Place {
    async fn new() -> Place {
        let server = shared::auth().await;
        let none = [
            ("cache.external_writes", "\"none\""),
            ("cache.shadow_share", "0.0"),
        ];
        let proxy = Proxy::start(&server.seed_uri(), &none);
        let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
        let credential = Credential::builder()
            .username(ROOT.0.to_owned())
            .password(ROOT.1.to_owned())
            .source("admin".to_owned());
        options.credential = Some(credential.build());
        let client = Client::with_options(options).unwrap();
        let db = shared::database("refused");
        let collection = client.database(&db).collection("c");
        collection.insert_one(doc! {"_id": 1}).await.unwrap();
        let place = Place {
            proxy,
            db,
            collection,
        };
        until_async("the read is kept", async || place.hits().await).await;
        place
    }

    /// Whether a read is answered from memory.
    async fn hits(&self) -> bool {
        let before = self.proxy.count("/cache/hits");
        let found = self.collection.find_one(doc! {"_id": 1}).await.unwrap();
        assert_eq!(found, Some(doc! {"_id": 1}));
        self.proxy.count("/cache/hits") > before
    }
}

fn refused(db: &str) -> Vec<Document> {
    vec![
        doc! {"update": "c", "updates": [{"q": {}, "u": {"$set": {"z": 1}}, "multi": true}], "$db": db},
        doc! {"delete": "c", "deletes": [{"q": {}, "limit": 0}], "$db": db},
        doc! {"drop": "c", "$db": db},
        doc! {"dropDatabase": 1, "$db": db},
        doc! {"frobnicate": 1, "$db": db},
        doc! {"createUser": "x", "pwd": "x", "roles": [], "$db": db},
        doc! {"create": "c", "lsid": 5, "$db": db},
        doc! {"applyOps": [], "$db": "admin"},
        doc! {"commitTransaction": 1, "lsid": {"id": bson::Uuid::new()}, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"},
        doc! {
            "insert": "c", "documents": [{}], "lsid": {"id": bson::Uuid::new()}, "txnNumber": 1_i64,
            "startTransaction": true, "autocommit": false, "$db": db,
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_client_without_a_login_end_and_suspend_nothing() {
    let place = Place::new().await;
    let mut stranger = Asker::connect(place.proxy.address()).await;
    // (What the server says to the first one is not known before.)
    for command in refused(&place.db) {
        let reply = stranger.reply(&command).await;
        assert_ne!(reply.get_f64("ok").ok(), Some(1.0), "{command}");
    }
    until_async("the read is kept again", async || place.hits().await).await;
    for command in refused(&place.db) {
        stranger.reply(&command).await;
        assert!(place.hits().await, "{command}");
    }
    assert_eq!(place.proxy.count("/fences/open_transactions"), 0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let all = refused(&place.db);
    let hits = hits_beside(&stop, &place, &all).await;
    assert!(hits >= 95, "{hits} of 100 beside refused commands");
}

/// Hits of a hundred reads, beside a client without a login that never rests.
async fn hits_beside(
    stop: &std::sync::atomic::AtomicBool,
    place: &Place,
    commands: &[Document],
) -> usize {
    use std::sync::atomic::Ordering::SeqCst;
    let noise = async {
        let mut stranger = Asker::connect(place.proxy.address()).await;
        while !stop.load(SeqCst) {
            for command in commands {
                stranger.reply(command).await;
            }
        }
    };
    let reads = async {
        let mut hits = 0;
        for _ in 0..100 {
            hits += usize::from(place.hits().await);
        }
        stop.store(true, SeqCst);
        hits
    };
    tokio::join!(noise, reads).1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_the_server_does_not_know_and_a_look_at_it_end_nothing() {
    let place = Place::new().await;
    let admin = place.collection.client().database("admin");
    let own = place.collection.client().database(&place.db);
    for command in [
        doc! {"frobnicate": 1},
        doc! {"getDiagnosticData": 1},
        doc! {"replSetGetRBID": 1},
        doc! {"getClusterParameter": "*"},
        doc! {"serverStatus": 1},
        doc! {"shardingState": 1},
    ] {
        let _ = admin.run_command(command.clone()).await;
        assert!(place.hits().await, "{command}");
    }
    for command in [
        doc! {"validate": "other"},
        doc! {"drop": "other"},
        doc! {"create": "c"},
        doc! {"collMod": "other"},
        doc! {"createIndexes": "c", "indexes": [{"key": {"_id": 1}, "name": "_id_"}]},
        doc! {"insert": "c", "documents": [{"_id": 1}]},
        doc! {"insert": "c", "documents": [{"_id": 1}], "nonsense": 1},
        doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"_id": 2}}}]},
        doc! {"findAndModify": "c", "query": {"_id": 1}, "update": {"$set": {"_id": 2}}},
    ] {
        let _ = own.run_command(command.clone()).await;
        assert!(place.hits().await, "{command}");
    }
    // One that was carried out in part ends what it changed.
    let insert = doc! {"insert": "c", "documents": [{"_id": 2}, {"_id": 1}]};
    let count = async || {
        place
            .collection
            .count_documents(doc! {"_id": 2})
            .await
            .unwrap()
    };
    assert_eq!((count().await, count().await), (0, 0));
    let _ = own.run_command(insert).await;
    assert_eq!(count().await, 1);
}
