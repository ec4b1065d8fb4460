//! Notices that the machine was suspended.
//!
//! Whatever is served from memory is as old as it may be by a [clock](crate::pipeline::Clock) that goes on meanwhile. What has no age
//! (`cache.external_writes = "none"`) is voided here, within about a second of waking, and the servers are looked at: another
//! one may be primary, and what its predecessor wrote may be gone.

use std::time::Duration;

use tokio::time::Instant;

use super::shared::Shared;
use crate::pipeline::Moment;

/// Two clocks, read one after the other: they drift apart while the machine is suspended.
#[derive(Clone, Copy)]
pub(super) struct Awake {
    running: Instant,
    all: Moment,
}

impl Awake {
    /// Looks at the clocks. `before`: what they showed the last time.
    pub fn look(before: Option<Awake>, shared: &Shared) -> Awake {
        let now = Awake {
            running: Instant::now(),
            all: shared.horizon.clock().now(),
        };
        let slept = before.map_or(Duration::ZERO, |before| now.slept_since(before));
        if slept > NOTICEABLE {
            tracing::info!(target: "petiole", seconds = slept.as_secs(),
                "the machine was suspended: the cache is void");
            shared.pipeline.fences().flush(false);
            shared.upstream.look_again();
        }
        now
    }

    fn slept_since(self, before: Awake) -> Duration {
        let running = self.running.saturating_duration_since(before.running);
        self.all.since(before.all).saturating_sub(running)
    }
}

/// The clocks aren't read in the same moment.
const NOTICEABLE: Duration = Duration::from_secs(1);
