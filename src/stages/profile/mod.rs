//! What is asked, how often, and what it costs: statistics by shape, and a slow log.
//!
//! Requests are counted in a shard of their thread, so threads share nothing; once a second the
//! shards are gathered into the records. Of a thread's hits, the first thousands of a second are
//! counted one by one and the rest one in eight, with the weight of eight: that keeps the cost of a
//! hit down when there are many. All other requests are counted exactly.
//!
//! - `tally`: what is counted. `shard`: where a thread counts.
//! - `record`: a shape and its sums. `table`: the shapes that are kept, a bounded number.
//! - `opened`: which shape a `getMore` counts towards.
//! - `sample`: real commands, kept in memory only, for the advisor.
//! - `slow`: the slow log.
//!
//! A request counts under the shape in which it left this stage's inside: what rewriting made of it.

mod opened;
mod record;
mod sample;
mod shard;
mod slow;
mod table;
mod tally;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

pub use self::record::ShapeReport;
pub use self::slow::SlowRequest;
pub use self::tally::{Counts, Fate};

use self::opened::{Opened, waits};
use self::shard::Shard;
use self::slow::SlowLog;
use self::table::Table;
use self::tally::Seen;
use crate::command::{Kind, ShapeId, returned, shape_id};
use crate::config;
use crate::pipeline::{Answer, Decision, Next, Observed, Outcome, Reply, Request, Stage, Workload};

/// The profiler.
pub struct Profile {
    shards: Box<[Shard]>,
    table: Table,
    slow: SlowLog,
    opened: Opened,
    /// Seconds since the start, by the sweep.
    second: AtomicU32,
}

impl Profile {
    /// A profiler that has seen nothing. `samples`: whether real commands are kept for an advisor.
    #[must_use]
    pub fn new(config: &config::Profile, threads: usize, samples: bool) -> Profile {
        let shards = threads.max(1).next_power_of_two();
        Profile {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            table: Table::new(config.max_shapes, samples),
            slow: SlowLog::new(config),
            opened: Opened::default(),
            second: AtomicU32::new(0),
        }
    }

    /// The shapes that are kept, those that took most time first.
    #[must_use]
    pub fn shapes(&self) -> Vec<ShapeReport> {
        self.gather();
        let mut shapes = self.table.reports();
        shapes.sort_by_key(|shape| std::cmp::Reverse(shape.counts.micros));
        shapes
    }

    /// Shapes kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing was asked so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a shape gave way to another or wasn't let in.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.table.dropped()
    }

    /// The slow log.
    #[must_use]
    pub fn slow(&self) -> &SlowLog {
        &self.slow
    }

    fn note(&self, request: &mut Request, outcome: &Outcome) {
        let fate = Fate::of(&request.trail);
        let weight = match fate {
            Fate::Hit => match self.weight_of_hit() {
                Some(weight) => weight,
                None => return,
            },
            _ => 1,
        };
        // What the server held back until there was something new took no time of anybody's, as in mongod's slow log.
        let took = match request.trail.has(Decision::Awaited) {
            true => Duration::ZERO,
            false => request.took(),
        };
        let mut seen = Seen::new(request, outcome, fate, weight, took);
        let opener = self.opener(request).filter(|_| !seen.failed);
        seen.continues = opener.is_some();
        let known = request.known.map(|known| known.shape);
        let id = opener
            .or(known)
            .unwrap_or_else(|| shape_id(&request.command, &request.msg));
        if let Ok(reply) = outcome {
            self.note_cursor(request, reply, id, fate);
        }
        let second = self.second.load(Relaxed);
        let shard = self.shards.get(thread() & (self.shards.len() - 1));
        let record = shard.and_then(|shard| shard.add(id, &seen, second, request, &self.table));
        if took >= self.slow.threshold {
            self.slow.note(request, &seen, record.as_deref());
        }
    }

    /// The shape of the command whose result a `getMore` continues, if it is kept.
    fn opener(&self, request: &Request) -> Option<ShapeId> {
        let more = request.command.kind == Kind::GetMore;
        let cursor = more.then(|| request.command.cursor_id()).flatten()?;
        let id = self.opened.by(cursor)?;
        self.table.known(id).map(|_| id)
    }

    fn note_cursor(&self, request: &Request, reply: &Reply, id: ShapeId, fate: Fate) {
        let open = |reply: &Reply| reply.view().cursor_id.filter(|&cursor| cursor != 0);
        match request.command.kind {
            // (A hit of which all is known is all there is.)
            Kind::Find | Kind::Aggregate if fate != Fate::Hit || request.known.is_none() => {
                if let Some(cursor) = open(reply)
                    && !waits(&request.command)
                {
                    self.opened.note(cursor, id);
                }
            }
            Kind::GetMore if open(reply).is_none() => {
                if let Some(cursor) = request.command.cursor_id() {
                    self.opened.closed(cursor);
                }
            }
            _ => {}
        }
    }

    /// How many hits this one stands for; `None`: it isn't looked at.
    fn weight_of_hit(&self) -> Option<u32> {
        let second = self.second.load(Relaxed);
        TURN.with(|turn| {
            let (of, before) = turn.get();
            let n = if of == second { before + 1 } else { 1 };
            turn.set((second, n));
            match n {
                ..=EXACT => Some(1),
                _ if n.is_multiple_of(EVERY) => Some(EVERY),
                _ => None,
            }
        })
    }

    fn gather(&self) {
        for shard in &self.shards {
            shard.gather();
        }
    }
}

impl Stage for Profile {
    fn name(&self) -> &'static str {
        "profile"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        next.run(request)
    }

    fn answered(&self, request: &mut Request, outcome: &Outcome) {
        self.note(request, outcome);
    }

    fn sweep(&self) {
        self.second.fetch_add(1, Relaxed);
        self.gather();
        self.table.tick();
        self.slow.tick();
    }
}

impl Workload for Profile {
    fn observed(&self) -> Vec<Observed> {
        self.gather();
        self.table.observed()
    }

    fn upstream_time(&self) -> Duration {
        self.gather();
        self.table.upstream_time()
    }
}

impl Seen {
    fn new(request: &Request, outcome: &Outcome, fate: Fate, weight: u32, took: Duration) -> Seen {
        let mut seen = Seen {
            weight,
            fate,
            took,
            continues: false,
            failed: true,
            documents: 0,
            bytes: 0,
        };
        if let Ok(reply) = outcome {
            let body = reply.body();
            // What is stored is no error.
            seen.failed = fate != Fate::Hit && !reply.is_mere_success() && {
                let view = reply.view();
                !view.ok || view.write_errors
            };
            let known = request.known.map(|known| known.documents);
            seen.documents = known.unwrap_or_else(|| returned(request.command.kind, body));
            seen.bytes = reply.frame().len() as u64;
        }
        seen
    }
}

/// A number of this thread, for its shard.
fn thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static THREAD: usize = NEXT.fetch_add(1, Relaxed);
    }
    THREAD.with(|thread| *thread)
}

thread_local! {
    /// A second, and this thread's hits in it. (Of all proxies in the process: it's a sampling.)
    static TURN: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Hits of a thread in a second that are counted one by one.
const EXACT: u32 = 4096;

/// Of those beyond, one in so many.
const EVERY: u32 = 8;
