//! The same random updates and deletes through the proxy from many clients at once, and directly
//! one by one. Each client has documents of its own, so that its replies don't depend on the
//! others.

use bson::{Binary, Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::Client;

use super::replies::{replies, text};
use super::{ON, ONE_AT_ONCE, Random};
use crate::parts::proxy::Proxy;
use crate::parts::shared;

const CLIENTS: u64 = 32;
const ROUNDS: u64 = 60;
/// Documents of each client at the start.
const OWN: i32 = 30;

const IDEMPOTENT: (&str, &str) = ("batch.retryable_updates", "\"idempotent\"");
const ALWAYS: (&str, &str) = ("batch.retryable_updates", "\"always\"");

/// What the server at hand is.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    ReplicaSet,
    /// Knows no `stmtIds`, and answers a retry with its first reply as it was.
    Secantus,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_updates_and_deletes_get_the_replies_that_they_get_directly() {
    let rs = shared::rs().await;
    let address = &rs.addresses()[0];
    let settings = [ON, ONE_AT_ONCE, ALWAYS];
    let proxy = differ(
        &rs.seed_uri(),
        &rs.uri(),
        address,
        &settings,
        Server::ReplicaSet,
    )
    .await;
    for kind in ["update", "delete"] {
        assert!(batched(&proxy, kind) > 20, "{:#}", proxy.status()["batch"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_sent_again_is_batched_on_request_if_it_may_be_applied_twice() {
    let rs = shared::rs().await;
    let address = &rs.addresses()[0];
    let proxy = differ(
        &rs.seed_uri(),
        &rs.uri(),
        address,
        &[ON, IDEMPOTENT],
        Server::ReplicaSet,
    )
    .await;
    assert!(batched(&proxy, "update") > 20);
    assert!(proxy.count("/batch/sent_alone/retryable") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_bulk_write_answers_for_each_update_and_delete() {
    let secantus = shared::secantus().await;
    let (uri, address) = (secantus.uri(), secantus.address());
    let proxy = differ(
        &uri,
        &uri,
        address,
        &[ON, ONE_AT_ONCE, IDEMPOTENT],
        Server::Secantus,
    )
    .await;
    for kind in ["update", "delete"] {
        assert!(batched(&proxy, kind) > 20, "{:#}", proxy.status()["batch"]);
    }
}

fn batched(proxy: &Proxy, kind: &str) -> u64 {
    proxy.count(&format!("/batch/kinds/{kind}/batched"))
}

async fn differ(
    seed_uri: &str,
    uri: &str,
    address: &str,
    settings: &[(&str, &str)],
    server: Server,
) -> Proxy {
    let proxy = Proxy::start(seed_uri, settings);
    let direct = Client::with_uri_str(uri).await.unwrap();
    let names = [shared::database("changed"), shared::database("alone")];
    for name in &names {
        let db = direct.database(name);
        let mut create = doc! {"create": "c"};
        if server == Server::ReplicaSet {
            create.insert("validator", doc! {"v": {"$lt": 1000}});
            let view = doc! {"create": "view", "viewOn": "c", "pipeline": []};
            db.run_command(view).await.unwrap();
        }
        db.run_command(create).await.unwrap();
        let documents = (0..CLIENTS as i32).flat_map(|client| {
            (0..OWN).map(move |n| {
                doc! {"_id": client * 1000 + n, "client": client, "v": n, "text": "x", "list": [1, 2, 3]}
            })
        });
        let c = db.collection::<Document>("c");
        c.insert_many(documents).await.unwrap();
    }
    let all: Vec<Vec<Document>> = (0..CLIENTS).map(|n| commands(n, server)).collect();
    let tasks: Vec<_> = all
        .iter()
        .map(|commands| {
            let (commands, db) = (commands.clone(), names[0].clone());
            let address = proxy.address().to_owned();
            tokio::spawn(async move { replies(&address, &db, &commands).await })
        })
        .collect();
    let mut through = Vec::new();
    for task in tasks {
        through.push(task.await.unwrap());
    }
    for (commands, through) in all.iter().zip(&through) {
        let alone = replies(address, &names[1], commands).await;
        for ((command, through), alone) in commands.iter().zip(through).zip(&alone) {
            assert_eq!(
                text(through).replace(&names[0], "DB"),
                text(alone).replace(&names[1], "DB"),
                "{}",
                text(command)
            );
        }
    }
    let documents = async |name: &str| -> Vec<Document> {
        let c = direct.database(name).collection::<Document>("c");
        let found = c.find(doc! {}).sort(doc! {"_id": 1}).await.unwrap();
        found.try_collect().await.unwrap()
    };
    assert_eq!(documents(&names[0]).await, documents(&names[1]).await);
    println!("{:#}", proxy.status()["batch"]);
    proxy
}

/// One client's commands.
fn commands(client: u64, server: Server) -> Vec<Document> {
    let mut random = Random(7907 * (client + 1));
    let base = client as i32 * 1000;
    let mut commands = Vec::new();
    for number in 1..=ROUNDS {
        // Some of them are deleted, some never were there.
        let id = base + random.below(OWN as u64 + 6) as i32;
        let mut command = match random.below(10) {
            0 | 1 => doc! {"delete": "c", "deletes": [delete(&mut random, id, client)]},
            _ => doc! {"update": "c", "updates": [update(&mut random, id, client, server)]},
        };
        if random.below(20) == 0 {
            let list = command.iter_mut().nth(1).unwrap().1.as_array_mut().unwrap();
            let again = list[0].clone();
            list.push(again);
        }
        vary(&mut random, &mut command, server);
        if client == 3 && number == 30 && server == Server::ReplicaSet {
            let large = Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: vec![0; 16 << 20],
            };
            command = doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"$set": {"large": large}}}]};
        }
        if client.is_multiple_of(2) {
            command.insert("lsid", doc! {});
            command.insert("txnNumber", number as i64);
            let again = server == Server::ReplicaSet && random.below(8) == 0;
            commands.extend(again.then(|| command.clone()));
        }
        commands.push(command);
    }
    commands
}

fn delete(random: &mut Random, id: i32, client: u64) -> Document {
    match random.below(8) {
        0 => doc! {"q": {"client": client as i32, "v": 5}, "limit": 1},
        1 => doc! {"q": {"_id": id, "v": {"$gt": 10}}, "limit": 1},
        2 => doc! {"q": {"_id": id}, "limit": 0},
        3 => doc! {"q": {"_id": id}},
        _ => doc! {"q": {"_id": id}, "limit": 1},
    }
}

fn update(random: &mut Random, id: i32, client: u64, server: Server) -> Document {
    let own = client as i32;
    let one = |u: Document| doc! {"q": {"_id": id}, "u": u};
    match random.below(24) {
        0..=3 => one(doc! {"$set": {"v": random.below(5) as i32}}),
        4 | 5 => one(doc! {"$inc": {"v": 1}}),
        6 => one(doc! {"$set": {"client": own}}),
        7 => doc! {"q": {"_id": id, "v": {"$gte": 3}}, "u": {"$inc": {"v": -3}}},
        8 => {
            doc! {"q": {"_id": id}, "u": {"$set": {"v": 7}, "$setOnInsert": {"client": own}}, "upsert": true}
        }
        9 => doc! {"q": {"_id": id}, "u": {"v": 8, "client": own}, "upsert": true},
        10 => doc! {"q": {"_id": id}, "u": [{"$set": {"w": {"$add": ["$v", 1]}}}]},
        11 => doc! {"q": {"_id": id}, "u": {"$set": {"list.$[x]": 9}}, "arrayFilters": [{"x": 2}]},
        12 => doc! {"q": {"_id": id}, "u": {"$set": {"v": 1}}, "hint": "nothing"},
        13 => doc! {"q": {"_id": id}, "u": {"$set": {"v": 2}}, "hint": {"_id": 1}},
        14 => doc! {"q": {"_id": id}, "u": {"$set": {"v": 3}}, "collation": {"locale": "fr"}},
        15 => doc! {"q": {"client": own}, "u": {"$inc": {"v": 1}}, "multi": true},
        16 => doc! {"q": {"client": own, "v": 4}, "u": {"$set": {"v": 6}}},
        // All that the server refuses.
        17 => one(doc! {"$set": {"_id": -1}}),
        18 => one(doc! {"$inc": {"text": 1}}),
        19 if server == Server::ReplicaSet => one(doc! {"$set": {"v": 5000}}),
        20 => one(doc! {"$nothing": {"v": 1}}),
        21 => doc! {"q": {"_id": id}, "u": "text"},
        22 => doc! {"q": {"_id": id}, "u": {"$push": {"list": {"$each": [4], "$slice": -4}}}},
        _ => one(doc! {"$unset": {"w": 1}}),
    }
}

fn vary(random: &mut Random, command: &mut Document, server: Server) {
    match random.below(30) {
        0 => drop(command.insert("ordered", random.below(2) == 0)),
        1 => drop(command.insert("maxTimeMS", 10_000)),
        2 if server == Server::ReplicaSet => drop(command.insert("comment", "hello")),
        3 => drop(command.insert("writeConcern", doc! {"w": "nonsense"})),
        4 if server == Server::ReplicaSet => {
            drop(command.insert("writeConcern", doc! {"w": 5, "wtimeout": 50}));
        }
        5..=8 => drop(command.insert("writeConcern", doc! {"w": "majority", "j": true})),
        9 if server == Server::ReplicaSet => drop(command.insert("surprise", 1)),
        10 => drop(command.insert("let", doc! {"x": 1})),
        11 if server == Server::ReplicaSet => {
            let name = command.keys().next().unwrap().clone();
            command.insert(name, Bson::from("view"));
        }
        _ => {}
    }
}
