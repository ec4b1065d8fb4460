//! Whether two answers can be answers to one read of the same data.
//!
//! Lawful differences are: the order of what isn't sorted, and of ties; which documents a limit leaves out where the order doesn't
//! decide that; and, in what a pipeline computes, the order within arrays and the last digits of sums. All else must be equal. So
//! documents are compared wherever nothing can have been left out (a limit that isn't reached, an equality on `_id` or on the
//! fields of a unique index, a total order), sort keys and the documents between the ties where there are ties, and documents
//! of one `_id` always.
//!
//! Absent on purpose: what reads the server (`shadow.rs`). Less known of the collection makes fewer differences count.

mod pipeline;
mod values;

use std::collections::HashMap;

use self::pipeline::{Promise, promise};
use self::values::{By, canon, sort_key};
use super::entry::batch;
use crate::command::Kind;
use crate::wire::doc::{self, Element, kind};

/// What two answers say of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They can be answers to one read.
    Agree,
    /// They can't.
    Differ,
    /// They can, unless the documents that only one of them shows aren't what it says.
    Open,
}

/// What is known of the collection. By default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grounds {
    /// It holds documents with a unique `_id`, and strings in it compare byte for byte.
    pub plain: bool,
    /// The fields of its unique indexes that hold every document.
    pub unique: Vec<Vec<String>>,
}

/// What the server says: an answer to listCollections, and one to listIndexes.
pub(super) fn grounds(definition: Option<&[u8]>, indexes: Option<&[u8]>) -> Grounds {
    let first = |reply| {
        doc::elements(batch(reply, "firstBatch")?)
            .next()?
            .ok()?
            .as_document()
    };
    let plain = definition.and_then(first).is_some_and(|definition| {
        let kind = doc::find(definition, "type").and_then(|t| t.as_str());
        let options = doc::find(definition, "options").and_then(|o| o.as_document());
        kind == Some("collection") && options.is_some_and(|o| doc::find(o, "collation").is_none())
    });
    let indexes = indexes.and_then(|reply| batch(reply, "firstBatch"));
    let unique = indexes
        .into_iter()
        .flat_map(doc::elements)
        .flatten()
        .filter_map(|index| {
            let index = index.as_document()?;
            let has = |name| {
                doc::find(index, name).is_some_and(|f| f.kind != kind::BOOL || f.is_truthy())
            };
            let whole = has("unique")
                && !["partialFilterExpression", "sparse", "collation"]
                    .iter()
                    .any(|&n| has(n));
            let key = doc::find(index, "key")?.as_document()?;
            let fields = doc::elements(key).flatten().map(|f| f.key.to_owned());
            whole.then(|| fields.collect())
        });
    Grounds {
        plain,
        unique: if plain { unique.collect() } else { Vec::new() },
    }
}

/// Compares the kept answer to a command with a fresh one.
pub(super) fn judge(
    command: &[u8],
    kind: Kind,
    kept: &[u8],
    fresh: &[u8],
    grounds: &Grounds,
) -> Verdict {
    let one = |same: bool| {
        if same {
            Verdict::Agree
        } else {
            Verdict::Differ
        }
    };
    match kind {
        Kind::Count => one(value(kept, "n") == value(fresh, "n")),
        Kind::Distinct => {
            let values = |reply| doc::find(reply, "values")?.as_array();
            let (Some(kept), Some(fresh)) = (values(kept), values(fresh)) else {
                return Verdict::Differ;
            };
            one(bag(&list(kept), By::Value, &[]) == bag(&list(fresh), By::Value, &[]))
        }
        _ => {
            let (Some(kept), Some(fresh)) = (batch(kept, "firstBatch"), batch(fresh, "firstBatch"))
            else {
                return Verdict::Differ;
            };
            if kept == fresh {
                return Verdict::Agree;
            }
            let (kept, fresh) = (list(kept), list(fresh));
            let Some(promise) = promise(command, grounds) else {
                return Verdict::Agree;
            };
            compare(&promise, &kept, &fresh)
        }
    }
}

fn compare(promise: &Promise, kept: &[Element<'_>], fresh: &[Element<'_>]) -> Verdict {
    if kept.len() != fresh.len() {
        return Verdict::Differ;
    }
    if promise.number_only {
        return Verdict::Agree;
    }
    let same = promise.same(kept, fresh);
    let cut = promise.skips || promise.limit.is_some_and(|most| kept.len() as u64 >= most);
    if !same && (!cut || promise.decided || contradict(promise, kept, fresh)) {
        return Verdict::Differ;
    }
    let is_sorted = || {
        promise
            .roundings()
            .iter()
            .any(|&by| in_order(promise, by, kept, fresh))
    };
    if promise.comparable && !promise.order.is_empty() && !is_sorted() {
        return Verdict::Differ;
    }
    match same {
        true => Verdict::Agree,
        false => Verdict::Open,
    }
}

/// Whether sort keys come in one sequence, and what lies between the ties at both ends is the same.
fn in_order(promise: &Promise, by: By, kept: &[Element<'_>], fresh: &[Element<'_>]) -> bool {
    let keys = |documents: &[Element<'_>]| -> Option<Vec<Vec<u8>>> {
        let keys = documents.iter();
        let keys = keys.map(|d| sort_key(d.as_document()?, &promise.order, by));
        keys.collect()
    };
    let (Some(kept_keys), Some(fresh_keys)) = (keys(kept), keys(fresh)) else {
        return true;
    };
    let at_an_end = |key: &Vec<u8>| {
        kept_keys.last() == Some(key) || (promise.skips && kept_keys.first() == Some(key))
    };
    kept_keys == fresh_keys
        && promise.same(
            &without(kept, &kept_keys, at_an_end),
            &without(fresh, &kept_keys, at_an_end),
        )
}

fn without<'a>(
    documents: &[Element<'a>],
    keys: &[Vec<u8>],
    which: impl Fn(&Vec<u8>) -> bool,
) -> Vec<Element<'a>> {
    let kept = documents.iter().zip(keys).filter(|(_, key)| !which(key));
    kept.map(|(document, _)| *document).collect()
}

/// Whether one document stands in both with different content.
fn contradict(promise: &Promise, kept: &[Element<'_>], fresh: &[Element<'_>]) -> bool {
    let id = |document: &Element<'_>| {
        let id = doc::find(document.as_document()?, "_id")?;
        Some(canon(&id, By::Value, &[]))
    };
    if !promise.unique_ids {
        return false;
    }
    let by_id: HashMap<_, _> = kept.iter().filter_map(|d| Some((id(d)?, d))).collect();
    fresh.iter().any(|fresh| {
        let kept = id(fresh).and_then(|id| by_id.get(&id));
        kept.is_some_and(|kept| !promise.same(&[**kept], &[*fresh]))
    })
}

impl Promise {
    /// How numbers are compared. (A computed one may lie on the edge of one rounding, hardly on that of both.)
    fn roundings(&self) -> &'static [By] {
        match self.computed {
            false => &[By::Value],
            true => &[By::Rounded { up: false }, By::Rounded { up: true }],
        }
    }

    /// Whether the values are the same, each as often, in any order.
    fn same(&self, kept: &[Element<'_>], fresh: &[Element<'_>]) -> bool {
        let same = |by| bag(kept, by, &self.ignored) == bag(fresh, by, &self.ignored);
        match self.computed {
            false => same(By::Bytes),
            true => self.roundings().iter().any(|&by| same(by)),
        }
    }
}

fn bag(values: &[Element<'_>], by: By, ignored: &[String]) -> HashMap<Vec<u8>, u64> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(canon(value, by, ignored)).or_default() += 1;
    }
    counts
}

fn list(array: &[u8]) -> Vec<Element<'_>> {
    doc::elements(array).flatten().collect()
}

fn value<'a>(reply: &'a [u8], key: &'a str) -> Option<&'a [u8]> {
    Some(doc::find(reply, key)?.value)
}

/// The values of `_id` of an answer's documents; `None` if one has none.
pub(super) fn ids(body: &[u8]) -> Option<Vec<Element<'_>>> {
    let documents = doc::elements(batch(body, "firstBatch")?).flatten();
    let ids = documents.map(|d| doc::find(d.as_document()?, "_id"));
    ids.collect::<Option<Vec<_>>>()
        .filter(|ids| !ids.is_empty())
}

/// Whether each document of an answer is in another one, byte for byte.
pub(super) fn holds_all(of: &[u8], body: &[u8]) -> bool {
    let documents = |body| batch(body, "firstBatch").map(list);
    let (Some(all), Some(found)) = (documents(of), documents(body)) else {
        return false;
    };
    let found: std::collections::HashSet<_> = found.iter().map(|d| d.value).collect();
    all.iter().all(|d| found.contains(d.value))
}

/// What a value is equal to in a filter; `None` for anything but equality with one plain value.
fn plain_equality<'a>(condition: &Element<'a>) -> Option<Element<'a>> {
    let value = match condition.as_document() {
        None => *condition,
        Some(operators) => {
            let mut operators = doc::elements(operators);
            let only = operators.next()?.ok().filter(|o| o.key == "$eq")?;
            operators.next().is_none().then_some(only)?
        }
    };
    let odd = [
        kind::NULL,
        kind::UNDEFINED,
        kind::REGEX,
        kind::ARRAY,
        kind::DOCUMENT,
    ];
    (!odd.contains(&value.kind)).then_some(value)
}

#[cfg(test)]
mod tests;
