//! Which cursors wait for something new: those of change streams and of tailable finds that await data.
//!
//! A `getMore` on one of them holds its link for as long as the server waits, which is no work. So it gets a link
//! outside the budget that all other requests share (`pool.rs`).

use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use crate::command::{Command, Kind, ReplyView, opens_awaiting};
use crate::wire::doc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Awaits {
    /// By when they were used last.
    cursors: DashMap<i64, Instant, RandomState>,
}

impl Awaits {
    /// Whether the server may wait with its answer until there is something new.
    pub fn may_wait(&self, command: &Command) -> bool {
        if command.kind != Kind::GetMore {
            return false;
        }
        // A server refuses `maxTimeMS` on a cursor that doesn't await anything.
        command.max_time_ms.is_some_and(|ms| ms > 0)
            || command
                .cursor_id()
                .is_some_and(|id| self.cursors.contains_key(&id))
    }

    /// Follows what a reply says of its cursor.
    pub fn note(&self, command: &Command, view: &ReplyView, body: &[u8]) {
        match command.kind {
            Kind::Find | Kind::Aggregate => {
                if let Some(id) = view.cursor_id.filter(|&id| id != 0)
                    && opens_awaiting(command)
                {
                    self.keep(id);
                }
            }
            Kind::GetMore => {
                let Some(id) = command.cursor_id() else {
                    return;
                };
                if view.cursor_id.is_none_or(|id| id == 0) {
                    self.cursors.remove(&id);
                } else if self.cursors.contains_key(&id) || is_empty(body) {
                    // Only a cursor that awaits returns nothing and stays open: so is one known that was opened
                    // elsewhere, through another proxy.
                    self.keep(id);
                }
            }
            Kind::KillCursors if !self.cursors.is_empty() => {
                let ids = doc::find(command.body(), "cursors").and_then(|ids| ids.as_array());
                let ids = doc::elements(ids.unwrap_or_default()).flatten();
                for id in ids.filter_map(|id| id.as_i64()) {
                    self.cursors.remove(&id);
                }
            }
            _ => {}
        }
    }

    /// Forgets what hasn't been used for longer than a server keeps it.
    pub fn sweep(&self, now: Instant) {
        self.cursors.retain(|_, used| *used + LIFETIME > now);
    }

    fn keep(&self, id: i64) {
        let now = Instant::now();
        if let Some(mut used) = self.cursors.get_mut(&id) {
            *used = now;
        } else if self.cursors.len() < MOST {
            self.cursors.insert(id, now);
        }
    }
}

/// Whether a batch has no document.
fn is_empty(body: &[u8]) -> bool {
    let cursor = doc::find(body, "cursor").and_then(|cursor| cursor.as_document());
    let batch = cursor.and_then(|cursor| doc::find(cursor, "nextBatch")?.as_array());
    batch.is_some_and(|batch| batch.len() <= EMPTY)
}

/// A server ends a session that isn't used for half an hour, and its cursors with it.
const LIFETIME: Duration = Duration::from_secs(35 * 60);
/// More than a proxy has clients: what is beyond counts as a cursor that doesn't wait.
const MOST: usize = 1 << 17;
/// The bytes of an empty array: its length and its end.
const EMPTY: usize = 5;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::pipeline::scripted::request;

    fn noted(awaits: &Awaits, command: &Document, reply: &Document) {
        let body = reply.to_vec().unwrap();
        let command = request(command).command;
        awaits.note(&command, &ReplyView::read(&body), &body);
    }

    fn may_wait(awaits: &Awaits, more: &Document) -> bool {
        awaits.may_wait(&request(more).command)
    }

    fn more(id: i64) -> Document {
        doc! {"getMore": id, "collection": "c", "$db": "d"}
    }

    fn batch(name: &str, documents: i32, id: i64) -> Document {
        let documents: Vec<Document> = (0..documents).map(|n| doc! {"_id": n}).collect();
        doc! {"cursor": {name: documents, "id": id, "ns": "d.c"}, "ok": 1.0}
    }

    #[test]
    fn cursors_of_change_streams_and_tailable_finds_wait_until_they_end() {
        let opens = [
            doc! {"aggregate": "c", "pipeline": [{"$changeStream": {}}, {"$match": {"a": 1}}], "cursor": {}, "$db": "d"},
            doc! {"aggregate": 1, "pipeline": [{"$changeStream": {"allChangesForCluster": true}}], "cursor": {}, "$db": "admin"},
            doc! {"find": "c", "tailable": true, "awaitData": true, "$db": "d"},
        ];
        for open in opens {
            let awaits = Awaits::default();
            assert!(!may_wait(&awaits, &more(7)));
            noted(&awaits, &open, &batch("firstBatch", 0, 7));
            assert!(may_wait(&awaits, &more(7)), "{open}");
            assert!(!may_wait(&awaits, &more(8)));
            noted(&awaits, &more(7), &batch("nextBatch", 2, 7));
            assert!(may_wait(&awaits, &more(7)), "{open}");
            noted(&awaits, &more(7), &batch("nextBatch", 0, 0));
            assert!(!may_wait(&awaits, &more(7)), "{open}");
        }
    }

    #[test]
    fn other_cursors_do_not_wait() {
        let opens = [
            doc! {"find": "c", "$db": "d"},
            doc! {"find": "c", "tailable": true, "$db": "d"},
            doc! {"find": "c", "tailable": true, "awaitData": false, "$db": "d"},
            doc! {"aggregate": "c", "pipeline": [{"$match": {"$changeStream": 1}}], "cursor": {}, "$db": "d"},
            doc! {"aggregate": "c", "pipeline": [], "cursor": {}, "$db": "d"},
        ];
        for open in opens {
            let awaits = Awaits::default();
            noted(&awaits, &open, &batch("firstBatch", 0, 7));
            assert!(!may_wait(&awaits, &more(7)), "{open}");
            noted(&awaits, &more(7), &batch("nextBatch", 1, 7));
            assert!(!may_wait(&awaits, &more(7)), "{open}");
        }
    }

    #[test]
    fn what_shows_that_it_waits_is_known_though_it_was_opened_elsewhere() {
        let awaits = Awaits::default();
        noted(&awaits, &more(7), &batch("nextBatch", 0, 7));
        assert!(may_wait(&awaits, &more(7)));
        let kill = doc! {"killCursors": "c", "cursors": [5_i64, 7_i64], "$db": "d"};
        noted(
            &awaits,
            &kill,
            &doc! {"cursorsKilled": [5_i64, 7_i64], "ok": 1.0},
        );
        assert!(!may_wait(&awaits, &more(7)));
        let mut limited = more(9);
        limited.insert("maxTimeMS", 500);
        assert!(may_wait(&awaits, &limited));
    }
}
