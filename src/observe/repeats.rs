//! What happens over and over makes few lines: the first at once, then one with a count for each [`INTERVAL`] in which it went
//! on. Nobody who can make a request fail can fill a log, or hide other lines in it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often a kind of event is logged while it goes on.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The kinds of events that went on lately. The caller bounds how many kinds there are.
#[derive(Debug)]
pub struct Repeats<K>(Mutex<HashMap<K, Slot>>);

#[derive(Debug)]
struct Slot {
    /// When it was logged last.
    logged: Instant,
    /// How often it has happened since then.
    since: u64,
}

/// A kind of event that went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated<K> {
    /// Which.
    pub kind: K,
    /// How often since it was logged last.
    pub count: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Repeats(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> Repeats<K> {
    /// It has happened: whether it is to be logged now.
    pub fn note(&self, kind: K, now: Instant) -> bool {
        let mut slots = self.0.lock();
        if let Some(slot) = slots.get_mut(&kind) {
            slot.since += 1;
            return false;
        }
        let slot = Slot {
            logged: now,
            since: 0,
        };
        slots.insert(kind, slot);
        true
    }

    /// How many kinds are remembered.
    pub fn kinds(&self) -> usize {
        self.0.lock().len()
    }

    /// What is to be logged now. What didn't happen again for an interval is forgotten. To be called about once a second.
    pub fn due(&self, now: Instant) -> Vec<Repeated<K>> {
        let mut due = Vec::new();
        self.0.lock().retain(|&kind, slot| {
            if now.saturating_duration_since(slot.logged) < INTERVAL {
                return true;
            }
            let count = std::mem::take(&mut slot.since);
            slot.logged = now;
            if count > 0 {
                due.push(Repeated { kind, count });
            }
            count > 0
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_at_once_and_the_rest_as_one_count_an_interval() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let after = |intervals: u32| start + INTERVAL * intervals;
        assert!(repeats.note("a", start));
        for _ in 0..500 {
            assert!(!repeats.note("a", start));
        }
        assert!(repeats.note("b", start));
        assert_eq!(repeats.due(after(1) - Duration::from_millis(1)), []);
        let repeated = |count| [Repeated { kind: "a", count }];
        assert_eq!(repeats.due(after(1)), repeated(500));
        assert_eq!(repeats.kinds(), 1);
        // It goes on: no new first line.
        assert!(!repeats.note("a", after(1)));
        assert_eq!(repeats.due(after(2)), repeated(1));
        assert_eq!(repeats.due(after(3)), []);
        assert_eq!(repeats.kinds(), 0);
        assert!(repeats.note("a", after(3)));
    }
}
