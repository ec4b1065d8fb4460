//! Updates, upserts and deletes by `_id`: each reply is the one that the same server gives without
//! batching and without trouble, and each document is what it makes of it.
//!
//! Clients of even numbers send a write, under one number, until it is answered: it is applied once.
//! The others send it once; after an error either may be, and they leave that document alone.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};

use super::super::model::{Bulk, Model};
use super::super::singles::{delete, numbered, statement};
use super::super::{Setup, run};
use super::{Random, attempt, persist, troubles};
use crate::config::{self, RetryableUpdates};
use crate::pipeline::scripted::request;
use crate::pipeline::{Fences, Pipeline};

const CLIENTS: u8 = 24;
const WRITES: i64 = 16;
/// Documents that all numbered clients increment.
const SHARED: std::ops::Range<i32> = 1_000_000..1_000_004;

/// The same server by itself: what it answers, and what it holds then.
struct Alone {
    pipeline: Pipeline,
    model: Arc<Model>,
}

impl Alone {
    fn new(bulk: Bulk) -> Alone {
        let model = Arc::new(Model::with(bulk));
        let fences = Fences::new(Duration::from_secs(90));
        let pipeline = Pipeline::new(Vec::new(), model.clone(), fences);
        Alone { pipeline, model }
    }

    async fn reply(&self, command: &Document) -> Document {
        run(&self.pipeline, request(command)).await.unwrap()
    }
}

/// What one client has to say in the end.
#[derive(Default)]
struct Report {
    /// Of shared documents: which, and whether its increment inserted it.
    shared: Vec<(i32, bool)>,
    /// Its own documents that may or may not be what this last write makes of them.
    unclear: Vec<(i32, Document)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_fails_each_change_is_answered_and_applied_as_if_alone() {
    for seed in 1..=60 {
        let bulk = [Bulk::None, Bulk::Numbered, Bulk::Unnumbered][seed as usize % 3];
        let config = config::Batch {
            at_once: 1,
            max_wait: Duration::from_secs(30),
            retryable_updates: match seed % 2 {
                0 => RetryableUpdates::Always,
                _ => RetryableUpdates::Idempotent,
            },
            ..config::Batch::default()
        };
        let model = Model::with(bulk);
        model.trouble(troubles(&mut Random(seed)));
        let setup = Arc::new(Setup::with(model, config).await);
        let alone = Arc::new(Alone::new(bulk));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(live(client, seed, setup.clone(), alone.clone())))
            .collect();
        let mut increments = [0; SHARED.end as usize - SHARED.start as usize];
        let mut inserts = increments;
        for (client, life) in clients.into_iter().enumerate() {
            let report = life.await.unwrap();
            for (id, inserted) in report.shared {
                let at = (id - SHARED.start) as usize;
                increments[at] += 1;
                inserts[at] += i32::from(inserted);
            }
            for id in own(client as u8) {
                let last = report.unclear.iter().find(|(unclear, _)| *unclear == id);
                let mut may_be = vec![alone.model.document(id)];
                if let Some((_, last)) = last {
                    alone.reply(last).await;
                    may_be.push(alone.model.document(id));
                }
                let is = setup.model.document(id);
                assert!(
                    may_be.contains(&is),
                    "seed {seed} {bulk:?}: {is:?}, not {may_be:?} by {last:?}"
                );
            }
        }
        for (id, (n, inserts)) in SHARED.zip(increments.iter().zip(inserts)) {
            let is = setup
                .model
                .document(id)
                .map_or(0, |d| d.get_i32("n").unwrap());
            assert_eq!(is, *n, "seed {seed} {bulk:?}: increments of {id}");
            assert_eq!(inserts, i32::from(*n > 0), "seed {seed} {bulk:?}: {id}");
        }
        let stats = setup.batch.stats();
        assert!(stats.by_kind().any(|(_, _, batched)| batched > 0));
    }
}

/// Ids of a client's own documents.
fn own(client: u8) -> std::ops::Range<i32> {
    let first = i32::from(client) * 100;
    first..first + 4
}

async fn live(client: u8, seed: u64, setup: Arc<Setup>, alone: Arc<Alone>) -> Report {
    let mut random = Random(seed * 1000 + u64::from(client) + 1);
    let mut report = Report::default();
    let has_numbers = client.is_multiple_of(2);
    for number in 1..=WRITES {
        if has_numbers && random.below(6) == 0 {
            let id = SHARED.start + random.below(SHARED.len() as u64) as i32;
            let increment = statement(id, doc! {"$inc": {"n": 1}}, true);
            let reply = persist(&setup, &numbered(increment, client, number), &mut random).await;
            let inserted = reply.contains_key("upserted");
            let modified = i32::from(!inserted);
            assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
            assert_eq!(reply.get_i32("nModified").ok(), Some(modified), "{reply}");
            report.shared.push((id, inserted));
            continue;
        }
        let id = own(client).start + random.below(4) as i32;
        if report.unclear.iter().any(|(unclear, _)| *unclear == id) {
            continue;
        }
        let (write, is_idempotent) = change(id, &mut random);
        let reply = match has_numbers {
            true => {
                let write = numbered(write.clone(), client, number);
                Some(persist(&setup, &write, &mut random).await)
            }
            false => attempt(&setup, &write, &mut random).await,
        };
        let Some(reply) = reply else {
            report.unclear.push((id, write));
            continue;
        };
        let mut may_be = vec![alone.reply(&write).await];
        if is_idempotent && has_numbers && setup.model.bulk == Bulk::Unnumbered {
            // It may have been sent twice, as its sender allows.
            may_be.push(alone.reply(&write).await);
        }
        let is = without_marks(reply).to_string();
        assert!(
            may_be.iter().any(|reply| reply.to_string() == is),
            "seed {seed} {:?}: {is} to {write}, not {may_be:?}",
            setup.model.bulk
        );
    }
    report
}

/// A write of one document, and whether it may be applied twice.
fn change(id: i32, random: &mut Random) -> (Document, bool) {
    let set = doc! {"$set": {"n": random.below(3) as i32}};
    match random.below(10) {
        0..=2 => (statement(id, doc! {"$inc": {"n": 1}}, false), false),
        3 | 4 => (statement(id, doc! {"$inc": {"n": 1}}, true), false),
        5 => (statement(id, set, false), true),
        6 | 7 => (statement(id, set, true), true),
        8 => (statement(id, doc! {"$refused": 1}, false), false),
        _ => (delete(id), true),
    }
}

/// A reply without what only a retry or a failed write concern adds to it.
fn without_marks(mut reply: Document) -> Document {
    reply.remove("retriedStmtIds");
    reply.remove("writeConcernError");
    reply
}
