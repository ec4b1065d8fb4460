//! Waiting for those who were in the last batch to write again.
//!
//! Clients that write one document after the other come back together, some hundred microseconds
//! after they were answered. Whoever is first would leave alone, at a whole command's cost, while
//! all others wait for it: then half of all commands are for one write. So after a batch of many,
//! the next one waits for most of them, and no longer than `batch.gather` (zero by default). A lone client, or a few,
//! never wait. Where a crowd doesn't come back (`missed`), the next ones aren't waited for: one
//! batch, then two, then four …

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::queue::Groups;

/// Whether waiting pays.
pub(super) struct Crowd {
    patience: Duration,
    /// Batches that won't be waited after.
    skipping: AtomicU32,
    /// How many that were the last time.
    skipped: AtomicU32,
}

impl Crowd {
    /// `patience`: how long a crowd is waited for; zero is never.
    pub fn new(patience: Duration) -> Crowd {
        Crowd {
            patience,
            skipping: AtomicU32::new(0),
            skipped: AtomicU32::new(0),
        }
    }

    /// Waits for most of `size` writes of a group, if they may be expected.
    pub async fn gather(&self, groups: &Groups, key: &[u8], size: usize) {
        if size < LEAST || self.patience.is_zero() || self.skips() {
            return;
        }
        let Some(bell) = groups.bell(key, size - size / 4) else {
            return self.came_back();
        };
        match tokio::time::timeout(self.patience, bell.notified()).await {
            Ok(()) => self.came_back(),
            Err(_) => self.missed(),
        }
    }

    fn skips(&self) -> bool {
        let less = |n: u32| n.checked_sub(1);
        self.skipping.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    fn came_back(&self) {
        self.skipped.store(0, Relaxed);
    }

    fn missed(&self) {
        let skip = (self.skipped.load(Relaxed) * 2).clamp(1, MOST_SKIPPED);
        self.skipped.store(skip, Relaxed);
        self.skipping.store(skip, Relaxed);
    }
}

/// A smaller batch's writers aren't waited for.
const LEAST: usize = 8;
const MOST_SKIPPED: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_does_not_come_back_is_waited_for_ever_more_rarely() {
        let crowd = Crowd::new(Duration::from_millis(1));
        let skipped = || std::iter::from_fn(|| crowd.skips().then_some(())).count();
        assert_eq!(skipped(), 0);
        for expected in [1, 2, 4, 8, 16, 32, 64, 64] {
            crowd.missed();
            assert_eq!(skipped(), expected);
        }
        crowd.came_back();
        crowd.missed();
        assert_eq!(skipped(), 1);
    }
}
