//! Clients whose writes have numbers: they send one again until it is answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bson::{Document, doc};

use super::{Load, Manner, Seen, collection};
use crate::batch::{Random, ask, lsid};
use crate::parts::proxy::Proxy;
use crate::raw::{ClientError, RawClient, Section, encode};

/// What each client writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// One document after the other.
    Insert,
    /// `$inc` in a document of its own.
    Increment,
    /// `$set` of the number in a document of its own: may be applied twice.
    Assign,
}

/// What a client's life has brought.
#[derive(Default)]
pub struct Life {
    /// Its number.
    client: i32,
    /// Numbers of acknowledged writes.
    acknowledged: Vec<i32>,
    /// Replies that call an insert a duplicate of itself. (It is counted as acknowledged.)
    duplicates: Vec<Document>,
    /// Sent, and the connection was gone before a reply had come.
    open: Option<Document>,
}

impl Load for Work {
    type Life = Life;

    async fn live(self, number: i32, address: String, seen: Arc<Seen>, manner: Manner) -> Life {
        live(self, number, &address, &seen, manner).await
    }

    async fn check(self, uri: &str, lives: &[Life]) {
        check(self, uri, lives).await;
    }
}

/// Writes one after the other, and sends a write again, with the same number, until it is answered.
async fn live(work: Work, number: i32, address: &str, seen: &Seen, manner: Manner) -> Life {
    let restless = manner == Manner::Restless;
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
        let id = number * LARGEST + write;
        let mut command = statement(work, number, id);
        command.extend(doc! {
            "lsid": &session, "txnNumber": i64::from(write),
            "writeConcern": {"w": "majority", "j": true}, "$db": "d",
        });
        loop {
            if restless && random.below(10) == 0 {
                let sent = client.send(0, &[Section::Body(encode(&command))]).await;
                client = match RawClient::connect(address).await {
                    Ok(client) if sent.is_ok() => client,
                    _ => {
                        life.open = Some(command);
                        return life;
                    }
                };
            }
            match ask(&mut client, &command).await {
                Ok(reply) if is_own_duplicate(work, id, &reply) => {
                    life.acknowledged.push(id);
                    life.duplicates.push(reply);
                    seen.acknowledged.fetch_add(1, Relaxed);
                    break;
                }
                Ok(reply) if reply.get_f64("ok").unwrap() == 1.0 && !retryable(&reply) => {
                    assert!(is_done(&reply), "{reply}");
                    life.acknowledged.push(id);
                    seen.acknowledged.fetch_add(1, Relaxed);
                    if restless && random.below(10) == 0 {
                        // As if the reply had been lost.
                        let again = ask(&mut client, &command).await.unwrap();
                        if is_own_duplicate(work, id, &again) {
                            life.duplicates.push(again);
                        } else {
                            assert!(is_done(&again) || retryable(&again), "{again}");
                        }
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

fn statement(work: Work, client: i32, id: i32) -> Document {
    let update = |u: Document| {
        doc! {"update": "c", "updates": [{"q": {"_id": client}, "u": u, "upsert": true}]}
    };
    match work {
        Work::Insert => doc! {"insert": "c", "documents": [{"_id": id}]},
        Work::Increment => update(doc! {"$inc": {"n": 1}}),
        Work::Assign => update(doc! {"$set": {"n": id % LARGEST}}),
    }
}

fn retryable(reply: &Document) -> bool {
    let labels = reply.get_array("errorLabels");
    labels.is_ok_and(|labels| {
        labels
            .iter()
            .any(|l| l.as_str() == Some("RetryableWriteError"))
    })
}

fn is_own_duplicate(work: Work, id: i32, reply: &Document) -> bool {
    let of = |reply: &Document| {
        let error = reply.get_array("writeErrors").ok()?.first()?.clone();
        let error = error.as_document()?.clone();
        let key = error.get_document("keyValue").ok()?.get_i32("_id").ok()?;
        Some((error.get_i32("code").ok()?, key))
    };
    work == Work::Insert && of(reply) == Some((11000, id))
}

async fn check(work: Work, uri: &str, lives: &[Life]) {
    let c = collection(uri).await;
    let acknowledged: usize = lives.iter().map(|l| l.acknowledged.len()).sum();
    let open = lives.iter().filter(|l| l.open.is_some()).count();
    if work == Work::Insert {
        let ids = c.distinct("_id", doc! {}).await.unwrap();
        let ids: HashSet<i32> = ids.iter().map(|id| id.as_i32().unwrap()).collect();
        for id in lives.iter().flat_map(|life| &life.acknowledged) {
            assert!(ids.contains(id), "acknowledged and lost: {id}");
        }
        assert!(ids.len() <= acknowledged + open);
        return;
    }
    for life in lives {
        let stored = c.find_one(doc! {"_id": life.client}).await.unwrap();
        let n = stored.map_or(0, |d| d.get_i32("n").unwrap());
        let least = match work {
            Work::Assign => life.acknowledged.last().map_or(0, |id| id % LARGEST),
            _ => life.acknowledged.len() as i32,
        };
        let most = least + i32::from(life.open.is_some());
        assert!(
            (least..=most).contains(&n),
            "{work:?}: {n}, of {least} acknowledged and {most} sent"
        );
    }
}

/// No insert was called a duplicate of itself.
pub fn none_is_its_own_duplicate(lives: &[Life]) {
    for life in lives {
        assert!(life.duplicates.is_empty(), "{:?}", life.duplicates);
    }
}

/// Sends what is open once more, as its driver would.
pub async fn retry_open(proxy: &Proxy, lives: &[Life], expected: impl Fn(&Document) -> bool) {
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    for command in lives.iter().filter_map(|life| life.open.as_ref()) {
        let reply = ask(&mut client, command).await.unwrap();
        assert!(expected(&reply), "{reply}");
    }
}

/// What was open has been acknowledged meanwhile.
pub fn all_are_answered(lives: &mut [Life]) {
    for life in lives {
        if life.open.take().is_some() {
            let last = life.acknowledged.last().copied();
            let last = last.unwrap_or(life.client * LARGEST);
            life.acknowledged.push(last + 1);
        }
    }
}

/// `n` of a reply is 1.
pub fn is_done(reply: &Document) -> bool {
    reply.get_i32("n").ok() == Some(1)
}

/// Done once, and at worst called a duplicate of itself.
pub fn is_done_or_duplicate(reply: &Document) -> bool {
    let errors = reply.get_array("writeErrors");
    let code = errors
        .ok()
        .and_then(|e| e[0].as_document()?.get_i32("code").ok());
    is_done(reply) || code == Some(11000)
}

/// More writes than a client makes.
const LARGEST: i32 = 1_000_000;
