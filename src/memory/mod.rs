//! The memory watch: what the process has and where it goes, what is alive, how tight
//! it is, and what is done about it.
//!
//! A leaf: others report to a [`Memory`] what they hold, ask it before they collect a large
//! message, and look at its [`Pressure`]. What it can't do itself (shrink the cache), it asks
//! for through [`Levers`].
//!
//! - `allocator`: what it is told when the program starts
//! - `system`: what the operating system says
//! - `objects`: live objects by kind, with ages
//! - `buffers`: bytes in the buffers of connections and links
//! - `budget`: large messages, a few at a time
//! - `pressure`: the decisions
//! - `trend`, `leak`: growth that doesn't end
//! - `watch`: the task that samples, decides and acts
//! - `report`: what is told

mod allocator;
mod budget;
mod buffers;
mod leak;
mod objects;
mod pressure;
mod report;
mod system;
mod trend;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::allocator::tune_allocator;
use self::budget::Budget;
pub use self::budget::{BudgetStats, NoRoom, Permit};
pub use self::buffers::{Buffers, Held};
use self::objects::Objects;
pub use self::objects::{Count, Kind, Live};
pub use self::pressure::Pressure;
pub use self::report::{Leak, Moment, Object, Report};
pub use self::system::LimitSource;
use self::watch::Findings;
use crate::config;

/// One proxy's memory: what its parts report to, and ask.
#[derive(Debug)]
pub struct Memory {
    objects: Objects,
    buffers: Buffers,
    budget: Budget,
    pressure: AtomicU8,
    limit: Option<(u64, LimitSource)>,
    leak_window: Duration,
    findings: Mutex<Findings>,
}

/// Where the process's memory is, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Answers, keys, index.
    pub cache: u64,
    /// Buffers of connections and links, and large messages on their way.
    pub buffers: u64,
    /// All the rest, and what the allocator keeps (glibc tells neither how much that is nor gives it
    /// back when asked, but by calls that Rust calls unsafe).
    pub other: u64,
}

/// What the watch has others do.
pub trait Levers: Send + Sync + 'static {
    /// Bytes in the cache now.
    fn cache(&self) -> u64;

    /// The cache has at most so many bytes from now on.
    fn limit_cache(&self, bytes: u64);
}

impl Memory {
    /// Nothing is alive yet. [`Memory::watch`] begins to watch.
    pub fn new(config: &config::Memory) -> Arc<Memory> {
        let limit = system::limit(config.limit.map(|l| l.as_u64()));
        let budget = limit.map_or(MOST_BUDGET, |(bytes, _)| (bytes / 4).min(MOST_BUDGET));
        Arc::new(Memory {
            objects: Objects::new(),
            buffers: Buffers::default(),
            budget: Budget::new(budget, config.max_wait),
            pressure: AtomicU8::new(Pressure::Calm as u8),
            limit,
            leak_window: config.leak_window,
            findings: Mutex::default(),
        })
    }

    /// Counts an object in, until what is returned is dropped.
    pub fn live(&self, kind: Kind) -> Live {
        self.objects.enter(kind)
    }

    /// How many of a kind are alive.
    pub fn count(&self, kind: Kind) -> Count {
        self.objects.count(kind, Duration::ZERO)
    }

    /// A buffer that holds nothing yet.
    pub fn buffer(&self) -> Held {
        self.buffers.hold()
    }

    /// Whether a message of this size is to ask before it is collected.
    pub fn is_large(bytes: usize) -> bool {
        bytes > LARGE
    }

    /// Waits until a large message may be collected.
    ///
    /// # Errors
    /// If others keep what it needs for `memory.max_wait`.
    pub async fn permit(&self, bytes: usize) -> Result<Permit, NoRoom> {
        self.budget
            .take(bytes, || self.pressure(), &self.objects)
            .await
    }

    /// What large messages have.
    pub fn budget(&self) -> BudgetStats {
        self.budget.stats()
    }

    /// How tight it is.
    pub fn pressure(&self) -> Pressure {
        let now = self.pressure.load(Relaxed);
        let known = Pressure::ALL.into_iter().find(|p| *p as u8 == now);
        known.unwrap_or_default()
    }

    /// The limit on resident memory, bytes, and whose it is.
    pub fn limit(&self) -> Option<(u64, LimitSource)> {
        self.limit
    }

    /// From now on, objects of this kind are never counted out.
    #[cfg(feature = "test-hooks")]
    pub fn leak(&self, kind: Kind) {
        self.objects.leak(kind);
    }
}

impl Default for Memory {
    /// For tests of a part alone: no limit but the machine's, and nobody watches.
    fn default() -> Memory {
        let config = config::Memory::default();
        Memory {
            objects: Objects::new(),
            buffers: Buffers::default(),
            budget: Budget::new(MOST_BUDGET, config.max_wait),
            pressure: AtomicU8::new(Pressure::Calm as u8),
            limit: None,
            leak_window: config.leak_window,
            findings: Mutex::default(),
        }
    }
}

/// Messages above this ask before they are collected.
const LARGE: usize = 128 * 1024;

/// What large messages have where memory is plentiful.
const MOST_BUDGET: u64 = 1 << 30;
