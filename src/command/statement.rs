//! What one statement of a write may change, in the words that the survival of cached answers is
//! proved in (docs/coherence.md, rule 7): which documents it selects, what it does to them, and what it
//! may insert.
//!
//! Invariants: never less than the truth. The paths of an update hold every path that may hold
//! another value afterwards (`$`, `$[]` and `$[x]` dropped, cut at the first numeric component).
//! What a statement says of a new document is certain; what the server fills in isn't said.
//!
//! Absent on purpose: whether a collection has a default collation. Strings count as
//! [`Strings::Simple`] when the statement names no collation, so this is only for collections
//! that are known to have none.

use super::matcher::{self, Reached};
use super::path::Paths;
use super::value::Strings;
use super::{Command, FieldName, Kind};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};
use crate::wire::op_msg::OpMsg;

mod pipeline;
mod update;

pub use update::modified_path;

/// The documents that a statement may change: at most those that `filter` matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The statement's filter.
    pub filter: Box<[u8]>,
    /// How the filter compares strings.
    pub strings: Strings,
}

/// What happens to the selected documents.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing: the statement only inserts.
    Nothing,
    /// Nothing but these paths gets other values.
    Paths {
        /// All paths that may change.
        paths: Paths,
        /// What plain `$set`s of paths without numeric or positional components write: a document
        /// of path (dots and all) to value.
        sets: Box<[u8]>,
    },
    /// They go.
    Removes,
    /// They become what [`Statement::inserts`] says, under the `_id` that they have.
    Replaces,
}

/// What a statement may add to the collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Inserts {
    /// Nothing.
    Nothing,
    /// This document, but for what the server fills in: see [`Inserts::values_at`].
    Document(Box<[u8]>),
    /// A document with these top-level fields, and nobody knows what else.
    Seeded(Box<[u8]>),
    /// Any document.
    Anything,
}

/// One statement of a write. It owns its bytes, for it outlives the message.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Which documents it changes; `None` if it only inserts.
    pub selects: Option<Selector>,
    /// What it does to them.
    pub change: Change,
    /// What it may add.
    pub inserts: Inserts,
}

/// The statements of an insert, update, delete or findAndModify. `None` when they can't be read,
/// or are more than 1,000, or more than 1 MiB of updates and deletes or 16 MiB of documents: then it's a write to the
/// whole collection.
pub fn statements(command: &Command, msg: &OpMsg) -> Option<Vec<Statement>> {
    // Encrypted fields are written by the server, into other collections too.
    if command.field(FieldName::EncryptionInformation).is_some() {
        return None;
    }
    // (One, mostly.)
    let mut out = Vec::with_capacity(1);
    let mut bytes = 0;
    match command.kind {
        Kind::Insert => each(command, msg, "documents", |document| {
            within(&mut bytes, document, MOST_INSERTED)?;
            out.push(Statement::landed_insert(document));
            (out.len() <= MOST).then_some(())
        })?,
        Kind::Update => each(command, msg, "updates", |statement| {
            within(&mut bytes, statement, MOST_BYTES)?;
            let selector = Selector::of(statement, "q")?;
            let upsert = is_set(statement, "upsert");
            out.push(update::statement(
                selector,
                &doc::find(statement, "u")?,
                upsert,
            )?);
            (out.len() <= MOST).then_some(())
        })?,
        Kind::Delete => each(command, msg, "deletes", |statement| {
            within(&mut bytes, statement, MOST_BYTES)?;
            out.push(Statement::removes(Selector::of(statement, "q")?));
            (out.len() <= MOST).then_some(())
        })?,
        Kind::FindAndModify => {
            within(&mut bytes, command.body(), MOST_BYTES)?;
            out.push(find_and_modify(command.body())?);
        }
        _ => return None,
    }
    Some(out)
}

/// Counts the bytes of one more part; `None` once they are too many.
fn within(bytes: &mut usize, part: &[u8], most: usize) -> Option<()> {
    *bytes += part.len();
    (*bytes <= most).then_some(())
}

fn find_and_modify(body: &[u8]) -> Option<Statement> {
    let selector = Selector::of(body, "query")?;
    if is_set(body, "remove") {
        return Some(Statement::removes(selector));
    }
    update::statement(
        selector,
        &doc::find(body, "update")?,
        is_set(body, "upsert"),
    )
}

fn is_set(statement: &[u8], flag: &str) -> bool {
    doc::find(statement, flag).is_some_and(|flag| flag.is_truthy())
}

/// Runs `take` on every document of a field that may come in the body or as a sequence.
fn each(
    command: &Command,
    msg: &OpMsg,
    field: &str,
    mut take: impl FnMut(&[u8]) -> Option<()>,
) -> Option<()> {
    for (_, list) in command.fields() {
        if list.key() == field.as_bytes() {
            for item in doc::elements(list.unnamed().as_array()?) {
                take(item.ok()?.as_document()?)?;
            }
        }
    }
    for sequence in msg.sequences.iter().filter(|s| &*s.identifier == field) {
        for item in sequence.iter() {
            take(item.ok()?)?;
        }
    }
    Some(())
}

impl Selector {
    /// The filter in `field` of a statement (everything, if it has none), in the statement's collation.
    fn of(statement: &[u8], field: &str) -> Option<Selector> {
        doc::check(statement).ok()?;
        let filter = match doc::find(statement, field) {
            Some(filter) => filter.as_document()?.into(),
            None => DocBuf::new().finish().into(),
        };
        let collated = doc::find(statement, "collation").is_some();
        let strings = if collated {
            Strings::Collated
        } else {
            Strings::Simple
        };
        Some(Selector { filter, strings })
    }

    /// The one document that a change event names by its `documentKey`.
    fn landed(document_key: &[u8]) -> Selector {
        let mut filter = DocBuf::new();
        // A shard key's fields may have changed since; `_id` can't.
        if let Some(id) = doc::find(document_key, "_id") {
            filter.append_doc_with("_id", |is| {
                is.append_value("$eq", id.kind, id.value);
            });
        }
        Selector {
            filter: filter.finish().into(),
            strings: Strings::Simple,
        }
    }
}

impl Statement {
    /// How much there is to look at in it, in the measure of [`Work`](super::Work).
    pub fn size(&self) -> usize {
        let selects = self.selects.as_ref().map_or(0, |s| s.filter.len());
        let changes = match &self.change {
            Change::Paths { paths, sets } => 16 * paths.len() + sets.len(),
            Change::Nothing | Change::Removes | Change::Replaces => 0,
        };
        let inserts = match &self.inserts {
            Inserts::Document(document) | Inserts::Seeded(document) => document.len(),
            Inserts::Nothing | Inserts::Anything => 0,
        };
        4 + (selects + changes + inserts) / 32
    }

    fn removes(selector: Selector) -> Statement {
        Statement {
            selects: Some(selector),
            change: Change::Removes,
            inserts: Inserts::Nothing,
        }
    }

    /// The statement as its reply tells it: with the `_id` of the document that it inserted
    /// (`None`: it inserted none).
    #[must_use]
    pub fn answered(mut self, upserted: Option<&Element<'_>>) -> Statement {
        let mut with_id = DocBuf::new();
        if let Some(id) = upserted {
            with_id.append_value("_id", id.kind, id.value);
        }
        let rest: &[u8] = match (&self.inserts, upserted) {
            (Inserts::Nothing, _) => return self,
            // A replacement's document may be there without an upsert.
            (Inserts::Document(_), None) => return self,
            (_, None) => {
                self.inserts = Inserts::Nothing;
                return self;
            }
            (Inserts::Document(rest) | Inserts::Seeded(rest), Some(_)) => rest,
            (Inserts::Anything, Some(_)) => &[],
        };
        for field in doc::elements(rest).map_while(Result::ok) {
            if field.key != "_id" {
                with_id.append_raw(field.raw);
            }
        }
        let inserted = with_id.finish().into();
        self.inserts = match self.inserts {
            Inserts::Document(_) => Inserts::Document(inserted),
            _ => Inserts::Seeded(inserted),
        };
        self
    }

    /// An update that a change event tells of: `changed_paths` by [`modified_path`] from all paths
    /// in `updateDescription` (updated, removed, truncated), `sets` a document of the updated
    /// fields (those that have numeric components, or that are ambiguous, left out).
    pub fn landed_update(document_key: &[u8], changed_paths: Paths, sets: &[u8]) -> Statement {
        Statement {
            selects: Some(Selector::landed(document_key)),
            change: Change::Paths {
                paths: changed_paths,
                sets: sets.into(),
            },
            inserts: Inserts::Nothing,
        }
    }

    /// A replacement that a change event tells of.
    pub fn landed_replace(document_key: &[u8], document: &[u8]) -> Statement {
        Statement {
            selects: Some(Selector::landed(document_key)),
            change: Change::Replaces,
            inserts: Inserts::Document(document.into()),
        }
    }

    /// An insert, one's own or one that a change event tells of.
    pub fn landed_insert(document: &[u8]) -> Statement {
        Statement {
            selects: None,
            change: Change::Nothing,
            inserts: Inserts::Document(document.into()),
        }
    }

    /// A delete that a change event tells of.
    pub fn landed_delete(document_key: &[u8]) -> Statement {
        Statement::removes(Selector::landed(document_key))
    }
}

impl Inserts {
    /// What an equality on `path` sees in the new document; `None` if that isn't known: any value.
    pub fn values_at(&self, path: &str) -> Option<Reached> {
        let top = top_level(path);
        match self {
            Inserts::Nothing => Some(Reached {
                values: Vec::new(),
                unsure: false,
            }),
            Inserts::Anything => None,
            Inserts::Seeded(seed) => doc::find(seed, top).map(|_| matcher::values_at(seed, path)),
            Inserts::Document(document) => {
                let is_known = !filled_in(document)?.contains(&top);
                is_known.then(|| matcher::values_at(document, path))
            }
        }
    }
}

impl Change {
    /// What an equality on `path` sees in a document after the plain `$set`s; `None` if they don't
    /// say: any value.
    pub fn values_at(&self, path: &str) -> Option<Reached> {
        let Change::Paths { sets, .. } = self else {
            return None;
        };
        let set = doc::find(sets, path)?;
        Some(matcher::values_at(&nested(&set), path))
    }
}

/// The top-level fields whose value isn't what the document says, because the server fills it in:
/// a missing `_id`, and timestamps of zero. `None`: they are more than are told apart.
pub(super) fn filled_in(document: &[u8]) -> Option<Vec<&str>> {
    let mut fields: Vec<&str> = doc::elements(document)
        .map_while(Result::ok)
        .filter(|field| field.as_timestamp() == Some(0))
        .map(|field| field.key)
        .take(MOST_FILLED_IN + 1)
        .collect();
    if doc::find(document, "_id").is_none() {
        fields.push("_id");
    }
    (fields.len() <= MOST_FILLED_IN).then_some(fields)
}

/// The document `{a: {b: value}}` that has nothing but an element `a.b: value`.
pub(super) fn nested(element: &Element<'_>) -> Vec<u8> {
    fn write(out: &mut DocBuf, path: &str, element: &Element<'_>) {
        match path.split_once('.') {
            Some((head, rest)) => {
                out.append_doc_with(head, |inner| write(inner, rest, element));
            }
            None => {
                out.append_value(path, element.kind, element.value);
            }
        }
    }
    let mut out = DocBuf::new();
    write(&mut out, element.key, element);
    out.finish()
}

/// The first component of a path.
pub(super) fn top_level(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// Fields of one document that the server fills in, and that are told apart: a few timestamps at most.
const MOST_FILLED_IN: usize = 32;

/// A write with more statements than this is one to the whole collection.
pub const MOST: usize = 1_000;

/// So is one with more bytes of updates or deletes: paths and filters are taken out of them, at some hundred instructions
/// a byte.
const MOST_BYTES: usize = 1 << 20;

/// And one with more bytes of documents, which are only copied.
const MOST_INSERTED: usize = 16 << 20;

#[cfg(test)]
mod tests;
