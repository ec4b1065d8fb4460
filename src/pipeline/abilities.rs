//! What the upstream can do that stages must know of. The upstream keeps it up to date.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// See the module.
#[derive(Debug, Default)]
pub struct Abilities {
    retryable_writes: AtomicBool,
}

impl Abilities {
    /// Whether it is a replica set, whose primary runs a write with a `txnNumber` once only.
    pub fn retryable_writes(&self) -> bool {
        self.retryable_writes.load(Relaxed)
    }

    /// Says so.
    pub fn set_retryable_writes(&self, yes: bool) {
        self.retryable_writes.store(yes, Relaxed);
    }
}
