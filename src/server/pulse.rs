//! Whether the process stands still at times: stopped by a signal, frozen with its container, swapped out, or asleep with its
//! machine.
//!
//! What lies in a client's socket when the process wakes may be old, and nothing in the message says so. A task beats ten times
//! a second; a beat that comes late, or is overdue, shows that the process stood still. It shows nothing of a stop that is
//! shorter than [`PAUSE`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::pipeline::{Clock, Moment};

/// The beats so far.
#[derive(Debug)]
pub struct Pulse {
    clock: Clock,
    began: Moment,
    /// Milliseconds from `began` to the last beat.
    last: AtomicU64,
    /// The same, to the last beat that came late. 0: none has.
    late: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Pulse {
        let clock = Clock::default();
        Pulse {
            began: clock.now(),
            clock,
            last: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// To be called every [`BEAT`].
    pub fn beat(&self) {
        let now = self.now();
        if is_pause(self.last.load(Relaxed), now) {
            self.late.store(now.max(1), Relaxed);
        }
        self.last.store(now, Relaxed);
    }

    /// Whether what was just read may have come to the socket before the process stood still: it stood still until now, or
    /// has woken within [`AFTERMATH`].
    pub fn has_paused(&self) -> bool {
        let now = self.now();
        let late = self.late.load(Relaxed);
        let woke_lately = late != 0 && now.saturating_sub(late) < millis(AFTERMATH);
        woke_lately || is_pause(self.last.load(Relaxed), now)
    }

    fn now(&self) -> u64 {
        millis(self.clock.now().since(self.began))
    }
}

fn is_pause(from: u64, to: u64) -> bool {
    to.saturating_sub(from) > millis(PAUSE)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// From one beat to the next.
pub const BEAT: Duration = Duration::from_millis(100);
/// On a machine whose cores are all busy a beat may come late by half of this.
const PAUSE: Duration = Duration::from_millis(500);
/// How long it may take until all that lay in sockets has been read.
const AFTERMATH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_shows_before_and_after_the_next_beat_and_for_some_seconds() {
        let pulse = Pulse::default();
        for _ in 0..100 {
            pulse.clock.sleep(BEAT);
            assert!(!pulse.has_paused());
            pulse.beat();
        }
        pulse.clock.sleep(PAUSE + BEAT);
        assert!(pulse.has_paused(), "the next beat is overdue");
        pulse.beat();
        assert!(pulse.has_paused(), "it came late");
        for _ in 0..60 {
            pulse.clock.sleep(BEAT);
            pulse.beat();
        }
        assert!(!pulse.has_paused());
    }
}
