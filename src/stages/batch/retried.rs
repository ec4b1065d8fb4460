//! What becomes of a retry of a write that may have been in a batch.
//!
//! The journal knows what the first try was told, or that it waits, or went alone. A write that was in a batch of
//! unknown outcome is asked for under the batch's numbers, so that the server runs it once.

use std::sync::Arc;

use tokio::time::timeout_at;

use super::journal::{Ahead, Doubt, State};
use super::key::{Write, WriteId};
use super::member::{Ticket, Told};
use super::stats::Alone;
use super::{Shared, merge, split};
use crate::command::{ErrorReply, labels};
use crate::pipeline::{Answer, Failure, Fault, Next, Outcome, Reply, Request};

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
                Answer::Now(Ok(self.repeated(answer, &write)))
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
                let answer = self.repeated(answer, &write);
                self.outcome(Told::Answer(answer, tried), request)
            }
            (told, _) => self.outcome(told, request),
        }
    }

    /// Asks the server for a write that was in a batch of unknown outcome. In a task of its own: given up half-way, it
    /// might land after the session's next write.
    fn resolve(
        self: &Arc<Self>,
        mut doubt: Doubt,
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
            doubt.may_land |= asked.progress.in_doubt || outcome.as_ref().is_err_and(|f| f.sent);
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

impl Shared {
    /// Waits until an earlier write of the session is over. An error: it may land still, and the request must not be sent.
    pub(super) async fn pass(
        &self,
        ahead: Ahead,
        request: &Request,
        next: Next<'_>,
    ) -> Result<(), Failure> {
        let passed = async {
            match ahead {
                Ahead::InBatch(ticket) => {
                    ticket.told().await;
                    Ok(())
                }
                Ahead::MayLand(earlier, doubt) => self.end(&earlier, &doubt, request, next).await,
            }
        };
        match request.deadline() {
            None => passed.await,
            Some(deadline) => timeout_at(deadline, passed)
                .await
                .unwrap_or_else(|_| Err(Failure::unsent(Fault::MaxTimeExpired))),
        }
    }

    /// Ends the number of a batch that got no answer, by a write of the next number that changes nothing: the server begins
    /// that when the batch isn't under way any more, and refuses the batch from then on. (Other writes of that batch can't be
    /// asked for after that: to their clients their outcome stays unknown.)
    async fn end(
        &self,
        earlier: &WriteId,
        doubt: &Doubt,
        request: &Request,
        next: Next<'_>,
    ) -> Result<(), Failure> {
        let may_land = || Failure {
            fault: Fault::LinkLost(
                "an earlier write of this session may still be under way".to_owned(),
            ),
            sent: false,
        };
        let mut empty = merge::empty(request, doubt).ok_or_else(may_land)?;
        let reply = match next.run(&mut empty).await {
            Ok(reply) => reply,
            Err(failure) => return Err(Failure::unsent(failure.fault)),
        };
        let view = reply.view();
        if !view.ok && view.code != Some(TRANSACTION_TOO_OLD.0) {
            return Err(may_land());
        }
        self.journal.note_ended(earlier);
        Ok(())
    }

    /// The answer to a retry of a write that was answered so.
    fn repeated(&self, answer: Reply, write: &Write) -> Reply {
        if !self.facts.names_retried() {
            return answer;
        }
        let retried = split::retried(answer.body(), write.kind, write.count);
        retried.map_or(answer, |own| Reply::for_several(&own))
    }
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
