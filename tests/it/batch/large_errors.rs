//! Clients whose documents are refused with so much to say that a server can't say it in one reply: more than 16 MiB it
//! doesn't send, and closes the connection after it has executed the command.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::held::{Held, until_it_batches};
use super::replies::{replies, text};
use super::{ON, ONE_AT_ONCE, ask};
use crate::parts::proxy::Proxy;
use crate::raw::RawClient;

const CLIENTS: i32 = 36;

#[tokio::test(flavor = "multi_thread")]
async fn each_client_is_told_what_is_wrong_with_its_document_also_if_all_is_too_much_for_a_reply() {
    let deployment = Deployment::start(MongodOptions::default()).await.unwrap();
    let proxy = compare(&deployment).await;
    assert!(proxy.count("/batch/size/max") > 30, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_standalone_batches_are_small_enough_for_one_reply() {
    let deployment = Deployment::start(MongodOptions::standalone())
        .await
        .unwrap();
    let proxy = compare(&deployment).await;
    assert!(proxy.count("/batch/size/max") >= 4, "{}", proxy.status());
}

async fn compare(deployment: &Deployment) -> Proxy {
    let address = &deployment.addresses()[0];
    let patient = ("batch.max_wait", "\"30s\"");
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ONE_AT_ONCE, patient]);
    let mut direct = RawClient::connect(address).await.unwrap();
    // Each of these rules quotes the value that breaks it.
    let rules: Vec<Document> = (1..=10).map(|n| doc! {"maxLength": n}).collect();
    let schema = doc! {"properties": {"v": {"allOf": rules}}};
    for db in ["batched", "alone"] {
        let create = doc! {"create": "c", "validator": {"$jsonSchema": schema.clone()}, "$db": db};
        ask(&mut direct, &create).await.unwrap();
    }
    until_it_batches(&proxy, "batched", "c").await;
    let mut first = RawClient::connect(proxy.address()).await.unwrap();
    let held = Held::new(deployment, &proxy);
    let leader = tokio::spawn(async move {
        let insert = doc! {"insert": "c", "documents": [{"_id": -1}], "$db": "batched"};
        ask(&mut first, &insert).await
    });
    held.until_the_first_is_under_way();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let address = proxy.address().to_owned();
            tokio::spawn(async move { replies(&address, "batched", &[insert(client)]).await })
        })
        .collect();
    held.until_queued(CLIENTS as u64);
    leader.await.unwrap().unwrap();
    for (client, task) in clients.into_iter().enumerate() {
        let batched = task.await.unwrap();
        let alone = replies(address, "alone", &[insert(client as i32)]).await;
        assert_eq!(text(&batched[0]), text(&alone[0]));
    }
    proxy
}

/// Every sixth client's document is sound.
fn insert(client: i32) -> Document {
    let length = if client % 6 == 0 { 0 } else { 60_000 };
    doc! {"insert": "c", "documents": [{"_id": client, "v": "x".repeat(length)}]}
}
