//! Results of several batches: what a cursor began with, kept until it has been read.
//!
//! Few and short-lived: at most [`MOST`] at once, the longest unused one goes first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::query::{Batch, Refused};
use crate::command::codes;
use crate::pipeline::Request;

#[derive(Default)]
pub(super) struct Cursors {
    open: Mutex<HashMap<i64, Cursor>>,
    random: RandomState,
}

struct Cursor {
    /// What hasn't been read, last one first.
    left: Vec<Document>,
    namespace: String,
    principal: u64,
    used: Instant,
}

impl Cursors {
    /// The reply with the first batch, and a cursor if more is left.
    pub fn first(
        &self,
        request: &Request,
        namespace: &str,
        rows: Vec<Document>,
        batch: Batch,
    ) -> Document {
        let mut left = rows;
        left.reverse();
        let (Batch::Of(size) | Batch::Single(size)) = batch;
        let first = take(&mut left, size);
        // A first batch of none is asked for to get the cursor only.
        let ended = left.is_empty() || matches!(batch, Batch::Single(_));
        let id = if ended {
            0
        } else {
            self.keep(request, namespace, left)
        };
        doc! { "cursor": { "firstBatch": first, "id": id, "ns": namespace } }
    }

    /// The reply to a `getMore`.
    pub fn more(&self, request: &Request, body: &Document) -> Result<Document, Refused> {
        let id = request.command.cursor_id().unwrap_or(0);
        let mut open = self.open.lock();
        let mine = open
            .get_mut(&id)
            .filter(|c| c.principal == request.principal.id);
        let Some(cursor) = mine else {
            let text = format_args!("cursor id {id} not found");
            return Err(Refused::new(codes::CURSOR_NOT_FOUND, text));
        };
        let size = match body.get("batchSize") {
            Some(Bson::Int32(n)) if *n > 0 => usize::try_from(*n).unwrap_or(usize::MAX),
            Some(Bson::Int64(n)) if *n > 0 => usize::try_from(*n).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let next = take(&mut cursor.left, size);
        let namespace = cursor.namespace.clone();
        cursor.used = Instant::now();
        let ended = cursor.left.is_empty();
        if ended {
            open.remove(&id);
        }
        let id = if ended { 0 } else { id };
        Ok(doc! { "cursor": { "nextBatch": next, "id": id, "ns": namespace } })
    }

    /// The reply to a `killCursors`.
    pub fn kill(&self, request: &Request, body: &Document) -> Document {
        let (mut killed, mut missing) = (Vec::new(), Vec::new());
        let mut open = self.open.lock();
        for id in body.get_array("cursors").into_iter().flatten() {
            let mine = |id: i64| {
                open.get(&id)
                    .is_some_and(|c| c.principal == request.principal.id)
            };
            match id.as_i64().filter(|&id| mine(id)) {
                Some(number) => {
                    open.remove(&number);
                    killed.push(id.clone());
                }
                None => missing.push(id.clone()),
            }
        }
        doc! {
            "cursorsKilled": killed, "cursorsNotFound": missing,
            "cursorsAlive": [], "cursorsUnknown": [],
        }
    }

    fn keep(&self, request: &Request, namespace: &str, left: Vec<Document>) -> i64 {
        use std::hash::BuildHasher;
        let mut open = self.open.lock();
        open.retain(|_, cursor| cursor.used.elapsed() < IDLE);
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, cursor)| cursor.used);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                open.remove(&id);
            }
        }
        let now = Instant::now();
        let id = (0_u64..)
            .map(|turn| self.random.hash_one((now, turn)).cast_signed() & i64::MAX)
            .find(|id| *id != 0 && !open.contains_key(id))
            .unwrap_or(1);
        let cursor = Cursor {
            left,
            namespace: namespace.to_owned(),
            principal: request.principal.id,
            used: now,
        };
        open.insert(id, cursor);
        id
    }
}

/// Takes at most so many from the end of a reversed list, and no more than a reply may hold.
fn take(left: &mut Vec<Document>, size: usize) -> Vec<Document> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    while taken.len() < size
        && let Some(row) = left.last()
    {
        bytes += row.to_vec().map_or(0, |v| v.len());
        if bytes > LARGEST_BATCH && !taken.is_empty() {
            break;
        }
        taken.extend(left.pop());
    }
    taken
}

const MOST: usize = 32;
/// As the server's own cursors.
const IDLE: Duration = Duration::from_secs(600);
const LARGEST_BATCH: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::scripted::request;

    fn rows(n: i32) -> Vec<Document> {
        (0..n).map(|i| doc! {"_id": i}).collect()
    }

    fn id(reply: &Document) -> i64 {
        reply.get_document("cursor").unwrap().get_i64("id").unwrap()
    }

    #[test]
    fn a_big_result_comes_in_batches_and_its_cursor_ends_with_it() {
        let cursors = Cursors::default();
        let find = request(&doc! {"find": "c", "$db": "petiole"});
        let first = cursors.first(&find, "petiole.c", rows(5), Batch::Of(2));
        let id_of_it = id(&first);
        let body = doc! {"getMore": id_of_it, "collection": "c", "batchSize": 2, "$db": "petiole"};
        let more = cursors.more(&request(&body), &body).unwrap();
        let batch = more
            .get_document("cursor")
            .unwrap()
            .get_array("nextBatch")
            .unwrap();
        assert_eq!(batch[0], Bson::Document(doc! {"_id": 2}));
        assert_eq!(id(&more), id_of_it);
        assert_eq!(id(&cursors.more(&request(&body), &body).unwrap()), 0);
        assert!(cursors.more(&request(&body), &body).is_err());
    }

    #[test]
    fn a_single_batch_leaves_no_cursor_and_a_killed_one_is_gone() {
        let cursors = Cursors::default();
        let find = request(&doc! {"find": "c", "$db": "petiole"});
        assert_eq!(id(&cursors.first(&find, "n", rows(5), Batch::Single(2))), 0);
        let open = id(&cursors.first(&find, "n", rows(5), Batch::Of(0)));
        let body = doc! {"killCursors": "c", "cursors": [open, 7_i64], "$db": "petiole"};
        let reply = cursors.kill(&request(&body), &body);
        assert_eq!(reply.get_array("cursorsKilled").unwrap().len(), 1);
        assert_eq!(reply.get_array("cursorsNotFound").unwrap().len(), 1);
    }

    #[test]
    fn the_number_of_cursors_is_bounded() {
        let cursors = Cursors::default();
        let find = request(&doc! {"find": "c", "$db": "petiole"});
        for _ in 0..MOST * 2 {
            cursors.first(&find, "n", rows(2), Batch::Of(1));
        }
        assert_eq!(cursors.open.lock().len(), MOST);
    }
}
