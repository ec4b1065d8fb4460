//! What was decided about a request, for logs, figures and tests.
//!
//! For people only: a trail holds ten decisions and drops what exceeds them. What fences, numbers, retries and replies
//! depend on is in [`Progress`](super::Progress).

use crate::command::Bypass;

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sent on in another form that means the same.
    Rewritten,
    /// Changed by a rule of the configuration.
    Ruled,
    /// Refused by a rule of the configuration.
    Denied,
    /// Answered from the cache.
    Hit,
    /// Looked for in the cache and not there.
    Miss,
    /// A hit that the server would have answered otherwise.
    Mismatch,
    /// Shared another's read.
    Joined,
    /// The answer was put into the cache.
    Stored,
    /// Not served from or not put into the cache.
    Bypassed(Bypass),
    /// A fence was raised.
    Fenced,
    /// A write that its client doesn't wait for was sent acknowledged.
    Acknowledged,
    /// Waited for a link.
    Queued,
    /// A `getMore` that the server may hold back until there is something new.
    Awaited,
    /// Sent in one command with other clients' writes.
    Batched,
    /// Sent again after a transient fault.
    Retried,
    /// The server says that it had executed (part of) the write before.
    ExecutedBefore,
    /// An earlier try may still land, and no answer rules it out.
    InDoubt,
    /// A driver's retry of what has been retried here in vain: it isn't retried again.
    Spent,
}

impl Decision {
    /// The word for it, for people and programs that look at requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Rewritten => "rewritten",
            Decision::Ruled => "ruled",
            Decision::Denied => "denied",
            Decision::Hit => "hit",
            Decision::Miss => "miss",
            Decision::Mismatch => "mismatch",
            Decision::Joined => "joined",
            Decision::Stored => "stored",
            Decision::Bypassed(_) => "bypassed",
            Decision::Fenced => "fenced",
            Decision::Acknowledged => "acknowledged",
            Decision::Queued => "queued",
            Decision::Awaited => "awaited",
            Decision::Batched => "batched",
            Decision::Retried => "retried",
            Decision::ExecutedBefore => "executed_before",
            Decision::InDoubt => "in_doubt",
            Decision::Spent => "spent",
        }
    }

    /// Why it wasn't cached, if that is what was decided.
    pub fn bypass(self) -> Option<Bypass> {
        match self {
            Decision::Bypassed(reason) => Some(reason),
            _ => None,
        }
    }
}

/// The decisions about one request, oldest first. Never allocates; what doesn't fit is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Trail {
    /// (Those that haven't been made are fillings.)
    decisions: [Decision; MOST],
    made: u8,
}

impl Default for Trail {
    fn default() -> Trail {
        Trail {
            decisions: [Decision::Hit; MOST],
            made: 0,
        }
    }
}

impl Trail {
    /// Adds a decision, once.
    pub fn note(&mut self, decision: Decision) {
        if self.has(decision) {
            return;
        }
        if let Some(slot) = self.decisions.get_mut(usize::from(self.made)) {
            *slot = decision;
            self.made += 1;
        }
    }

    /// Adds what was decided about a request that was sent for this one.
    pub fn join(&mut self, other: &Trail) {
        other.iter().for_each(|decision| self.note(decision));
    }

    /// The decisions so far.
    pub fn iter(&self) -> impl Iterator<Item = Decision> + '_ {
        let made = self.decisions.get(..self.made.into());
        made.unwrap_or_default().iter().copied()
    }

    /// Whether a decision was made, unless it was dropped: for figures and tests, never for what is sent or answered.
    pub fn has(&self, decision: Decision) -> bool {
        self.iter().any(|d| d == decision)
    }
}

/// More than nearly any request has.
const MOST: usize = 10;
