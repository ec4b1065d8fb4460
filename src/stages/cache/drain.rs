//! Results of several batches, on their way into the cache: the batches that a client fetches
//! are put together, and the whole is stored once the server's cursor has come to its end.
//!
//! The answer need not be of one moment: it is stored if it outlives every write that was in
//! flight from the first batch to the last, and then it is right at the end of that time.

use bytes::Bytes;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::entry::batch;
use super::fill::Fill;
use crate::command::ReplyView;
use crate::memory::Live;
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// Answers of which some batches have come, by the server's cursor id.
#[derive(Default)]
pub(super) struct Drains {
    open: DashMap<i64, Drain, RandomState>,
}

/// One of them.
pub(super) struct Drain {
    pub fill: Fill,
    batches: Vec<Bytes>,
    bytes: usize,
    used: Instant,
    _live: Live,
}

impl Drain {
    pub fn new(fill: Fill, live: Live) -> Drain {
        Drain {
            used: Instant::now(),
            fill,
            batches: Vec::new(),
            bytes: 0,
            _live: live,
        }
    }

    /// Adds a reply's batch. `Some`: that was the last one, and this is the whole reply.
    /// `Err`: it can't be stored.
    pub fn add(&mut self, reply: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        let name = if self.batches.is_empty() {
            "firstBatch"
        } else {
            "nextBatch"
        };
        let view = ReplyView::read(reply);
        let more = batch(reply, name)
            .filter(|_| view.ok && !view.partial)
            .ok_or(())?;
        self.bytes += more.len();
        self.used = Instant::now();
        if self.bytes > self.fill.terms.max_entry {
            return Err(());
        }
        self.batches.push(Bytes::copy_from_slice(more));
        Ok((view.cursor_id == Some(0)).then(|| self.whole(reply)))
    }

    /// The last reply, with all documents in a first batch.
    fn whole(&self, last: &[u8]) -> Vec<u8> {
        let mut whole = DocBuf::with_capacity(self.bytes + 256);
        for element in doc::elements(last).flatten() {
            if element.key != "cursor" {
                whole.append_raw(element.raw);
                continue;
            }
            whole.append_doc_with("cursor", |cursor| {
                cursor.append_array("firstBatch", |array| {
                    for document in self.batches.iter().flat_map(|b| doc::elements(b)).flatten() {
                        array.push_doc(document.value);
                    }
                });
                for field in element
                    .as_document()
                    .into_iter()
                    .flat_map(doc::elements)
                    .flatten()
                {
                    if field.key != "nextBatch" {
                        cursor.append_raw(field.raw);
                    }
                }
            });
        }
        whole.finish()
    }
}

impl Drains {
    /// Goes on when the cursor's next batch comes.
    pub fn put(&self, cursor: i64, drain: Drain) {
        if self.open.len() < MOST {
            self.open.insert(cursor, drain);
        }
    }

    /// Takes out what a `getMore` of this principal is about to continue.
    pub fn take(&self, cursor: i64, principal: u64) -> Option<Drain> {
        if self.open.is_empty() {
            return None;
        }
        let (_, drain) = self
            .open
            .remove_if(&cursor, |_, d| d.fill.principal == principal)?;
        Some(drain)
    }

    /// Gives up what nobody has continued for a while.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.open.retain(|_, drain| now - drain.used < PATIENCE);
    }
}

/// Answers put together at a time.
const MOST: usize = 64;

/// A client that fetches the next batch takes less time than this.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
