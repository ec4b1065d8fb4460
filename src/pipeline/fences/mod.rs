//! Fences: what may be changing right now (DESIGN §4 rules 1, 2, 4, 7).
//!
//! A fence stands from before a write is sent until its reply has come and before
//! that reply goes to the client. A stored answer may be served while nothing it depends on is
//! fenced or has changed since, and a fresh answer may be stored if it outlives everything that
//! was fenced at any moment since it was asked for.
//!
//! There are two grains. Writes that can be read statement by statement meet only the answers
//! that they may affect, one by one ([`collection`]). All others, and reads that can't be reasoned
//! about, meet in scopes: a collection, what names in a database mean, anything in a database,
//! everything. Scopes live in a table of fixed size, picked by hash: two names that share a
//! scope invalidate each other's answers, which costs hits and never correctness, and no number
//! of names can make it grow.
//!
//! Order matters, and all of it is sequentially consistent: a write counts itself as
//! begun and in flight before it is sent, and as changed before it stops being in flight.

mod collection;
mod credit;
mod group;
mod postings;
mod pre_image;
#[cfg(test)]
mod tests;
mod tie;
mod wanted;
mod weakened;
mod window;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::collection::{Collection, Ended, Held};
use self::credit::Trust;
pub use self::tie::{Tie, Tied};
pub use self::wanted::Wanted;
pub use self::weakened::Weakened;
use self::weakened::Weakening;
pub use self::window::{Mark, Window};
use crate::command::{Effect, Footprint, Namespace, ReadPlan};
use crate::memory::{Kind, Live, Memory};

/// The table of what is being written.
pub struct Fences {
    scopes: Box<[Scope]>,
    hasher: RandomState,
    collections: DashMap<String, Arc<Collection>, RandomState>,
    quarantine: Duration,
    quarantined: Mutex<Vec<Quarantined>>,
    settled: AtomicU64,
    /// Fences of open transactions by scope.
    held: Box<[AtomicU64]>,
    /// Answers that writes have ended, for the cache to drop.
    ended: Mutex<Ended>,
    voided: AtomicBool,
    /// Documents of which it would be worth knowing more, of all collections.
    wanted: AtomicUsize,
    trust: Trust,
    /// When writes of this proxy were applied, by their own replies.
    own: Box<[AtomicU64]>,
    weakening: Weakening,
    memory: Arc<Memory>,
}

#[derive(Default)]
struct Scope {
    in_flight: AtomicU64,
    begun: AtomicU64,
    changed: AtomicU64,
}

/// A write of unknown outcome, fenced until then.
struct Quarantined {
    until: Instant,
    standing: Standing,
}

/// What a fence stands on.
#[derive(Default)]
struct Standing {
    scopes: Vec<u32>,
    precise: Vec<(Arc<Collection>, Held)>,
    origin: Origin,
    _live: Option<Live>,
}

/// Whose write a fence stands for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Origin {
    /// A command that is about to be sent.
    #[default]
    Command,
    /// The same, in a transaction: its documents stay locked until that ends.
    Transaction,
    /// An event: it has been carried out.
    Event,
}

/// What a cached read depends on.
#[derive(Clone, Copy, Debug)]
pub enum Reads<'a> {
    /// Documents of one collection.
    Collection {
        /// Database.
        db: &'a str,
        /// Collection.
        collection: &'a str,
    },
    /// Documents of one collection that is no view, not capped and without a collation, by a
    /// command that can be reasoned about.
    Documents {
        /// Database.
        db: &'a str,
        /// Collection.
        collection: &'a str,
    },
    /// A view: whatever its database holds.
    View {
        /// Database.
        db: &'a str,
    },
    /// What the names in a database mean.
    Definitions {
        /// Database.
        db: &'a str,
    },
}

/// Where a collection stands among those that are told apart.
fn collection_key(db: &str, collection: &str) -> String {
    [db, "\0", collection].concat()
}

/// The state of what a read depends on, at the moment it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    scopes: [u32; 4],
    begun: [u64; 4],
    changed: [u64; 4],
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
            scopes: (0..SCOPES).map(|_| Scope::default()).collect(),
            hasher: RandomState::default(),
            collections: DashMap::default(),
            quarantine,
            quarantined: Mutex::new(Vec::new()),
            settled: AtomicU64::new(0),
            held: (0..SCOPES).map(|_| AtomicU64::new(0)).collect(),
            ended: Mutex::default(),
            voided: AtomicBool::new(false),
            wanted: AtomicUsize::new(0),
            trust: Trust::new(),
            own: (0..OWN).map(|_| AtomicU64::new(0)).collect(),
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
        let mut fence = Fence {
            fences: Arc::clone(self),
            standing: Standing {
                origin,
                _live: Some(self.memory.live(Kind::Fences)),
                ..Standing::default()
            },
            late: Vec::new(),
        };
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
        let scopes = [
            EVERYTHING,
            self.collection(db, collection),
            self.definitions(db),
        ];
        let held = |s: u32| {
            self.held
                .get(s as usize)
                .is_some_and(|n| n.load(SeqCst) != 0)
        };
        scopes.into_iter().any(held)
    }

    fn note_held(&self, scopes: &[u32], held: bool) {
        for held_by in scopes.iter().filter_map(|&s| self.held.get(s as usize)) {
            match held {
                true => held_by.fetch_add(1, SeqCst),
                false => held_by.fetch_sub(1, SeqCst),
            };
        }
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
        let scopes = self.reads(reads);
        // `begun` first: a write that begins after this line will be seen by `unmet`.
        let begun = scopes.map(|s| self.scope(s).begun.load(SeqCst));
        if scopes
            .iter()
            .any(|&s| self.scope(s).in_flight.load(SeqCst) != 0)
        {
            return None;
        }
        let changed = scopes.map(|s| self.scope(s).changed.load(SeqCst));
        Some(Stamp {
            scopes,
            begun,
            changed,
        })
    }

    /// Whether no write that meets the read has begun since the stamp was taken:
    /// the condition for storing an answer.
    pub fn unmet(&self, stamp: &Stamp) -> bool {
        stamp
            .scopes
            .iter()
            .zip(stamp.begun)
            .all(|(&s, begun)| self.scope(s).begun.load(SeqCst) == begun)
    }

    /// Whether a stored answer may be served now.
    pub fn valid(&self, stamp: &Stamp) -> bool {
        // `in_flight` first: a write lowers it only after it has raised `changed`.
        stamp.scopes.iter().zip(stamp.changed).all(|(&s, changed)| {
            let scope = self.scope(s);
            scope.in_flight.load(SeqCst) == 0 && scope.changed.load(SeqCst) == changed
        })
    }

    /// Whether a stored answer may be served now.
    pub fn holds(&self, tie: &Tie) -> bool {
        self.valid(&tie.stamp) && tie.holds()
    }

    /// Counts what has voided everything: flushes, changes of users and roles, other servers.
    pub fn generation(&self) -> u64 {
        self.scope(EVERYTHING).changed.load(SeqCst)
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

    /// A write of this proxy alone was applied at this cluster time, and is fenced.
    pub fn note_own(&self, cluster_time: u64) {
        if let Some(place) = self.own.get(cluster_time as usize % OWN) {
            place.store(cluster_time, SeqCst);
        }
    }

    /// A write has landed that may not have come through this proxy.
    pub fn landed(self: &Arc<Self>, footprint: &Footprint, cluster_time: u64) {
        let place = self.own.get(cluster_time as usize % OWN);
        if cluster_time == 0 || place.is_none_or(|t| t.load(SeqCst) != cluster_time) {
            self.stand(footprint, Origin::Event).settle(Effect::Changed);
        }
    }

    /// Everything stored so far is void: a flush, or a new generation of the server
    /// (another primary, term or process). `settles`: no write of an earlier
    /// generation can land any more, so quarantines end too.
    pub fn flush(&self, settles: bool) {
        let all = [EVERYTHING];
        self.raise(&all);
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

    fn scope(&self, index: u32) -> &Scope {
        &self.scopes[index as usize % SCOPES]
    }

    fn raise(&self, scopes: &[u32]) {
        for &s in scopes {
            self.scope(s).begun.fetch_add(1, SeqCst);
            self.scope(s).in_flight.fetch_add(1, SeqCst);
        }
    }

    fn release(&self, standing: &Standing) {
        if standing.origin == Origin::Transaction {
            self.note_held(&standing.scopes, false);
        }
    }

    fn end(&self, standing: Standing, effect: Effect) {
        if standing.scopes.is_empty() {
            return;
        }
        for (collection, held) in standing.precise {
            let more = collection.end(held, effect, self);
            if !(more.groups.is_empty() && more.answers.is_empty()) {
                let mut ended = self.ended.lock();
                ended.groups.extend(more.groups);
                ended.answers.extend(more.answers);
            }
        }
        self.lower(&standing.scopes, effect != Effect::Unchanged);
    }

    fn lower(&self, scopes: &[u32], changed: bool) {
        if changed {
            self.voided.store(true, SeqCst);
            for &s in scopes {
                self.scope(s).changed.fetch_add(1, SeqCst);
            }
            self.settled.fetch_add(1, SeqCst);
        }
        for &s in scopes {
            self.scope(s).in_flight.fetch_sub(1, SeqCst);
        }
    }

    fn reads(&self, reads: Reads<'_>) -> [u32; 4] {
        match reads {
            Reads::Collection { db, collection } => [
                self.collection(db, collection),
                self.definitions(db),
                EVERYTHING,
                EVERYTHING,
            ],
            Reads::Documents { db, collection } => [
                self.unconfined(db, collection),
                self.definitions(db),
                EVERYTHING,
                EVERYTHING,
            ],
            Reads::View { db } => [self.anything_in(db), EVERYTHING, EVERYTHING, EVERYTHING],
            Reads::Definitions { db } => [self.definitions(db), EVERYTHING, EVERYTHING, EVERYTHING],
        }
    }

    fn scopes_of(&self, footprint: &Footprint) -> Vec<u32> {
        match footprint {
            Footprint::Nothing => Vec::new(),
            Footprint::Namespaces(list) => list
                .iter()
                .flat_map(|ns| {
                    [
                        self.unconfined(&ns.db, &ns.collection),
                        self.collection(&ns.db, &ns.collection),
                        self.anything_in(&ns.db),
                    ]
                })
                .collect(),
            Footprint::Databases(list) => list
                .iter()
                .flat_map(|db| [self.definitions(db), self.anything_in(db)])
                .collect(),
            Footprint::Statements(ns, _) => vec![
                self.collection(&ns.db, &ns.collection),
                self.anything_in(&ns.db),
            ],
            Footprint::Everything => vec![EVERYTHING],
        }
    }

    /// Raised by writes that can't be read statement by statement.
    fn unconfined(&self, db: &str, collection: &str) -> u32 {
        self.index(("unconfined", db, collection))
    }

    fn collection_of(&self, db: &str, collection: &str) -> Arc<Collection> {
        let key = collection_key(db, collection);
        Arc::clone(&self.collections.entry(key).or_default())
    }

    /// Raised by every write to the collection.
    fn collection(&self, db: &str, collection: &str) -> u32 {
        self.index(("collection", db, collection))
    }

    fn definitions(&self, db: &str) -> u32 {
        self.index(("definitions", db))
    }

    fn anything_in(&self, db: &str) -> u32 {
        self.index(("anything", db))
    }

    fn index(&self, of: impl std::hash::Hash) -> u32 {
        1 + (self.hasher.hash_one(of) % (SCOPES as u64 - 1)) as u32
    }
}

/// A write under way. Dropped without [`Fence::settle`], its outcome is unknown and
/// the fence goes on standing in quarantine, whatever became of the client's task.
#[must_use = "a fence that is dropped counts as a write of unknown outcome"]
pub struct Fence {
    fences: Arc<Fences>,
    standing: Standing,
    /// What a weakened rule lets stand only once the reply has come.
    late: Vec<Footprint>,
}

impl Fence {
    /// Ends the fence by what the write's reply proved.
    pub fn settle(mut self, effect: Effect) {
        if effect != Effect::Unknown {
            for footprint in std::mem::take(&mut self.late) {
                self.stand(&footprint);
            }
            let standing = std::mem::take(&mut self.standing);
            self.fences.release(&standing);
            self.fences.end(standing, effect);
        }
    }

    /// Widens the fence: a transaction writes somewhere else too.
    pub fn widen(&mut self, footprint: &Footprint) {
        if self.fences.weakening.is(Weakened::Suspension) {
            self.late.push(footprint.clone());
        } else {
            self.stand(footprint);
        }
    }

    fn stand(&mut self, footprint: &Footprint) {
        for scope in self.fences.scopes_of(footprint) {
            if !self.standing.scopes.contains(&scope) {
                self.fences.raise(&[scope]);
                if self.standing.origin == Origin::Transaction {
                    self.fences.note_held(&[scope], true);
                }
                self.standing.scopes.push(scope);
            }
        }
        if let Footprint::Statements(ns, statements) = footprint {
            let collection = self.fences.collection_of(&ns.db, &ns.collection);
            let held = collection.begin(statements, self.standing.origin, &self.fences);
            self.standing.precise.push((collection, held));
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if !self.standing.scopes.is_empty() {
            let until = Instant::now() + self.fences.quarantine;
            let standing = std::mem::take(&mut self.standing);
            self.fences.release(&standing);
            let quarantined = Quarantined { until, standing };
            self.fences.quarantined.lock().push(quarantined);
        }
    }
}

/// Scope 0: met by every read.
const EVERYTHING: u32 = 0;

/// Scopes of names. A scope is 24 bytes.
const SCOPES: usize = 4099;

/// Cluster times of own writes that are remembered: more than can lie between a write's
/// reply and its event.
const OWN: usize = 1 << 14;
