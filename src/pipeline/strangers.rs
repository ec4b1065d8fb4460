//! Clients that haven't authenticated, where the server demands it: none of their commands is executed.
//!
//! A fence in front of a command that the server will refuse suspends others' answers for as long as the command is under
//! way, and a stream of such commands for ever. So once the server has said that commands need a login, those of clients
//! without one raise no fence. One that is executed after all voids everything when its reply comes, before that goes
//! to the client.
//!
//! What the server said holds until the next flush: a server that restarts with other options, and one that takes the place
//! of another, cause one. No command changes it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// What is known of how the server treats clients without a login.
#[derive(Default)]
pub(super) struct Strangers {
    /// How many flushes there had been when one was sent that the server refused, plus one; 0: none was.
    refused: AtomicU64,
    /// The same, of when the server was asked last.
    asked: AtomicU64,
}

impl Strangers {
    /// Whether the server is known to refuse them, after so many flushes.
    pub fn are_refused(&self, flushes: u64) -> bool {
        self.refused.load(SeqCst) == flushes + 1
    }

    /// The server refused one that was sent after so many flushes.
    pub fn note_refused(&self, flushes: u64) {
        self.refused.store(flushes + 1, SeqCst);
    }

    /// One was executed.
    pub fn note_executed(&self) {
        self.refused.store(0, SeqCst);
    }

    /// Whether the server is to be asked: once after each flush.
    pub fn ask(&self, flushes: u64) -> bool {
        !self.are_refused(flushes) && self.asked.swap(flushes + 1, SeqCst) != flushes + 1
    }

    /// It didn't answer.
    pub fn ask_again(&self) {
        self.asked.store(0, SeqCst);
    }
}
