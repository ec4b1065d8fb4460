//! Those who have queued for `max_wait`: they go alone.
//!
//! One task sees to all queues while somebody is in one. A timer for each write would cost more than its place in
//! the queue, and nearly none would ever ring.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::stats::Alone;

/// Sees to the queues, in a task of its own, unless somebody does. To be called by whoever has just queued.
pub(super) fn see_to(shared: &Arc<Shared>) {
    if shared.groups.wants_watch() {
        let watch = Watch(Arc::clone(shared));
        tokio::spawn(watch.run());
    }
}

/// Dropped, somebody else may see to the queues.
struct Watch(Arc<Shared>);

impl Watch {
    async fn run(self) {
        let shared = &self.0;
        loop {
            let oldest = shared.groups.oldest();
            sleep_until(oldest.unwrap_or_else(Instant::now) + shared.max_wait).await;
            if let Some(since) = Instant::now().checked_sub(shared.max_wait) {
                for member in shared.groups.take_late(since) {
                    shared.send_away(member, Alone::WaitedLong);
                }
            }
            if shared.groups.oldest().is_some() {
                continue;
            }
            shared.groups.unwatch();
            // Somebody may have come in between, and relied on this watch.
            if shared.groups.oldest().is_none() || !shared.groups.wants_watch() {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.groups.unwatch();
    }
}
