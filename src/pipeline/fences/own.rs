//! Writes of this proxy whose events are still to come (docs/coherence.md, rule 8).
//!
//! A write's own fence has ended all that the write may have changed, so its event has nothing to say of answers from before.
//! It does of answers to reads that were sent after the write's reply: such a read may lawfully have missed the write (a
//! deployment's default read concern may be majority; a primary may have been replaced), and nothing else would end its
//! answer. So the event is judged against those, and against nothing else.
//!
//! Invariants:
//! - A write is noted only if its reply proves that its one change has this cluster time (`command::only_change`), in the
//!   collection that the reply is about: an event of another collection at the same time is another's.
//! - A write counts only within the generation in which its fence began: other servers and terms give their times anew.

use std::collections::VecDeque;

/// A write that its own fence has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnWrite {
    /// The cluster time of its change.
    pub time: u64,
    /// The generation in which its fence began.
    pub generation: u64,
    /// When its fence ended, in the collection's own counting: reads that were sent later have a later moment, or this one.
    pub moment: u64,
    /// Reads of the scopes it raised that had been sent by then.
    pub opened: u64,
}

/// Such writes to one collection, about in the order of their times.
#[derive(Debug, Default)]
pub(super) struct OwnWrites(VecDeque<OwnWrite>);

impl OwnWrites {
    pub fn note(&mut self, write: OwnWrite) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(write);
    }

    /// The write whose event has this time. Events come in the order of their times: earlier writes are forgotten. (An
    /// event that comes again counts as another's, which costs answers and is never wrong.)
    pub fn take(&mut self, time: u64) -> Option<OwnWrite> {
        let mut found = None;
        while let Some(first) = self.0.front().filter(|w| w.time <= time) {
            if first.time == time {
                found = Some(*first);
            }
            self.0.pop_front();
        }
        let overtaken = || self.0.iter().take(OVERTAKEN).find(|w| w.time == time);
        found.or_else(|| overtaken().copied())
    }
}

/// Writes remembered for each collection: more than are acknowledged before the event of the first of them comes.
const MOST: usize = 2048;
/// Replies that may have come before that of an earlier write.
const OVERTAKEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(time: u64) -> OwnWrite {
        OwnWrite {
            time,
            generation: 0,
            moment: 0,
            opened: 0,
        }
    }

    #[test]
    fn a_write_is_found_by_its_time_although_replies_overtake_each_other() {
        let mut own = OwnWrites::default();
        for time in [12, 10, 11, 20] {
            own.note(write(time));
        }
        for (time, known) in [
            (9, false),
            (10, true),
            (11, true),
            (12, true),
            (15, false),
            (20, true),
            (20, false),
        ] {
            assert_eq!(own.take(time).is_some(), known, "{time}");
        }
        assert!(own.0.is_empty());
    }

    #[test]
    fn no_more_than_some_are_remembered() {
        let mut own = OwnWrites::default();
        (0..10_000).for_each(|time| own.note(write(time)));
        assert_eq!(own.0.len(), MOST);
        assert!(own.take(5000).is_none() && own.take(9000).is_some());
    }
}
