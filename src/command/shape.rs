//! The shape of a command: what is left when its values are removed.
//!
//! Namespace, command, operators of the filter, sort, projection, stages: what decides how the
//! server finds the documents. Two commands of one shape differ in values only.
//!
//! One walk makes both forms, through a [`Sink`]: a hash, which allocates nothing and is made for
//! every request, and a text, which is made once for a shape that is new. So they can't disagree.
//!
//! - Clauses that repeat (of `$or`, of a list of statements) count once, and array positions in
//!   paths are all the same: a shape doesn't grow with the data.
//! - What isn't a value but chooses a plan stays: directions, whether a projection shows or hides,
//!   hint, collation, names of collections, null and regular expressions as such.
//! - Only the first few statements of a command are looked at, and of a very wide command its first thousands of parts:
//!   what differs only behind them has one shape.

mod sink;
mod walk;

#[cfg(test)]
mod tests;

use std::fmt;

use self::sink::{Hash, Sink, Text};
use super::{Command, Kind};
use crate::wire::doc::{self, Element};
use crate::wire::op_msg::OpMsg;

/// The hash of a shape and its namespace: the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShapeId(pub u64);

impl fmt::Display for ShapeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The shape that a command has, in its namespace.
#[must_use]
pub fn shape_id(command: &Command, msg: &OpMsg) -> ShapeId {
    let mut hash = Hash::default();
    let (db, collection) = command.namespace();
    hash.name(db);
    hash.name(command.name_as_sent());
    // (The first field of other commands holds a number or a user's name.)
    if walk::names_collection(command.kind) {
        hash.name(collection);
    }
    fields(command, msg, &mut hash);
    ShapeId(hash.finish())
}

/// The shape without command and namespace, as people write it:
/// `{filter: {user_id: ?}, sort: {at: -1}}`.
#[must_use]
pub fn shape_text(command: &Command, msg: &OpMsg) -> String {
    let mut text = Text::default();
    fields(command, msg, &mut text);
    text.finish()
}

/// The collection that a command is about, if its shape tells.
#[must_use]
pub fn shape_collection(command: &Command) -> Option<&str> {
    walk::names_collection(command.kind)
        .then(|| command.collection())
        .flatten()
}

/// The statements of an update or delete: in a sequence or in the body.
fn statements<'a>(command: &'a Command, msg: &'a OpMsg, name: &'a str) -> Statements<'a> {
    match msg.sequence(name) {
        Some(sequence) => Statements::Sequence(sequence.iter()),
        None => {
            let list = doc::find(command.body(), name).and_then(|e| e.as_array());
            Statements::Array(doc::elements(list.unwrap_or_default()))
        }
    }
}

enum Statements<'a> {
    Sequence(doc::Documents<'a>),
    Array(doc::Elements<'a>),
}

impl<'a> Iterator for Statements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Statements::Sequence(documents) => documents.next()?.ok(),
            Statements::Array(elements) => elements.next()?.ok()?.as_document(),
        }
    }
}

/// The first statement of an update or delete, as a whole document.
#[must_use]
pub fn first_statement<'a>(command: &'a Command, msg: &'a OpMsg) -> Option<&'a [u8]> {
    let name = match command.kind {
        Kind::Update => "updates",
        Kind::Delete => "deletes",
        _ => return None,
    };
    statements(command, msg, name).next()
}

fn fields<S: Sink>(command: &Command, msg: &OpMsg, out: &mut S) {
    out.put("{");
    let mut list = List::default();
    match command.kind {
        Kind::Update => writes(command, msg, "updates", out, &mut list),
        Kind::Delete => writes(command, msg, "deletes", out, &mut list),
        Kind::Insert => {
            list.key("documents", out);
            out.put("[?]");
        }
        Kind::Find | Kind::Aggregate | Kind::Count | Kind::Distinct | Kind::FindAndModify => {
            let elements = doc::elements(command.body()).skip(1);
            for element in elements.map_while(Result::ok) {
                if out.is_full() {
                    break;
                }
                option(&element, out, &mut list);
            }
        }
        _ => {}
    }
    out.put("}");
}

fn writes<S: Sink>(
    command: &Command,
    msg: &OpMsg,
    name: &'static str,
    out: &mut S,
    list: &mut List,
) {
    list.key(name, out);
    out.put("[");
    let mut last = None;
    for statement in statements(command, msg, name).take(MOST_STATEMENTS) {
        let mark = out.begin();
        out.put("{");
        let mut list = List::default();
        for element in doc::elements(statement).map_while(Result::ok) {
            if out.is_full() {
                break;
            }
            option(&element, out, &mut list);
        }
        out.put("}");
        last = Some(out.end(mark, last));
    }
    out.put("]");
}

/// One field of a command or of a statement. What isn't listed doesn't choose a plan.
fn option<S: Sink>(element: &Element<'_>, out: &mut S, list: &mut List) {
    let document = element.as_document();
    match (element.key, document) {
        ("filter" | "query" | "q", Some(filter)) => {
            list.key(element.key, out);
            walk::filter(filter, out, walk::DEPTH);
        }
        ("sort", Some(sort)) => {
            list.key(element.key, out);
            walk::directions(sort, out);
        }
        ("projection" | "fields", Some(projection)) => {
            list.key(element.key, out);
            walk::projection(projection, out);
        }
        ("u" | "update", _) => {
            list.key(element.key, out);
            walk::update(element, out);
        }
        ("pipeline", _) => {
            if let Some(stages) = element.as_array() {
                list.key(element.key, out);
                walk::pipeline(stages, out, walk::DEPTH);
            }
        }
        ("key" | "hint", None) => {
            list.key(element.key, out);
            out.literal(element);
        }
        ("hint", Some(keys)) => {
            list.key(element.key, out);
            walk::directions(keys, out);
        }
        ("collation", Some(collation)) => {
            list.key(element.key, out);
            walk::literals(collation, out);
        }
        ("limit" | "skip" | "min" | "max" | "let" | "arrayFilters", _) => {
            list.key(element.key, out);
            out.put("?");
        }
        ("multi" | "upsert" | "new" | "remove" | "tailable" | "returnKey", _)
            if element.is_truthy() =>
        {
            list.key(element.key, out);
            out.put("true");
        }
        _ => {}
    }
}

/// Keys of one document, with commas between them.
#[derive(Default)]
struct List {
    begun: bool,
}

impl List {
    fn key<S: Sink>(&mut self, key: &str, out: &mut S) {
        if self.begun {
            out.put(", ");
        }
        self.begun = true;
        out.put(key);
        out.put(": ");
    }
}

/// Statements looked at; what comes after them is taken to be more of the same.
const MOST_STATEMENTS: usize = 4;
