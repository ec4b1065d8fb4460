//! What may be merged depends on what the collection is, and that may change around the proxy.

use bson::{Bson, DateTime, Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::held::{Held, until_it_batches};
use super::{ON, ONE_AT_ONCE, ask};
use crate::parts::proxy::Proxy;
use crate::parts::wait;
use crate::raw::{RawClient, Section, encode};

const CLIENTS: i32 = 6;

/// No write is late because the server stands still for a moment.
const PATIENT: (&str, &str) = ("batch.max_wait", "\"30s\"");
/// Nothing tells the proxy what happens around it.
const UNWATCHED: (&str, &str) = ("cache.external_writes", "\"ttl\"");

struct Parts {
    deployment: Deployment,
    direct: RawClient,
    proxy: Proxy,
    clients: Vec<RawClient>,
}

impl Parts {
    async fn start(more: &[(&str, &str)]) -> Parts {
        let deployment = Deployment::start(MongodOptions::default()).await.unwrap();
        let settings = [&[ON, ONE_AT_ONCE, PATIENT], more].concat();
        let proxy = Proxy::start(&deployment.seed_uri(), &settings);
        let direct = RawClient::connect(&deployment.addresses()[0]).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(RawClient::connect(proxy.address()).await.unwrap());
        }
        Parts {
            deployment,
            direct: direct.unwrap(),
            proxy,
            clients,
        }
    }

    async fn direct(&mut self, command: Document) -> Document {
        let reply = ask(&mut self.direct, &command).await.unwrap();
        assert!(!reply.contains_key("code"), "{command}: {reply}");
        reply
    }

    /// Each client's write, all under way at once.
    async fn send(&mut self, write: impl Fn(i32) -> Document) {
        for (client, id) in self.clients.iter_mut().zip(0..) {
            let sections = [Section::Body(encode(&write(id)))];
            client.send(0, &sections).await.unwrap();
        }
    }

    async fn replies(&mut self) -> Vec<Document> {
        let mut replies = Vec::new();
        for client in &mut self.clients {
            let reply = client.receive().await.unwrap().document().unwrap();
            replies.push(Document::try_from(&*reply).unwrap());
        }
        replies
    }

    fn alone(&self, why: &str) -> u64 {
        self.proxy.count(&format!("/batch/sent_alone/{why}"))
    }

    async fn count(&mut self, collection: &str) -> i32 {
        let count = doc! {"count": collection, "query": {}, "$db": "d"};
        self.direct(count).await.get_i32("n").unwrap()
    }
}

fn measurement(collection: &str, id: i32) -> Document {
    let document = doc! {"_id": id, "t": DateTime::from_millis(0), "of": 1};
    doc! {"insert": collection, "documents": [document], "$db": "d"}
}

#[tokio::test(flavor = "multi_thread")]
async fn time_series_capped_collections_and_views_are_never_batched() {
    let mut parts = Parts::start(&[]).await;
    let kinds = [
        (doc! {"timeseries": {"timeField": "t"}}, 1),
        (doc! {"capped": true, "size": 100_000}, 1),
        (doc! {"viewOn": "ordinary", "pipeline": []}, 0),
    ];
    for (number, (options, n)) in kinds.into_iter().enumerate() {
        let name = format!("c{number}");
        let mut create = doc! {"create": &name};
        create.extend(options);
        create.insert("$db", "d");
        parts.direct(create).await;
        let before = parts.alone("collection");
        let mut first = RawClient::connect(parts.proxy.address()).await.unwrap();
        wait::until_async("the proxy knows what it is", async || {
            ask(&mut first, &measurement(&name, -1)).await.unwrap();
            parts.alone("collection") > before
        })
        .await;
        // Batched, all but one would wait for the one that is under way.
        let before = parts.alone("collection");
        let held = Held::new(&parts.deployment, &parts.proxy);
        for (client, id) in parts.clients.iter_mut().zip(0..) {
            let sections = [Section::Body(encode(&measurement(&name, id)))];
            client.send(0, &sections).await.unwrap();
        }
        wait::until("all are under way, each by itself", || {
            parts.alone("collection") == before + CLIENTS as u64
        });
        held.until_queued(0);
        for reply in parts.replies().await {
            assert_eq!(reply.get_i32("n").unwrap_or(0), n, "{reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_made_anew_around_the_proxy_refuses_what_was_merged_for_the_old_one() {
    let mut parts = Parts::start(&[UNWATCHED]).await;
    parts.direct(doc! {"create": "c", "$db": "d"}).await;
    until_it_batches(&parts.proxy, "d", "c").await;
    let update = |id: i32| {
        let update = doc! {"q": {"_id": id}, "u": {"$inc": {"n": 1}}, "upsert": true};
        doc! {"update": "c", "updates": [update], "$db": "d"}
    };
    // The proxy can't see the moment in which the name changes its meaning. So this goes on until that was between its
    // question and a batch.
    let mut round = 0;
    wait::until_async("a batch was refused", async || {
        round += 1;
        parts.direct(doc! {"drop": "c", "$db": "d"}).await;
        parts.direct(doc! {"create": "c", "$db": "d"}).await;
        parts.send(update).await;
        for reply in parts.replies().await {
            assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
            assert!(!reply.contains_key("writeErrors"), "{reply}");
        }
        assert_eq!(parts.count("c").await, CLIENTS, "round {round}");
        parts.alone("refused") > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_redefined_as_a_time_series_around_the_proxy_is_no_longer_batched() {
    for settings in [&[][..], &[UNWATCHED]] {
        let mut parts = Parts::start(settings).await;
        parts.direct(doc! {"create": "c", "$db": "d"}).await;
        until_it_batches(&parts.proxy, "d", "c").await;
        parts.direct(doc! {"drop": "c", "$db": "d"}).await;
        let create = doc! {"create": "c", "timeseries": {"timeField": "t"}, "$db": "d"};
        parts.direct(create).await;
        let before = parts.alone("collection");
        let mut sent = 0;
        wait::until_async("the proxy knows what it is", async || {
            parts.send(|id| measurement("c", id)).await;
            for reply in parts.replies().await {
                assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
            }
            sent += CLIENTS;
            parts.alone("collection") > before
        })
        .await;
        assert_eq!(parts.count("c").await, sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_for_which_a_server_refuses_the_command_takes_no_other_with_it() {
    let mut parts = Parts::start(&[]).await;
    parts.direct(doc! {"create": "c", "$db": "d"}).await;
    until_it_batches(&parts.proxy, "d", "c").await;
    let deep =
        |levels: usize| (0..levels).fold(Bson::Int32(1), |inner, _| doc! {"a": inner}.into());
    let pipeline = vec![doc! {"$nothing": {"a": 1}}];
    let odd = [
        doc! {"insert": "c", "documents": [{"_id": 100, "a": deep(190)}], "$db": "d"},
        doc! {"insert": "c", "documents": [{"_id": 101, "a": deep(150)}], "$db": "d"},
        doc! {"insert": "c", "documents": [{"_id": {"$a": 1}}], "$db": "d"},
        doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": pipeline}], "$db": "d"},
    ];
    let mut directly = Vec::new();
    for command in &odd {
        let mut command = command.clone();
        command.insert("$db", "directly");
        directly.push(ask(&mut parts.direct, &command).await.unwrap());
    }
    let held = Held::new(&parts.deployment, &parts.proxy);
    let mut odd_clients = Vec::new();
    let (first, others) = parts.clients.split_first_mut().unwrap();
    let insert = |id: i32| doc! {"insert": "c", "documents": [{"_id": id}], "$db": "d"};
    let send = async |client: &mut RawClient, command: &Document| {
        let sections = [Section::Body(encode(command))];
        client.send(0, &sections).await.unwrap();
    };
    send(first, &insert(0)).await;
    held.until_the_first_is_under_way();
    for (client, id) in others.iter_mut().zip(1..) {
        send(client, &insert(id)).await;
    }
    for command in &odd {
        let mut client = RawClient::connect(parts.proxy.address()).await.unwrap();
        send(&mut client, command).await;
        odd_clients.push(client);
    }
    wait::until("they are under way, each by itself", || {
        parts.proxy.count("/batch/sent_alone/document") == odd.len() as u64
    });
    held.until_queued(CLIENTS as u64 - 1);
    for reply in parts.replies().await {
        assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
    }
    let outcome = |reply: &Document| {
        let error = reply.get_array("writeErrors").ok().and_then(|e| e.first());
        let of_document = error.and_then(|e| e.as_document()?.get_i32("code").ok());
        (
            reply.get_i32("n").ok(),
            reply.get_i32("code").ok(),
            of_document,
        )
    };
    for (client, directly) in odd_clients.iter_mut().zip(&directly) {
        let reply = client.receive().await.unwrap().document().unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        assert_eq!(outcome(&reply), outcome(directly), "{reply}");
    }
    assert_eq!(parts.alone("refused"), 0, "{}", parts.proxy.status());
    assert_eq!(parts.proxy.count("/batch/size/max"), CLIENTS as u64 - 1);
}
