//! What has become of a request so far, as far as fences, numbers, retries and replies depend on it.
//!
//! Each fact is a field, set in one place and read in few. The [`Trail`] carries the same words for people; it drops
//! what exceeds its size, so nothing that is sent, kept or answered may depend on it.

use super::request::Request;
use super::trail::{Decision, Trail};

/// See the module. Facts are only ever added: once true, a fact stays true for as long as the request lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// An earlier try was sent, its link was lost, and no answer rules out that it still lands.
    ///
    /// Set by the retry stage before it sends a numbered write again. Read by the pipeline (an error reply doesn't settle
    /// the fence: it goes to quarantine), by the numbering of writes (the session isn't used again) and by batches
    /// (nothing of the batch is sent under other numbers).
    pub in_doubt: bool,
    /// It was sent more than once.
    ///
    /// Set by the retry stage. Read by batches, for the client's own retry: the proxy has used up the tries of it.
    pub retried: bool,
    /// The server says that it had executed (part of) the write before.
    ///
    /// Set by the numbering of writes, which takes that mark out of the reply. Read by the pipeline: such a reply says
    /// nothing of what other tries changed.
    pub executed_before: bool,
    /// It was sent in one command with other clients' writes.
    ///
    /// Set by batches. Read by the pipeline: the reply's `operationTime` may be that of another client's write, so it
    /// doesn't name this write's event.
    pub batched: bool,
    /// Its client wants no reply (`w: 0`), and it was sent as one that gets a reply.
    ///
    /// Set by the connection. Read by the numbering of writes: there is no reply whose loss a number could repair.
    pub unacknowledged: bool,
    /// It is a driver's retry of what the proxy has retried in vain.
    ///
    /// Set by batches. Read by the retry stage, which then sends it once.
    pub spent: bool,
}

/// What was decided about a command, and what became of it: carried from a command that was sent for a request, or for
/// several, back to each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    /// For people.
    pub trail: Trail,
    /// For everything else.
    pub progress: Progress,
}

impl Progress {
    /// Adds the facts of a command that was sent for this one.
    pub fn join(&mut self, other: Progress) {
        let Progress {
            in_doubt,
            retried,
            executed_before,
            batched,
            unacknowledged,
            spent,
        } = other;
        self.in_doubt |= in_doubt;
        self.retried |= retried;
        self.executed_before |= executed_before;
        self.batched |= batched;
        self.unacknowledged |= unacknowledged;
        self.spent |= spent;
    }
}

impl Tried {
    /// Adds those of another command.
    pub fn join(&mut self, other: &Tried) {
        self.trail.join(&other.trail);
        self.progress.join(other.progress);
    }
}

impl Request {
    /// What was decided about it, and what became of it.
    pub fn tried(&self) -> Tried {
        Tried {
            trail: self.trail,
            progress: self.progress,
        }
    }

    /// Adds what became of a command that was sent for this request.
    pub fn join(&mut self, other: &Tried) {
        self.trail.join(&other.trail);
        self.progress.join(other.progress);
    }

    /// See [`Progress::in_doubt`].
    pub fn note_in_doubt(&mut self) {
        self.progress.in_doubt = true;
        self.trail.note(Decision::InDoubt);
    }

    /// See [`Progress::retried`].
    pub fn note_retried(&mut self) {
        self.progress.retried = true;
        self.trail.note(Decision::Retried);
    }

    /// See [`Progress::executed_before`].
    pub fn note_executed_before(&mut self) {
        self.progress.executed_before = true;
        self.trail.note(Decision::ExecutedBefore);
    }

    /// See [`Progress::batched`].
    pub fn note_batched(&mut self) {
        self.progress.batched = true;
        self.trail.note(Decision::Batched);
    }

    /// See [`Progress::unacknowledged`].
    pub fn note_unacknowledged(&mut self) {
        self.progress.unacknowledged = true;
        self.trail.note(Decision::Acknowledged);
    }

    /// See [`Progress::spent`].
    pub fn note_spent(&mut self) {
        self.progress.spent = true;
        self.trail.note(Decision::Spent);
    }
}
