//! How often a batch that fails is sent, counted at the server.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::held::{Held, until_it_batches};
use super::{ERRORS, ON, ONE_AT_ONCE, ask, failpoint, lsid};
use crate::parts::proxy::Proxy;
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

/// A server with failpoints, who sets them, a proxy, and its clients.
struct Parts {
    deployment: Deployment,
    direct: RawClient,
    proxy: Proxy,
    clients: Vec<RawClient>,
}

impl Parts {
    async fn start(more: &[(&str, &str)]) -> Parts {
        let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
        let deployment = Deployment::start(options).await.unwrap();
        let patient = ("batch.max_wait", "\"30s\"");
        let settings = [&[ON, ONE_AT_ONCE, patient, ERRORS], more].concat();
        let proxy = Proxy::start(&deployment.seed_uri(), &settings);
        let direct = RawClient::connect(&deployment.addresses()[0]).await;
        let mut clients = Vec::new();
        for _ in 0..=FOLLOWERS {
            clients.push(RawClient::connect(proxy.address()).await.unwrap());
        }
        let mut direct = direct.unwrap();
        ask(&mut direct, &doc! {"create": "c", "$db": "d"})
            .await
            .unwrap();
        until_it_batches(&proxy, "d", "c").await;
        Parts {
            deployment,
            direct,
            proxy,
            clients,
        }
    }

    /// Sends the first write, and the others while it is under way; what each is told.
    async fn send_behind_the_first(&mut self, writes: &[Document]) -> Vec<Document> {
        let held = Held::new(&self.deployment, &self.proxy);
        for (number, (write, client)) in writes.iter().zip(&mut self.clients).enumerate() {
            let sections = [Section::Body(encode(write))];
            client.send(0, &sections).await.unwrap();
            if number == 0 {
                held.until_the_first_is_under_way();
            }
        }
        held.until_queued(FOLLOWERS as u64);
        let mut replies = Vec::new();
        for client in &mut self.clients {
            let reply = client.receive().await.unwrap().document().unwrap();
            replies.push(Document::try_from(&*reply).unwrap());
        }
        assert_eq!(self.proxy.count("/batch/size/max"), FOLLOWERS as u64);
        replies
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_twice_at_most_and_each_drivers_retry_once_as_with_any_other_write() {
    let mut parts = Parts::start(&[("upstream.breaker_failures", "0")]).await;
    let data = doc! {"failCommands": ["insert"], "namespace": "d.c", "closeConnection": true};
    let fail = doc! {"mode": "alwaysOn", "data": data};
    let before = failpoint(&mut parts.direct, fail.clone()).await;
    let writes: Vec<Document> = (0..=FOLLOWERS).map(retryable).collect();
    for reply in parts.send_behind_the_first(&writes).await {
        assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    }
    let batched = failpoint(&mut parts.direct, fail).await;
    let status = || parts.proxy.status();
    assert_eq!(
        batched - before,
        2 + 2,
        "the first alone, and the batch: {}",
        status()
    );
    for (write, client) in writes.iter().zip(&mut parts.clients) {
        let reply = ask(client, write).await.unwrap();
        assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    }
    let again = failpoint(&mut parts.direct, doc! {"mode": "off"}).await - batched;
    assert_eq!(again, writes.len() as i64, "{}", status());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_server_is_not_asked_for_each_write_of_a_batch() {
    let mut parts = Parts::start(&[]).await;
    let labels = ["SystemOverloadedError", "RetryableError"];
    let data = doc! {
        "failCommands": ["insert"], "namespace": "d.c", "errorCode": 462, "errorLabels": labels.as_slice(),
    };
    let fail = doc! {"mode": "alwaysOn", "data": data};
    let before = failpoint(&mut parts.direct, fail).await;
    let of_all_kinds = |id: i32| match id % 2 {
        0 => insert(id),
        _ => retryable(id),
    };
    let writes: Vec<Document> = (0..=FOLLOWERS).map(of_all_kinds).collect();
    let labels = bson::bson!(labels.as_slice());
    for reply in parts.send_behind_the_first(&writes).await {
        assert_eq!(reply.get_i32("code").ok(), Some(462), "{reply}");
        assert_eq!(reply.get("errorLabels"), Some(&labels), "{reply}");
    }
    let asked = failpoint(&mut parts.direct, doc! {"mode": "off"}).await - before;
    let status = parts.proxy.status();
    assert_eq!(asked, 3 + 3, "the first alone, and the batch: {status}");
    for (write, client) in writes.iter().zip(&mut parts.clients) {
        let reply = ask(client, write).await.unwrap();
        assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
    }
}
