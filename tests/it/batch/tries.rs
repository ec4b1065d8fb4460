//! How often a batch that fails is sent, counted at the server.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::{ON, ONE_AT_ONCE, ask, failpoint, lsid};
use crate::parts::proxy::Proxy;
use crate::parts::wait;
use crate::raw::{RawClient, Section, encode};

const FOLLOWERS: i32 = 6;

fn insert(id: i32) -> Document {
    doc! {"insert": "c", "documents": [{"_id": id}], "$db": "d"}
}

/// As a driver sends it.
fn retryable(id: i32) -> Document {
    let mut command = insert(id);
    command.extend(doc! {"lsid": lsid(), "txnNumber": 1_i64});
    command
}

/// Sends the first write, and the others while it is under way.
async fn send_behind_the_first(proxy: &Proxy, clients: &mut [RawClient], writes: &[Document]) {
    for (number, (write, client)) in writes.iter().zip(clients).enumerate() {
        client
            .send(0, &[Section::Body(encode(write))])
            .await
            .unwrap();
        if number == 0 {
            wait::until("the first is under way", || {
                proxy.count("/pool/links") > proxy.count("/pool/idle")
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_twice_at_most_and_each_drivers_retry_once_as_with_any_other_write() {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let deployment = Deployment::start(options).await.unwrap();
    let patient = ("batch.max_wait", "\"30s\"");
    let no_breaker = ("upstream.breaker_failures", "0");
    let settings = [ON, ONE_AT_ONCE, patient, no_breaker];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let mut direct = RawClient::connect(&deployment.addresses()[0])
        .await
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..=FOLLOWERS {
        clients.push(RawClient::connect(proxy.address()).await.unwrap());
    }
    ask(&mut clients[0], &insert(-1)).await.unwrap();
    // Slow enough for the others to queue behind the first.
    let data = doc! {
        "failCommands": ["insert"], "namespace": "d.c", "closeConnection": true, "blockConnection": true,
        "blockTimeMS": 1_500,
    };
    let before = failpoint(&mut direct, doc! {"mode": "alwaysOn", "data": data}).await;
    let writes: Vec<Document> = (0..=FOLLOWERS).map(retryable).collect();
    send_behind_the_first(&proxy, &mut clients, &writes).await;
    for client in &mut clients {
        let reply = client.receive().await.unwrap().document().unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    }
    let data = doc! {"failCommands": ["insert"], "namespace": "d.c", "closeConnection": true};
    let batched = failpoint(&mut direct, doc! {"mode": "alwaysOn", "data": data}).await;
    assert_eq!(proxy.count("/batch/size/max"), FOLLOWERS as u64);
    assert_eq!(
        batched - before,
        2 + 2,
        "the first alone, and the batch: {}",
        proxy.status()
    );
    for (write, client) in writes.iter().zip(&mut clients) {
        let reply = ask(client, write).await.unwrap();
        assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    }
    let again = failpoint(&mut direct, doc! {"mode": "off"}).await - batched;
    assert_eq!(again, writes.len() as i64, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_server_is_not_asked_for_each_write_of_a_batch() {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let deployment = Deployment::start(options).await.unwrap();
    let patient = ("batch.max_wait", "\"30s\"");
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ONE_AT_ONCE, patient]);
    let mut direct = RawClient::connect(&deployment.addresses()[0])
        .await
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..=FOLLOWERS {
        clients.push(RawClient::connect(proxy.address()).await.unwrap());
    }
    ask(&mut clients[0], &insert(-1)).await.unwrap();
    let labels = ["SystemOverloadedError", "RetryableError"];
    let data = doc! {
        "failCommands": ["insert"], "namespace": "d.c", "errorCode": 462, "errorLabels": labels.as_slice(),
        "blockConnection": true, "blockTimeMS": 1_000,
    };
    let before = failpoint(&mut direct, doc! {"mode": "alwaysOn", "data": data}).await;
    let of_all_kinds = |id: i32| {
        if id % 2 == 0 {
            insert(id)
        } else {
            retryable(id)
        }
    };
    let writes: Vec<Document> = (0..=FOLLOWERS).map(of_all_kinds).collect();
    send_behind_the_first(&proxy, &mut clients, &writes).await;
    for client in &mut clients {
        let reply = client.receive().await.unwrap().document().unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        assert_eq!(reply.get_i32("code").ok(), Some(462), "{reply}");
        assert_eq!(
            reply.get("errorLabels"),
            Some(&bson::bson!(labels.as_slice())),
            "{reply}"
        );
    }
    let asked = failpoint(&mut direct, doc! {"mode": "off"}).await - before;
    assert_eq!(proxy.count("/batch/size/max"), FOLLOWERS as u64);
    assert_eq!(
        asked,
        3 + 3,
        "the first alone, and the batch: {}",
        proxy.status()
    );
    for (write, client) in writes.iter().zip(&mut clients) {
        let reply = ask(client, write).await.unwrap();
        assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
    }
}
