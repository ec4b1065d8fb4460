//! How long a request has waited for its turn and for a server, together with everything that was sent for it.
//!
//! `upstream.wait_timeout` and `upstream.failover_wait` bound a request's waiting in all: what the proxy asks first to
//! serve it, further tries, and the read of another that it had joined. All of these add to the same sums.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// See the module. Nothing is allocated for a request that neither waits nor has company.
#[derive(Clone, Debug, Default)]
pub struct Waits(OnceLock<Arc<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    /// Milliseconds.
    turn: AtomicU64,
    server: AtomicU64,
}

impl Waits {
    /// The same sums, for a request that is sent for this one.
    #[must_use]
    pub fn shared(&self) -> Waits {
        Waits(OnceLock::from(Arc::clone(self.0.get_or_init(Arc::default))))
    }

    /// How long it has waited for its places and for a link (`upstream.wait_timeout`).
    pub fn for_turn(&self) -> Duration {
        self.sum(|sums| &sums.turn)
    }

    /// How long it has waited for a server that would do (`upstream.failover_wait`).
    pub fn for_server(&self) -> Duration {
        self.sum(|sums| &sums.server)
    }

    /// It has waited for its turn.
    pub fn waited_for_turn(&self, time: Duration) {
        self.add(time, |sums| &sums.turn);
    }

    /// It has waited for a server.
    pub fn waited_for_server(&self, time: Duration) {
        self.add(time, |sums| &sums.server);
    }

    /// It has waited, for at most this long, while another request did what both need.
    pub fn waited_with(&self, other: &Waits, at_most: Duration) {
        self.waited_for_turn(other.for_turn().min(at_most));
        self.waited_for_server(other.for_server().min(at_most));
    }

    fn sum(&self, of: impl Fn(&Sums) -> &AtomicU64) -> Duration {
        let sum = self.0.get().map_or(0, |sums| of(sums).load(Relaxed));
        Duration::from_millis(sum)
    }

    fn add(&self, time: Duration, to: impl Fn(&Sums) -> &AtomicU64) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if ms > 0 {
            to(self.0.get_or_init(Arc::default)).fetch_add(ms, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;
    use crate::pipeline::scripted::request;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_sent_for_a_request_waits_on_its_account() {
        let request = request(&doc! {"find": "c", "$db": "d"});
        request.waits.waited_for_turn(SECOND);
        let side = request.side(request.command.body()).unwrap();
        assert_eq!(side.waits.for_turn(), SECOND);
        side.waits.waited_for_turn(SECOND);
        side.waits.waited_for_server(3 * SECOND);
        let reworded = request.reworded(request.frame.bytes.clone()).unwrap();
        reworded.waits.waited_for_server(SECOND);
        assert_eq!(request.waits.for_turn(), 2 * SECOND);
        assert_eq!(request.waits.for_server(), 4 * SECOND);
    }

    #[test]
    fn who_joined_another_has_waited_no_longer_than_it_was_there() {
        let (leader, joined) = (Waits::default(), Waits::default());
        leader.waited_for_server(5 * SECOND);
        leader.waited_for_turn(SECOND);
        joined.waited_with(&leader.shared(), 2 * SECOND);
        assert_eq!(joined.for_server(), 2 * SECOND);
        assert_eq!(joined.for_turn(), SECOND);
        assert_eq!(leader.for_turn(), SECOND);
    }
}
