//! The same random commands through the proxy from many clients at once, and directly one by one.
//! Each client has ids of its own, so that its replies don't depend on the others.

use bson::{Binary, Bson, Document, doc};
use mongodb::Client;

use super::{ON, Random, ask, lsid};
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::RawClient;

const CLIENTS: u64 = 24;
const ROUNDS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn random_inserts_of_many_clients_get_the_replies_that_they_get_directly() {
    let rs = shared::rs().await;
    differ(&rs.seed_uri(), &rs.uri(), &rs.addresses()[0], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_inserts_before_a_standalone_get_the_replies_that_they_get_directly() {
    let standalone = shared::standalone().await;
    let address = &standalone.addresses()[0];
    differ(&standalone.seed_uri(), &standalone.uri(), address, false).await;
}

async fn differ(seed_uri: &str, uri: &str, address: &str, retryable: bool) {
    let proxy = Proxy::start(seed_uri, &[ON]);
    let direct = Client::with_uri_str(uri).await.unwrap();
    let names = [shared::database("batched"), shared::database("alone")];
    for name in &names {
        let db = direct.database(name);
        let schema =
            doc! {"bsonType": "object", "properties": {"v": {"bsonType": "int", "maximum": 1000}}};
        db.run_command(doc! {"create": "c", "validator": {"$jsonSchema": schema}})
            .await
            .unwrap();
        let unique = doc! {"key": {"u": 1}, "name": "u", "unique": true, "sparse": true};
        db.run_command(doc! {"createIndexes": "c", "indexes": [unique]})
            .await
            .unwrap();
        db.run_command(doc! {"create": "view", "viewOn": "c", "pipeline": []})
            .await
            .unwrap();
    }
    let all: Vec<Vec<Document>> = (0..CLIENTS).map(|n| commands(n, retryable)).collect();
    let tasks: Vec<_> = all
        .iter()
        .map(|commands| {
            let (commands, db) = (commands.clone(), names[0].clone());
            let address = proxy.address().to_owned();
            tokio::spawn(async move { replies(&address, &db, &commands).await })
        })
        .collect();
    let mut batched = Vec::new();
    for task in tasks {
        batched.push(task.await.unwrap());
    }
    for (commands, batched) in all.iter().zip(&batched) {
        let alone = replies(address, &names[1], commands).await;
        for ((command, batched), alone) in commands.iter().zip(batched).zip(&alone) {
            assert_eq!(
                text(batched).replace(&names[0], "DB"),
                text(alone).replace(&names[1], "DB"),
                "{}",
                text(command)
            );
        }
    }
    let ids = async |name: &str| {
        let c = direct.database(name).collection::<Document>("c");
        c.distinct("_id", doc! {"_id": {"$type": "int"}})
            .await
            .unwrap()
    };
    assert_eq!(ids(&names[0]).await, ids(&names[1]).await);
    let status = proxy.status();
    assert!(proxy.count("/batch/size/max") >= 4, "{status}");
    assert!(
        proxy.count("/batch/upstream_commands") < proxy.count("/batch/client_writes"),
        "{status}"
    );
    println!("{:#}", status["batch"]);
}

/// One client's commands.
fn commands(client: u64, retryable: bool) -> Vec<Document> {
    let mut random = Random(7919 * (client + 1));
    // Each run takes a session of its own.
    let session = doc! {};
    let base = client as i32 * 100_000;
    let mut next = base;
    let mut commands: Vec<Document> = Vec::new();
    for number in 1..=ROUNDS {
        let fresh = |next: &mut i32| {
            *next += 1;
            doc! {"_id": *next, "v": 1}
        };
        let taken = |random: &mut Random, next: i32| {
            let back = random.below(5) as i32;
            doc! {"_id": (next - back).max(base + 1), "v": 2}
        };
        let invalid = |next: &mut i32| {
            *next += 1;
            doc! {"_id": *next, "v": 5000}
        };
        let mut command = doc! {"insert": "c"};
        let documents: Vec<Document> = match random.below(20) {
            0 => vec![taken(&mut random, next)],
            1 => vec![invalid(&mut next)],
            2 => vec![doc! {"_id": [1, 2]}],
            3 => vec![doc! {"_id": {"$bad": 1}}],
            4 => vec![doc! {"_id": fresh(&mut next).get_i32("_id").unwrap(), "u": client as i32}],
            5 | 6 => {
                let mut many = vec![
                    fresh(&mut next),
                    taken(&mut random, next),
                    invalid(&mut next),
                ];
                many.extend([fresh(&mut next), fresh(&mut next)]);
                command.insert("ordered", random.below(2) == 0);
                many
            }
            7 if number == 30 && client < 2 => {
                let zeros = vec![0; 16 << 20];
                let large = Binary {
                    subtype: bson::spec::BinarySubtype::Generic,
                    bytes: zeros,
                };
                vec![doc! {"_id": fresh(&mut next).get_i32("_id").unwrap(), "large": large}]
            }
            _ => vec![fresh(&mut next)],
        };
        command.insert("documents", documents);
        match random.below(24) {
            0 => drop(command.insert("documents", "three")),
            1 => drop(command.insert("documents", bson::bson!([{"_id": -1}, 5]))),
            2 => drop(command.insert("insert", "view")),
            3 => drop(command.insert("surprise", 1)),
            4 => drop(command.insert("ordered", 1)),
            5 => drop(command.insert("bypassDocumentValidation", true)),
            6 => drop(command.insert("maxTimeMS", 10_000)),
            7 => drop(command.insert("comment", "hello")),
            8 => drop(command.insert("writeConcern", doc! {"w": "nonsense"})),
            9 => drop(command.insert("writeConcern", doc! {"w": 5, "wtimeout": 50})),
            10 | 11 if retryable => {
                drop(command.insert("writeConcern", doc! {"w": "majority", "j": true}));
            }
            12 => drop(command.insert("writeConcern", doc! {"w": 1, "j": true})),
            _ => {}
        }
        if client.is_multiple_of(2) {
            command.insert("lsid", session.clone());
            if retryable {
                command.insert("txnNumber", number as i64);
            }
        }
        let again = retryable && random.below(8) == 0;
        commands.extend(again.then(|| command.clone()));
        commands.push(command);
    }
    commands
}

pub async fn replies(address: &str, db: &str, commands: &[Document]) -> Vec<Document> {
    let mut client = RawClient::connect(address).await.unwrap();
    let session = lsid();
    let mut replies = Vec::new();
    for command in commands {
        let mut command = command.clone();
        command.insert("$db", db);
        if command.contains_key("lsid") {
            command.insert("lsid", session.clone());
        }
        let mut reply = ask(&mut client, &command).await.unwrap();
        for time in ["$clusterTime", "operationTime", "opTime", "electionId"] {
            if let Some(value) = reply.get_mut(time) {
                *value = Bson::String(format!("{:?}", value.element_type()));
            }
        }
        replies.push(reply);
    }
    replies
}

/// Enough of a document to recognise it.
pub fn text(document: &Document) -> String {
    document.to_string().chars().take(3000).collect()
}
