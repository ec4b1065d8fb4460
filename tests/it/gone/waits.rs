//! Everything that a write waits for.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::{Kind, Writes};
use crate::batch::{ON, ONE_AT_ONCE, ask, failpoint, lsid};
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};
use crate::raw::{RawClient, Section, encode};

/// No wait ends by itself while a test runs.
const PATIENT: [(&str, &str); 3] = [
    ("upstream.failover_wait", "\"120s\""),
    ("upstream.wait_timeout", "\"120s\""),
    ("batch.max_wait", "\"120s\""),
];

fn with(settings: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&PATIENT[..], settings].concat()
}

/// A transaction around the proxy, which holds a document until it is aborted.
struct Holder {
    client: RawClient,
    session: Document,
}

impl Holder {
    async fn hold(address: &str, db: &str, collection: &str) -> Holder {
        let mut client = RawClient::connect(address).await.unwrap();
        let session = lsid();
        let create = doc! {"insert": collection, "documents": [{"_id": "held", "v": 0}], "$db": db};
        ask(&mut client, &create).await.unwrap();
        let mut hold = write_to_held(db, collection);
        hold.extend(doc! {
            "lsid": session.clone(), "txnNumber": 1_i64, "autocommit": false, "startTransaction": true,
        });
        let held = ask(&mut client, &hold).await.unwrap();
        assert_eq!(held.get_i32("n").ok(), Some(1), "{held}");
        Holder { client, session }
    }

    async fn let_go(mut self) {
        let abort = doc! {
            "abortTransaction": 1, "lsid": self.session, "txnNumber": 1_i64, "autocommit": false, "$db": "admin",
        };
        ask(&mut self.client, &abort).await.unwrap();
    }
}

fn write_to_held(db: &str, collection: &str) -> Document {
    doc! {"update": collection, "updates": [{"q": {"_id": "held"}, "u": {"$set": {"v": 1}}}], "$db": db}
}

/// Sends a write that is under way until the holder lets go.
async fn blocked(proxy: &Proxy, db: &str, collection: &str) -> RawClient {
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let sections = [Section::Body(encode(&write_to_held(db, collection)))];
    client.send(0, &sections).await.unwrap();
    wait::until("the blocked write holds its link", || {
        proxy.count("/pool/links") > proxy.count("/pool/idle")
    });
    client
}

async fn is_ok(client: &mut RawClient) -> bool {
    let reply = client.receive().await.unwrap().document().unwrap();
    let reply = Document::try_from(&*reply).unwrap();
    reply.get_i32("n").ok() == Some(1) && !reply.contains_key("writeErrors")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_primary_is_given_up_with_its_client() {
    let options = MongodOptions::default();
    let deployment = Deployment::start(options).await.unwrap();
    let proxy = Proxy::start(&deployment.seed_uri(), &with(&[ON]));
    for stepped_down in [true, false] {
        let db = shared::database("primary");
        let mut direct = Asker::connect(&deployment.addresses()[0]).await;
        let writes = Writes::prepare(&mut direct, &db, &Kind::ALL).await;
        let mut clients = writes.clients(&proxy).await;
        let before = proxy.count("/clients/given_up");
        match stepped_down {
            true => deployment.step_down(wait::PATIENCE * 2).await.unwrap(),
            false => deployment.kill(0).unwrap(),
        }
        writes.send(&mut clients).await;
        drop(clients);
        let all = Kind::ALL.len() as u64;
        wait::until("all are given up", || {
            proxy.count("/clients/given_up") == before + all
        });
        match stepped_down {
            true => {
                direct.ask(&doc! {"replSetFreeze": 0, "$db": "admin"}).await;
            }
            false => deployment.restart(0).await.unwrap(),
        }
        deployment.wait_for_primary(wait::PATIENCE).await.unwrap();
        let mut later = Asker::connect(proxy.address()).await;
        later
            .ask(&doc! {"insert": "later", "documents": [{}], "$db": &db})
            .await;
        let mut direct = Asker::connect(&deployment.addresses()[0]).await;
        assert!(writes.carried_out(&mut direct).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_link_or_for_its_namespaces_share_is_given_up_with_its_client() {
    let rs = shared::rs().await;
    let of_links = vec![("upstream.max_links", "1")];
    let of_share = vec![
        ("upstream.max_links", "4"),
        ("admission.namespace_share", "0.25"),
    ];
    for (settings, held) in [(of_links, "other"), (of_share, "c")] {
        let db = shared::database("links");
        let mut direct = Asker::connect(&rs.addresses()[0]).await;
        // (A merge waits for a link with two namespaces; it is one command all the same.)
        let writes = Writes::prepare(&mut direct, &db, &Kind::ALL).await;
        let proxy = Proxy::start(&rs.seed_uri(), &with(&settings));
        let mut clients = writes.clients(&proxy).await;
        let holder = Holder::hold(&rs.addresses()[0], &db, held).await;
        let mut first = blocked(&proxy, &db, held).await;
        writes.send(&mut clients).await;
        wait::until("they queue", || proxy.count("/admission/queued") > 0);
        drop(clients);
        writes.until_given_up(&proxy);
        holder.let_go().await;
        assert!(is_ok(&mut first).await, "{held}");
        assert!(writes.carried_out(&mut direct).await.is_empty(), "{held}");
        assert_eq!(proxy.count("/fences/quarantined"), 0, "nothing was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_queues_for_a_batch_leaves_the_queue_with_its_client_and_the_others_stay() {
    let rs = shared::rs().await;
    let db = shared::database("queue");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    let writes = Writes::prepare(&mut direct, &db, &[Kind::Update; 6]).await;
    let proxy = Proxy::start(&rs.seed_uri(), &with(&[ON, ONE_AT_ONCE]));
    crate::batch::held::until_it_batches(&proxy, &db, "c").await;
    let mut clients = writes.clients(&proxy).await;
    let holder = Holder::hold(&rs.addresses()[0], &db, "c").await;
    let mut first = blocked(&proxy, &db, "c").await;
    writes.send(&mut clients).await;
    wait::until("they queue", || proxy.count("/batch/waiting") == 6);
    let mut left = clients.split_off(3);
    drop(clients);
    wait::until("three have left", || proxy.count("/batch/waiting") == 3);
    assert_eq!(proxy.count("/clients/given_up"), 3);
    holder.let_go().await;
    assert!(is_ok(&mut first).await);
    for client in &mut left {
        assert!(is_ok(client).await);
    }
    assert!(writes.carried_out(&mut direct).await.into_iter().eq(3..6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_waits_for_a_link_goes_without_those_whose_clients_have_gone_or_not_at_all() {
    let rs = shared::rs().await;
    for gone in [3, 6] {
        let db = shared::database("batches");
        let mut direct = Asker::connect(&rs.addresses()[0]).await;
        let writes = Writes::prepare(&mut direct, &db, &[Kind::Insert; 6]).await;
        let settings = with(&[ON, ("batch.linger", "\"1ms\""), ("upstream.max_links", "1")]);
        let proxy = Proxy::start(&rs.seed_uri(), &settings);
        let mut early = Asker::connect(proxy.address()).await;
        wait::until_async("writes wait for each other", async || {
            let insert = doc! {"insert": "c", "documents": [{}], "$db": &db};
            early.ask(&insert).await;
            proxy.count("/batch/sent_alone/only_one") > 0
        })
        .await;
        let mut clients = writes.clients(&proxy).await;
        let holder = Holder::hold(&rs.addresses()[0], &db, "other").await;
        let mut first = blocked(&proxy, &db, "other").await;
        writes.send(&mut clients).await;
        // The first ones wait as a batch, the others for it.
        wait::until("a batch waits for the link", || {
            proxy.count("/admission/queued") > 0
        });
        let mut left = clients.split_off(gone);
        drop(clients);
        wait::until("they are given up", || {
            proxy.count("/clients/given_up") == gone as u64
        });
        holder.let_go().await;
        assert!(is_ok(&mut first).await);
        for client in &mut left {
            assert!(is_ok(client).await);
        }
        let later = doc! {"insert": "later", "documents": [{}], "$db": &db};
        Asker::connect(proxy.address()).await.ask(&later).await;
        let inserted = writes.carried_out(&mut direct).await;
        assert!(inserted.iter().copied().eq(gone as i32..6), "{inserted:?}");
        assert_eq!(proxy.count("/fences/quarantined"), 0, "nothing was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_pauses_before_its_retry_is_not_sent_again_once_its_client_has_gone() {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let deployment = Deployment::start(options).await.unwrap();
    let address = deployment.addresses().remove(0);
    let settings = with(&[
        ("retry.base_backoff", "\"120s\""),
        // However short the first pauses turn out.
        ("retry.overload_retries", "5"),
    ]);
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let mut direct = Asker::connect(&address).await;
    let writes = Writes::prepare(&mut direct, "d", &[Kind::Update, Kind::Insert]).await;
    let mut clients = writes.clients(&proxy).await;
    let mut operator = RawClient::connect(&address).await.unwrap();
    let overloaded = doc! {
        "failCommands": ["update", "insert"], "errorCode": 462,
        "errorLabels": ["SystemOverloadedError", "RetryableError"],
    };
    let before = failpoint(&mut operator, doc! {"mode": "alwaysOn", "data": overloaded}).await;
    writes.send(&mut clients).await;
    wait::until("both have been refused", || {
        proxy.count("/retry/overload_retries") >= 2
    });
    drop(clients);
    writes.until_given_up(&proxy);
    let after = failpoint(&mut operator, doc! {"mode": "off"}).await;
    assert!(after >= before + 2);
    assert!(writes.carried_out(&mut direct).await.is_empty());
}
