//! The slow log: requests that took long, to the log (target `petiole::slow`) and the last of them
//! for the admin side. Values are masked unless the configuration asks for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::record::{Record, cut};
use super::tally::{Fate, Seen};
use crate::command::{Namespace, shape_collection, shape_text};
use crate::config;
use crate::pipeline::Request;
use crate::wire::doc;
use crate::wire::op_msg::Sequence;

/// The slow log of a proxy.
pub struct SlowLog {
    /// From this on, a request is slow.
    pub threshold: Duration,
    per_second: u32,
    values: bool,
    in_this_second: AtomicU32,
    seen: AtomicU64,
    last: Mutex<VecDeque<SlowRequest>>,
}

/// A request that took long.
#[derive(Clone, Debug)]
pub struct SlowRequest {
    /// When it was answered.
    pub at: SystemTime,
    /// Database and collection.
    pub namespace: Namespace,
    /// The command's name.
    pub command: String,
    /// Its shape, with `?` for values.
    pub shape: String,
    /// From request to reply.
    pub took: Duration,
    /// Documents in the answer.
    pub documents: u64,
    /// Bytes of the answer.
    pub bytes: u64,
    /// What the cache had to do with it.
    pub fate: Fate,
    /// Number of the client's connection.
    pub client: u64,
    /// The command with its values, if the configuration asks for it.
    pub text: Option<String>,
}

impl SlowLog {
    pub(super) fn new(config: &config::Profile) -> SlowLog {
        SlowLog {
            threshold: config.slow_threshold,
            per_second: config.slow_per_second,
            values: config.slow_values,
            in_this_second: AtomicU32::new(0),
            seen: AtomicU64::new(0),
            last: Mutex::default(),
        }
    }

    /// Slow requests so far, those that weren't logged included.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    /// The last that were logged, newest first.
    #[must_use]
    pub fn last(&self) -> Vec<SlowRequest> {
        self.last.lock().iter().rev().cloned().collect()
    }

    pub(super) fn tick(&self) {
        self.in_this_second.store(0, Relaxed);
    }

    pub(super) fn note(&self, request: &Request, seen: &Seen, record: Option<&Record>) {
        self.seen.fetch_add(1, Relaxed);
        if self.in_this_second.fetch_add(1, Relaxed) >= self.per_second {
            return;
        }
        let command = &request.command;
        let slow = SlowRequest {
            at: SystemTime::now(),
            namespace: match record {
                Some(record) => record.namespace.clone(),
                None => Namespace::new(
                    cut(command.db()),
                    cut(shape_collection(command).unwrap_or_default()),
                ),
            },
            command: cut(command.name()).to_owned(),
            shape: record.map_or_else(|| shape_text(command, &request.msg), |r| r.text.clone()),
            took: seen.took,
            documents: seen.documents,
            bytes: seen.bytes,
            fate: seen.fate,
            client: request.client,
            text: self
                .values
                .then(|| values(command.body(), &request.msg.sequences)),
        };
        tracing::info!(target: "petiole::slow",
            namespace = %slow.namespace, command = slow.command, shape = slow.shape,
            ms = u64::try_from(slow.took.as_millis()).unwrap_or(u64::MAX),
            documents = slow.documents, bytes = slow.bytes, cache = slow.fate.as_str(),
            client = slow.client, text = slow.text, "slow request");
        let mut last = self.last.lock();
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(slow);
    }
}

/// The command as people read it, with its document sequences and without what belongs to its session, cut at [`LONGEST`].
fn values(body: &[u8], sequences: &[Sequence]) -> String {
    // (To read and write it all would take time and memory for nothing but its beginning.)
    if body.len() > LONGEST_READ {
        return format!("not shown: {} bytes", body.len());
    }
    // (What is nested deeper than any server allows would be read, and written as text, by recursion without a bound.)
    let read = |bytes: &[u8]| {
        doc::check_deep(bytes, doc::MAX_DEPTH).ok()?;
        bson::Document::from_reader(bytes).ok()
    };
    let Some(mut document) = read(body) else {
        return "not shown: it can't be read, or is nested too deeply".to_owned();
    };
    for key in ["lsid", "$clusterTime"] {
        document.remove(key);
    }
    let (mut size, mut whole) = (0, true);
    for sequence in sequences {
        let mut list = bson::Array::new();
        for item in sequence.iter().map_while(Result::ok) {
            // No more of it than can be shown.
            whole &= size <= LONGEST * 4 && item.len() <= LONGEST_READ;
            if !whole {
                break;
            }
            size += item.len();
            list.extend(read(item).map(bson::Bson::Document));
        }
        document.insert(sequence.identifier.to_string(), list);
    }
    let mut text = document.to_string();
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        whole = false;
    }
    if !whole {
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// Slow requests kept for the admin side.
const KEPT: usize = 128;

/// Longest text of a command, bytes.
const LONGEST: usize = 2048;

/// Longest command that is read for its text, bytes.
const LONGEST_READ: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::*;
    use crate::wire::op_msg::Identifier;

    #[test]
    fn the_statements_of_a_write_show_and_its_session_does_not() {
        let sequence = |documents: &[Document]| Sequence {
            identifier: Identifier::new(Bytes::from_static(b"updates")).unwrap(),
            documents: documents
                .iter()
                .flat_map(|d| d.to_vec().unwrap())
                .collect::<Vec<u8>>()
                .into(),
        };
        let body =
            doc! {"update": "t", "lsid": {"id": "SESSION"}, "$clusterTime": {"x": "SESSION"}};
        let body = body.to_vec().unwrap();
        let statement = |n: i32| doc! {"q": {"z": n}, "u": {"$set": {"a": "VALUE"}}};
        let text = values(&body, &[sequence(&[statement(1), statement(2)])]);
        assert!(
            text.contains("\"z\": 2") && text.contains("VALUE"),
            "{text}"
        );
        assert!(!text.contains("SESSION"), "{text}");
        let many: Vec<Document> = (0..5000).map(statement).collect();
        let text = values(&body, &[sequence(&many)]);
        assert!(text.len() <= LONGEST + '…'.len_utf8() && text.ends_with('…'));
    }
}
