//! Fences: what may be changing right now (docs/coherence.md, rules 1, 2, 4, 7).
//!
//! A fence stands from before a write is sent until its reply has come and before
//! that reply goes to the client. A stored answer may be served while nothing it depends on is
//! fenced or has changed since, and a fresh answer may be stored if it outlives everything that
//! was fenced at any moment since it was asked for.
//!
//! There are two grains. Writes that can be read statement by statement meet only the answers
//! that they may affect, one by one ([`collection`]). All others, and reads that can't be reasoned
//! about, meet in [`scopes`].
//!
//! - `fence`: a write under way
//! - `scopes`: a collection, a database, everything
//! - `collection`: the statements that are being written, and the answers that are stored
//! - `group`, `postings`: the answers of one shape, found by value
//! - `tie`, `window`: what binds an answer to the writes, once it's stored and until then
//! - `pre_image`, `wanted`, `credit`: what is known of documents that are being updated, what would be worth knowing, what may
//!   be spent on it
//! - `default_reads`: what a read without a read concern means
//! - `own`: writes of this proxy whose events are still to come
//! - `weakened`: rules that a test can switch off

mod collection;
mod credit;
mod default_reads;
mod fence;
mod group;
mod own;
mod postings;
mod pre_image;
mod scopes;
#[cfg(test)]
mod tests;
mod tie;
mod wanted;
mod weakened;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::collection::{Collection, Ended};
use self::credit::Trust;
pub use self::default_reads::DefaultReads;
pub use self::fence::Fence;
use self::fence::{Origin, Quarantined, Standing};
use self::own::OwnWrite;
use self::scopes::{EVERYTHING, Scopes};
pub use self::scopes::{MOST_NAMES, Reads, Stamp};
pub use self::tie::{Tie, Tied};
pub use self::wanted::Wanted;
pub use self::weakened::Weakened;
use self::weakened::Weakening;
pub use self::window::{Mark, Window};
use crate::command::{Effect, Footprint, Namespace, ReadPlan};
use crate::memory::Memory;

/// The table of what is being written.
pub struct Fences {
    scopes: Scopes,
    collections: DashMap<String, Arc<Collection>, RandomState>,
    quarantine: Duration,
    quarantined: Mutex<Vec<Quarantined>>,
    settled: AtomicU64,
    flushes: AtomicU64,
    /// Answers that writes have ended, for the cache to drop.
    ended: Mutex<Ended>,
    voided: AtomicBool,
    /// Documents of which it would be worth knowing more, of all collections.
    wanted: AtomicUsize,
    trust: Trust,
    /// Events come: the times of own writes are worth noting.
    watched: AtomicBool,
    default_reads: default_reads::Kept,
    weakening: Weakening,
    memory: Arc<Memory>,
}

impl Fences {
    /// A table with no fence standing. `quarantine`: how long a write of unknown
    /// outcome keeps its fence.
    pub fn new(quarantine: Duration) -> Arc<Fences> {
        Fences::counted(quarantine, Arc::default())
    }

    /// The same; `memory` counts what is alive, of fences and of all that hold on to them.
    pub fn counted(quarantine: Duration, memory: Arc<Memory>) -> Arc<Fences> {
        Arc::new(Fences {
            memory,
            scopes: Scopes::new(),
            collections: DashMap::default(),
            quarantine,
            quarantined: Mutex::new(Vec::new()),
            settled: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            ended: Mutex::default(),
            voided: AtomicBool::new(false),
            wanted: AtomicUsize::new(0),
            trust: Trust::new(),
            watched: AtomicBool::new(false),
            default_reads: default_reads::Kept::default(),
            weakening: Weakening::default(),
        })
    }

    /// Stands a fence. To be called before the write is sent.
    pub fn begin(self: &Arc<Self>, footprint: &Footprint) -> Fence {
        self.stand(footprint, Origin::Command)
    }

    /// Stands the fence of a transaction, whose documents stay locked until it ends.
    pub fn hold(self: &Arc<Self>, footprint: &Footprint) -> Fence {
        self.stand(footprint, Origin::Transaction)
    }

    fn stand(self: &Arc<Self>, footprint: &Footprint, origin: Origin) -> Fence {
        let mut fence = Fence::new(self, origin);
        fence.widen(footprint);
        fence
    }

    /// Where the parts of a pipeline, which all have the fences, count what they keep alive.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Whether an open transaction has written in the collection, or may have: a write there may
    /// have to wait for it.
    pub fn is_held(&self, db: &str, collection: &str) -> bool {
        self.scopes.is_held(db, collection)
    }

    /// Whether that may be so of any collection at all.
    pub fn is_any_held(&self) -> bool {
        self.scopes.is_any_held()
    }

    /// A read is about to be sent: its answer may be stored, or shared, if nothing it meets is
    /// being written. `None`: something is, and it reaches whole scopes.
    pub fn open_window(
        self: &Arc<Self>,
        reads: Reads<'_>,
        plan: Option<ReadPlan>,
    ) -> Option<Window> {
        let stamp = self.open(reads)?;
        let precise = match (reads, plan) {
            (Reads::Documents { db, collection }, Some(plan)) => {
                Some((self.collection_of(db, collection), plan))
            }
            (Reads::Documents { .. }, None) => return None,
            _ => None,
        };
        Some(Window::new(Arc::clone(self), stamp, precise))
    }

    /// What a read depends on, if nothing of it is being written now.
    pub fn open(&self, reads: Reads<'_>) -> Option<Stamp> {
        self.scopes.open(reads)
    }

    /// Whether no write that meets the read has begun since the stamp was taken:
    /// the condition for storing an answer.
    pub fn unmet(&self, stamp: &Stamp) -> bool {
        self.scopes.unmet(stamp)
    }

    /// Whether a stored answer may be served now, as far as scopes are concerned.
    pub fn valid(&self, stamp: &Stamp) -> bool {
        self.scopes.valid(stamp)
    }

    /// Whether a stored answer may be served now.
    pub fn holds(&self, tie: &Tie) -> bool {
        self.valid(&tie.stamp) && tie.holds()
    }

    /// Counts what has voided everything: flushes, changes of users and roles, other servers.
    pub fn generation(&self) -> u64 {
        self.scopes.generation()
    }

    /// Counts flushes alone.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(SeqCst)
    }

    /// Answers that writes have ended since the last call, for the cache to drop.
    pub fn take_ended(&self) -> Vec<Arc<dyn Tied>> {
        let ended = std::mem::take(&mut *self.ended.lock());
        // (Answers are upgraded outside of any lock that dropping one needs.)
        let groups = ended.groups.iter().flat_map(|group| group.answers());
        let answers = ended.answers.into_iter().chain(groups);
        answers.filter_map(|answer| answer.upgrade()).collect()
    }

    /// Documents of a collection of which it would be worth knowing more, so that fewer answers are ended with each write to
    /// one of them. Each is told once.
    pub fn take_wanted(&self, db: &str, collection: &str) -> Vec<Wanted> {
        if self.wanted.load(SeqCst) == 0 {
            return Vec::new();
        }
        self.collection_of(db, collection).take_wanted(self)
    }

    /// Whether answers that read some of a collection's documents are stored, or being read. (Of answers that
    /// depend on it as a whole it isn't known.)
    pub fn keeps(&self, collection: &Namespace) -> bool {
        let key = collection_key(&collection.db, &collection.collection);
        self.collections.get(&key).is_some_and(|c| c.keeps())
    }

    /// Whether a write of whole scopes has voided answers since the last call: they are to be
    /// looked for.
    pub fn take_voided(&self) -> bool {
        self.voided.swap(false, SeqCst)
    }

    /// A write has landed that may not have come through this proxy.
    pub fn landed(self: &Arc<Self>, footprint: &Footprint, cluster_time: u64) {
        self.watched.store(true, Relaxed);
        match self.own_write(footprint, cluster_time) {
            Some(own) => self.land_own(footprint, &own),
            None => self.stand(footprint, Origin::Event).settle(Effect::Changed),
        }
    }

    /// The write of this proxy that an event is about, if that is proved.
    fn own_write(&self, footprint: &Footprint, cluster_time: u64) -> Option<OwnWrite> {
        let Footprint::Statements(ns, _) = footprint else {
            return None;
        };
        let key = collection_key(&ns.db, &ns.collection);
        let own = self.collections.get(&key)?.own_write(cluster_time)?;
        (own.generation == self.generation()).then_some(own)
    }

    /// The event of an own write: it ends what was read since that write's reply, as far as the write may have changed it.
    fn land_own(&self, footprint: &Footprint, own: &OwnWrite) {
        let Footprint::Statements(ns, statements) = footprint else {
            return;
        };
        let scopes = self.scopes.of(footprint);
        if self.scopes.opened(&scopes) != own.opened {
            self.scopes.raise(&scopes);
            self.lower(&scopes, true);
        }
        let collection = self.collection_of(&ns.db, &ns.collection);
        self.drop_later(collection.end_read_since(statements, own.moment, self));
    }

    /// Everything stored so far is void: a flush, or a new generation of the server
    /// (another primary, term or process). `settles`: no write of an earlier
    /// generation can land any more, so quarantines end too.
    pub fn flush(&self, settles: bool) {
        self.flushes.fetch_add(1, SeqCst);
        let all = [EVERYTHING];
        self.scopes.raise(&all);
        self.lower(&all, true);
        if settles {
            let ended = std::mem::take(&mut *self.quarantined.lock());
            for q in ended {
                self.end(q.standing, Effect::Changed);
            }
        }
    }

    /// Ends quarantines whose time is over. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut ended = Vec::new();
        self.quarantined.lock().retain_mut(|q| {
            let over = q.until <= now;
            if over {
                ended.push(std::mem::take(&mut q.standing));
            }
            !over
        });
        for standing in ended {
            self.end(standing, Effect::Changed);
        }
        self.collections.retain(|_, collection| {
            collection.sweep(now);
            Arc::strong_count(collection) > 1 || !collection.is_idle(self)
        });
    }

    /// Writes that have changed something, so far.
    pub fn invalidations(&self) -> u64 {
        self.settled.load(SeqCst)
    }

    /// Writes of unknown outcome that keep their fence now.
    pub fn quarantined(&self) -> usize {
        self.quarantined.lock().len()
    }

    /// How long a write of unknown outcome keeps its fence.
    pub fn quarantine(&self) -> Duration {
        self.quarantine
    }

    fn end(&self, standing: Standing, effect: Effect) {
        if standing.scopes.is_empty() {
            return;
        }
        // (While the scopes are raised: what is opened from here on either meets them or isn't counted yet.)
        let change = standing.change.filter(|_| self.watched.load(Relaxed));
        let own = change.map(|time| OwnWrite {
            time,
            generation: standing.generation,
            moment: 0,
            opened: self.scopes.opened(&standing.scopes),
        });
        for (collection, held) in standing.precise {
            self.drop_later(collection.end(held, effect, own, self));
        }
        self.lower(&standing.scopes, effect != Effect::Unchanged);
    }

    fn drop_later(&self, more: Ended) {
        if !(more.groups.is_empty() && more.answers.is_empty()) {
            let mut ended = self.ended.lock();
            ended.groups.extend(more.groups);
            ended.answers.extend(more.answers);
        }
    }

    fn lower(&self, scopes: &[u32], changed: bool) {
        if changed {
            self.voided.store(true, SeqCst);
            self.settled.fetch_add(1, SeqCst);
        }
        self.scopes.lower(scopes, changed);
    }

    fn collection_of(&self, db: &str, collection: &str) -> Arc<Collection> {
        let key = collection_key(db, collection);
        Arc::clone(&self.collections.entry(key).or_default())
    }
}

/// Where a collection stands among those that are told apart.
fn collection_key(db: &str, collection: &str) -> String {
    [db, "\0", collection].concat()
}
