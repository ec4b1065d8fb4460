//! Fences: what may be changing right now (DESIGN §4 rules 1, 2, 4).
//!
//! A fence stands from before a write is sent until its reply has come and before
//! that reply goes to the client. A cached answer carries a [`Stamp`] of what it
//! depends on; it may be served while nothing it depends on is fenced or has changed
//! since, and a fresh answer may be stored if no fence met it at any moment since it
//! was asked for.
//!
//! Precision here is a whole collection, or single documents where both the read and the write are
//! confined to known `_id`s. Scopes live in a table of fixed size, picked
//! by hash: two namespaces that share a scope invalidate each other's entries, which
//! costs hits and never correctness, and no number of names can make it grow.
//!
//! Order matters, and all of it is sequentially consistent: a write counts itself as
//! begun and in flight before it is sent, and as changed before it stops being in flight.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::command::{DocumentId, Effect, Footprint};

/// The table of what is being written.
pub struct Fences {
    scopes: Box<[Scope]>,
    hasher: RandomState,
    quarantine: Duration,
    quarantined: Mutex<Vec<Quarantined>>,
    settled: AtomicU64,
    /// Fences of open transactions by scope, single documents left out.
    held: Box<[AtomicU64]>,
}

#[derive(Default)]
struct Scope {
    in_flight: AtomicU64,
    begun: AtomicU64,
    changed: AtomicU64,
}

/// Scopes of unknown outcome, fenced until then.
struct Quarantined {
    until: Instant,
    scopes: Vec<u32>,
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
    /// One document of a collection without a collation, and not capped.
    Document {
        /// Database.
        db: &'a str,
        /// Collection.
        collection: &'a str,
        /// Its `_id`.
        id: &'a DocumentId,
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
        Arc::new(Fences {
            scopes: (0..SCOPES + DOCUMENTS).map(|_| Scope::default()).collect(),
            hasher: RandomState::default(),
            quarantine,
            quarantined: Mutex::new(Vec::new()),
            settled: AtomicU64::new(0),
            held: (0..SCOPES).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Stands a fence. To be called before the write is sent.
    pub fn begin(self: &Arc<Self>, footprint: &Footprint) -> Fence {
        let scopes = self.scopes_of(footprint);
        self.raise(&scopes);
        Fence {
            fences: Arc::clone(self),
            scopes,
            holds: false,
        }
    }

    /// Stands the fence of a transaction, whose documents stay locked until it ends.
    pub fn hold(self: &Arc<Self>, footprint: &Footprint) -> Fence {
        let mut fence = self.begin(footprint);
        fence.holds = true;
        self.note_held(&fence.scopes, true);
        fence
    }

    /// Whether an open transaction has written in the collection, or may have: a write there may
    /// have to wait for it.
    pub fn is_held(&self, db: &str, collection: &str) -> bool {
        [
            EVERYTHING,
            self.collection(db, collection),
            self.definitions(db),
        ]
        .into_iter()
        .any(|s| {
            self.held
                .get(s as usize)
                .is_some_and(|n| n.load(SeqCst) != 0)
        })
    }

    fn note_held(&self, scopes: &[u32], held: bool) {
        for held_by in scopes.iter().filter_map(|&s| self.held.get(s as usize)) {
            match held {
                true => held_by.fetch_add(1, SeqCst),
                false => held_by.fetch_sub(1, SeqCst),
            };
        }
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
                self.lower(&q.scopes, true);
            }
        }
    }

    /// Ends quarantines whose time is over. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut ended = Vec::new();
        self.quarantined.lock().retain_mut(|q| {
            let over = q.until <= now;
            if over {
                ended.push(std::mem::take(&mut q.scopes));
            }
            !over
        });
        for scopes in ended {
            self.lower(&scopes, true);
        }
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
        &self.scopes[index as usize % (SCOPES + DOCUMENTS)]
    }

    fn raise(&self, scopes: &[u32]) {
        for &s in scopes {
            self.scope(s).begun.fetch_add(1, SeqCst);
            self.scope(s).in_flight.fetch_add(1, SeqCst);
        }
    }

    fn lower(&self, scopes: &[u32], changed: bool) {
        if changed {
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
            Reads::Document { db, collection, id } => [
                self.document(db, collection, id),
                self.unconfined(db, collection),
                self.definitions(db),
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
            Footprint::Documents(ns, ids) => {
                let named = ids
                    .iter()
                    .map(|id| self.document(&ns.db, &ns.collection, id));
                named
                    .chain([
                        self.collection(&ns.db, &ns.collection),
                        self.anything_in(&ns.db),
                    ])
                    .collect()
            }
            Footprint::Everything => vec![EVERYTHING],
        }
    }

    /// Raised by writes to this document.
    fn document(&self, db: &str, collection: &str, id: &DocumentId) -> u32 {
        let hash = self
            .hasher
            .hash_one(("document", db, collection, id.as_bytes()));
        (SCOPES + (hash % DOCUMENTS as u64) as usize) as u32
    }

    /// Raised by writes that may touch any document of the collection.
    fn unconfined(&self, db: &str, collection: &str) -> u32 {
        self.index(("unconfined", db, collection))
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
    scopes: Vec<u32>,
    /// It belongs to a transaction.
    holds: bool,
}

impl Fence {
    /// Ends the fence by what the write's reply proved.
    pub fn settle(mut self, effect: Effect) {
        if effect == Effect::Unknown {
            return;
        }
        let scopes = std::mem::take(&mut self.scopes);
        if !scopes.is_empty() {
            self.release(&scopes);
            self.fences.lower(&scopes, effect == Effect::Changed);
        }
    }

    fn release(&self, scopes: &[u32]) {
        if self.holds {
            self.fences.note_held(scopes, false);
        }
    }

    /// Widens the fence: a transaction has written somewhere else too.
    pub fn widen(&mut self, footprint: &Footprint) {
        for scope in self.fences.scopes_of(footprint) {
            if !self.scopes.contains(&scope) {
                self.fences.raise(&[scope]);
                if self.holds {
                    self.fences.note_held(&[scope], true);
                }
                self.scopes.push(scope);
            }
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if !self.scopes.is_empty() {
            let until = Instant::now() + self.fences.quarantine;
            let scopes = std::mem::take(&mut self.scopes);
            self.release(&scopes);
            self.fences
                .quarantined
                .lock()
                .push(Quarantined { until, scopes });
        }
    }
}

/// Scope 0: met by every read.
const EVERYTHING: u32 = 0;

/// Scopes of names. A scope is 24 bytes.
const SCOPES: usize = 4099;

/// Scopes of documents, behind those of names.
const DOCUMENTS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Namespace;

    const USERS: Reads<'static> = Reads::Collection {
        db: "d",
        collection: "users",
    };

    fn fences() -> Arc<Fences> {
        Fences::new(Duration::from_secs(90))
    }

    fn on(collection: &str) -> Footprint {
        Footprint::Namespaces(vec![Namespace::new("d", collection)])
    }

    #[test]
    fn a_write_in_flight_suspends_what_it_meets_and_nothing_else() {
        let f = fences();
        let users = f.open(USERS).unwrap();
        let other = f
            .open(Reads::Collection {
                db: "e",
                collection: "other",
            })
            .unwrap();
        let fence = f.begin(&on("users"));
        assert!(!f.valid(&users) && f.valid(&other));
        assert!(f.open(USERS).is_none());
        fence.settle(Effect::Changed);
        assert!(!f.valid(&users) && f.valid(&other));
    }

    #[test]
    fn a_write_that_changed_nothing_revives_what_it_suspended() {
        let f = fences();
        let users = f.open(USERS).unwrap();
        f.begin(&on("users")).settle(Effect::Unchanged);
        assert!(f.valid(&users));
        assert!(
            !f.unmet(&users),
            "but an answer read meanwhile isn't stored"
        );
    }

    #[test]
    fn an_answer_read_across_a_whole_write_is_not_stored() {
        let f = fences();
        let stamp = f.open(USERS).unwrap();
        assert!(f.unmet(&stamp));
        f.begin(&on("users")).settle(Effect::Changed);
        assert!(!f.unmet(&stamp));
    }

    #[test]
    fn a_view_is_met_by_any_write_in_its_database() {
        let f = fences();
        let view = f.open(Reads::View { db: "d" }).unwrap();
        f.begin(&on("users")).settle(Effect::Changed);
        assert!(!f.valid(&view));
        let view = f.open(Reads::View { db: "d" }).unwrap();
        f.begin(&Footprint::Databases(vec!["d".into()]))
            .settle(Effect::Changed);
        assert!(!f.valid(&view));
    }

    #[test]
    fn a_definition_change_meets_every_collection_of_the_database() {
        let f = fences();
        let users = f.open(USERS).unwrap();
        f.begin(&Footprint::Databases(vec!["d".into()]))
            .settle(Effect::Changed);
        assert!(!f.valid(&users));
    }

    #[test]
    fn a_write_by_id_meets_that_document_and_every_read_of_the_collection() {
        let f = fences();
        let ids: Vec<DocumentId> = [1, 2].into_iter().map(id).collect();
        let [one, two] = [0, 1].map(|i| Reads::Document {
            db: "d",
            collection: "users",
            id: &ids[i],
        });
        let stamps = [one, two, USERS].map(|r| f.open(r).unwrap());
        let ns = Namespace::new("d", "users");
        f.begin(&Footprint::Documents(ns, vec![id(1)]))
            .settle(Effect::Changed);
        assert_eq!(stamps.each_ref().map(|s| f.valid(s)), [false, true, false]);
        let stamps = [one, two, USERS].map(|r| f.open(r).unwrap());
        f.begin(&on("users")).settle(Effect::Changed);
        assert_eq!(stamps.each_ref().map(|s| f.valid(s)), [false, false, false]);
    }

    fn id(n: i32) -> DocumentId {
        let find = bson::doc! {"find": "c", "filter": {"_id": n}, "$db": "d"};
        let body = bytes::Bytes::from(find.to_vec().unwrap());
        crate::command::read_by_id(&crate::command::Command::parse_body(&body).unwrap()).unwrap()
    }

    #[test]
    fn an_unknown_command_meets_everything() {
        let f = fences();
        let users = f.open(USERS).unwrap();
        let fence = f.begin(&Footprint::Everything);
        assert!(!f.valid(&users));
        fence.settle(Effect::Changed);
        assert!(!f.valid(&users));
    }

    #[test]
    fn a_write_of_unknown_outcome_keeps_its_fence_until_the_quarantine_ends() {
        let f = fences();
        drop(f.begin(&on("users")));
        f.begin(&on("users")).settle(Effect::Unknown);
        assert_eq!(f.quarantined(), 2);
        f.sweep(Instant::now() + Duration::from_secs(89));
        assert!(f.open(USERS).is_none());
        f.sweep(Instant::now() + Duration::from_secs(91));
        assert!(f.open(USERS).is_some());
        assert_eq!(f.quarantined(), 0);
    }

    #[test]
    fn a_new_generation_voids_everything_and_ends_quarantines() {
        let f = fences();
        let stamp = f.open(USERS).unwrap();
        drop(f.begin(&on("users")));
        f.flush(false);
        assert!(
            f.open(USERS).is_none(),
            "an ordinary flush settles no write"
        );
        f.flush(true);
        assert!(f.open(USERS).is_some());
        assert!(!f.valid(&stamp) && !f.unmet(&stamp));
    }

    #[test]
    fn a_transactions_writes_hold_their_collections_until_it_ends() {
        let f = fences();
        let mut fence = f.hold(&on("users"));
        fence.widen(&on("items"));
        let plain = f.begin(&on("other"));
        let held = || ["users", "items", "other"].map(|c| f.is_held("d", c));
        assert_eq!(held(), [true, true, false]);
        fence.settle(Effect::Changed);
        plain.settle(Effect::Changed);
        assert_eq!(held(), [false; 3]);
        drop(f.hold(&Footprint::Databases(vec!["d".into()])));
        assert_eq!(held(), [false; 3]);
    }

    #[test]
    fn a_widened_fence_covers_both_places_until_it_settles() {
        let f = fences();
        let mut fence = f.begin(&on("users"));
        fence.widen(&on("items"));
        let items = Reads::Collection {
            db: "d",
            collection: "items",
        };
        assert!(f.open(USERS).is_none() && f.open(items).is_none());
        fence.settle(Effect::Changed);
        assert!(f.open(USERS).is_some() && f.open(items).is_some());
    }
}
