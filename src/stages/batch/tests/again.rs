//! What the retry stage does for batches, as far as these tests need it.

use crate::command::{ReplyView, labels};
use crate::pipeline::{Answer, Next, Request, Stage};

/// Sends a write that has a number once more when it was lost, or when the server says so.
pub(super) struct Again;

impl Stage for Again {
    fn name(&self) -> &'static str {
        "again"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        Answer::later(async move {
            let outcome = next.run(request).await;
            let asks_for_it = match &outcome {
                Ok(reply) => ReplyView::read(reply.body()).has_label(labels::RETRYABLE_WRITE),
                Err(failure) => failure.sent,
            };
            let may_be_repeated = request.command.txn_number.is_some() && !request.progress.spent;
            if !may_be_repeated || !asks_for_it {
                return outcome;
            }
            request.note_retried();
            if outcome.is_err() {
                request.note_in_doubt();
            }
            match next.run(request).await {
                // That says less than the first did.
                Err(failure) if !failure.sent => outcome,
                second => second,
            }
        })
    }
}
