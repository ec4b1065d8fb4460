//! The next batches of results: from the proxy's own cursors, or from the server's, whose batches
//! are put together on their way.

use super::Cache;
use super::cursors::killed_reply;
use super::drain::Drain;
use crate::pipeline::{Next, Outcome, Reply, Request};
use crate::wire::doc;

impl Cache {
    /// Adds a batch to an answer of several, and stores it if that was the last one.
    pub(super) fn drain(&self, mut drain: Drain, cursor: i64, reply: &[u8]) {
        match drain.add(reply) {
            Ok(None) => self.drains.put(cursor, drain),
            Ok(Some(whole)) => {
                let entry = self.draft(&drain.fill, &whole);
                if entry.is_ok_and(|entry| self.store(&entry, &drain.fill).is_ok()) {
                    self.stats.stored();
                }
            }
            Err(()) => {}
        }
    }

    /// Answers a `getMore`.
    pub(super) async fn more(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        if let Some(refusal) = self.loses(request, next).await? {
            return Ok(refusal);
        }
        if let Some(reply) = self.cursors.more(request) {
            return Ok(reply);
        }
        let cursor = request.command.cursor_id().unwrap_or(0);
        let drain = self.drains.take(cursor, request.principal.id);
        let reply = next.run(request).await?;
        if let Some(drain) = drain {
            self.drain(drain, cursor, reply.body());
        }
        Ok(reply)
    }

    /// Answers a `killCursors`.
    pub(super) async fn kill(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        let killed = self.cursors.kill(request);
        let named = doc::find(request.command.body(), "cursors").and_then(|c| c.as_array());
        let named = named.map_or(0, |ids| doc::elements(ids).count());
        if killed.is_empty() {
            return next.run(request).await;
        }
        if killed.len() == named {
            return Ok(Reply::document(
                &request.frame,
                &killed_reply(&killed, None),
            ));
        }
        let theirs = next.run(request).await?;
        let reply = killed_reply(&killed, Some(theirs.body()));
        Ok(Reply::document(&request.frame, &reply))
    }
}
