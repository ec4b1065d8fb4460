//! Writes without a number get one of the proxy's own, and their replies look as if they hadn't.
//!
//! The client's session is left out of such a write: its numbers are its driver's to give. Nothing
//! that a write means or answers depends on the session without a number. The session that takes
//! its place carries one write at a time and belongs to the same principal.

use super::{Retry, Tries, was_never_sent};
use crate::command::{Repeatable, may_be_numbered, numbered, without_retry_marks};
use crate::pipeline::{Next, Outcome, Reply, Request};
use crate::wire::doc;

impl Retry {
    /// Whether this is a write that the server would run once only if it had a number, and has none.
    pub(super) fn takes_number(&self, request: &Request) -> bool {
        self.numbers_writes
            && self.retries > 0
            && self.facts.get().numbers_writes()
            // Nobody waits for what becomes of it.
            && !request.progress.unacknowledged
            && request.frame.bytes.len() <= LARGEST
            && !is_hasty(request.command.body())
            && may_be_numbered(&request.command, &request.msg)
    }

    pub(super) async fn run_numbered(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        let principal = request.principal.id;
        let session = self.sessions.lease(principal);
        let bytes = numbered(
            request.frame.request_id(),
            &request.msg,
            &request.command,
            &session.id,
            session.number,
        );
        let Some(mut own) = request.reworded(bytes) else {
            return next.run(request).await;
        };
        self.stats.gave_number();
        let mut tries = Tries::of(Repeatable::Numbered);
        let outcome = self.tries(&mut own, &mut tries, next).await;
        request.join(&own.tried());
        (request.met, request.sent) = (own.met, own.sent);
        let Ok(reply) = outcome else {
            if was_never_sent(&outcome) {
                self.sessions.give_back(principal, session);
            }
            return outcome;
        };
        let view = reply.view();
        if tries.retried == 0 && view.code.is_some_and(|code| REFUSALS.contains(&code)) {
            // It was refused for its number, before anything else was looked at.
            return next.run(request).await;
        }
        if view.retried {
            request.note_executed_before();
        }
        if view.ok || !request.progress.in_doubt {
            self.sessions.give_back(principal, session);
        }
        let marks = view.may_tell_of_number();
        let clean = marks.then(|| without_retry_marks(reply.body())).flatten();
        Ok(match clean {
            Some(body) => Reply::document(&request.frame, &body),
            None => reply,
        })
    }
}

/// Whether a write asks for one member's word before it is safe there: `{w: 1}` without `j`. It takes so little
/// that a number would be much of it, and who sends it would rather lose it than wait.
fn is_hasty(command: &[u8]) -> bool {
    let concern = doc::find(command, "writeConcern").and_then(|c| c.as_document());
    let field = |name| concern.and_then(|concern| doc::find(concern, name));
    let by_one = field("w").and_then(|w| w.as_i64()) == Some(1);
    by_one
        && !["j", "fsync"]
            .into_iter()
            .any(|name| field(name).is_some_and(|f| f.is_truthy()))
}

/// Larger messages go without a number, bytes. A number makes the server's storage transaction larger still, and a document
/// of 15 MiB was once refused as too large for its cache (code 388).
const LARGEST: usize = 4 << 20;
/// IllegalOperation (a standalone), TransactionTooOld, and "it is illegal to provide a txnNumber".
const REFUSALS: [i32; 3] = [20, 225, 50768];
