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
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::Fences;
use super::group::{outlives_by, plan_of};
use super::tie::Tied;
use super::wanted::Wants;
use crate::command::{
    Change, Reach, ReadPlan, ReadShape, Selector, Statement, Strings, ValueKey, Work, reach,
    survives, telling_fields,
};
use crate::wire::doc::{self, Element};

/// A write's statements, and what is known of the documents that they select.
#[derive(Clone, Default)]
pub(super) struct Write {
    pub statements: Arc<[Statement]>,
    /// Statement by statement; empty where nothing is known.
    pre_images: Arc<[Option<PreImage>]>,
}

/// Fields of one document.
struct PreImage {
    /// The answer that tells them.
    answer: Arc<dyn Tied>,
    document: Arc<[u8]>,
    is_neighbour: bool,
}

/// The same while nobody needs it.
struct Known {
    answer: Weak<dyn Tied>,
    document: Arc<[u8]>,
    /// It wasn't asked for by itself.
    is_neighbour: bool,
}

/// What is known of a collection's documents, and what would be worth knowing.
pub(super) struct PreImages {
    known: HashMap<ValueKey, Known, RandomState>,
    wants: Wants,
    /// Size of `known` at which it is cleared of what is gone.
    sweep_at: usize,
    swept: Option<Instant>,
}

impl Default for PreImages {
    fn default() -> PreImages {
        PreImages {
            known: HashMap::default(),
            wants: Wants::default(),
            sweep_at: SWEEP,
            swept: None,
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
            let known = self.pre_images.get(at)?.as_ref()?;
            fences
                .trusts(known.answer.tie())
                .then_some(&*known.document)
        };
        self.statements
            .iter()
            .enumerate()
            .map(move |(at, statement)| (statement, known(at)))
    }

    /// Whether an answer to a read of this plan provably stays right.
    pub fn spares(&self, answer: &dyn Tied, plan: &ReadPlan, fences: &Fences, work: &Work) -> bool {
        self.each(fences)
            .all(|(statement, known)| outlives_by(plan, answer, statement, known, work))
    }

    /// Whether it may affect all reads of a shape; also once `work` is spent.
    pub fn reaches_all(&self, shape: &ReadShape, fences: &Fences, work: &Work) -> bool {
        self.each(fences).any(|(statement, known)| {
            !work.spend(statement.size()) || reach(shape, statement, known) == Reach::Everything
        })
    }

    /// What judging it may cost: in proportion to what its client has sent, beside a part that is always there.
    pub fn work(&self) -> Work {
        let sizes = self.statements.iter().map(Statement::size);
        let work = LEAST_WORK + WORK_FACTOR * sizes.sum::<usize>();
        Work::new(work.min(MOST_WORK))
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
        let work = write.work();
        let known = statements.iter().map(|statement| {
            let (key, _) = updated_id(statement)?;
            let known = self.known.get(&key)?;
            let answer = known.answer.upgrade()?;
            let usable = fences.holds(answer.tie()) && known.stays(&*answer, statements, &work);
            usable.then(|| PreImage {
                answer,
                document: Arc::clone(&known.document),
                is_neighbour: known.is_neighbour,
            })
        });
        let known: Vec<_> = known.collect();
        if known.iter().any(Option::is_some) {
            write.pre_images = known.into();
        }
        write
    }

    /// An answer that was stored tells what some documents hold. (A server of several shards may have several with one `_id`:
    /// then nothing is known of them.)
    pub fn note(&mut self, answer: &Arc<dyn Tied>) {
        let documents: Vec<&[u8]> = answer.documents().into_iter().flatten().collect();
        let id = |document: &&[u8]| {
            let id = doc::find(document, "_id")?;
            ValueKey::of(&id, Strings::Simple)
        };
        let ids: Vec<Option<ValueKey>> = documents.iter().map(id).collect();
        let mut bytes = 0;
        let mut times = HashMap::new();
        for id in ids.iter().flatten() {
            *times.entry(id).or_insert(0) += 1;
        }
        for (id, document) in ids.iter().zip(&documents) {
            if let Some(id) = id
                && times.get(id) == Some(&1)
            {
                let known = Known {
                    answer: Arc::downgrade(answer),
                    document: Arc::from(*document),
                    is_neighbour: documents.len() > 1,
                };
                bytes += PER_KNOWN + id.as_bytes().len() + document.len();
                self.known.insert(id.clone(), known);
            }
        }
        answer.tie().note_kept(bytes);
        if self.known.len() >= self.sweep_at {
            self.forget_ended();
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Now and then: what is known no more needs no room.
    pub fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| now - at >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.forget_ended();
        }
    }

    fn forget_ended(&mut self) {
        self.known
            .retain(|_, known| known.answer.strong_count() > 0);
        if self.known.len() > MOST_KNOWN {
            let mut keep = false;
            self.known.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        if self.known.len() < self.known.capacity() / 4 {
            self.known.shrink_to_fit();
        }
        self.sweep_at = 2 * self.known.len() + SWEEP;
    }

    /// Reads of a shape suffer from a write of which too little is known. Returns how many documents
    /// more are wanted now.
    pub fn want(&mut self, shape: &ReadShape, write: &Write, fences: &Fences) -> usize {
        let mut more = 0;
        for (statement, known) in write.each(fences).take(MOST_WANTING) {
            if reach(shape, statement, known) != Reach::Everything {
                continue;
            }
            let fields = telling_fields(shape, statement);
            let news = |field: &&str| known.is_none_or(|known| doc::find(known, field).is_none());
            if fields.iter().any(news)
                && let Some((key, id)) = updated_id(statement)
                && !self.tells(&key, &fields, fences)
            {
                let trust = &fences.trust;
                more += usize::from(self.wants.want(&id, key, &fields, known, trust));
            }
        }
        more
    }

    /// Whether these fields of a document are known by now.
    fn tells(&self, key: &ValueKey, fields: &[&str], fences: &Fences) -> bool {
        self.known.get(key).is_some_and(|known| {
            let answer = known.answer.upgrade();
            answer.is_some_and(|a| fences.holds(a.tie()) && known.tells(&*a, fields))
        })
    }

    /// What is known of a write's documents has spared answers.
    pub fn note_use(&mut self, write: &Write) {
        let neighbours = write.pre_images.iter().flatten();
        for _ in neighbours.filter(|known| known.is_neighbour) {
            self.wants.note_use_of_neighbour();
        }
    }

    pub fn wants(&mut self) -> &mut Wants {
        &mut self.wants
    }
}

impl Known {
    /// Whether it was asked for these fields, which the document may not have.
    fn tells(&self, answer: &dyn Tied, fields: &[&str]) -> bool {
        let asked = doc::find(answer.command(), "projection");
        let asked = asked.and_then(|projection| projection.as_document());
        let asked = asked.unwrap_or_default();
        fields.iter().all(|field| doc::find(asked, field).is_some())
    }

    /// Whether none of the statements touches what is known.
    fn stays(&self, answer: &dyn Tied, statements: &[Statement], work: &Work) -> bool {
        plan_of(answer, work).is_some_and(|plan| {
            let alone = || std::iter::once(&*self.document);
            statements
                .iter()
                .all(|s| survives(&plan, Some(&mut alone()), s, None, work))
        })
    }
}

/// The `_id` of the one document that an update by paths is confined to.
fn updated_id(statement: &Statement) -> Option<(ValueKey, Element<'_>)> {
    let (Some(selector), Change::Paths { .. }) = (&statement.selects, &statement.change) else {
        return None;
    };
    let id = selected_id(selector)?;
    Some((ValueKey::of(&id, selector.strings)?, id))
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

/// Statements of one write whose documents are thought about.
const MOST_WANTING: usize = 64;

/// What judging a write may cost in any case, in the measure of [`Work`]: some milliseconds.
const LEAST_WORK: usize = 400_000;

/// And for each part of what its client has sent.
const WORK_FACTOR: usize = 1_024;

/// But not more than this, some ten milliseconds and a hundred at the very worst: the collection is locked meanwhile, and to ask again for what ends
/// costs the server about as much.
const MOST_WORK: usize = 1_000_000;

/// Known documents before those that are gone are looked for.
const SWEEP: usize = 64;

/// The same by the clock.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Documents of a collection that are known at a time: to walk through them takes milliseconds.
const MOST_KNOWN: usize = 1 << 16;

/// What one costs besides its key and its fields, in bytes: two allocations with their counts, and its share of a table that is
/// between half and seven eighths full.
const PER_KNOWN: usize = size_of::<(ValueKey, Known)>() * 3 / 2 + 64;
