//! Writes of several clients sent as one (docs/coherence.md, rules 15 to 18).
//!
//! Group commit: the first writes of a group leave at once, as the bytes that came (`batch.at_once`), unless many have just left together;
//! those that come while they are under way queue, and leave together when one returns. Nobody waits
//! for a timer, and a few clients pay nothing. Every client gets a reply of its own, cut out of the server's
//! (`split`, `tally`), after the server has acknowledged the batch at that client's write concern, which
//! all of a group share (`key`).
//!
//! Invariants:
//! - A write is sent once under one pair of numbers: its client's own if it goes alone, the batch's
//!   if not. The `journal` knows which before anything is sent, and a retry is handled
//!   accordingly; it is never sent under the other pair.
//! - A batch runs in a task of its own (`commit`, `batch`). Whoever waits for it may be dropped.
//! - Batching may fail; a write may not fail because of it. Whatever can't be batched, or has waited
//!   for `max_wait`, goes alone.
//! - Fences aren't this stage's business: each client's own stands around its request, from before
//!   it queues until its part of the reply is there.
//!
//! Updates and deletes are merged if each is of one document by its `_id` (`statement`): as a
//! `bulkWrite` where the server has it, and on older replica sets as one `update` or `delete`,
//! whose totals are told apart as `tally` explains.
//!
//! Absent on purpose: ordered inserts of several documents, updates and deletes by other fields
//! or of several documents, findAndModify, writes with `maxTimeMS` (they share a time limit of the
//! batch's own), transactions, standalones before 8.0 but for inserts, mongos (untried).

mod at_once;
#[allow(
    clippy::module_inception,
    reason = "a batch is one, and the stage is called so"
)]
mod batch;
mod commit;
mod facts;
mod harmless;
mod journal;
mod key;
mod kinds;
mod late;
mod member;
mod merge;
mod news;
mod queue;
mod retried;
mod settle;
mod split;
mod statement;
mod stats;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::at_once::AtOnce;
use self::commit::Turn;
use self::facts::Facts;
use self::journal::{Begun, Found, Journal, State};
use self::key::{Wanted, Write, WriteId};
use self::kinds::Kinds;
use self::member::{Member, Ticket, Told};
use self::queue::{Entered, Groups};
pub use self::stats::{Alone, BatchStats, Quantiles};
use crate::command::Kind;
use crate::config::{self, WriteKind};
use crate::memory;
use crate::pipeline::{
    Answer, Collections, Failure, Fences, Horizon, Next, Outcome, OwnSessions, Reply, Request,
    Stage, UpstreamFacts,
};

/// The write-batching stage.
pub struct Batch {
    shared: Arc<Shared>,
}

/// What batching asks others for.
#[derive(Clone)]
pub struct Knowledge {
    /// Where transactions are open, and whether definitions have changed.
    pub fences: Arc<Fences>,
    /// What the upstream can do.
    pub upstream: Arc<UpstreamFacts>,
    /// What names mean.
    pub collections: Arc<Collections>,
    /// How far the watch has come.
    pub horizon: Arc<Horizon>,
}

/// What requests and batches have in common.
struct Shared {
    groups: Groups,
    journal: Journal,
    sessions: OwnSessions,
    facts: Facts,
    collections: Arc<Kinds>,
    fences: Arc<Fences>,
    stats: BatchStats,
    kinds: Vec<WriteKind>,
    wanted: Wanted,
    max_documents: usize,
    max_size: usize,
    max_wait: Duration,
    linger: Duration,
    bypass_namespaces: Vec<config::NamespacePattern>,
}

impl Batch {
    /// Nothing is under way. `most_at_once`: commands of a group that may be under way at any distance.
    pub fn new(config: &config::Batch, most_at_once: usize, knowledge: &Knowledge) -> Batch {
        let shared = Shared {
            groups: Groups::new(AtOnce {
                near: config.at_once,
                most: most_at_once,
            }),
            journal: Journal::new(config.journal),
            sessions: OwnSessions::default(),
            facts: Facts::new(Arc::clone(&knowledge.upstream)),
            collections: Arc::new(Kinds::new(knowledge)),
            fences: Arc::clone(&knowledge.fences),
            stats: BatchStats::default(),
            kinds: config.kinds.clone(),
            wanted: Wanted {
                max_documents: config.max_documents.min(MOST_OF_ONE),
                max_size: config.max_size.as_usize(),
                retryable_updates: config.retryable_updates,
            },
            max_documents: config.max_documents,
            max_size: config.max_size.as_usize(),
            max_wait: config.max_wait,
            linger: config.linger,
            bypass_namespaces: config.bypass_namespaces.clone(),
        };
        Batch {
            shared: Arc::new(shared),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> &BatchStats {
        &self.shared.stats
    }

    /// Writes that wait in queues now.
    pub fn waiting(&self) -> usize {
        self.shared.groups.queued()
    }

    /// Retryable writes remembered now.
    pub fn journal_entries(&self) -> usize {
        self.shared.journal.len()
    }

    /// Groups of compatible writes that have something under way now.
    pub fn groups(&self) -> usize {
        self.shared.groups.len()
    }
}

impl Stage for Batch {
    fn name(&self) -> &'static str {
        "batch"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        let kind = match request.command.kind {
            Kind::Insert => WriteKind::Insert,
            Kind::Update => WriteKind::Update,
            Kind::Delete => WriteKind::Delete,
            _ => return self.shared.by_itself(request, next),
        };
        if !self.shared.kinds.contains(&kind) {
            return self.shared.by_itself(request, next);
        }
        self.shared.write(kind, request, next)
    }
}

impl Shared {
    fn write<'a>(
        self: &'a Arc<Self>,
        kind: WriteKind,
        request: &'a mut Request,
        next: Next<'a>,
    ) -> Answer<'a> {
        self.stats.client_write(kind);
        self.enter(kind, request, next)
    }

    fn enter<'a>(
        self: &'a Arc<Self>,
        kind: WriteKind,
        request: &'a mut Request,
        next: Next<'a>,
    ) -> Answer<'a> {
        let write = match self.eligible(kind, request) {
            Ok(write) => write,
            Err(why) => return self.alone(why, request, next),
        };
        let ticket = Arc::new(Ticket::default());
        if let Some(id) = &write.id {
            match self.journal.open(id, &ticket) {
                Found::New => {}
                Found::BehindStray => {
                    self.goes_alone(Some(id), &ticket, Alone::Stray);
                    return self.alone(Alone::Stray, request, next);
                }
                Found::Known(state) => {
                    return self.again(state, write, ticket, request, next);
                }
                Found::Behind(ahead) => {
                    return Answer::later(async move {
                        self.pass(ahead, request, next).await?;
                        self.enter(kind, request, next).await
                    });
                }
                Found::Outdated(newer) => {
                    return Answer::Now(Ok(retried::too_old(request, id.number, newer)));
                }
            }
        }
        if let Err(why) = self.may_queue(&write, request, next) {
            self.goes_alone(write.id.as_ref(), &ticket, why);
            return self.alone(why, request, next);
        }
        self.commit(write, ticket, request, next)
    }

    /// Whether the write may be batched at all. Says the same of its retry.
    fn eligible(&self, kind: WriteKind, request: &Request) -> Result<Write, Alone> {
        let write = Write::read(kind, request, &self.wanted)?;
        let is_bypassed = |pattern: &config::NamespacePattern| {
            let collection = request.command.collection().unwrap_or_default();
            pattern.matches(request.command.db(), collection)
        };
        if self.bypass_namespaces.iter().any(is_bypassed) {
            return Err(Alone::Namespace);
        }
        Ok(write)
    }

    /// Whether it may be batched just now.
    fn may_queue(&self, write: &Write, request: &Request, next: Next<'_>) -> Result<(), Alone> {
        if request.recorded {
            return Err(Alone::Profiler);
        }
        let abilities = self.facts.get().ok_or(Alone::Upstream)?;
        if write.id.is_some() && !abilities.retryable {
            return Err(Alone::Upstream);
        }
        if write.kind != WriteKind::Insert {
            if !abilities.bulk && !abilities.retryable {
                return Err(Alone::Upstream);
            }
            let is_numbered = !abilities.bulk || self.facts.is_bulk_numbered();
            if write.id.is_some() && !write.survives_restart && !is_numbered {
                return Err(Alone::Retryable);
            }
        }
        if write.count > abilities.max_documents || write.documents.len() > abilities.max_size {
            return Err(Alone::Large);
        }
        if self.fences.is_any_held() {
            let collection = request.command.collection().unwrap_or_default();
            if self.fences.is_held(request.command.db(), collection) {
                return Err(Alone::Held);
            }
        }
        let may_merge = self.collections.may_merge(write.kind, request, next);
        may_merge.map(drop)
    }

    /// A write that is in no batch, and won't be: so are its retries.
    fn goes_alone(&self, id: Option<&WriteId>, ticket: &Ticket, why: Alone) {
        self.journal.set(id, State::Alone);
        ticket.tell(Told::Alone(why));
    }

    /// Nothing was executed: the client's own task sends it.
    fn send_away(&self, member: Member, why: Alone) {
        self.goes_alone(member.write.id.as_ref(), &member.ticket, why);
    }

    fn alone<'a>(&'a self, why: Alone, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        self.stats.alone(why);
        self.by_itself(request, next)
    }

    /// Sends a command as it came. Of a write with a number the journal hears, for later ones of its session, until it is
    /// known to be over: given up or lost, it may still land. So may a transaction's commit.
    fn by_itself<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        let Some(id) = key::write_id(request) else {
            return next.run(request);
        };
        let in_transaction = request.command.in_transaction;
        match self.journal.begin_try(&id, in_transaction) {
            Begun::Noted => {}
            Begun::Behind(ahead) => {
                return Answer::later(async move {
                    self.pass(ahead, request, next).await?;
                    self.by_itself(request, next).await
                });
            }
            Begun::Outdated(newer) => {
                return Answer::Now(Ok(retried::too_old(request, id.number, newer)));
            }
        }
        let ends = !in_transaction || matches!(request.command.kind, Kind::Commit | Kind::Abort);
        Answer::later(async move {
            let outcome = next.run(request).await;
            let is_carried_out = |reply: &Reply| reply.is_mere_success() || reply.view().ok;
            if ends && outcome.as_ref().is_ok_and(is_carried_out) && !request.progress.in_doubt {
                self.journal.end_try(&id);
            }
            outcome
        })
    }

    /// Leaves at once, or queues.
    fn commit<'a>(
        self: &'a Arc<Self>,
        write: Write,
        ticket: Arc<Ticket>,
        request: &'a mut Request,
        next: Next<'a>,
    ) -> Answer<'a> {
        let (key, id) = (Arc::clone(&write.key), write.id);
        let live = || self.fences.memory().live(memory::Kind::QueuedWrites);
        let member = |write| Member::new(request, write, Arc::clone(&ticket), live());
        let turn = |key| Turn::new(Arc::clone(self), next.to_owned(), key);
        let distance_us = self.facts.distance_us();
        match (self.groups).enter(write, !self.linger.is_zero(), distance_us, member) {
            Entered::Queued { starts } => {
                if starts {
                    tokio::spawn(turn(Arc::clone(&key)).run());
                }
                late::see_to(self);
                let place = Place {
                    shared: self,
                    key,
                    ticket,
                };
                Answer::later(place.wait(request, next))
            }
            Entered::Full => {
                self.goes_alone(id.as_ref(), &ticket, Alone::QueueFull);
                self.alone(Alone::QueueFull, request, next)
            }
            Entered::First => {
                // Those who queue meanwhile have their turn when this returns, or is given up.
                let mut turn = turn(key);
                self.goes_alone(id.as_ref(), &ticket, Alone::First);
                let answer = self.alone(Alone::First, request, next);
                Answer::later(async move {
                    let outcome = turn.timed(answer).await;
                    drop(turn);
                    outcome
                })
            }
        }
    }

    fn outcome(&self, told: Told, request: &mut Request) -> Outcome {
        match told {
            Told::Answer(reply, tried) => {
                request.join(&tried);
                Ok(reply)
            }
            Told::Failed(failure) => Err(failure),
            Told::Alone(_) => Err(Failure::lost("the write was to go alone")),
        }
    }

    /// Those of a group who leave now.
    fn leaving(&self, key: &[u8], took: Option<Duration>) -> Vec<Member> {
        let (mut documents, mut size) = (self.max_documents, self.max_size);
        if let Some(abilities) = self.facts.get() {
            documents = documents.min(abilities.max_documents);
            size = size.min(abilities.max_size);
        }
        self.groups.next(key, took, documents, size)
    }
}

/// A client's place in a queue. Dropped, the client has gone, and its write with it unless it is
/// under way already.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    key: Arc<[u8]>,
    ticket: Arc<Ticket>,
}

impl Place<'_> {
    async fn wait(self, request: &mut Request, next: Next<'_>) -> Outcome {
        let told = self.ticket.told().await;
        if let Told::Alone(why) = told {
            return self.shared.alone(why, request, next).await;
        }
        request.note_batched();
        self.shared.outcome(told, request)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.ticket.is_told()
            && let Some(member) = self.shared.groups.leave(&self.key, &self.ticket)
        {
            // (For a retry that waits for it.)
            self.shared.send_away(member, Alone::Gone);
        }
    }
}

/// A client's own documents beyond that number gain nothing from others' company, and would hold
/// those up.
const MOST_OF_ONE: usize = 100;

/// `maxTimeMS` ran out.
const MAX_TIME_MS_EXPIRED: i32 = 50;
