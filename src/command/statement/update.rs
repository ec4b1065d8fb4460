//! One update: operators, a replacement, or a pipeline.
//!
//! What an upsert inserts is made of the selector's equalities, then changed by the update.
//! Only top-level fields that are certain are told: the server takes some from other operators
//! (`$in` with one value, `$or` with one branch) and from dotted paths too.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::{Change, Inserts, Paths, Selector, Statement, pipeline, top_level};
use crate::command::path::MOST;
use crate::command::value::ValueKey;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element, kind};

/// The statement that updates what `selector` selects by `update`. `None` if it can't be read.
pub(super) fn statement(
    selector: Selector,
    update: &Element<'_>,
    upsert: bool,
) -> Option<Statement> {
    let (change, inserts) = if let Some(stages) = update.as_array() {
        let paths = pipeline::paths(stages);
        let inserts = match upsert {
            true => seeded(&selector.filter, &paths, &[]),
            false => Inserts::Nothing,
        };
        (by_paths(paths, DocBuf::new()), inserts)
    } else {
        let update = update.as_document()?;
        doc::check(update).ok()?;
        let first = doc::elements(update).next().and_then(Result::ok);
        if first.is_some_and(|first| first.key.starts_with('$')) {
            by_operators(&selector.filter, update, upsert)
        } else {
            let document = with_id(&selector, update);
            (Change::Replaces, Inserts::Document(document))
        }
    };
    let inserts = match change {
        Change::Replaces => inserts,
        _ if upsert => inserts,
        _ => Inserts::Nothing,
    };
    Some(Statement {
        selects: Some(selector),
        change,
        inserts,
    })
}

fn by_paths(paths: Paths, sets: DocBuf) -> Change {
    Change::Paths {
        paths,
        sets: sets.finish().into(),
    }
}

fn by_operators(filter: &[u8], update: &[u8], upsert: bool) -> (Change, Inserts) {
    let mut modified = Paths::none();
    // `$setOnInsert` does nothing to a document that is there.
    let mut on_insert = Paths::none();
    let mut sets = DocBuf::new();
    let mut values = Vec::new();
    for operator in doc::elements(update).map_while(Result::ok) {
        let Some(targets) = operator.as_document() else {
            return (by_paths(Paths::all(), DocBuf::new()), Inserts::Anything);
        };
        let paths = match operator.key {
            "$set" | "$unset" | "$inc" | "$mul" | "$min" | "$max" | "$rename" | "$push"
            | "$pull" | "$pullAll" | "$addToSet" | "$pop" | "$bit" | "$currentDate" => {
                &mut modified
            }
            "$setOnInsert" => &mut on_insert,
            _ => return (by_paths(Paths::all(), DocBuf::new()), Inserts::Anything),
        };
        for target in doc::elements(targets) {
            let Ok(target) = target else {
                return (by_paths(Paths::all(), DocBuf::new()), Inserts::Anything);
            };
            touch(paths, target.key);
            match operator.key {
                "$rename" => touch(paths, target.as_str().unwrap_or_default()),
                "$set" if is_plain(&target) => {
                    sets.append_raw(target.raw);
                    values.push(target);
                }
                "$setOnInsert" if is_plain(&target) => values.push(target),
                _ => {}
            }
        }
    }
    if !upsert {
        return (by_paths(modified, sets), Inserts::Nothing);
    }
    on_insert.extend(&modified);
    let inserts = seeded(filter, &on_insert, &values);
    (by_paths(modified, sets), inserts)
}

/// Whether a `$set` writes exactly this value to exactly this path.
fn is_plain(target: &Element<'_>) -> bool {
    let whole = modified_path(target.key).is_some_and(|path| path == target.key);
    whole && target.as_timestamp() != Some(0)
}

fn touch(paths: &mut Paths, path: &str) {
    match modified_path(path) {
        Some(path) => paths.insert(&path),
        None => *paths = Paths::all(),
    }
}

/// The path that changes when an update or a change event names `path`: without positional
/// components, and cut at the first numeric one, for an array's length and its other elements may
/// change too. `None` if nothing is left: then any path may change.
pub fn modified_path(path: &str) -> Option<String> {
    let kept: Vec<&str> = path
        .split('.')
        .filter(|part| *part != "$" && !part.starts_with("$["))
        // Other names with a dollar sign are cut off too: the rest is nothing that anyone needs.
        .take_while(|part| !part.starts_with('$') && !part.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    (!kept.is_empty()).then(|| kept.join("."))
}

/// What an upsert inserts: the selector's equalities where the update doesn't touch them, and
/// what the update sets at the top level.
fn seeded(filter: &[u8], touched: &Paths, values: &[Element<'_>]) -> Inserts {
    if touched.is_all() {
        return Inserts::Anything;
    }
    let touched: HashSet<&str, RandomState> = touched.iter().map(top_level).collect();
    let mut found = Vec::new();
    equalities(filter, &mut found, 0);
    if found.len() > MOST || values.len() > MOST {
        return Inserts::Anything;
    }
    let mut times: HashMap<&str, u32, RandomState> = HashMap::default();
    for (field, _) in &found {
        *times.entry(field).or_default() += 1;
    }
    let mut seed = DocBuf::new();
    for (field, value) in &found {
        if times.get(field) == Some(&1) && !touched.contains(field) {
            seed.append_value(field, value.kind, value.value);
        }
    }
    for value in values {
        // A field that the selector also names may keep the selector's type.
        if !times.contains_key(value.key) && !value.key.contains('.') {
            seed.append_raw(value.raw);
        }
    }
    Inserts::Seeded(seed.finish().into())
}

/// The top-level fields that a filter wants to equal a value.
fn equalities<'a>(filter: &'a [u8], found: &mut Vec<(&'a str, Element<'a>)>, depth: u32) {
    for condition in doc::elements(filter).map_while(Result::ok) {
        if condition.key == "$and" && depth < MAX_DEPTH {
            let branches = condition.as_array().unwrap_or_default();
            for branch in doc::elements(branches).map_while(Result::ok) {
                equalities(branch.as_document().unwrap_or_default(), found, depth + 1);
            }
        } else if !condition.key.starts_with('$')
            && !condition.key.contains('.')
            && let Some(value) = equality(condition)
        {
            found.push((condition.key, value));
        }
    }
}

fn equality(condition: Element<'_>) -> Option<Element<'_>> {
    let operators = condition.as_document().filter(|operators| {
        let first = doc::elements(operators).next().and_then(Result::ok);
        first.is_some_and(|first| first.key.starts_with('$'))
    });
    let value = match operators {
        Some(operators) => doc::find(operators, "$eq")?,
        None => condition,
    };
    let certain =
        !matches!(value.kind, kind::REGEX | kind::UNDEFINED) && value.as_timestamp() != Some(0);
    certain.then_some(value)
}

/// A replacement with the `_id` that the selector asks for, if it has none of its own: only one
/// that equals nothing else, for the document that is replaced keeps its own.
fn with_id(selector: &Selector, document: &[u8]) -> Box<[u8]> {
    let mut found = Vec::new();
    equalities(&selector.filter, &mut found, 0);
    let mut ids = found.iter().filter(|(field, _)| *field == "_id");
    let (Some((_, id)), None) = (ids.next(), ids.next()) else {
        return document.into();
    };
    if doc::find(document, "_id").is_some() || ValueKey::of(id, selector.strings).is_none() {
        return document.into();
    }
    let mut out = DocBuf::with_capacity(document.len() + id.raw.len() + 8);
    out.append_value("_id", id.kind, id.value);
    for field in doc::elements(document).map_while(Result::ok) {
        out.append_raw(field.raw);
    }
    out.finish().into()
}

const MAX_DEPTH: u32 = 20;
