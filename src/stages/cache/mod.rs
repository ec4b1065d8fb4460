//! Repeated reads answered from memory (docs/coherence.md).
//!
//! `find`, `aggregate`, `count` and `distinct`. An entry is served only while nothing that it
//! depends on is being written or has changed ([`Tie`](crate::pipeline::Tie)), it is stored only
//! if it outlives all that was written while it was read ([`Window`](crate::pipeline::Window)), and while writes that go
//! around the proxy may have been missed, nothing is served at all. The fences are the
//! pipeline's; this stage only asks.
//!
//! - `entry`, `store`: what is kept, and where
//! - `facts`: what a name means
//! - `rules`: what the configuration says
//! - `fill`: from a read that missed to an entry
//! - `flight`: one read for several who ask the same
//! - `cursors`, `drain`, `batches`: results of several batches, out of the cache and into it
//! - `rights`: who goes on with such a result may still see it
//! - `read_concern`: what a read without a read concern means
//! - `pre_images`: looks at single documents, so that writes to them end fewer entries
//! - `worth`: which shapes pay for their place
//! - `shadow`: a share of the hits is compared with the server's own answer

mod agree;
mod batches;
mod cursors;
mod drain;
mod entry;
mod facts;
mod fill;
mod flight;
mod pre_images;
mod read_concern;
mod rights;
mod rules;
mod shadow;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod worth;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::time::Instant;

use self::cursors::Cursors;
use self::drain::{Drain, Drains};
use self::entry::Entry;
use self::facts::Facts;
use self::fill::{Fill, Purpose};
use self::flight::{Flights, Landing, Lead};
use self::shadow::Shadow;
pub use self::stats::CacheStats;
use self::store::Store;
use self::worth::Worth;
use crate::command::{
    Bypass, Effect, ErrorReply, Footprint, Kind, Namespace, Wish, canonical, codes,
};
use crate::config;
use crate::memory::{self, Memory};
use crate::pipeline::{
    Answer, Decision, Fences, Horizon, Moment, Next, Outcome, Reply, Request, Stage, Tied,
};
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
    /// Ended answers that are to be dropped.
    ended: Mutex<Vec<Arc<dyn Tied>>>,
    /// The default read concern is being asked behind a read.
    asks_default: AtomicBool,
    /// Itself, for tasks of its own.
    me: Weak<Cache>,
}

impl Cache {
    /// An empty cache under `fences`. `horizon`: how far the watch of other writers has come.
    pub fn new(config: &config::Cache, fences: Arc<Fences>, horizon: Arc<Horizon>) -> Arc<Cache> {
        Arc::new_cyclic(|me| Cache {
            me: Weak::clone(me),
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
            ended: Mutex::default(),
            asks_default: AtomicBool::new(false),
        })
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

    /// Voids what is cached of a collection, or of a whole database.
    pub fn flush_namespace(&self, namespace: &config::NamespacePattern) {
        let db = namespace.database.clone();
        let on = match &namespace.collection {
            Some(collection) => Footprint::Namespaces(vec![Namespace::new(&db, collection)]),
            None => Footprint::Databases(vec![db]),
        };
        self.fences.begin(&on).settle(Effect::Changed);
        self.sweep();
    }

    /// Gives the cache so many bytes, at most, from now on: at once if that is less than it has.
    pub fn limit(&self, bytes: u64) {
        self.store.limit(bytes);
    }

    fn now(&self) -> Moment {
        self.horizon.clock().now()
    }

    fn memory(&self) -> &Memory {
        self.fences.memory()
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
            if self.watches() && !self.horizon.fresh(self.now()) {
                return Found::Pass(Bypass::Blind);
            }
            let miss = |key: &[u8]| Found::Miss(key.into(), wish);
            let Some(entry) = self.store.get(key) else {
                return miss(key);
            };
            if entry.ages() && !entry.lives_at(self.now()) {
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

    /// Whether an answer is at least as late as cluster time `after` (docs/coherence.md, rule 9).
    fn reaches(&self, entry: &Entry, after: Option<u64>) -> bool {
        let Some(after) = after else {
            return true;
        };
        // Without other writers, what is still right now is right at any time that is known.
        entry.after >= after
            || self.config.external_writes == config::ExternalWrites::None
            || self.horizon.passed(after)
    }

    /// Whether entries are ended by a watch of all writers.
    fn watches(&self) -> bool {
        self.config.external_writes.watches() && self.horizon.is_on()
    }

    /// The reply that an entry makes for a request.
    fn reply(&self, request: &mut Request, entry: &Arc<Entry>, wish: Wish) -> Reply {
        entry.hits.fetch_add(1, Relaxed);
        entry.shape.hit();
        if entry.fits(wish.batch_size) {
            request.known = Some(entry.known);
            return Reply::replayed(Frame {
                bytes: entry.reply.clone(),
            });
        }
        let size = wish.batch_size.unwrap_or(entry::FIRST_BATCH);
        let live = self.memory().live(memory::Kind::Cursors);
        self.cursors.first(request, entry, size, live)
    }

    /// Answers from memory, or compares what is there with the server's answer.
    fn hit<'a>(
        &'a self,
        request: &'a mut Request,
        entry: Arc<Entry>,
        wish: Wish,
        next: Next<'a>,
    ) -> Answer<'a> {
        self.stats.hit();
        if entry.tie.note_hit() {
            self.stats.brought();
        }
        request.trail.note(Decision::Hit);
        if self.shadow.is_due() {
            return Answer::later(async move { self.compare(request, next, &entry, wish).await });
        }
        Answer::Now(Ok(self.reply(request, &entry, wish)))
    }

    /// Answers a read that isn't simply a hit; `found` is what a first look-up said.
    async fn read(&self, request: &mut Request, found: Found, next: Next<'_>) -> Outcome {
        let mut found = Some(found);
        let (mut joins, mut leads, mut asked) = (0, true, false);
        let fill = loop {
            let (key, wish) = match found.take().unwrap_or_else(|| self.look_up(request)) {
                Found::Hit(entry, wish) => return self.hit(request, entry, wish, next).await,
                Found::Pass(why) => {
                    self.bypass(request, why);
                    return next.run(request).await;
                }
                Found::Miss(key, wish) => (key, wish),
            };
            let came = self.now();
            if joins < MOST_JOINS
                && let Some((flight, mark)) = self.flights.join(&key, wish.after.unwrap_or(0))
            {
                joins += 1;
                let joined = Instant::now();
                let end = flight.end(request.deadline()).await;
                request.waits.waited_with(&flight.waits, joined.elapsed());
                match end {
                    Some(Landing::Answer(entry))
                        if entry.lives_at(came) && flight.window.serves(&*entry, mark) =>
                    {
                        self.stats.joined();
                        request.trail.note(Decision::Joined);
                        return Ok(self.reply(request, &entry, wish));
                    }
                    Some(Landing::Abandoned) => continue,
                    Some(Landing::Answer(_) | Landing::InAir) => joins = MOST_JOINS,
                    Some(Landing::Released) => {
                        leads = false;
                        joins = MOST_JOINS;
                    }
                    None => return Ok(expired(request)),
                }
            }
            let fill = self.fill(request, &key, wish, next, Purpose::Serving).await;
            if fill.as_ref().is_ok_and(|fill| fill.asked_first) && !asked {
                // Others may have gone while it was asked what the name means.
                asked = true;
                continue;
            }
            self.stats.miss();
            request.trail.note(Decision::Miss);
            match fill {
                Ok(fill) => break fill,
                Err(why) => {
                    self.bypass(request, why);
                    return next.run(request).await;
                }
            }
        };
        let lead = self
            .flights
            .lead(&fill.key, Arc::clone(&fill.flight), leads);
        self.fly(request, next, lead, fill).await
    }

    /// Reads, and lets others have the answer.
    async fn fly(
        &self,
        request: &mut Request,
        next: Next<'_>,
        lead: Lead<'_>,
        fill: Fill,
    ) -> Outcome {
        let reply = match next.run(request).await {
            Ok(reply) => reply,
            Err(failure) => {
                lead.land(Landing::Released);
                return Err(failure);
            }
        };
        fill.shape.took(self.now().since(fill.asked));
        let entry = self.draft(&fill, reply.body());
        if let Ok(entry) = &entry {
            request.known = Some(entry.known);
        }
        let stored = match &entry {
            Ok(entry) => self.store(entry, &fill),
            Err(why) => Err(*why),
        };
        lead.land(entry.map_or(Landing::Released, Landing::Answer));
        self.look_at_documents(request, next);
        match stored {
            Ok(()) => {
                self.stats.stored();
                request.trail.note(Decision::Stored);
            }
            Err(why) => self.bypass(request, why),
        }
        if stored == Err(Bypass::OpenCursor)
            && let Some(cursor) = reply.view().cursor_id
        {
            let live = self.memory().live(memory::Kind::Drains);
            self.drain(Drain::new(fill, live), cursor, reply.body());
        }
        Ok(reply)
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

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        match request.command.kind {
            Kind::Find | Kind::Aggregate | Kind::Count | Kind::Distinct => {
                if request.recorded {
                    self.bypass(request, Bypass::Profiler);
                    return next.run(request);
                }
                match self.look_up(request) {
                    // What a miss needs takes a kilobyte: a hit makes no room for it.
                    Found::Hit(entry, wish) => self.hit(request, entry, wish, next),
                    found => Answer::later(self.read(request, found, next)),
                }
            }
            Kind::GetMore => Answer::later(self.more(request, next)),
            Kind::KillCursors => Answer::later(self.kill(request, next)),
            Kind::Upkeep => {
                if matches!(request.command.name(), "endSessions" | "killSessions") {
                    self.cursors.end_sessions(request);
                }
                next.run(request)
            }
            _ => next.run(request),
        }
    }

    fn sweep(&self) {
        self.cursors.sweep(Instant::now());
        self.drains.sweep();
        self.judge();
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

/// Flights that a read joins before it goes itself.
const MOST_JOINS: usize = 8;

thread_local! {
    /// Where keys are built, so that a hit allocates nothing for its key.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
