//! The change stream itself.
//!
//! It's read in raw batches: what a batch proves is in its `postBatchResumeToken`. The server
//! sends a batch that isn't full, an empty one above all, when it has nothing more to send for
//! now; a token later than the batch's last event then says how far it has looked. A token that
//! equals the last event says less, for its cluster time may have more events.
//!
//! Positions are cluster times, not resume tokens: a stream can be opened at a time whatever
//! happened to the collections before, and nothing in a token can be invalid.

use std::time::Duration;

use futures_util::StreamExt;
use mongodb::Client;
use mongodb::bson::{Timestamp, doc};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use tokio::time::{Instant, sleep, timeout};

use super::Impossible;
use super::event::{Landing, landing, token_time};
use super::fault::{Broken, Fate, Feature};
use super::poll;
use crate::command::{Footprint, Namespace};
use crate::pipeline::{Horizon, Landed};
use crate::wire::doc as raw;

/// Reads the change stream until it's known that there can be none, and returns why.
pub(super) async fn read(
    client: &Client,
    horizon: &Horizon,
    landed: &dyn Landed,
    beat: Duration,
) -> Impossible {
    let mut reader = Reader {
        client,
        horizon,
        landed,
        beat,
        lacking: Vec::new(),
        failures: 0,
        doubts: 0,
    };
    let mut resume = false;
    let mut opened = 0;
    loop {
        let broken = match reader.open(resume).await {
            Ok((cursor, start)) => {
                if opened > 0 {
                    horizon.count_reopening();
                }
                opened += 1;
                resume = true;
                match reader.follow(cursor, start).await {
                    Ended::Broken(broken) => broken,
                    Ended::Anew => continue,
                }
            }
            Err(broken) => broken,
        };
        let text = broken.to_string();
        match broken.fate() {
            Fate::Impossible(reason) => return reason,
            Fate::Without(features) => {
                horizon.left_out().need_all();
                if let Some(&next) = features.iter().find(|f| reader.has(**f)) {
                    if matches!(next, Feature::SystemEvents | Feature::ExpandedEvents) {
                        horizon.note_hidden_definitions();
                    }
                    reader.lacking.push(next);
                    continue;
                }
                resume = false;
            }
            Fate::Lost => resume = false,
            Fate::Doubt => {
                // Perhaps for what it was to leave out.
                horizon.left_out().need_all();
                reader.doubts += 1;
            }
            Fate::Resume => {}
        }
        reader.failures += 1;
        if reader.failures == COMPLAIN {
            tracing::warn!(target: "petiole::watch", error = text,
                "the change stream is down; nothing is served from memory meanwhile");
        }
        // A fresh start is always right, and only costs what is cached.
        resume &= reader.doubts < START_AFRESH;
        sleep(BACKOFF * (1 << reader.failures.min(MOST_DOUBLINGS))).await;
    }
}

/// Why a stream isn't followed any further.
enum Ended {
    Broken(Broken),
    /// Another one is to begin where it ends: what the watch leaves out has changed.
    Anew,
}

struct Reader<'a> {
    client: &'a Client,
    horizon: &'a Horizon,
    landed: &'a dyn Landed,
    beat: Duration,
    /// What this server doesn't know.
    lacking: Vec<Feature>,
    /// Attempts since the last one that went well.
    failures: u32,
    /// Those of them that the server answered with an error nobody knows.
    doubts: u32,
}

impl Reader<'_> {
    fn has(&self, feature: Feature) -> bool {
        !self.lacking.contains(&feature)
    }

    /// A stream, and the cluster time that it starts at.
    async fn open(&self, resume: bool) -> Result<(RawBatchCursor, u64), Broken> {
        let (left_out, again) = self.horizon.left_out().next();
        if resume {
            let start = self.horizon.position();
            let cursor = self.aggregate(start, &left_out).await?;
            self.see_again(again);
            return Ok((cursor, start));
        }
        let sent = self.horizon.clock().now();
        let last = poll::ask(self.client).await?;
        let start = last.majority + 1;
        let cursor = self.aggregate(start, &left_out).await?;
        // Now that nothing can be missed any more. Reads that begin after this see everything up
        // to the majority point, for there are no holes before it.
        self.landed.flush();
        self.horizon.begun(last.majority);
        poll::enter_term(self.horizon, self.landed, &last);
        self.horizon.polled(sent, last.any);
        self.see_again(again);
        tracing::info!(target: "petiole::watch", "watching writes that go around the proxy");
        Ok((cursor, start))
    }

    /// The stream that was just opened tells of these, which the last one left out.
    fn see_again(&self, collections: Vec<Namespace>) {
        if collections.is_empty() {
            return;
        }
        // (In this order: see `LeftOut`.)
        self.landed
            .landed(&Footprint::Namespaces(collections.clone()), 0);
        self.horizon
            .left_out()
            .seen_again(&collections, Instant::now());
    }

    /// The next stream won't tell of these.
    fn leave_out(&self, collections: Vec<Namespace>) {
        for ns in &collections {
            tracing::info!(target: "petiole::watch", collection = %ns,
                "nothing of it is kept: its writes aren't watched until it is read");
        }
        self.horizon
            .left_out()
            .leave_out(collections.iter().cloned());
        self.landed.landed(&Footprint::Namespaces(collections), 0);
    }

    async fn aggregate(
        &self,
        start: u64,
        left_out: &[Namespace],
    ) -> Result<RawBatchCursor, Broken> {
        let start = Timestamp {
            time: (start >> 32) as u32,
            increment: start as u32,
        };
        let mut stage = doc! {"allChangesForCluster": true, "startAtOperationTime": start};
        if self.has(Feature::ExpandedEvents) {
            stage.insert("showExpandedEvents", true);
        }
        if self.has(Feature::SystemEvents) {
            stage.insert("showSystemEvents", true);
        }
        let mut stages = vec![doc! {"$changeStream": stage}];
        if !left_out.is_empty() {
            let names = left_out
                .iter()
                .map(|ns| doc! {"db": &ns.db, "coll": &ns.collection});
            let documents = doc! {
                "operationType": {"$in": ["insert", "update", "replace", "delete"]},
                "ns": {"$in": names.collect::<Vec<_>>()},
            };
            stages.push(doc! {"$match": {"$nor": [documents]}});
        }
        if self.has(Feature::SplitLargeEvent) {
            stages.push(doc! {"$changeStreamSplitLargeEvent": {}});
        }
        let command = doc! {
            "aggregate": 1,
            "pipeline": stages,
            "cursor": {},
            "readConcern": {"level": "majority"},
        };
        let admin = self.client.database("admin");
        let open = admin.run_cursor_command(command).max_time(self.beat);
        timeout(self.beat + PATIENCE, open.batch())
            .await
            .map_err(|_| SILENT)?
            .map_err(Broken::Driver)
    }

    /// Hands on what comes, until it breaks or another stream is to begin.
    async fn follow(&mut self, mut cursor: RawBatchCursor, start: u64) -> Ended {
        let mut looked = Looked {
            until: start,
            at_event: false,
        };
        let mut batches = 0;
        loop {
            let batch = tokio::select! {
                batch = timeout(self.beat + PATIENCE, cursor.next()) => batch,
                () = self.horizon.left_out().needed() => match self.horizon.left_out().next() {
                    (_, again) if again.is_empty() => continue,
                    _ => return Ended::Anew,
                },
            };
            let batch = match batch {
                Ok(Some(Ok(batch))) => batch,
                Ok(Some(Err(error))) => return Ended::Broken(Broken::Driver(error)),
                Ok(None) => return Ended::Broken(Broken::Ended("the server closed the stream")),
                Err(_) => return Ended::Broken(SILENT),
            };
            let taken = match self.take(&batch, &mut looked).await {
                Ok(taken) => taken,
                Err(broken) => return Ended::Broken(broken),
            };
            let of_no_use = |ns: &Namespace| !self.landed.keeps(ns);
            let of_no_use: Vec<_> = taken.unread.into_iter().filter(of_no_use).collect();
            if !of_no_use.is_empty() {
                self.leave_out(of_no_use);
                (self.failures, self.doubts) = (0, 0);
                return Ended::Anew;
            }
            // (With none, the server has waited already.)
            if taken.events > 0 {
                sleep(REST).await;
            }
            batches += 1;
            if batches == 2 {
                if self.failures >= COMPLAIN {
                    tracing::info!(target: "petiole::watch", "the change stream is up again");
                }
                (self.failures, self.doubts) = (0, 0);
            }
        }
    }

    /// The events of a batch are handled.
    async fn take(&self, batch: &RawBatch, looked: &mut Looked) -> Result<Taken, Broken> {
        let batch = Batch::read(batch.as_raw_document().as_bytes()).ok_or(NONSENSE)?;
        let mut taken = Taken::default();
        let now = Instant::now();
        for event in raw::elements(batch.events) {
            let event = event.ok().and_then(|e| e.as_document()).ok_or(NONSENSE)?;
            let time = raw::find(event, "_id").and_then(token_time);
            let time = time.ok_or(NONSENSE)?;
            match landing(event) {
                Landing::Footprint(footprint) => {
                    self.landed.landed(&footprint, time);
                    if let Footprint::Statements(of, _) = footprint
                        && self.horizon.left_out().count(&of, now)
                        && !taken.unread.contains(&of)
                    {
                        taken.unread.push(of);
                    }
                }
                Landing::Flush => self.landed.flush(),
            }
            self.horizon.count_event();
            // Another event of the same time may follow.
            self.horizon.advance(time.saturating_sub(1));
            (looked.until, looked.at_event) = (time, true);
            taken.events += 1;
            if taken.events.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        let nothing_left = taken.events == 0 && looked.at_event && batch.token == looked.until;
        if batch.token > looked.until || nothing_left {
            self.horizon.advance(batch.token);
            (looked.until, looked.at_event) = (batch.token, false);
        }
        Ok(taken)
    }
}

/// What came in a batch.
#[derive(Default)]
struct Taken {
    events: u32,
    /// Collections that had many events, and nobody has read them since.
    unread: Vec<Namespace>,
}

/// How far the server has looked through its oplog for this stream.
struct Looked {
    /// The latest time that an event or a token had; at first, where the stream starts.
    until: u64,
    /// There was an event of that time, and there may be more of it.
    at_event: bool,
}

/// What is of interest in a reply.
struct Batch<'a> {
    events: &'a [u8],
    /// The cluster time of its `postBatchResumeToken`.
    token: u64,
}

impl Batch<'_> {
    fn read(reply: &[u8]) -> Option<Batch<'_>> {
        let cursor = raw::find(reply, "cursor")?.as_document()?;
        let events = raw::find(cursor, "nextBatch").or_else(|| raw::find(cursor, "firstBatch"))?;
        Some(Batch {
            events: events.as_array()?,
            token: token_time(raw::find(cursor, "postBatchResumeToken")?)?,
        })
    }
}

const SILENT: Broken = Broken::Ended("no answer in time");
const NONSENSE: Broken = Broken::Ended("a batch can't be understood");

/// Beyond the time that the server may wait for an event.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between batches with events: under a load of writes, the server would be asked for each one's
/// events by itself, which costs it more than the events do.
const REST: Duration = Duration::from_millis(4);
/// Doubled with each failure.
const BACKOFF: Duration = Duration::from_millis(25);
const MOST_DOUBLINGS: u32 = 6;
/// Failures in a row that somebody should know of.
const COMPLAIN: u32 = 5;
/// Errors from the server in a row, after which a stream from the present is tried.
const START_AFRESH: u32 = 10;
/// Events handled before others get a turn.
const TURN: u32 = 128;
