//! What a read without a read concern means: the deployment's default (`setDefaultRWConcern`), which may change at any time.
//!
//! It is known as the answer to a question that no write of everything met: a change of the default through this proxy is
//! such a write, so it ends what was known, and a flush does. A change around the proxy is noticed with the next question;
//! answers that were read since may miss acknowledged writes, so they are flushed. What one client found out isn't given up
//! because another may not ask; but nothing is believed for ever.

use std::time::Duration;

use parking_lot::Mutex;

use super::scopes::Stamp;
use super::{Fences, Reads};
use crate::pipeline::Moment;

/// What is known of the default read concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultReads {
    /// `local`: as it was when it was asked last.
    Local(Moment),
    /// Another one, which may miss acknowledged writes.
    Weaker(Moment),
    /// It was asked, and can't be known.
    Unknowable(Moment),
}

impl DefaultReads {
    /// When it was asked.
    #[must_use]
    pub fn asked(self) -> Moment {
        match self {
            DefaultReads::Local(at) | DefaultReads::Weaker(at) | DefaultReads::Unknowable(at) => at,
        }
    }
}

/// What is known, and of which generation.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(u64, DefaultReads)>>);

impl Fences {
    /// To be called before the default is asked. `None`: it may be changing.
    pub fn open_default_reads(&self) -> Option<Stamp> {
        self.open(Reads::Definitions { db: "admin" })
    }

    /// The answer to a question that was asked at the stamp.
    pub fn note_default_reads(&self, stamp: &Stamp, found: DefaultReads) {
        let mut kept = self.default_reads.0.lock();
        if !self.unmet(stamp) {
            return;
        }
        let mut generation = stamp.generation();
        let before = kept.filter(|(of, _)| *of == generation);
        let before = before.map(|(_, known)| known);
        if let (
            Some(DefaultReads::Local(at) | DefaultReads::Weaker(at)),
            DefaultReads::Unknowable(now),
        ) = (before, found)
            && now < at.after(BELIEVED)
        {
            return;
        }
        let was_local = matches!(before, Some(DefaultReads::Local(_)));
        if was_local && !matches!(found, DefaultReads::Local(_)) {
            // (If anything else voids everything meanwhile, this is one of an earlier generation and asked again.)
            self.flush(false);
            generation += 1;
        }
        *kept = Some((generation, found));
    }

    /// What is known of the default now.
    pub fn default_reads(&self) -> Option<DefaultReads> {
        let kept = *self.default_reads.0.lock();
        let (generation, known) = kept?;
        (generation == self.generation()).then_some(known)
    }
}

/// For so long an answer stands against later askers who get none.
const BELIEVED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Effect, Footprint};

    const NOW: fn(u64) -> Moment = Moment::at;

    #[test]
    fn it_is_known_until_it_may_have_changed() {
        let f = Fences::new(Duration::from_secs(90));
        assert_eq!(f.default_reads(), None);
        let stamp = f.open_default_reads().unwrap();
        f.note_default_reads(&stamp, DefaultReads::Local(NOW(1)));
        assert_eq!(f.default_reads(), Some(DefaultReads::Local(NOW(1))));
        let late = f.open_default_reads().unwrap();
        let change = f.begin(&Footprint::Everything);
        assert!(f.open_default_reads().is_none());
        change.settle(Effect::Changed);
        assert_eq!(f.default_reads(), None);
        f.note_default_reads(&late, DefaultReads::Local(NOW(2)));
        assert_eq!(f.default_reads(), None, "it was asked before the change");
    }

    #[test]
    fn what_was_read_as_local_is_void_when_it_turns_out_to_be_weaker() {
        let f = Fences::new(Duration::from_secs(90));
        let note = |found| f.note_default_reads(&f.open_default_reads().unwrap(), found);
        note(DefaultReads::Local(NOW(1)));
        let read = f.open(Reads::View { db: "d" }).unwrap();
        note(DefaultReads::Local(NOW(2)));
        assert!(f.valid(&read));
        note(DefaultReads::Weaker(NOW(3)));
        assert!(!f.valid(&read) && !f.unmet(&read));
        assert_eq!(f.default_reads(), Some(DefaultReads::Weaker(NOW(3))));
        note(DefaultReads::Local(NOW(4)));
        assert_eq!(f.default_reads(), Some(DefaultReads::Local(NOW(4))));
    }
    #[test]
    fn who_may_not_ask_leaves_what_another_found_for_a_while() {
        let f = Fences::new(Duration::from_secs(90));
        let note = |found| f.note_default_reads(&f.open_default_reads().unwrap(), found);
        let at = |seconds| NOW(1).after(Duration::from_secs(seconds));
        note(DefaultReads::Local(at(0)));
        let read = f.open(Reads::View { db: "d" }).unwrap();
        note(DefaultReads::Unknowable(at(9)));
        assert_eq!(f.default_reads(), Some(DefaultReads::Local(at(0))));
        assert!(f.valid(&read));
        note(DefaultReads::Unknowable(at(10)));
        note(DefaultReads::Unknowable(at(11)));
        let known = f.default_reads();
        assert_eq!(known, Some(DefaultReads::Unknowable(at(11))));
        assert!(!f.valid(&read), "it may have been weaker for some time");
        note(DefaultReads::Weaker(at(10)));
        note(DefaultReads::Unknowable(at(11)));
        assert_eq!(f.default_reads(), Some(DefaultReads::Weaker(at(10))));
    }
}
