//! Clients that behave like drivers, while something is killed under them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use petiole::embedded::{Deployment, MongodOptions};
use tokio::task::JoinHandle;

use super::{ON, Random, ask, lsid};
use crate::parts::proxy::Proxy;
use crate::parts::wait;
use crate::raw::{ClientError, RawClient, Section, encode};

const CLIENTS: i32 = 32;

/// What a load has seen so far.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

/// What a client's life has brought.
#[derive(Default)]
struct Life {
    /// Ids of acknowledged writes.
    acknowledged: Vec<i32>,
    /// Sent, and the connection was gone before a reply had come.
    open: Option<Document>,
}

async fn deployment() -> Deployment {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    Deployment::start(options).await.unwrap()
}

/// Clients that write one document after the other, and send a write again, with the same number,
/// until it is answered. `restless`: now and then they drop their connection right after sending.
/// They fail if a write of theirs is ever called a duplicate of itself.
fn load(address: &str, seen: &Arc<Seen>, restless: bool) -> Vec<JoinHandle<Life>> {
    (0..CLIENTS)
        .map(|number| {
            let (address, seen) = (address.to_owned(), Arc::clone(seen));
            tokio::spawn(async move { live(number, &address, &seen, restless).await })
        })
        .collect()
}

async fn live(number: i32, address: &str, seen: &Seen, restless: bool) -> Life {
    let mut random = Random(104_729 * (number as u64 + 1));
    let mut life = Life::default();
    let session = lsid();
    let Ok(mut client) = RawClient::connect(address).await else {
        return life;
    };
    for write in 1.. {
        if seen.stop.load(Relaxed) {
            break;
        }
        let id = number * 1_000_000 + write;
        let concern = doc! {"w": "majority", "j": true};
        let command = doc! {
            "insert": "c", "documents": [{"_id": id}], "lsid": &session, "txnNumber": i64::from(write),
            "writeConcern": concern, "$db": "d",
        };
        loop {
            if restless && random.below(10) == 0 {
                let sent = client.send(0, &[Section::Body(encode(&command))]).await;
                client = match RawClient::connect(address).await {
                    Ok(client) if sent.is_ok() => client,
                    _ => break,
                };
            }
            match ask(&mut client, &command).await {
                Ok(reply) if reply.get_f64("ok").unwrap() == 1.0 && !retryable(&reply) => {
                    assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
                    life.acknowledged.push(id);
                    seen.acknowledged.fetch_add(1, Relaxed);
                    break;
                }
                Ok(reply) => assert!(retryable(&reply), "{reply}"),
                Err(ClientError::Closed | ClientError::Io(_)) => {
                    life.open = Some(command);
                    return life;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    life
}

fn retryable(reply: &Document) -> bool {
    let labels = reply.get_array("errorLabels");
    labels.is_ok_and(|labels| {
        labels
            .iter()
            .any(|l| l.as_str() == Some("RetryableWriteError"))
    })
}

async fn lives(tasks: Vec<JoinHandle<Life>>) -> Vec<Life> {
    let mut lives = Vec::new();
    for task in tasks {
        lives.push(task.await.unwrap());
    }
    lives
}

/// Every acknowledged write is there, and nothing is there that nobody sent.
async fn check(deployment: &Deployment, lives: &[Life]) -> usize {
    let client = Client::with_uri_str(deployment.uri()).await.unwrap();
    let c = client.database("d").collection::<Document>("c");
    let stored: HashSet<i32> = c
        .distinct("_id", doc! {})
        .await
        .unwrap()
        .iter()
        .map(|id| id.as_i32().unwrap())
        .collect();
    let mut acknowledged = 0;
    for life in lives {
        for id in &life.acknowledged {
            assert!(stored.contains(id), "acknowledged and lost: {id}");
        }
        acknowledged += life.acknowledged.len();
    }
    let open = lives.iter().filter(|l| l.open.is_some()).count();
    assert!(stored.len() <= acknowledged + open);
    acknowledged
}

async fn until_acknowledged(seen: &Seen, more: usize) {
    let target = seen.acknowledged.load(Relaxed) + more;
    wait::until_async("writes go on", async || {
        seen.acknowledged.load(Relaxed) >= target
    })
    .await;
}

fn batched(proxy: &Proxy) {
    let status = proxy.status();
    println!("{:#}", status["batch"]);
    assert!(proxy.count("/batch/size/max") >= 8, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_ask_again_get_their_write_done_once() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, true);
    until_acknowledged(&seen, 3000).await;
    seen.stop.store(true, Relaxed);
    let lives = lives(tasks).await;
    check(&deployment, &lives).await;
    batched(&proxy);
    assert!(
        proxy.count("/batch/journal_answers") > 0,
        "{}",
        proxy.status()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_and_errors_at_any_point_lose_and_double_nothing() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let direct = Client::with_uri_str(deployment.uri()).await.unwrap();
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, true);
    let fail = |data: Document| doc! {"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data};
    let insert = ["insert"].as_slice();
    let labels = ["RetryableWriteError"].as_slice();
    let after = |data: Document| doc! {"configureFailPoint": "onPrimaryTransactionalWrite", "mode": {"times": 2}, "data": data};
    let troubles = [
        fail(doc! {"failCommands": insert, "closeConnection": true}),
        fail(doc! {"failCommands": insert, "errorCode": 91, "errorLabels": labels}),
        fail(doc! {"failCommands": insert, "errorCode": 11602}),
        fail(
            doc! {"failCommands": insert, "writeConcernError": {"code": 91, "errmsg": "x"}, "errorLabels": labels},
        ),
        after(doc! {"closeConnection": true}),
        after(doc! {"closeConnection": false, "failBeforeCommitExceptionCode": 11602}),
        after(doc! {"closeConnection": true, "failBeforeCommitExceptionCode": 11602}),
    ];
    for round in 0..8 {
        for trouble in &troubles {
            direct
                .database("admin")
                .run_command(trouble.clone())
                .await
                .unwrap();
            until_acknowledged(&seen, 100 + round).await;
        }
    }
    seen.stop.store(true, Relaxed);
    let lives = lives(tasks).await;
    check(&deployment, &lives).await;
    batched(&proxy);
    assert!(
        proxy.count("/batch/batches_resent") > 10,
        "{}",
        proxy.status()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_killed_in_mid_load_loses_no_acknowledged_write() {
    let deployment = deployment().await;
    let settings = [ON, ("upstream.failover_wait", "\"30s\"")];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, true);
    for _ in 0..3 {
        until_acknowledged(&seen, 500).await;
        deployment.kill(0).unwrap();
        deployment.restart(0).await.unwrap();
        deployment
            .wait_for_primary(Duration::from_secs(30))
            .await
            .unwrap();
    }
    until_acknowledged(&seen, 500).await;
    seen.stop.store(true, Relaxed);
    let lives = lives(tasks).await;
    check(&deployment, &lives).await;
    batched(&proxy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_answers_what_it_has_begun() {
    let deployment = deployment().await;
    let mut proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, false);
    until_acknowledged(&seen, 1000).await;
    batched(&proxy);
    proxy.signal("TERM");
    let lives = lives(tasks).await;
    wait::until("the proxy ends", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success(), "{}", proxy.log());
    check(&deployment, &lives).await;
    // What was cut off was never begun.
    let again = Proxy::start(&deployment.seed_uri(), &[ON]);
    retry_open(&again, &lives, |reply| reply.get_i32("n").ok() == Some(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_loses_no_acknowledged_write_and_a_retry_applies_nothing_twice() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, false);
    until_acknowledged(&seen, 1000).await;
    proxy.signal("KILL");
    let lives = lives(tasks).await;
    check(&deployment, &lives).await;
    // As the config says: done once, and at worst called a duplicate of itself.
    let again = Proxy::start(&deployment.seed_uri(), &[ON]);
    retry_open(&again, &lives, |reply| {
        let errors = reply.get_array("writeErrors");
        let code = errors
            .ok()
            .and_then(|e| e[0].as_document()?.get_i32("code").ok());
        reply.get_i32("n").ok() == Some(1) || code == Some(11000)
    })
    .await;
}

async fn retry_open(proxy: &Proxy, lives: &[Life], expected: impl Fn(&Document) -> bool) {
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    for command in lives.iter().filter_map(|life| life.open.as_ref()) {
        let reply = ask(&mut client, command).await.unwrap();
        assert!(expected(&reply), "{reply}");
    }
}
