//! Collections that the watch leaves out, since nothing of them is kept.
//!
//! A change stream costs the server about as much as the writes that it tells of. A collection that is
//! written a lot, and no answer of which is kept (a log), needn't be told of: what nobody keeps, nobody's
//! write can make wrong.
//!
//! Invariants:
//! - *Left out means that nothing is kept.* A read's window is opened before it's asked here
//!   whether its writes are seen ([`LeftOut::covers`]). A collection becomes left out first, and then
//!   a write of all of it lands: so whatever was kept ends, and a window opened before admits nothing.
//! - *Seen again means seen from then on.* When a stream without the exception is open, first a
//!   write of all of it lands, then the collection is seen. So a window that was opened before the stream
//!   saw it admits nothing either.
//! - Only writes of documents are left out. What happens to the collection as such (drops, renames, indexes)
//!   is always told.
//!
//! Absent on purpose: how the stream is told (`upstream::watch`).

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Reads;
use crate::command::Namespace;

/// Which collections are left out, which should be, and which are needed again.
#[derive(Debug, Default)]
pub struct LeftOut {
    any: AtomicBool,
    state: Mutex<State>,
    needed: Notify,
    /// Reads that were about to be kept, by hash of what they depend on.
    reads: Readings,
}

#[derive(Debug, Default)]
struct State {
    collections: HashSet<Namespace, RandomState>,
    needed: HashSet<Namespace, RandomState>,
    /// Events of collections that are seen, since an answer was last about to be kept.
    seen: HashMap<Namespace, Seen, RandomState>,
    /// Those that were needed again aren't left out again soon.
    needed_before: HashMap<Namespace, Needed, RandomState>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    events: u32,
    /// What had been read of it before.
    reads: u64,
}

#[derive(Clone, Copy, Debug)]
struct Needed {
    until: Instant,
    times: u32,
}

impl LeftOut {
    /// Whether all writes that a read depends on are seen. If not, they soon will be: its answer
    /// must not be kept, and the next ones may. To be asked after the read's window was opened.
    pub fn covers(&self, reads: Reads<'_>) -> bool {
        self.reads.note(reads);
        if !self.any.load(SeqCst) {
            return true;
        }
        let mut state = self.state.lock();
        let needed = |ns: &&Namespace| match reads {
            Reads::Collection { db, collection } | Reads::Documents { db, collection } => {
                ns.db == db && ns.collection == collection
            }
            Reads::Named { db, names } => ns.db == db && names.contains(&ns.collection),
            Reads::View { db } => ns.db == db,
            Reads::Definitions { .. } => false,
        };
        let needed: Vec<_> = state.collections.iter().filter(needed).cloned().collect();
        if needed.is_empty() {
            return true;
        }
        state.needed.extend(needed);
        drop(state);
        self.needed.notify_one();
        false
    }

    /// How many are left out.
    pub fn len(&self) -> usize {
        match self.any.load(SeqCst) {
            true => self.state.lock().collections.len(),
            false => 0,
        }
    }

    /// Whether the watch sees all writes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For the watch: another event of a collection. Whether the collection has had many by now, and no answer
    /// was about to be kept since: if nothing of it is kept either, it may be [left out](LeftOut::leave_out).
    pub fn count(&self, of: &Namespace, now: Instant) -> bool {
        let mut state = self.state.lock();
        let reads = || self.reads.of(of);
        let Some(seen) = state.seen.get_mut(of) else {
            if state.seen.len() >= MOST_COUNTED {
                state.seen.clear();
            }
            let seen = Seen {
                since: now,
                events: 1,
                reads: reads(),
            };
            state.seen.insert(of.clone(), seen);
            return false;
        };
        seen.events += 1;
        if seen.events < MANY {
            return false;
        }
        let was_read = seen.reads != reads();
        let was_long = now.saturating_duration_since(seen.since) > LONG;
        state.seen.remove(of);
        let is_needed = |n: &Needed| now < n.until;
        !was_read
            && !was_long
            && !of.collection.starts_with("system.")
            && state.collections.len() < MOST
            && !state.needed_before.get(of).is_some_and(is_needed)
    }

    /// For the watch: the next stream won't tell of these collections' documents. Then a write of all of
    /// each must land.
    pub fn leave_out(&self, collections: impl IntoIterator<Item = Namespace>) {
        let mut state = self.state.lock();
        state.collections.extend(collections);
        self.any.store(!state.collections.is_empty(), SeqCst);
    }

    /// For the watch: ready when collections are needed that are left out.
    pub async fn needed(&self) {
        self.needed.notified().await;
    }

    /// For the watch: a stream that leaves something out couldn't be opened.
    pub fn need_all(&self) {
        let mut state = self.state.lock();
        let all: Vec<_> = state.collections.iter().cloned().collect();
        state.needed.extend(all);
    }

    /// For the watch: which the next stream is to leave out, and which it is to tell of again.
    pub fn next(&self) -> (Vec<Namespace>, Vec<Namespace>) {
        let state = self.state.lock();
        let all = state.collections.iter().cloned();
        all.partition(|ns| !state.needed.contains(ns))
    }

    /// For the watch: a stream is open that tells of these again, and a write of all of each has landed.
    pub fn seen_again(&self, collections: &[Namespace], now: Instant) {
        let mut state = self.state.lock();
        for ns in collections {
            state.collections.remove(ns);
            state.needed.remove(ns);
            if state.needed_before.len() >= MOST_COUNTED {
                state.needed_before.retain(|_, n| now < n.until);
            }
            let stay = |times: u32| SOON * 2_u32.saturating_pow(times.min(MOST_DOUBLINGS));
            let before = state.needed_before.get(ns);
            // Who has been in peace for long begins anew.
            let times = before.filter(|n| now < n.until + stay(n.times));
            let times = times.map_or(0, |n| n.times);
            let needed = Needed {
                until: now + stay(times),
                times: times.saturating_add(1),
            };
            state.needed_before.insert(ns.clone(), needed);
        }
        self.any.store(!state.collections.is_empty(), SeqCst);
    }

    /// For the watch: it is off. (What is kept meanwhile is flushed when it is on again.)
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.collections.clear();
        state.needed.clear();
        state.seen.clear();
        self.any.store(false, SeqCst);
    }
}

/// Counts of reads, in a table of fixed size: two collections that share a place are left out later
/// than they could be.
#[derive(Debug)]
struct Readings {
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Readings {
    fn default() -> Readings {
        Readings {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Readings {
    fn note(&self, reads: Reads<'_>) {
        let place = match reads {
            Reads::Collection { db, collection } | Reads::Documents { db, collection } => {
                self.collection(db, collection)
            }
            Reads::Named { db, names } => {
                for place in names.iter().filter_map(|name| self.collection(db, name)) {
                    place.fetch_add(1, SeqCst);
                }
                return;
            }
            Reads::View { db } => self.database(db),
            Reads::Definitions { .. } => return,
        };
        if let Some(place) = place {
            place.fetch_add(1, SeqCst);
        }
    }

    /// Only ever grows.
    fn of(&self, ns: &Namespace) -> u64 {
        let places = [
            self.collection(&ns.db, &ns.collection),
            self.database(&ns.db),
        ];
        places.into_iter().flatten().map(|n| n.load(SeqCst)).sum()
    }

    fn collection(&self, db: &str, collection: &str) -> Option<&AtomicU64> {
        self.place(self.hasher.hash_one((db, collection)))
    }

    fn database(&self, db: &str) -> Option<&AtomicU64> {
        self.place(self.hasher.hash_one(db))
    }

    fn place(&self, hash: u64) -> Option<&AtomicU64> {
        self.places.get(hash as usize % PLACES)
    }
}

/// Events of a collection that make it worth a new stream to leave it out,
const MANY: u32 = 4096;
/// if they come within this time.
const LONG: Duration = Duration::from_secs(60);
/// Collections left out at most: the server compares each write with all of them.
const MOST: usize = 32;
/// Collections whose events are counted.
const MOST_COUNTED: usize = 1024;
/// For so long a collection that was needed again isn't left out; twice as long each time.
const SOON: Duration = Duration::from_secs(60);
const MOST_DOUBLINGS: u32 = 6;
/// In the table of reads.
const PLACES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Namespace {
        Namespace::new("bot", "log")
    }

    fn reads() -> Reads<'static> {
        Reads::Documents {
            db: "bot",
            collection: "log",
        }
    }

    /// Whether one more round of events makes it worth it.
    fn many(left_out: &LeftOut, now: Instant) -> bool {
        (0..MANY).any(|_| left_out.count(&log(), now))
    }

    #[test]
    fn many_events_of_what_nobody_reads_are_worth_it() {
        let left_out = LeftOut::default();
        let now = Instant::now();
        assert!(many(&left_out, now));
        let view = Reads::View { db: "bot" };
        for read in [reads(), view] {
            left_out.count(&log(), now);
            assert!(left_out.covers(read));
            assert!(!many(&left_out, now), "{read:?}");
        }
        assert!(many(&left_out, now));
        left_out.count(&log(), now);
        assert!(!many(&left_out, now + LONG * 2), "they came slowly");
        let buckets = Namespace::new("bot", "system.buckets.x");
        assert!(!(0..MANY).any(|_| left_out.count(&buckets, now)));
    }

    #[test]
    fn what_is_left_out_isnt_covered_until_it_is_seen_again() {
        let left_out = LeftOut::default();
        let other = Namespace::new("bot", "other");
        left_out.leave_out([log(), other.clone()]);
        assert_eq!(left_out.len(), 2);
        let elsewhere = Reads::View { db: "elsewhere" };
        let definitions = Reads::Definitions { db: "bot" };
        assert!(left_out.covers(elsewhere) && left_out.covers(definitions));
        assert!(!left_out.covers(reads()) && !left_out.covers(reads()));
        assert_eq!(left_out.next(), (vec![other.clone()], vec![log()]));
        let now = Instant::now();
        left_out.seen_again(&[log()], now);
        assert!(left_out.covers(reads()));
        assert_eq!(left_out.len(), 1);
        assert!(
            !left_out.covers(Reads::View { db: "bot" }),
            "a view may show the other"
        );
        left_out.seen_again(&[other], now);
        assert!(left_out.is_empty() && left_out.covers(Reads::View { db: "bot" }));
    }

    #[test]
    fn what_was_needed_again_stays_for_longer_each_time() {
        let left_out = LeftOut::default();
        let mut now = Instant::now();
        for stay in [SOON, SOON * 2, SOON * 4, SOON] {
            if stay == SOON {
                now += SOON * 100;
            }
            left_out.leave_out([log()]);
            left_out.seen_again(&[log()], now);
            assert!(!many(&left_out, now + stay - Duration::from_millis(1)));
            now += stay;
            assert!(many(&left_out, now), "{stay:?}");
        }
    }

    #[tokio::test]
    async fn the_watch_hears_of_a_need_also_when_it_comes_later() {
        let left_out = LeftOut::default();
        left_out.leave_out([log()]);
        assert!(!left_out.covers(reads()));
        left_out.needed().await;
        left_out.clear();
        assert!(left_out.covers(reads()) && left_out.is_empty());
    }
}
