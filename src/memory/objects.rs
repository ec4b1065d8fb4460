//! What is alive in this process, by kind and with ages.
//!
//! A [`Live`] is held by the object that it counts, and counts it out when it is dropped. It is
//! nothing but a share in the epoch (about a second) in which it was made: how many shares an
//! epoch has is how many of its objects are alive. So counting in and out are one atomic step
//! each, an object of any age is known by its epoch, and what is remembered are epochs that still
//! have survivors, which are fewer than there are objects.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A kind of object that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Connections of clients.
    Clients,
    /// Links to servers.
    Links,
    /// Requests that have a link.
    Leases,
    /// Cursors on answers from memory.
    Cursors,
    /// Cursors of servers that must be continued where they were opened.
    ServerCursors,
    /// Answers of several batches that are put together.
    Drains,
    /// Open transactions.
    Transactions,
    /// Reads that others may join.
    Flights,
    /// Write batches under way.
    Batches,
    /// Writes that wait for a batch, or are in one.
    QueuedWrites,
    /// Fences, those in quarantine included.
    Fences,
    /// Shares of the byte budget.
    Permits,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 12] = [
        Kind::Clients,
        Kind::Links,
        Kind::Leases,
        Kind::Cursors,
        Kind::ServerCursors,
        Kind::Drains,
        Kind::Transactions,
        Kind::Flights,
        Kind::Batches,
        Kind::QueuedWrites,
        Kind::Fences,
        Kind::Permits,
    ];

    /// The word for it in metrics, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Clients => "clients",
            Kind::Links => "links",
            Kind::Leases => "leases",
            Kind::Cursors => "cursors",
            Kind::ServerCursors => "server_cursors",
            Kind::Drains => "drains",
            Kind::Transactions => "transactions",
            Kind::Flights => "flights",
            Kind::Batches => "batches",
            Kind::QueuedWrites => "queued_writes",
            Kind::Fences => "fences",
            Kind::Permits => "permits",
        }
    }
}

/// Counts one object for as long as it is held.
#[derive(Debug)]
#[must_use = "an object is counted only while this is held"]
pub struct Live {
    /// `None` only while it is being dropped.
    #[cfg_attr(
        not(feature = "test-hooks"),
        expect(dead_code, reason = "to hold it is to be counted")
    )]
    epoch: Option<Arc<Epoch>>,
}

/// A time in which objects were made. Each of them that is alive has a share in it.
#[derive(Debug)]
struct Epoch {
    began: Instant,
    /// Its objects are never counted out.
    #[cfg(feature = "test-hooks")]
    leaks: Arc<std::sync::atomic::AtomicBool>,
}

/// How many objects of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Alive now.
    pub live: usize,
    /// Of them, older than what was asked for.
    pub old: usize,
    /// Age of the oldest, to about a second.
    pub oldest: Option<Duration>,
}

/// All kinds.
#[derive(Debug)]
pub(super) struct Objects {
    kinds: [Epochs; Kind::ALL.len()],
}

#[derive(Debug)]
struct Epochs {
    current: ArcSwap<Epoch>,
    past: Mutex<VecDeque<Arc<Epoch>>>,
    #[cfg(feature = "test-hooks")]
    leaks: Arc<std::sync::atomic::AtomicBool>,
}

impl Objects {
    pub fn new() -> Objects {
        Objects {
            kinds: std::array::from_fn(|_| Epochs::new()),
        }
    }

    pub fn enter(&self, kind: Kind) -> Live {
        Live {
            epoch: self.of(kind).map(|epochs| epochs.current.load_full()),
        }
    }

    /// Begins a new epoch.
    pub fn turn(&self) {
        for epochs in &self.kinds {
            let ended = epochs.current.swap(epochs.epoch());
            let mut past = epochs.past.lock();
            past.push_back(ended);
            // This list's own share is all that is left.
            past.retain(|epoch| Arc::strong_count(epoch) > 1);
        }
    }

    /// What is alive of a kind, and how many of them have passed `age`.
    pub fn count(&self, kind: Kind, age: Duration) -> Count {
        let mut count = Count::default();
        let Some(epochs) = self.of(kind) else {
            return count;
        };
        let past = epochs.past.lock();
        let current = epochs.current.load_full();
        let shares = past.iter().map(|epoch| (epoch, 1));
        let now = Instant::now();
        // The current epoch is held by its place and by this function.
        for (epoch, own) in shares.chain([(&current, 2)]) {
            let live = Arc::strong_count(epoch).saturating_sub(own);
            if live == 0 {
                continue;
            }
            let old = now.saturating_duration_since(epoch.began);
            count.live += live;
            count.old += if old >= age { live } else { 0 };
            count.oldest = count.oldest.max(Some(old));
        }
        count
    }

    fn of(&self, kind: Kind) -> Option<&Epochs> {
        self.kinds.get(kind as usize)
    }

    /// From now on, objects of this kind are never counted out.
    #[cfg(feature = "test-hooks")]
    pub fn leak(&self, kind: Kind) {
        if let Some(epochs) = self.of(kind) {
            epochs
                .leaks
                .store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Epochs {
    fn new() -> Epochs {
        #[cfg(feature = "test-hooks")]
        let leaks = Arc::default();
        Epochs {
            current: ArcSwap::from_pointee(Epoch {
                began: Instant::now(),
                #[cfg(feature = "test-hooks")]
                leaks: Arc::clone(&leaks),
            }),
            past: Mutex::default(),
            #[cfg(feature = "test-hooks")]
            leaks,
        }
    }

    fn epoch(&self) -> Arc<Epoch> {
        Arc::new(Epoch {
            began: Instant::now(),
            #[cfg(feature = "test-hooks")]
            leaks: Arc::clone(&self.leaks),
        })
    }
}

#[cfg(feature = "test-hooks")]
impl Drop for Live {
    fn drop(&mut self) {
        if let Some(epoch) = self.epoch.take()
            && epoch.leaks.load(std::sync::atomic::Ordering::Relaxed)
        {
            std::mem::forget(epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn objects_are_counted_from_their_making_to_their_end() {
        let objects = Objects::new();
        let one = objects.enter(Kind::Cursors);
        let two = objects.enter(Kind::Cursors);
        objects.turn();
        let three = objects.enter(Kind::Cursors);
        assert_eq!(objects.count(Kind::Cursors, SECOND).live, 3);
        assert_eq!(objects.count(Kind::Flights, SECOND), Count::default());
        drop((one, three));
        assert_eq!(objects.count(Kind::Cursors, SECOND).live, 1);
        drop(two);
        assert_eq!(objects.count(Kind::Cursors, SECOND).live, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_of_any_age_keeps_it_and_empty_epochs_are_forgotten() {
        let objects = Objects::new();
        let old = objects.enter(Kind::Clients);
        for _ in 0..4000 {
            tokio::time::advance(SECOND).await;
            objects.turn();
            drop(objects.enter(Kind::Clients));
        }
        let young = objects.enter(Kind::Clients);
        let count = objects.count(Kind::Clients, 10 * SECOND);
        assert_eq!(
            (count.live, count.old, count.oldest),
            (2, 1, Some(4000 * SECOND))
        );
        let remembered = objects.of(Kind::Clients).map(|e| e.past.lock().len());
        assert_eq!(remembered, Some(1));
        drop((old, young));
    }
}
