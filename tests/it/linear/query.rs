//! One read that the readers send, and how it is made.

use bson::{Document, Timestamp, doc};

use super::model::{ANY, KEYS};
use crate::raw::{self, Section};

/// A read, and what its answer has to be judged by.
pub struct Query {
    /// What it is, for messages.
    pub name: String,
    /// The whole message.
    pub message: Vec<u8>,
    /// Where `afterClusterTime` lies in it.
    pub after: Option<usize>,
    /// The whole `getMore`, and where the cursor's id lies in it.
    pub more: Option<(Vec<u8>, usize)>,
    /// The keys that its filter wants.
    pub keys: Vec<usize>,
    /// The values of `p` that its filter wants, as bits.
    pub phases: u8,
    /// It reads the copy.
    pub copy: bool,
    /// What comes back.
    pub answer: Answer,
}

/// What a query's answer consists of.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Documents, all that match.
    All,
    /// The first of them by `v`, the greatest first.
    Leaders(usize),
    /// Those at these places by `_id`.
    Page { skip: usize, limit: usize },
    /// Some of them.
    Some(usize),
    /// A number `n`.
    Count { skip: usize, limit: usize },
    /// The values of `v`.
    Versions,
    /// The values of `p`.
    Phases,
    /// A document with their number `n`, and with the sum `s` of their `v` if wanted.
    Totals,
}

/// The collection that is written, its copy by `$out`, its view of the keys below [`VIEWED`], and
/// one document for each key that never changes.
pub const MAIN: &str = "c";
pub const COPY: &str = "o";
pub const VIEW: &str = "w";
pub const BASE: &str = "x";
pub const VIEWED: usize = 6;

/// Queries against a database.
pub struct Table<'a> {
    pub db: &'a str,
    pub list: Vec<Query>,
}

impl Table<'_> {
    pub fn find(
        &mut self,
        name: &str,
        filter: Document,
        more: Document,
        keys: Vec<usize>,
        phases: u8,
    ) {
        let number = |field: &str| more.get_i32(field).ok().map(|n| n as usize);
        let by = more.get_document("sort").ok().and_then(|s| s.keys().next());
        let limit = number("limit");
        let answer = match (by.map(String::as_str), limit) {
            (Some("v"), Some(limit)) => Answer::Leaders(limit),
            (Some("_id"), _) => Answer::Page {
                skip: number("skip").unwrap_or(0),
                limit: limit.unwrap_or(KEYS),
            },
            (_, Some(limit)) => Answer::Some(limit),
            _ => Answer::All,
        };
        let mut command = doc! {"find": MAIN, "filter": filter};
        command.extend(more);
        self.add(name, command, keys, phases, false, answer);
    }

    pub fn count(
        &mut self,
        name: &str,
        query: Document,
        skip: usize,
        limit: usize,
        keys: Vec<usize>,
        phases: u8,
    ) {
        let mut command = doc! {"count": MAIN, "query": query, "limit": limit as i32};
        if skip > 0 {
            command.insert("skip", skip as i32);
        }
        self.add(
            name,
            command,
            keys,
            phases,
            false,
            Answer::Count { skip, limit },
        );
    }

    pub fn distinct(
        &mut self,
        name: &str,
        key: &str,
        query: Document,
        keys: Vec<usize>,
        phases: u8,
    ) {
        let command = doc! {"distinct": MAIN, "key": key, "query": query};
        let answer = if key == "v" {
            Answer::Versions
        } else {
            Answer::Phases
        };
        self.add(name, command, keys, phases, false, answer);
    }

    pub fn pipeline(
        &mut self,
        name: &str,
        stages: Vec<Document>,
        keys: Vec<usize>,
        phases: u8,
        answer: Answer,
    ) {
        let command = doc! {"aggregate": MAIN, "pipeline": stages, "cursor": {}};
        self.add(name, command, keys, phases, false, answer);
    }

    pub fn foreign(&mut self, name: &str, stages: Vec<Document>, keys: Vec<usize>) {
        let command = doc! {"aggregate": BASE, "pipeline": stages, "cursor": {}};
        self.add(name, command, keys, ANY, false, Answer::All);
    }

    pub fn batches(&mut self, command: Document, keys: Vec<usize>) {
        let size = match command.get_document("cursor") {
            Ok(cursor) => cursor.get_i32("batchSize"),
            Err(_) => command.get_i32("batchSize"),
        };
        let more = doc! {"getMore": i64::from_le_bytes(PLACEHOLDER), "collection": MAIN, "batchSize": size.unwrap(), "$db": self.db};
        self.add("batches", command, keys, ANY, false, Answer::All);
        let message = whole(&more);
        let at = position(&message).expect("the placeholder is there");
        self.list.last_mut().expect("just added").more = Some((message, at));
    }

    pub fn add(
        &mut self,
        name: &str,
        mut command: Document,
        keys: Vec<usize>,
        phases: u8,
        copy: bool,
        answer: Answer,
    ) {
        command.insert("$db", self.db);
        let kind = command.keys().next().cloned().unwrap_or_default();
        let message = whole(&command);
        self.list.push(Query {
            name: format!("{kind} {name} {command}"),
            after: position(&message),
            message,
            more: None,
            keys,
            phases,
            copy,
            answer,
        });
    }
}

fn whole(command: &Document) -> Vec<u8> {
    raw::op_msg(1, 0, &[Section::Body(raw::encode(command))])
}

/// A value that is put in later.
pub fn placeholder() -> Timestamp {
    let value = u64::from_le_bytes(PLACEHOLDER);
    Timestamp {
        time: (value >> 32) as u32,
        increment: value as u32,
    }
}

fn position(message: &[u8]) -> Option<usize> {
    message.windows(8).position(|w| w == PLACEHOLDER)
}

const PLACEHOLDER: [u8; 8] = *b"8 bytes\x01";
