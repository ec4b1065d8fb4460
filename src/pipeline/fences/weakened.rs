//! Rules of docs/coherence.md that a test can switch off, to see that it would notice.
//!
//! A test of linearizability that finds nothing has shown something only if it finds something
//! once a rule is missing. Serving a stored answer never looks here.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::{Fences, Tie};

/// A rule to be switched off. For the linearizability test only.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Weakened {
    /// Rule 1: a write stands no fence when it begins. What it may have changed is dropped when
    /// its reply comes.
    Suspension = 1,
    /// Rule 2: an answer is stored whatever was in flight while it was read.
    Fills = 2,
    /// Rule 3: an answer is shared with all who joined, whatever was written since it was asked for.
    Flights = 4,
    /// Rule 7: what was known of a document when a write to it began is believed until that write ends,
    /// whatever else is written meanwhile.
    PreImages = 8,
}

/// The rules that are switched off.
#[derive(Default)]
pub(super) struct Weakening(AtomicU8);

impl Weakening {
    pub fn is(&self, rule: Weakened) -> bool {
        self.0.load(Relaxed) & rule as u8 != 0
    }
}

impl Fences {
    /// Whether a pre-image may be concluded from.
    pub(super) fn trusts(&self, pre_image: &Tie) -> bool {
        self.holds(pre_image) || self.weakening.is(Weakened::PreImages)
    }

    /// Switches a rule off for good. For the linearizability test only.
    #[doc(hidden)]
    pub fn weaken(&self, rule: Weakened) {
        self.weakening.0.fetch_or(rule as u8, Relaxed);
    }
}
