//! Scopes: where writes and reads meet that can't be told apart statement by statement and answer by answer.
//!
//! A scope is a collection, what names in a database mean, anything in a database, or everything. Scopes live in a table of
//! fixed size, picked by hash: two names that share a scope invalidate each other's answers, which costs hits and never
//! correctness, and no number of names can make it grow.
//!
//! Order matters, and all of it is sequentially consistent: a write counts itself as
//! begun and in flight before it is sent, and as changed before it stops being in flight.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Unit tests always have the same hashes: which names share a scope must not be a matter of luck there.
#[cfg(test)]
use foldhash::fast::FixedState as Hasher;
#[cfg(not(test))]
use foldhash::fast::RandomState as Hasher;

use crate::command::Footprint;

/// The table of scopes.
pub(super) struct Scopes {
    table: Box<[Scope]>,
    /// Fences of open transactions by scope.
    held: Box<[AtomicU64]>,
    /// All of them: mostly there are none, and nobody need look further.
    held_in_all: AtomicU64,
    hasher: Hasher,
}

#[derive(Default)]
struct Scope {
    in_flight: AtomicU64,
    begun: AtomicU64,
    changed: AtomicU64,
    /// Reads that depend on it as a whole.
    opened: AtomicU64,
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
    /// What several names of one database mean, and the documents of those that are collections: a view and what it is
    /// on, what a `$lookup` joins. At most [`MOST_NAMES`].
    Named {
        /// Database.
        db: &'a str,
        /// All names, those of views included.
        names: &'a [String],
    },
    /// Whatever the database holds.
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
    pub(super) scopes: [u32; PLACES],
    begun: [u64; PLACES],
    pub(super) changed: [u64; PLACES],
}

impl Stamp {
    /// The generation (what has voided everything) in which it was taken.
    pub(super) fn generation(&self) -> u64 {
        let mut places = self.scopes.iter().zip(self.changed);
        let everything = places.find(|(scope, _)| **scope == EVERYTHING);
        everything.map_or(0, |(_, changed)| changed)
    }
}

impl Scopes {
    pub fn new() -> Scopes {
        Scopes {
            table: (0..SCOPES).map(|_| Scope::default()).collect(),
            held: (0..SCOPES).map(|_| AtomicU64::new(0)).collect(),
            held_in_all: AtomicU64::new(0),
            hasher: Hasher::default(),
        }
    }

    /// What a read depends on, if nothing of it is being written now.
    pub fn open(&self, reads: Reads<'_>) -> Option<Stamp> {
        let scopes = self.reads(reads);
        debug_assert!(scopes.contains(&EVERYTHING));
        // `begun` first: a write that begins after this line will be seen by `unmet`.
        let begun = scopes.map(|s| self.scope(s).begun.load(SeqCst));
        if scopes
            .iter()
            .any(|&s| self.scope(s).in_flight.load(SeqCst) != 0)
        {
            return None;
        }
        let changed = scopes.map(|s| self.scope(s).changed.load(SeqCst));
        // (Last: a read that an own write's count has missed was met by that write.)
        for &s in scopes.iter().take_while(|&&s| s != EVERYTHING) {
            self.scope(s).opened.fetch_add(1, SeqCst);
        }
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
        for (&s, changed) in stamp.scopes.iter().zip(stamp.changed) {
            let scope = self.scope(s);
            if scope.in_flight.load(SeqCst) != 0 || scope.changed.load(SeqCst) != changed {
                return false;
            }
            if s == EVERYTHING {
                // So are the places behind it.
                break;
            }
        }
        true
    }

    /// Counts the reads that depend on one of these as a whole and were let through so far.
    pub fn opened(&self, scopes: &[u32]) -> u64 {
        let counts = scopes.iter().map(|&s| self.scope(s).opened.load(SeqCst));
        counts.fold(0, u64::wrapping_add)
    }

    /// Counts what has changed everything.
    pub fn generation(&self) -> u64 {
        self.scope(EVERYTHING).changed.load(SeqCst)
    }

    /// Writes of these scopes begin.
    pub fn raise(&self, scopes: &[u32]) {
        for &s in scopes {
            self.scope(s).begun.fetch_add(1, SeqCst);
            self.scope(s).in_flight.fetch_add(1, SeqCst);
        }
    }

    /// They are over.
    pub fn lower(&self, scopes: &[u32], changed: bool) {
        if changed {
            for &s in scopes {
                self.scope(s).changed.fetch_add(1, SeqCst);
            }
        }
        for &s in scopes {
            self.scope(s).in_flight.fetch_sub(1, SeqCst);
        }
    }

    /// Whether an open transaction has written in the collection, or may have: a write there may
    /// have to wait for it.
    pub fn is_held(&self, db: &str, collection: &str) -> bool {
        if !self.is_any_held() {
            return false;
        }
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

    /// Whether any open transaction has written, or may have.
    pub fn is_any_held(&self) -> bool {
        self.held_in_all.load(SeqCst) != 0
    }

    /// A transaction has written in these scopes, or has ended.
    pub fn note_held(&self, scopes: &[u32], held: bool) {
        let count = scopes.len() as u64;
        match held {
            true => self.held_in_all.fetch_add(count, SeqCst),
            false => self.held_in_all.fetch_sub(count, SeqCst),
        };
        for held_by in scopes.iter().filter_map(|&s| self.held.get(s as usize)) {
            match held {
                true => held_by.fetch_add(1, SeqCst),
                false => held_by.fetch_sub(1, SeqCst),
            };
        }
    }

    /// Those that a read meets; the places that it doesn't need are filled with the one that all meet.
    fn reads(&self, reads: Reads<'_>) -> [u32; PLACES] {
        let (one, definitions) = match reads {
            Reads::Collection { db, collection } => {
                (self.collection(db, collection), self.definitions(db))
            }
            Reads::Documents { db, collection } => {
                (self.unconfined(db, collection), self.definitions(db))
            }
            Reads::Named { db, names } if names.len() <= MOST_NAMES => {
                let mut scopes = [EVERYTHING; PLACES];
                let named = names.iter().map(|name| self.collection(db, name));
                let all = named.chain([self.definitions(db)]);
                scopes
                    .iter_mut()
                    .zip(all)
                    .for_each(|(place, scope)| *place = scope);
                return scopes;
            }
            Reads::Named { db, .. } | Reads::View { db } => (self.anything_in(db), EVERYTHING),
            Reads::Definitions { db } => (self.definitions(db), EVERYTHING),
        };
        let mut scopes = [EVERYTHING; PLACES];
        scopes[0] = one;
        scopes[1] = definitions;
        scopes
    }

    /// What a write meets, sorted and each once.
    pub fn of(&self, footprint: &Footprint) -> Vec<u32> {
        let mut scopes = self.named_by(footprint);
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    fn named_by(&self, footprint: &Footprint) -> Vec<u32> {
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

    fn scope(&self, index: u32) -> &Scope {
        &self.table[index as usize % SCOPES]
    }
}

/// Names that a read may depend on one by one.
pub const MOST_NAMES: usize = 4;

/// Those, the definitions of their database, and everything.
const PLACES: usize = MOST_NAMES + 2;

/// Scope 0: met by every read.
pub(super) const EVERYTHING: u32 = 0;

/// Scopes, one of them for everything: half a megabyte, so that few of some hundred collections share one.
const SCOPES: usize = 1 << 14;
