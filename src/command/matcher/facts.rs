//! What can be said of a filter before any document is seen: the paths it depends on, and
//! values without which nothing matches it.

use super::super::path::{Paths, is_numeric};
use super::super::value::{Strings, Tri, ValueKey, may_equal_a_key};
use super::operators::{PATHLESS, has_operators, may_be_a_reference};
use super::walk::Leaf;
use super::{MAX_DEPTH, Matcher, Scope};
use crate::wire::doc::{Element, elements};

/// The paths whose values decide whether the filter matches; every path if it has anything that
/// isn't known to depend on its own path only.
#[must_use]
pub fn paths(filter: &[u8]) -> Paths {
    let mut paths = Paths::none();
    match collect(filter, "", &mut paths, 0) {
        Some(()) => paths,
        None => Paths::all(),
    }
}

fn collect(filter: &[u8], prefix: &str, paths: &mut Paths, depth: u32) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    for conjunct in elements(filter) {
        let conjunct = conjunct.ok()?;
        match conjunct.key {
            "$comment" => {}
            "$and" | "$or" | "$nor" => {
                for inner in elements(conjunct.as_array()?) {
                    collect(inner.ok()?.as_document()?, prefix, paths, depth + 1)?;
                }
            }
            key if key.starts_with('$') => return None,
            key => of_predicate(&conjunct, &format!("{prefix}{key}"), paths, depth)?,
        }
    }
    Some(())
}

fn of_predicate(value: &Element<'_>, path: &str, paths: &mut Paths, depth: u32) -> Option<()> {
    let operators = value
        .as_document()
        .filter(|document| has_operators(document));
    let Some(operators) = operators else {
        paths.insert(path);
        return Some(());
    };
    of_operators(operators, path, paths, depth)
}

fn of_operators(operators: &[u8], path: &str, paths: &mut Paths, depth: u32) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    for operator in elements(operators) {
        let operator = operator.ok()?;
        match operator.key {
            "$not" => of_predicate(&operator, path, paths, depth + 1)?,
            "$elemMatch" => of_elem_match(operator.as_document()?, path, paths, depth)?,
            "$all" => {
                for value in elements(operator.as_array()?) {
                    of_predicate(&value.ok()?, path, paths, depth + 1)?;
                }
            }
            key if ON_THEIR_PATH.contains(&key) => paths.insert(path),
            _ => return None,
        }
    }
    Some(())
}

/// The paths below an array of documents; the array's own where values are asked for.
fn of_elem_match(inner: &[u8], path: &str, paths: &mut Paths, depth: u32) -> Option<()> {
    let first = elements(inner).next().and_then(Result::ok);
    let by_value = first.is_none_or(|f| f.key.starts_with('$') && !PATHLESS.contains(&f.key));
    if by_value {
        paths.insert(path);
        return of_operators(inner, path, paths, depth + 1);
    }
    collect(inner, &format!("{path}."), paths, depth + 1)
}

/// One of these values must be at `path` in every document that the filter matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Equality {
    /// Without numeric components.
    pub path: String,
    /// At least one, at most 64.
    pub values: Vec<ValueKey>,
}

/// The equalities that the filter can't match without: `path: value`, `$eq` and `$in`, at its top
/// level or in a `$and` there, where every value has a key. Not more than 32 of them, that on `_id` among these if
/// there is one.
#[must_use]
pub fn equalities(filter: &[u8], strings: Strings) -> Vec<Equality> {
    let mut found = Vec::new();
    let _ = equalities_of(filter, strings, &mut found, 0);
    found
}

fn equalities_of(
    filter: &[u8],
    strings: Strings,
    found: &mut Vec<Equality>,
    depth: u32,
) -> Option<()> {
    for conjunct in elements(filter) {
        let conjunct = conjunct.ok()?;
        match conjunct.key {
            "$and" if depth < MAX_DEPTH => {
                for inner in elements(conjunct.as_array()?) {
                    equalities_of(inner.ok()?.as_document()?, strings, found, depth + 1)?;
                }
            }
            key if key
                .split('.')
                .any(|p| p.is_empty() || p.starts_with('$') || is_numeric(p)) => {}
            _ => equality(&conjunct, strings, found),
        }
    }
    Some(())
}

fn equality(conjunct: &Element<'_>, strings: Strings, found: &mut Vec<Equality>) {
    if conjunct.key != "_id" && found.len() >= MOST_EQUALITIES {
        return;
    }
    let mut push = |values: Option<Vec<ValueKey>>| {
        // (One of `_id` tells the most: it finds a place however many came before it.)
        let has_room = found.len() < MOST_EQUALITIES
            || conjunct.key == "_id" && found.iter().all(|equality| equality.path != "_id");
        let is_right = |v: &Vec<ValueKey>| has_room && !v.is_empty() && v.len() <= MOST_VALUES;
        if let Some(values) = values.filter(is_right) {
            let path = conjunct.key.to_owned();
            found.push(Equality { path, values });
        }
    };
    let one = |value: &Element<'_>| Some(vec![ValueKey::of(value, strings)?]);
    let Some(operators) = conjunct.as_document() else {
        return push(one(conjunct));
    };
    if !has_operators(operators) || may_be_a_reference(operators) {
        return;
    }
    for operator in elements(operators).map_while(Result::ok) {
        match operator.key {
            "$eq" => push(one(&operator)),
            "$in" => push(operator.as_array().and_then(|list| {
                let values = elements(list).take(MOST_VALUES + 1);
                values.map(|v| ValueKey::of(&v.ok()?, strings)).collect()
            })),
            _ => {}
        }
    }
}

/// What an equality can see at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The values that have keys.
    pub values: Vec<ValueKey>,
    /// There may be more that are equal to one that has a key.
    pub unsure: bool,
}

/// Every value that an equality on `path` could see in `document`: arrays along the way and at
/// the end are walked into, as the server does. Strings are taken byte for byte.
#[must_use]
pub fn values_at(document: &[u8], path: &str) -> Reached {
    let mut reached = Reached::default();
    let scope = Scope::whole(document);
    let walked = Matcher::new(Strings::Simple).any_at(scope, path, Leaf::Elements, &mut |found| {
        let Some(found) = found else {
            return Tri::No;
        };
        match ValueKey::of(&found, Strings::Simple) {
            Some(_) if reached.values.len() >= MOST_REACHED => return Tri::Unknown,
            Some(key) => reached.values.push(key),
            None => reached.unsure |= may_equal_a_key(&found),
        }
        Tri::No
    });
    reached.unsure |= walked == Tri::Unknown;
    reached
}

/// Operators that depend on nothing but the values at their path, whether or not they can be
/// decided here.
const ON_THEIR_PATH: [&str; 18] = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$exists",
    "$size",
    "$mod",
    "$type",
    "$regex",
    "$options",
    "$bitsAllSet",
    "$bitsAllClear",
    "$bitsAnySet",
    "$bitsAnyClear",
];

/// A longer `$in` isn't an equality.
const MOST_VALUES: usize = 64;

/// More equalities aren't told apart: answers are posted under each of them.
const MOST_EQUALITIES: usize = 32;

/// More values than this aren't listed.
const MOST_REACHED: usize = 1_000;
