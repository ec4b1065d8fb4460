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

/// What each client writes.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// One document after the other.
    Insert,
    /// `$inc` in a document of its own.
    Increment,
}

/// What a client's life has brought.
#[derive(Default)]
struct Life {
    /// Its number.
    client: i32,
    /// Numbers of acknowledged writes.
    acknowledged: Vec<i32>,
    /// Sent, and the connection was gone before a reply had come.
    open: Option<Document>,
}

async fn deployment() -> Deployment {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    Deployment::start(options).await.unwrap()
}

/// Clients that write one after the other, and send a write again, with the same number,
/// until it is answered. `restless`: now and then they drop their connection right after sending.
/// They fail if an insert of theirs is ever called a duplicate of itself.
fn load(address: &str, seen: &Arc<Seen>, restless: bool, work: Work) -> Vec<JoinHandle<Life>> {
    (0..CLIENTS)
        .map(|number| {
            let (address, seen) = (address.to_owned(), Arc::clone(seen));
            tokio::spawn(async move { live(number, &address, &seen, restless, work).await })
        })
        .collect()
}

async fn live(number: i32, address: &str, seen: &Seen, restless: bool, work: Work) -> Life {
    let mut random = Random(104_729 * (number as u64 + 1));
    let mut life = Life {
        client: number,
        ..Life::default()
    };
    let session = lsid();
    let Ok(mut client) = RawClient::connect(address).await else {
        return life;
    };
    for write in 1.. {
        if seen.stop.load(Relaxed) {
            break;
        }
        let id = number * 1_000_000 + write;
        let mut command = match work {
            Work::Insert => doc! {"insert": "c", "documents": [{"_id": id}]},
            Work::Increment => {
                doc! {"update": "c", "updates": [{"q": {"_id": number}, "u": {"$inc": {"n": 1}}, "upsert": true}]}
            }
        };
        command.extend(doc! {
            "lsid": &session, "txnNumber": i64::from(write),
            "writeConcern": {"w": "majority", "j": true}, "$db": "d",
        });
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
                    if restless && random.below(10) == 0 {
                        // As if the reply had been lost.
                        let again = ask(&mut client, &command).await.unwrap();
                        assert!(
                            again.get_i32("n").ok() == Some(1) || retryable(&again),
                            "{again}"
                        );
                    }
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
async fn check(deployment: &Deployment, lives: &[Life], work: Work) {
    let client = Client::with_uri_str(deployment.uri()).await.unwrap();
    let c = client.database("d").collection::<Document>("c");
    let stored = async |id: i32| c.find_one(doc! {"_id": id}).await.unwrap();
    let sum = |of: fn(&Life) -> usize| lives.iter().map(of).sum::<usize>();
    let (acknowledged, open) = (
        sum(|l| l.acknowledged.len()),
        sum(|l| usize::from(l.open.is_some())),
    );
    match work {
        Work::Insert => {
            let ids = c.distinct("_id", doc! {}).await.unwrap();
            let ids: HashSet<i32> = ids.iter().map(|id| id.as_i32().unwrap()).collect();
            for id in lives.iter().flat_map(|life| &life.acknowledged) {
                assert!(ids.contains(id), "acknowledged and lost: {id}");
            }
            assert!(ids.len() <= acknowledged + open);
        }
        Work::Increment => {
            for life in lives {
                let n = stored(life.client)
                    .await
                    .map_or(0, |d| d.get_i32("n").unwrap());
                let (least, open) = (life.acknowledged.len(), usize::from(life.open.is_some()));
                assert!(
                    (least..=least + open).contains(&(n as usize)),
                    "{n} increments of {least} acknowledged and {open} open ones"
                );
            }
        }
    }
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

/// With `$inc`s batched too: exact as long as the proxy lives.
const ALWAYS: (&str, &str) = ("batch.retryable_updates", "\"always\"");

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_ask_again_get_their_write_done_once() {
    for work in [Work::Insert, Work::Increment] {
        let deployment = deployment().await;
        let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ALWAYS]);
        let seen = Arc::new(Seen::default());
        let tasks = load(proxy.address(), &seen, true, work);
        until_acknowledged(&seen, 1500).await;
        seen.stop.store(true, Relaxed);
        let lives = lives(tasks).await;
        check(&deployment, &lives, work).await;
        batched(&proxy);
        let answers = proxy.count("/batch/journal_answers");
        assert!(answers > 0, "{}", proxy.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_and_errors_at_any_point_lose_and_double_nothing() {
    trouble("insert", Work::Insert).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_and_errors_at_any_point_lose_and_double_no_increment() {
    trouble("update", Work::Increment).await;
}

async fn trouble(command: &str, work: Work) {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ALWAYS]);
    let direct = Client::with_uri_str(deployment.uri()).await.unwrap();
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, true, work);
    let fail = |data: Document| doc! {"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data};
    let commands = &[command];
    let commands = commands.as_slice();
    let labels = ["RetryableWriteError"].as_slice();
    let after = |data: Document| doc! {"configureFailPoint": "onPrimaryTransactionalWrite", "mode": {"times": 2}, "data": data};
    let troubles = [
        fail(doc! {"failCommands": commands, "closeConnection": true}),
        fail(doc! {"failCommands": commands, "errorCode": 91, "errorLabels": labels}),
        fail(doc! {"failCommands": commands, "errorCode": 11602}),
        fail(
            doc! {"failCommands": commands, "writeConcernError": {"code": 91, "errmsg": "x"}, "errorLabels": labels},
        ),
        after(doc! {"closeConnection": true}),
        after(doc! {"closeConnection": false, "failBeforeCommitExceptionCode": 11602}),
        after(doc! {"closeConnection": true, "failBeforeCommitExceptionCode": 11602}),
    ];
    for round in 0..6 {
        for trouble in &troubles {
            direct
                .database("admin")
                .run_command(trouble.clone())
                .await
                .unwrap();
            until_acknowledged(&seen, 60 + round).await;
        }
    }
    seen.stop.store(true, Relaxed);
    let lives = lives(tasks).await;
    check(&deployment, &lives, work).await;
    batched(&proxy);
    let retried = proxy.count("/retry/write_retries");
    assert!(retried > 0, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_killed_in_mid_load_loses_and_doubles_no_acknowledged_write() {
    for work in [Work::Insert, Work::Increment] {
        let deployment = deployment().await;
        let settings = [ON, ALWAYS, ("upstream.failover_wait", "\"30s\"")];
        let proxy = Proxy::start(&deployment.seed_uri(), &settings);
        let seen = Arc::new(Seen::default());
        let tasks = load(proxy.address(), &seen, true, work);
        for _ in 0..2 {
            until_acknowledged(&seen, 300).await;
            deployment.kill(0).unwrap();
            deployment.restart(0).await.unwrap();
            deployment
                .wait_for_primary(Duration::from_secs(30))
                .await
                .unwrap();
        }
        until_acknowledged(&seen, 300).await;
        seen.stop.store(true, Relaxed);
        let lives = lives(tasks).await;
        check(&deployment, &lives, work).await;
        batched(&proxy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_answers_what_it_has_begun() {
    for work in [Work::Insert, Work::Increment] {
        let deployment = deployment().await;
        let mut proxy = Proxy::start(&deployment.seed_uri(), &[ON, ALWAYS]);
        let seen = Arc::new(Seen::default());
        let tasks = load(proxy.address(), &seen, false, work);
        until_acknowledged(&seen, 500).await;
        batched(&proxy);
        proxy.signal("TERM");
        let lives = lives(tasks).await;
        wait::until("the proxy ends", || proxy.ended().is_some());
        assert!(proxy.ended().unwrap().success(), "{}", proxy.log());
        check(&deployment, &lives, work).await;
        // What was cut off was never begun.
        let again = Proxy::start(&deployment.seed_uri(), &[ON]);
        retry_open(&again, &lives, |reply| reply.get_i32("n").ok() == Some(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_loses_no_acknowledged_write_and_a_retry_applies_nothing_twice() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, false, Work::Insert);
    until_acknowledged(&seen, 500).await;
    batched(&proxy);
    proxy.signal("KILL");
    let lives = lives(tasks).await;
    check(&deployment, &lives, Work::Insert).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn increments_that_may_be_sent_again_go_alone_and_outlive_a_killed_proxy() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, false, Work::Increment);
    until_acknowledged(&seen, 300).await;
    assert!(proxy.count("/batch/sent_alone/retryable") >= 300);
    proxy.signal("KILL");
    let mut lives = lives(tasks).await;
    let again = Proxy::start(&deployment.seed_uri(), &[ON]);
    retry_open(&again, &lives, |reply| reply.get_i32("n").ok() == Some(1)).await;
    for life in &mut lives {
        if life.open.take().is_some() {
            life.acknowledged.push(0);
        }
    }
    check(&deployment, &lives, Work::Increment).await;
}

async fn retry_open(proxy: &Proxy, lives: &[Life], expected: impl Fn(&Document) -> bool) {
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    for command in lives.iter().filter_map(|life| life.open.as_ref()) {
        let reply = ask(&mut client, command).await.unwrap();
        assert!(expected(&reply), "{reply}");
    }
}
