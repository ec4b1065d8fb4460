//! How often a batch that fails is sent, counted at the server.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::{ON, ask};
use crate::parts::proxy::Proxy;
use crate::parts::wait;
use crate::raw::{RawClient, Section, encode};

const FOLLOWERS: i32 = 6;

fn insert(id: i32) -> Document {
    doc! {"insert": "c", "documents": [{"_id": id}], "$db": "d"}
}

/// Sets the failpoint; how many commands it has met so far.
async fn failpoint(direct: &mut RawClient, how: Document) -> i64 {
    let mut set = doc! {"configureFailPoint": "failCommand"};
    set.extend(how);
    set.insert("$db", "admin");
    let reply = ask(direct, &set).await.unwrap();
    assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "{reply}");
    let count = reply.get_i64("count");
    count
        .or_else(|_| reply.get_i32("count").map(i64::from))
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_twice_at_most_as_any_other_write() {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let deployment = Deployment::start(options).await.unwrap();
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ("batch.max_wait", "\"30s\"")]);
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
    for (id, client) in (0..).zip(&mut clients) {
        client
            .send(0, &[Section::Body(encode(&insert(id)))])
            .await
            .unwrap();
        if id == 0 {
            wait::until("the first is under way", || {
                proxy.count("/pool/links") > proxy.count("/pool/idle")
            });
        }
    }
    for client in &mut clients {
        let reply = client.receive().await.unwrap().document().unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    }
    let tries = failpoint(&mut direct, doc! {"mode": "off"}).await - before;
    assert_eq!(proxy.count("/batch/size/max"), FOLLOWERS as u64);
    assert_eq!(
        tries,
        2 + 2,
        "the first alone, and the batch: {}",
        proxy.status()
    );
}
