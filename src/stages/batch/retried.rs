//! What becomes of a retry of a write that may have been in a batch.
//!
//! The journal knows what the first try was told, or that it waits, or went alone. A write that was in a batch of
//! unknown outcome is asked for under the batch's numbers, so that the server runs it once.

use std::sync::Arc;

use super::journal::{Doubt, State};
use super::key::Write;
use super::member::{Ticket, Told};
use super::stats::Alone;
use super::{Shared, merge, split};
use crate::command::{ErrorReply, labels};
use crate::pipeline::{Answer, Failure, Next, Outcome, Reply, Request};

impl Shared {
    /// A retry.
    pub(super) fn again<'a>(
        self: &'a Arc<Self>,
        state: State,
        write: Write,
        ticket: Arc<Ticket>,
        request: &'a mut Request,
        next: Next<'a>,
    ) -> Answer<'a> {
        match state {
            State::Alone => self.alone(Alone::Retry, request, next),
            State::Queued(first) => Answer::later(self.join(first, Some(write), request, next)),
            State::Done(answer) => {
                self.stats.journal_answer();
                Answer::Now(Ok(repeated(answer, &write)))
            }
            State::Doubt(doubt) => {
                self.resolve(doubt, &write, &ticket, request, next);
                Answer::later(self.join(ticket, None, request, next))
            }
        }
    }

    /// Waits for what a try is told. `write`: it is another try of this one.
    async fn join(
        &self,
        ticket: Arc<Ticket>,
        write: Option<Write>,
        request: &mut Request,
        next: Next<'_>,
    ) -> Outcome {
        match (ticket.told().await, write) {
            (Told::Alone(_), _) => self.alone(Alone::Retry, request, next).await,
            (Told::Answer(answer, tried), Some(write)) => {
                let answer = repeated(answer, &write);
                self.outcome(Told::Answer(answer, tried), request)
            }
            (told, _) => self.outcome(told, request),
        }
    }

    /// Asks the server for a write that was in a batch of unknown outcome. In a task of its own: given up half-way, it
    /// might land after the session's next write.
    fn resolve(
        self: &Arc<Self>,
        doubt: Doubt,
        write: &Write,
        ticket: &Arc<Ticket>,
        request: &Request,
        next: Next<'_>,
    ) {
        let (session, first) = (&doubt.session, doubt.first);
        let asked = merge::statement(request, write, session, first, None)
            .filter(|_| write.count == doubt.count);
        let Some(mut asked) = asked else {
            let failure = Failure::lost("this retry isn't the write that it repeats");
            self.journal.set(write.id.as_ref(), State::Doubt(doubt));
            return ticket.tell(Told::Failed(failure));
        };
        if doubt.retried {
            asked.note_spent();
        }
        self.stats.one_by_one();
        let (shared, next, id) = (Arc::clone(self), next.to_owned(), write.id);
        let ticket = Arc::clone(ticket);
        tokio::spawn(async move {
            let outcome = next.borrow().run(&mut asked).await;
            let mut state = State::Doubt(doubt);
            let told = match outcome {
                Ok(reply) => {
                    let answer = Reply::for_several(&split::whole(reply.body(), true));
                    let view = reply.view();
                    if view.ok && !view.has_label(labels::RETRYABLE_WRITE) {
                        state = State::Done(answer.clone());
                    }
                    Told::Answer(answer, asked.tried())
                }
                Err(mut failure) => {
                    failure.sent |= asked.progress.in_doubt;
                    Told::Failed(failure)
                }
            };
            shared.journal.set(id.as_ref(), state);
            ticket.tell(told);
        });
    }
}

/// The answer to a retry of a write that was answered so.
fn repeated(answer: Reply, write: &Write) -> Reply {
    let retried = split::retried(answer.body(), write.kind, write.count);
    retried.map_or(answer, |own| Reply::for_several(&own))
}

/// The server's own answer to a retry that comes too late.
pub(super) fn too_old(request: &Request, number: i64, newer: i64) -> Reply {
    let what = format!(
        "retryable write with txnNumber {number} is prohibited because a newer one, with txnNumber {newer}, has \
         already started on this session"
    );
    let error = ErrorReply::new(TRANSACTION_TOO_OLD, what);
    Reply::document(&request.frame, &error.document())
}

const TRANSACTION_TOO_OLD: (i32, &str) = (225, "TransactionTooOld");
