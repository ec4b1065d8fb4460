//! One stored answer, and how it is cut into batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;

use super::worth::Shape;
use crate::command::{KEY_COMMAND, Kind};
use crate::pipeline::{Known, Moment, Tie, Tied};
use crate::wire::build::DocBuf;
use crate::wire::doc;
use crate::wire::header::HEADER_LEN;

/// One answer: the whole of it, in one batch.
pub(super) struct Entry {
    /// The principal, then the command document.
    pub key: Box<[u8]>,
    /// What kind of command it answers.
    pub kind: Kind,
    /// A whole message; its ids are replaced when it is served.
    pub reply: Bytes,
    /// How many documents the batch holds.
    pub documents: usize,
    /// What is told of the answer when it's served whole.
    pub known: Known,
    /// The cluster time that the read itself waited for; 0 if for none.
    pub after: u64,
    /// When it was asked for.
    pub asked: Moment,
    /// When it ends by itself.
    pub expires: Option<Moment>,
    /// What ties it to the writes.
    pub tie: Tie,
    /// What reads of its shape have brought so far.
    pub shape: Arc<Shape>,
    /// How often it was served.
    pub hits: AtomicU32,
    /// What it costs, in bytes, once it is stored.
    pub weight: AtomicU32,
}

impl Entry {
    /// The reply document.
    pub fn body(&self) -> &[u8] {
        self.reply.get(HEADER_LEN + 5..).unwrap_or_default()
    }

    /// The documents of the answer, as a raw array; empty for `count` and `distinct`.
    pub fn batch(&self) -> &[u8] {
        batch(self.body(), "firstBatch").unwrap_or(&[])
    }

    /// Whether it grows too old at some time.
    pub fn ages(&self) -> bool {
        self.expires.is_some()
    }

    /// Whether it may be given to one who comes at this time, as far as its age is concerned.
    pub fn lives_at(&self, time: Moment) -> bool {
        self.expires.is_none_or(|end| time < end)
    }

    /// What it costs in memory.
    pub fn weigh(&self) {
        let bytes = self.key.len() + self.reply.len() + PER_ENTRY + self.tie.bytes();
        self.weight
            .store(u32::try_from(bytes).unwrap_or(u32::MAX), Relaxed);
    }

    /// Whether the answer goes out in one batch of at most this size.
    pub fn fits(&self, batch_size: Option<u64>) -> bool {
        self.documents as u64 <= batch_size.unwrap_or(FIRST_BATCH)
    }

    /// A batch of at most `size` documents from `offset`, for cursor `id`, and
    /// where the next one begins. The id is 0 in the last one.
    pub fn cut(&self, name: &str, offset: usize, size: u64, id: i64) -> Cut {
        let (mut taken, mut end, mut bytes) = (Vec::new(), offset, 0);
        let mut rest = doc::elements_after(self.batch(), offset)
            .flatten()
            .peekable();
        while let Some(element) = rest.next_if(|e| {
            (taken.len() as u64) < size && (taken.is_empty() || bytes + e.raw.len() <= MOST_BYTES)
        }) {
            bytes += element.raw.len();
            end += element.raw.len();
            taken.push(element);
        }
        let done = rest.peek().is_none();
        let mut reply = DocBuf::with_capacity(bytes + 256);
        for element in doc::elements(self.body()).flatten() {
            if element.key != "cursor" {
                reply.append_raw(element.raw);
                continue;
            }
            reply.append_doc_with("cursor", |cursor| {
                cursor.append_array(name, |array| {
                    for document in &taken {
                        array.push_doc(document.value);
                    }
                });
                for field in element
                    .as_document()
                    .into_iter()
                    .flat_map(doc::elements)
                    .flatten()
                {
                    match field.key {
                        "firstBatch" => {}
                        "id" => {
                            cursor.append_i64("id", if done { 0 } else { id });
                        }
                        _ => {
                            cursor.append_raw(field.raw);
                        }
                    }
                }
            });
        }
        Cut {
            reply: reply.finish_bytes(),
            next: (!done).then_some(end),
        }
    }
}

/// A batch cut from an answer.
pub(super) struct Cut {
    /// The reply document.
    pub reply: Bytes,
    /// Where the next batch begins, if there is one.
    pub next: Option<usize>,
}

/// A batch of a cursor's reply.
pub(super) fn batch<'a>(reply: &'a [u8], name: &'a str) -> Option<&'a [u8]> {
    let cursor = doc::find(reply, "cursor")?.as_document()?;
    doc::find(cursor, name)?.as_array()
}

impl Tied for Entry {
    fn tie(&self) -> &Tie {
        &self.tie
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn command(&self) -> &[u8] {
        self.key.get(KEY_COMMAND..).unwrap_or_default()
    }

    fn documents(&self) -> Option<Box<dyn Iterator<Item = &[u8]> + '_>> {
        // What a pipeline puts out isn't a document of the collection.
        (self.kind == Kind::Find).then(|| {
            let documents = doc::elements(self.batch());
            Box::new(documents.flatten().filter_map(|d| d.as_document())) as Box<_>
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if *self.weight.get_mut() > 0 {
            self.shape
                .left(*self.hits.get_mut(), *self.weight.get_mut());
        }
    }
}

/// Documents in a first batch when the client doesn't say (the server's own default).
pub(super) const FIRST_BATCH: u64 = 101;

/// Bytes in a batch, at most: the server's own limit on a reply, less some room.
const MOST_BYTES: usize = 16 * 1024 * 1024 - 16 * 1024;

/// The entry itself, its reference counts, its two allocations, and its place in the table.
const PER_ENTRY: usize = size_of::<Entry>() + 2 * size_of::<usize>() + 32 + 96;
