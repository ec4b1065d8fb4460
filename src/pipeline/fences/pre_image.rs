//! What is known of single documents that are being updated.
//!
//! `{$inc: {score: 5}}` on a document by its `_id` says nothing of its other fields, so it may affect the leaderboard of
//! every guild. Once the document's guild is known, it affects only that guild's. A pre-image is the answer
//! to a read of such fields of one document: stored and tied like any other answer, and so ended by any write that may
//! change it. As long as it holds, and a write under way doesn't touch these fields, the document has them whenever that
//! write is carried out: before and after it, the same.
//!
//! It is asked at the moment of each conclusion whether a pre-image holds, never remembered: a write that begins later and
//! may change the document suspends the pre-image, and with it all that others have concluded from it; what that
//! write may affect it has suspended itself.
//!
//! Absent on purpose: writes that have landed already (events of the watch): what the document is now says nothing of
//! what it was then.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::Fences;
use super::group::outlives;
use super::tie::Tied;
use crate::command::{
    Change, Reach, ReadShape, Selector, Statement, Strings, ValueKey, reach, telling_fields,
};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// A write's statements, and what is known of the documents that they select.
#[derive(Clone, Default)]
pub(super) struct Write {
    pub statements: Arc<[Statement]>,
    /// Statement by statement; empty where nothing is known.
    pre_images: Arc<[Option<Arc<dyn Tied>>]>,
}

/// Fields of a document that are worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A filter that selects the document by its `_id`.
    pub filter: Box<[u8]>,
    /// Top-level fields, sorted.
    pub fields: Vec<String>,
}

/// What is known of a collection's documents, and what would be worth knowing.
pub(super) struct PreImages {
    known: HashMap<ValueKey, Weak<dyn Tied>>,
    wanted: HashMap<ValueKey, Wanted>,
    /// Looks at documents that may be asked for: each time that a pre-image spares something, one more.
    credit: u32,
    denied: u32,
    /// Size of `known` at which it is cleared of what is gone.
    sweep_at: usize,
}

impl Default for PreImages {
    fn default() -> PreImages {
        PreImages {
            known: HashMap::new(),
            wanted: HashMap::new(),
            credit: FIRST_CREDIT,
            denied: 0,
            sweep_at: SWEEP,
        }
    }
}

impl Write {
    /// A write of which only the statements are known.
    pub fn new(statements: &Arc<[Statement]>) -> Write {
        Write {
            statements: Arc::clone(statements),
            ..Write::default()
        }
    }

    /// The same with other words for its statements.
    pub fn reworded(&self, statements: Arc<[Statement]>) -> Write {
        Write {
            statements,
            pre_images: Arc::clone(&self.pre_images),
        }
    }

    /// The statements, each with the pre-image of its document, if that holds now.
    pub fn each<'a>(
        &'a self,
        fences: &'a Fences,
    ) -> impl Iterator<Item = (&'a Statement, Option<&'a [u8]>)> {
        let known = |at: usize| {
            let answer = self.pre_images.get(at)?.as_ref()?;
            document(&**answer).filter(|_| fences.trusts(answer.tie()))
        };
        self.statements
            .iter()
            .enumerate()
            .map(move |(at, statement)| (statement, known(at)))
    }

    /// Whether an answer provably stays right.
    pub fn spares(&self, answer: &dyn Tied, fences: &Fences) -> bool {
        self.each(fences)
            .all(|(statement, known)| outlives(answer, statement, known))
    }

    /// Whether it may affect all reads of a shape.
    pub fn reaches_all(&self, shape: &ReadShape, fences: &Fences) -> bool {
        self.each(fences)
            .any(|(statement, known)| reach(shape, statement, known) == Reach::Everything)
    }

    pub fn knows_anything(&self) -> bool {
        !self.pre_images.is_empty()
    }
}

impl PreImages {
    /// A write that is about to be sent, with what is known of its documents.
    pub fn of(&self, statements: &Arc<[Statement]>, fences: &Fences) -> Write {
        let mut write = Write::new(statements);
        if self.known.is_empty() || statements.len() > MOST_STATEMENTS {
            return write;
        }
        let known = statements.iter().map(|statement| {
            let (id, _) = updated_id(statement)?;
            let answer = self.known.get(&id)?.upgrade()?;
            let stays = || statements.iter().all(|s| outlives(&*answer, s, None));
            (fences.holds(answer.tie()) && stays()).then_some(answer)
        });
        let known: Vec<_> = known.collect();
        if known.iter().any(Option::is_some) {
            write.pre_images = known.into();
        }
        write
    }

    /// An answer that was stored tells what a document holds.
    pub fn note(&mut self, answer: &Arc<dyn Tied>) {
        let id = document(&**answer).and_then(|document| doc::find(document, "_id"));
        let Some(id) = id.and_then(|id| ValueKey::of(&id, Strings::Simple)) else {
            return;
        };
        self.known.insert(id, Arc::downgrade(answer));
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, answer| answer.strong_count() > 0);
            self.sweep_at = 2 * self.known.len() + SWEEP;
        }
    }

    /// Reads of a shape suffer from a write of which too little is known. Returns how many documents
    /// more are wanted now.
    pub fn want(&mut self, shape: &ReadShape, write: &Write, fences: &Fences) -> usize {
        let before = self.wanted.len();
        for (statement, known) in write.each(fences) {
            if reach(shape, statement, known) != Reach::Everything {
                continue;
            }
            let fields = telling_fields(shape, statement);
            let news = |field: &&str| known.is_none_or(|known| doc::find(known, field).is_none());
            if fields.iter().any(news)
                && let Some((id, filter)) = updated_id(statement)
            {
                self.want_document(id, filter, &fields, known);
            }
        }
        self.wanted.len() - before
    }

    fn want_document(
        &mut self,
        id: ValueKey,
        filter: Vec<u8>,
        fields: &[&str],
        known: Option<&[u8]>,
    ) {
        if !self.wanted.contains_key(&id) && !self.may_ask() {
            return;
        }
        let wanted = self.wanted.entry(id).or_insert_with(|| {
            // What is known already is asked for again, so that one answer tells everything.
            let known = known.into_iter().flat_map(doc::elements).flatten();
            let known = known.map(|field| field.key.to_owned());
            Wanted {
                filter: filter.into(),
                fields: known.filter(|field| field != "_id").collect(),
            }
        });
        for field in fields {
            if let Err(at) = wanted
                .fields
                .binary_search_by(|known| known.as_str().cmp(field))
            {
                wanted.fields.insert(at, (*field).to_owned());
            }
        }
    }

    fn may_ask(&mut self) -> bool {
        if self.wanted.len() >= MOST_WANTED {
            return false;
        }
        if self.credit > 0 {
            self.credit -= 1;
            return true;
        }
        self.denied += 1;
        self.denied.is_multiple_of(TRIAL)
    }

    /// A pre-image has spared a shape of reads.
    pub fn paid(&mut self) {
        self.credit = (self.credit + 1).min(MOST_CREDIT);
    }

    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        self.wanted.drain().map(|(_, wanted)| wanted).collect()
    }
}

/// The only document of an answer.
fn document(answer: &dyn Tied) -> Option<&[u8]> {
    let mut documents = answer.documents()?;
    let first = documents.next()?;
    documents.next().is_none().then_some(first)
}

/// The `_id` of the one document that an update by paths is confined to, and a filter that selects it.
fn updated_id(statement: &Statement) -> Option<(ValueKey, Vec<u8>)> {
    let (Some(selector), Change::Paths { .. }) = (&statement.selects, &statement.change) else {
        return None;
    };
    let id = selected_id(selector)?;
    let key = ValueKey::of(&id, selector.strings)?;
    let mut filter = DocBuf::new();
    filter.append_value("_id", id.kind, id.value);
    Some((key, filter.finish()))
}

/// `{_id: value}` or `{_id: {$eq: value}}`, whatever else the filter demands.
fn selected_id(selector: &Selector) -> Option<Element<'_>> {
    let id = doc::find(&selector.filter, "_id")?;
    let Some(conditions) = id.as_document() else {
        return Some(id);
    };
    let mut conditions = doc::elements(conditions);
    let only = conditions.next()?.ok()?;
    (only.key == "$eq" && conditions.next().is_none()).then_some(only)
}

/// Statements of one write, each of which is compared with each.
const MOST_STATEMENTS: usize = 16;

/// Documents of a collection that are wanted at a time.
const MOST_WANTED: usize = 64;

/// Documents that may be asked for before it has paid.
const FIRST_CREDIT: u32 = 32;

/// What may be saved up.
const MOST_CREDIT: u32 = 256;

/// Without credit, one in so many is asked for all the same, to see whether it pays by now.
const TRIAL: u32 = 16;

/// Known documents before those that are gone are looked for.
const SWEEP: usize = 64;
