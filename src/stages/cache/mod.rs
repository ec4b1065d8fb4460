//! Repeated reads answered from memory (DESIGN §4).
//!
//! `find`, `aggregate`, `count` and `distinct`. An entry is served only while nothing that it
//! depends on is being written or has changed ([`Tie`](crate::pipeline::Tie)), it is stored only
//! if it outlives all that was written while it was read ([`Window`]), and while writes that go
//! around the proxy may have been missed, nothing is served at all. The fences are the
//! pipeline's; this stage only asks.
//!
//! - `entry`, `store`: what is kept, and where
//! - `facts`: what a name means
//! - `flight`: one read for several who ask the same
//! - `cursors`, `drain`: results of several batches, out of the cache and into it
//! - `worth`: which shapes pay for their place
//! - `shadow`: a share of the hits is compared with the server's own answer

mod cursors;
mod drain;
mod entry;
mod facts;
mod flight;
mod shadow;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod worth;

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::cursors::{Cursors, killed_reply};
use self::drain::{Drain, Drains};
use self::entry::{Entry, batch};
use self::facts::{CollectionKind, Facts};
use self::flight::{Flight, Flights, Landing, Lead};
use self::shadow::Shadow;
pub use self::stats::CacheStats;
use self::store::Store;
use self::worth::{Shape, Worth};
use crate::command::{
    Bypass, ErrorReply, KEY_COMMAND, Kind, ReadPlan, ReplyView, Sources, Wish, canonical,
    check_read, codes, without_cluster_time,
};
use crate::config;
use crate::pipeline::{
    BoxFuture, Decision, Fences, Horizon, Next, Outcome, Reads, Reply, Request, Stage, Tied, Window,
};
use crate::wire::build;
use crate::wire::doc;
use crate::wire::frame::Frame;

/// The read cache.
pub struct Cache {
    store: Store,
    facts: Facts,
    fences: Arc<Fences>,
    horizon: Arc<Horizon>,
    flights: Flights,
    cursors: Cursors,
    drains: Drains,
    worth: Worth,
    shadow: Shadow,
    stats: CacheStats,
    config: config::Cache,
    max_entry: usize,
    /// Ended answers that are to be dropped.
    ended: Mutex<Vec<Arc<dyn Tied>>>,
}

impl Cache {
    /// An empty cache under `fences`. `horizon`: how far the watch of other writers has come.
    pub fn new(config: &config::Cache, fences: Arc<Fences>, horizon: Arc<Horizon>) -> Cache {
        Cache {
            store: Store::new(config.max_size.as_u64()),
            facts: Facts::new(),
            fences,
            horizon,
            flights: Flights::default(),
            cursors: Cursors::default(),
            drains: Drains::default(),
            worth: Worth::new(),
            shadow: Shadow::new(config.shadow_share),
            stats: CacheStats::default(),
            config: config.clone(),
            max_entry: usize::try_from(config.max_entry.as_u64()).unwrap_or(usize::MAX),
            ended: Mutex::default(),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> &CacheStats {
        &self.stats
    }

    /// Entries held now.
    pub fn entries(&self) -> usize {
        self.store.len()
    }

    /// Bytes held now: keys, replies and index.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Reads under way that others may join.
    pub fn flights(&self) -> usize {
        self.flights.len()
    }

    /// Cursors open on answers from memory.
    pub fn cursors(&self) -> usize {
        self.cursors.len()
    }

    /// Drops every entry and voids what is being read.
    pub fn flush(&self) {
        self.fences.flush(false);
        self.store.clear();
    }

    /// Serves a request from memory, or says what to do instead.
    fn look_up(&self, request: &Request) -> Found {
        if !request.msg.sequences.is_empty() || request.msg.unknown.is_some() {
            // They are part of the command, and the key doesn't know them.
            return Found::Pass(Bypass::UnknownField);
        }
        KEY.with_borrow_mut(|key| {
            let wish = match canonical(&request.command, request.principal.id, key) {
                Ok(wish) => wish,
                Err(why) => return Found::Pass(why),
            };
            // Before the entry is looked at: what the watch has handled by now has ended it.
            if self.watches() && !self.horizon.fresh(Instant::now()) {
                return Found::Pass(Bypass::Blind);
            }
            let miss = |key: &[u8]| Found::Miss(key.into(), wish);
            let Some(entry) = self.store.get(key) else {
                return miss(key);
            };
            if entry.expires.is_some_and(|at| at <= Instant::now()) {
                return miss(key);
            }
            if !self.reaches(&entry, wish.after) {
                self.stats.bypass(Bypass::TooEarly);
                return miss(key);
            }
            // Last: what ends the entry from now on comes after this read.
            if !self.fences.holds(&entry.tie) {
                return miss(key);
            }
            Found::Hit(entry, wish)
        })
    }

    /// Whether an answer is at least as late as cluster time `after` (DESIGN §4 rule 9).
    fn reaches(&self, entry: &Entry, after: Option<u64>) -> bool {
        after.is_none_or(|after| entry.after >= after || self.horizon.passed(after))
    }

    /// Whether entries are ended by a watch of all writers.
    fn watches(&self) -> bool {
        self.config.external_writes.watches() && self.horizon.is_on()
    }

    /// The reply that an entry makes for a request.
    fn reply(&self, request: &Request, entry: &Arc<Entry>, wish: Wish) -> Reply {
        entry.hits.fetch_add(1, Relaxed);
        if entry.fits(wish.batch_size) {
            return Reply::replayed(Frame {
                bytes: entry.reply.clone(),
            });
        }
        let size = wish.batch_size.unwrap_or(entry::FIRST_BATCH);
        self.cursors.first(request, entry, size)
    }

    /// Whether the answer may be stored, and from when on.
    async fn window(
        &self,
        request: &Request,
        key: &[u8],
        next: Next<'_>,
    ) -> Result<(Window, Arc<Shape>), Bypass> {
        let command = &request.command;
        let sources = check_read(command)?;
        let db = command.db();
        let collection = command.collection().ok_or(Bypass::Namespace)?;
        let patterns = &self.config.bypass_namespaces;
        if patterns.iter().any(|p| p.matches(db, collection)) {
            return Err(Bypass::Namespace);
        }
        let plan = ReadPlan::of(key.get(KEY_COMMAND..).unwrap_or_default());
        let shape = plan.as_ref().map(ReadPlan::shape);
        let hash = FixedState::default().hash_one((db, collection, command.kind, shape));
        let shape = self.worth.shape(hash);
        if !shape.pays(self.store.is_full()) {
            return Err(Bypass::NotWorthIt);
        }
        let kind = self.facts.kind_of(request, &self.fences, next).await;
        let reads = match (kind, sources) {
            (None, _) => return Err(Bypass::UnknownCollection),
            (Some(CollectionKind::View), _) | (_, Sources::Database) => Reads::View { db },
            (Some(CollectionKind::Plain), Sources::Own) if plan.is_some() => {
                Reads::Documents { db, collection }
            }
            (Some(_), Sources::Own) => Reads::Collection { db, collection },
        };
        let window = self.fences.open_window(reads, plan);
        Ok((window.ok_or(Bypass::Fenced)?, shape))
    }

    /// An entry of an answer, if it can be one.
    fn draft(
        &self,
        key: Box<[u8]>,
        kind: Kind,
        flight: &Flight,
        shape: &Arc<Shape>,
        asked: Instant,
        body: &[u8],
    ) -> Result<Arc<Entry>, Bypass> {
        if body.len() > self.max_entry {
            return Err(Bypass::TooLarge);
        }
        let view = ReplyView::read(body);
        if !view.ok || view.partial || view.write_errors {
            return Err(Bypass::NotOk);
        }
        let documents = match (kind, view.cursor_id) {
            (Kind::Count | Kind::Distinct, None) => 0,
            (Kind::Find | Kind::Aggregate, Some(0)) => {
                let batch = batch(body, "firstBatch").ok_or(Bypass::NotOk)?;
                doc::elements(batch).count()
            }
            (Kind::Find | Kind::Aggregate, Some(_)) => return Err(Bypass::OpenCursor),
            _ => return Err(Bypass::NotOk),
        };
        let kept = if view.has_cluster_time {
            without_cluster_time(body)
        } else {
            Bytes::copy_from_slice(body)
        };
        Ok(Arc::new(Entry {
            expires: self.expiry(&key),
            key,
            kind,
            reply: build::op_msg(0, 0, 0, &kept),
            documents,
            after: flight.after,
            asked,
            tie: flight.window.tie(),
            shape: Arc::clone(shape),
            hits: AtomicU32::new(0),
            weight: AtomicU32::new(0),
        }))
    }

    /// When an entry that is stored now ends by itself.
    fn expiry(&self, key: &[u8]) -> Option<Instant> {
        let external = match self.config.external_writes {
            config::ExternalWrites::None => None,
            _ if self.watches() => None,
            _ => Some(self.config.ttl),
        };
        let has_principal = key
            .get(..KEY_COMMAND)
            .is_some_and(|id| id.iter().any(|&b| b != 0));
        let rights = has_principal.then_some(self.config.principal_ttl);
        let lives = [external, rights].into_iter().flatten().min()?;
        Instant::now().checked_add(lives)
    }

    /// Stores an entry, if nothing forbids it.
    fn store(&self, entry: &Arc<Entry>, window: &Window) -> Result<(), Bypass> {
        let tied: Arc<dyn Tied> = entry.clone();
        if !window.admit(&tied) {
            return Err(Bypass::Raced);
        }
        self.store.insert(entry);
        if !self.fences.holds(&entry.tie) {
            // It may have been ended before it was in the store.
            self.store.remove(&tied);
        }
        self.bury(SOME);
        Ok(())
    }

    /// Drops up to `most` of the entries that writes have ended.
    fn bury(&self, most: usize) {
        let Some(mut ended) = self.ended.try_lock() else {
            return;
        };
        if ended.is_empty() {
            *ended = self.fences.take_ended();
        }
        let from = ended.len().saturating_sub(most);
        for dead in ended.drain(from..) {
            self.store.remove(&dead);
        }
    }

    async fn read(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        let mut joins = 0;
        let mut leads = true;
        let (key, wish) = loop {
            let (key, wish) = match self.look_up(request) {
                Found::Hit(entry, wish) => {
                    self.stats.hit();
                    request.trail.note(Decision::Hit);
                    if self.shadow.is_due() {
                        return self.compare(request, next, &entry, wish).await;
                    }
                    return Ok(self.reply(request, &entry, wish));
                }
                Found::Pass(why) => {
                    self.bypass(request, why);
                    return next.run(request).await;
                }
                Found::Miss(key, wish) => (key, wish),
            };
            let after = wish.after.unwrap_or(0);
            let flight = if joins < MOST_JOINS {
                self.flights.join(&key, after)
            } else {
                None
            };
            let Some((flight, mark)) = flight else {
                break (key, wish);
            };
            joins += 1;
            match flight.end(request.deadline()).await {
                Some(Landing::Answer(entry)) if flight.window.serves(&*entry, mark) => {
                    self.stats.joined();
                    request.trail.note(Decision::Joined);
                    return Ok(self.reply(request, &entry, wish));
                }
                Some(Landing::Answer(_) | Landing::InAir) => break (key, wish),
                Some(Landing::Released) => {
                    leads = false;
                    break (key, wish);
                }
                Some(Landing::Abandoned) => {}
                None => return Ok(expired(request)),
            }
        };
        self.stats.miss();
        request.trail.note(Decision::Miss);
        let (window, shape) = match self.window(request, &key, next).await {
            Ok(open) => open,
            Err(why) => {
                self.bypass(request, why);
                return next.run(request).await;
            }
        };
        let flight = Flight::new(window, wish.after.unwrap_or(0));
        let lead = self.flights.lead(&key, flight, leads);
        self.fly(request, next, key, lead, &shape).await
    }

    /// Reads, and lets others have the answer.
    async fn fly(
        &self,
        request: &mut Request,
        next: Next<'_>,
        key: Box<[u8]>,
        lead: Lead<'_>,
        shape: &Arc<Shape>,
    ) -> Outcome {
        let asked = Instant::now();
        let reply = match next.run(request).await {
            Ok(reply) => reply,
            Err(failure) => {
                lead.land(Landing::Released);
                return Err(failure);
            }
        };
        shape.took(asked.elapsed());
        let kind = request.command.kind;
        let flight = Arc::clone(lead.flight());
        let entry = self.draft(key.clone(), kind, &flight, shape, asked, reply.body());
        let stored = entry
            .as_ref()
            .map_err(|why| *why)
            .and_then(|e| self.store(e, &flight.window));
        match entry {
            Ok(entry) => lead.land(Landing::Answer(entry)),
            Err(_) => lead.land(Landing::Released),
        }
        match stored {
            Ok(()) => {
                self.stats.stored();
                request.trail.note(Decision::Stored);
            }
            Err(why) => self.bypass(request, why),
        }
        if stored == Err(Bypass::OpenCursor)
            && let Some(cursor) = ReplyView::read(reply.body()).cursor_id
        {
            let principal = request.principal.id;
            let drain = Drain::new(key, kind, principal, flight, Arc::clone(shape), asked);
            self.drain(drain, cursor, reply.body());
        }
        Ok(reply)
    }

    /// Adds a batch to an answer of several, and stores it if that was the last one.
    fn drain(&self, mut drain: Drain, cursor: i64, reply: &[u8]) {
        match drain.add(reply, self.max_entry) {
            Ok(None) => self.drains.put(cursor, drain),
            Ok(Some(whole)) => {
                let Drain {
                    key,
                    kind,
                    flight,
                    shape,
                    asked,
                    ..
                } = drain;
                let entry = self.draft(key, kind, &flight, &shape, asked, &whole);
                if entry
                    .and_then(|entry| self.store(&entry, &flight.window))
                    .is_ok()
                {
                    self.stats.stored();
                }
            }
            Err(()) => {}
        }
    }

    async fn more(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        if let Some(reply) = self.cursors.more(request) {
            return Ok(reply);
        }
        let cursor = request.command.cursor_id().unwrap_or(0);
        let drain = self.drains.take(cursor, request.principal.id);
        let reply = next.run(request).await?;
        if let Some(drain) = drain {
            self.drain(drain, cursor, reply.body());
        }
        Ok(reply)
    }

    async fn kill(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        let killed = self.cursors.kill(request);
        let named = doc::find(request.command.body(), "cursors").and_then(|c| c.as_array());
        let named = named.map_or(0, |ids| doc::elements(ids).count());
        if killed.is_empty() {
            return next.run(request).await;
        }
        if killed.len() == named {
            return Ok(Reply::document(
                &request.frame,
                &killed_reply(&killed, None),
            ));
        }
        let theirs = next.run(request).await?;
        let reply = killed_reply(&killed, Some(theirs.body()));
        Ok(Reply::document(&request.frame, &reply))
    }

    fn bypass(&self, request: &mut Request, why: Bypass) {
        self.stats.bypass(why);
        request.trail.note(Decision::Bypassed(why));
    }
}

impl Stage for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        match request.command.kind {
            Kind::Find | Kind::Aggregate | Kind::Count | Kind::Distinct => {
                Box::pin(self.read(request, next))
            }
            Kind::GetMore => Box::pin(self.more(request, next)),
            Kind::KillCursors => Box::pin(self.kill(request, next)),
            Kind::Upkeep => {
                if matches!(request.command.name(), "endSessions" | "killSessions") {
                    self.cursors.end_sessions(request);
                }
                next.run(request)
            }
            _ => next.run(request),
        }
    }

    fn owns_cursor(&self, id: i64) -> bool {
        self.cursors.own(id)
    }

    fn sweep(&self) {
        self.cursors.sweep();
        self.drains.sweep();
        self.bury(usize::MAX);
        if self.fences.take_voided() {
            self.store.retain(|entry| self.fences.holds(&entry.tie));
        }
    }
}

/// What the server says when a read's own time limit ends.
fn expired(request: &Request) -> Reply {
    let error = ErrorReply::new(codes::MAX_TIME_MS_EXPIRED, "operation exceeded time limit");
    Reply::document(&request.frame, &error.document())
}

enum Found {
    Hit(Arc<Entry>, Wish),
    Miss(Box<[u8]>, Wish),
    Pass(Bypass),
}

/// Ended entries dropped whenever one is stored.
const SOME: usize = 64;

/// Flights that a read joins before it goes itself.
const MOST_JOINS: usize = 8;

thread_local! {
    /// Where keys are built, so that a hit allocates nothing for its key.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
