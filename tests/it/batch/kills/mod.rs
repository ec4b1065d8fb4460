//! Clients that behave like drivers, while something is killed under them.

mod mongod;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bson::{Document, doc};
use mongodb::Client;
use petiole::embedded::Deployment;
use tokio::task::JoinHandle;

use super::{Random, ask, lsid};
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

async fn retry_open(proxy: &Proxy, lives: &[Life], expected: impl Fn(&Document) -> bool) {
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    for command in lives.iter().filter_map(|life| life.open.as_ref()) {
        let reply = ask(&mut client, command).await.unwrap();
        assert!(expected(&reply), "{reply}");
    }
}
