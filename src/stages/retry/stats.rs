//! What is counted about retries.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the retry stage.
#[derive(Debug, Default)]
pub struct Stats {
    reads: AtomicU64,
    writes: AtomicU64,
    overloads: AtomicU64,
    given_up: AtomicU64,
    numbered: AtomicU64,
}

/// Why something was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Read,
    Write,
    Overload,
}

impl Stats {
    /// Reads sent again.
    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    /// Writes sent again under their number.
    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Requests sent again after the server said that it is overloaded.
    pub fn overloads(&self) -> u64 {
        self.overloads.load(Relaxed)
    }

    /// Requests that a retry didn't help, or that had no retry left.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    /// Writes that were given a number of the proxy's own.
    pub fn numbered(&self) -> u64 {
        self.numbered.load(Relaxed)
    }

    pub(super) fn retried(&self, why: Why) {
        let counter = match why {
            Why::Read => &self.reads,
            Why::Write => &self.writes,
            Why::Overload => &self.overloads,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn gave_up(&self) {
        self.given_up.fetch_add(1, Relaxed);
    }

    pub(super) fn gave_number(&self) {
        self.numbered.fetch_add(1, Relaxed);
    }
}
