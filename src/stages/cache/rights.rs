//! Whether who goes on with a result of several batches may still see it.
//!
//! An answer from memory is believed to be its user's for `principal_ttl` and until users or roles
//! change through this proxy. A cursor may live longer than that: then the server is asked to begin
//! the same read anew, without documents, and what it refuses ends the cursor.

use super::Cache;
use super::entry::Entry;
use crate::command::{ErrorReply, Kind, codes};
use crate::pipeline::{Failure, Next, Reply, Request, Tied};
use crate::wire::build::DocBuf;
use crate::wire::doc;

impl Cache {
    /// What a `getMore` of a cursor from memory is answered if its user has lost the right.
    pub(super) async fn loses(
        &self,
        request: &Request,
        next: Next<'_>,
    ) -> Result<Option<Reply>, Failure> {
        let (generation, now) = (self.fences.generation(), self.now());
        let ttl = self.config.principal_ttl;
        let Some(entry) = self.cursors.doubtful(request, generation, now, ttl) else {
            return Ok(None);
        };
        let Some(mut side) = request.side(&beginning(&entry)) else {
            return Ok(None);
        };
        let reply = next.run(&mut side).await?;
        let view = reply.view();
        if view.code == Some(codes::UNAUTHORIZED.0) {
            self.cursors
                .end(request.command.cursor_id().unwrap_or_default());
            let message = format!(
                "not authorized on {} to execute command",
                request.command.db()
            );
            let error = ErrorReply {
                message,
                ..ErrorReply::new(codes::UNAUTHORIZED, "")
            };
            return Ok(Some(Reply::document(&request.frame, &error.document())));
        }
        if let Some(id) = view.cursor_id.filter(|&id| id != 0)
            && let Some(mut kill) = request.side(&killing(request, id))
        {
            // (One that stays open ends by itself.)
            let _ = next.run(&mut kill).await;
        }
        if view.ok {
            self.cursors.entitle(request, generation, now);
        }
        Ok(None)
    }
}

/// The read of an answer, for none of its documents.
fn beginning(entry: &Entry) -> Vec<u8> {
    let mut body = DocBuf::new();
    let batch = ["batchSize", "singleBatch", "cursor"];
    for element in doc::elements(entry.command()).flatten() {
        if !batch.contains(&element.key) {
            body.append_raw(element.raw);
        }
    }
    if entry.kind == Kind::Find {
        body.append_i32("batchSize", 0);
    } else {
        body.append_doc_with("cursor", |cursor| {
            cursor.append_i32("batchSize", 0);
        });
    }
    body.finish()
}

fn killing(request: &Request, cursor: i64) -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_str(
        "killCursors",
        request.command.collection().unwrap_or_default(),
    );
    body.append_array("cursors", |cursors| {
        cursors.push_i64(cursor);
    });
    body.append_str("$db", request.command.db());
    body.finish()
}
