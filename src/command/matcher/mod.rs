//! Does a filter match a document? As the server would answer, or [`Tri::Unknown`].
//!
//! The filter is read where it lies, operator by operator, for every document: no parse tree,
//! nothing allocated. `No` and `Yes` are promises that the cache's coherence rests on
//! (docs/coherence.md, rule 7), so whatever isn't certain is `Unknown`: operators that aren't listed here, filters that
//! the server would refuse, broken bytes, too much nesting or work.
//!
//! - `walk.rs`: the values a path leads to, through arrays.
//! - `operators.rs`: what is asked of those values.
//! - `regex.rs`: the few regular expressions that need no engine.
//! - `facts.rs`: what a filter says of itself: its paths, its equalities.
//!
//! Absent on purpose: `$expr`, `$where`, `$jsonSchema`, `$text`, geo and bit operators, ranges
//! against null, MinKey and MaxKey.

use std::cell::Cell;

pub use facts::{Equality, Reached, equalities, paths, values_at};

use super::value::{Strings, Tri};
use crate::wire::doc::elements;

mod facts;
mod operators;
mod regex;
mod walk;

/// Whether `filter` matches `document`.
#[must_use]
pub fn matches(filter: &[u8], document: &[u8], strings: Strings) -> Tri {
    Matcher::new(strings).filter(filter, Scope::whole(document), 0)
}

/// Whether `filter` matches a document that has exactly the values of `seed` at the top-level
/// fields of `seed`, and nobody knows what else.
#[must_use]
pub fn matches_partial(filter: &[u8], seed: &[u8], strings: Strings) -> Tri {
    let scope = Scope {
        document: seed,
        partial: true,
    };
    Matcher::new(strings).filter(filter, scope, 0)
}

/// Work that may be spent on questions that belong together: the values that are looked at, about. Once it is
/// spent, every further answer is Unknown.
#[derive(Debug)]
pub struct Work(Cell<usize>);

impl Work {
    /// So much.
    #[must_use]
    pub fn new(most: usize) -> Work {
        Work(Cell::new(most))
    }

    /// As much as it takes.
    #[must_use]
    pub fn unbounded() -> Work {
        Work::new(usize::MAX)
    }

    /// Takes some; false once there isn't as much left.
    pub fn spend(&self, work: usize) -> bool {
        let left = self.0.get().checked_sub(work);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

/// As [`matches()`], within `work`.
pub(super) fn matches_within(filter: &[u8], document: &[u8], strings: Strings, work: &Work) -> Tri {
    Matcher::within(strings, work).asked(filter, Scope::whole(document), work)
}

/// As [`matches_partial`], within `work`.
pub(super) fn matches_partial_within(
    filter: &[u8],
    seed: &[u8],
    strings: Strings,
    work: &Work,
) -> Tri {
    let scope = Scope {
        document: seed,
        partial: true,
    };
    Matcher::within(strings, work).asked(filter, scope, work)
}

struct Matcher {
    strings: Strings,
    /// What is left of the work that one answer may cost.
    fuel: Cell<usize>,
}

/// A document that filters are asked of.
#[derive(Clone, Copy)]
struct Scope<'a> {
    document: &'a [u8],
    /// It may have more fields than these.
    partial: bool,
}

impl<'a> Scope<'a> {
    fn whole(document: &'a [u8]) -> Scope<'a> {
        Scope {
            document,
            partial: false,
        }
    }
}

impl Matcher {
    fn new(strings: Strings) -> Matcher {
        Matcher {
            strings,
            fuel: Cell::new(FUEL),
        }
    }

    /// One that may take of `work` as much as one answer may cost.
    fn within(strings: Strings, work: &Work) -> Matcher {
        Matcher {
            strings,
            fuel: Cell::new(FUEL.min(work.0.get())),
        }
    }

    fn asked(self, filter: &[u8], scope: Scope<'_>, work: &Work) -> Tri {
        let had = self.fuel.get();
        let answer = self.filter(filter, scope, 0);
        work.spend(had - self.fuel.get() + 1);
        answer
    }

    /// Takes the cost of looking at that many bytes; false once there's nothing left.
    fn spend(&self, bytes: usize) -> bool {
        let left = self.fuel.get().checked_sub(1 + bytes / 64);
        self.fuel.set(left.unwrap_or(0));
        left.is_some()
    }

    /// All that a filter document asks.
    fn filter(&self, filter: &[u8], scope: Scope<'_>, depth: u32) -> Tri {
        if depth > MAX_DEPTH || !self.spend(0) {
            return Tri::Unknown;
        }
        all(elements(filter).map(|conjunct| {
            let Ok(conjunct) = conjunct else {
                return Tri::Unknown;
            };
            if conjunct.key.starts_with('$') {
                return self.logical(&conjunct, scope, depth);
            }
            let subject = operators::Subject::Field(scope, conjunct.key);
            self.predicate(subject, &conjunct, depth)
        }))
    }

    /// `$and`, `$or`, `$nor`.
    fn logical(
        &self,
        operator: &crate::wire::doc::Element<'_>,
        scope: Scope<'_>,
        depth: u32,
    ) -> Tri {
        if operator.key == "$comment" {
            return Tri::Yes;
        }
        let Some(filters) = operator.as_array() else {
            return Tri::Unknown;
        };
        let mut filters = elements(filters)
            .map(|filter| {
                let filter = filter.ok().and_then(|f| f.as_document());
                filter.map_or(Tri::Unknown, |f| self.filter(f, scope, depth + 1))
            })
            .peekable();
        if filters.peek().is_none() {
            return Tri::Unknown;
        }
        match operator.key {
            "$and" => all(filters),
            "$or" => any(filters),
            "$nor" => !any(filters),
            _ => Tri::Unknown,
        }
    }
}

/// Looks no further than the first `No`.
fn all(answers: impl Iterator<Item = Tri>) -> Tri {
    let mut sum = Tri::Yes;
    for answer in answers {
        sum = sum.and(answer);
        if sum == Tri::No {
            break;
        }
    }
    sum
}

/// Looks no further than the first `Yes`.
fn any(answers: impl Iterator<Item = Tri>) -> Tri {
    !all(answers.map(|answer| !answer))
}

/// How deep filters nest before the answer is Unknown.
const MAX_DEPTH: u32 = 100;

/// Values looked at before the answer is Unknown: a few milliseconds.
const FUEL: usize = 100_000;

#[cfg(test)]
mod tests;
