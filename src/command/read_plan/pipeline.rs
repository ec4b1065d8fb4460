//! Aggregations: a leading `$match` is the filter, and the later stages say which fields of the
//! documents that pass it the answer depends on.
//!
//! A stage may only look at the documents that come to it. Those that read other collections, or
//! that aren't known here, leave the pipeline without a plan.

use super::{Parts, ReadPlan, order};
use crate::command::matcher;
use crate::command::path::{MOST, Paths};
use crate::command::projection::Fields;
use crate::command::statement::top_level;
use crate::wire::doc::{self, Element};

pub(super) fn plan(mut read: Parts<'_>) -> Option<ReadPlan> {
    let mut stages = Vec::new();
    for stage in doc::elements(read.pipeline?) {
        let mut parts = doc::elements(stage.ok()?.as_document()?);
        stages.push(parts.next()?.ok()?);
        if parts.next().is_some() {
            return None;
        }
    }
    if !stages.iter().all(|stage| is_local(stage, 0)) {
        return None;
    }
    let mut rest = stages.as_slice();
    if let Some((first, later)) = rest.split_first()
        && first.key == "$match"
    {
        read.filter = Some(first.as_document()?);
        rest = later;
    }
    match listing(rest) {
        Some(found) => {
            read.sort = found.sort;
            read.projection = found.projection;
            read.skips = found.skips;
            Some(read.find())
        }
        None => Some(read.summary(depends(rest))),
    }
}

/// Whether a stage makes its output of its input alone.
fn is_local(stage: &Element<'_>, depth: u32) -> bool {
    match stage.key {
        "$match" | "$sort" | "$limit" | "$skip" | "$count" | "$project" | "$set" | "$addFields"
        | "$unset" | "$group" | "$unwind" | "$sortByCount" | "$replaceRoot" | "$replaceWith"
        | "$bucket" | "$bucketAuto" | "$redact" | "$setWindowFields" => true,
        "$facet" if depth == 0 => {
            let facets = stage.as_document().unwrap_or_default();
            doc::elements(facets).all(|facet| {
                let stages = facet.ok().and_then(|facet| facet.as_array());
                doc::elements(stages.unwrap_or_default()).all(|stage| {
                    let stage = stage.ok().and_then(|stage| stage.as_document());
                    let first = doc::elements(stage.unwrap_or_default()).next();
                    first.is_some_and(|first| first.is_ok_and(|first| is_local(&first, 1)))
                })
            })
        }
        _ => false,
    }
}

/// A pipeline that does what a find does.
#[derive(Default)]
struct Listing<'a> {
    sort: Option<&'a [u8]>,
    skips: bool,
    projection: Option<&'a [u8]>,
}

/// `$sort`, `$skip`, `$limit` and a `$project` of whole fields, each at most once, in this order.
fn listing<'a>(stages: &[Element<'a>]) -> Option<Listing<'a>> {
    let mut found = Listing::default();
    let mut last = 0;
    for stage in stages {
        let place = match stage.key {
            "$sort" => {
                found.sort = Some(stage.as_document()?);
                1
            }
            "$skip" => {
                found.skips = true;
                2
            }
            "$limit" => 3,
            "$project" => {
                let fields = stage.as_document()?;
                let plain =
                    |field: Element<'_>| field.as_bool().is_some() || field.as_f64().is_some();
                doc::elements(fields)
                    .all(|field| field.is_ok_and(plain))
                    .then_some(())?;
                found.projection = Some(fields);
                4
            }
            _ => return None,
        };
        (place > last).then_some(())?;
        last = place;
    }
    Some(found)
}

/// The top-level fields that the output of these stages depends on.
fn depends(stages: &[Element<'_>]) -> Fields {
    let mut used = Some(Vec::new());
    for stage in stages {
        let narrows = note(stage, &mut used);
        match used.as_mut() {
            None => return Fields::all(),
            Some(used) if narrows => {
                used.sort_unstable();
                used.dedup();
                if used.len() > MOST {
                    return Fields::all();
                }
                return Fields::Only(std::mem::take(used));
            }
            Some(_) => {}
        }
    }
    Fields::all()
}

/// Adds the fields that a stage looks at (`None`: any); true if nothing else of the documents
/// comes out of it.
fn note(stage: &Element<'_>, used: &mut Option<Vec<String>>) -> bool {
    let value = stage.as_document();
    match (stage.key, value) {
        ("$limit" | "$skip", _) => false,
        ("$count", _) => true,
        ("$match", Some(filter)) => {
            add_paths(used, &matcher::paths(filter));
            false
        }
        ("$sort", Some(sort)) => {
            add_paths(used, &order(Some(sort)));
            false
        }
        ("$unset", _) => false,
        ("$unwind", None) => {
            expression(stage, used, 0);
            false
        }
        ("$unwind", Some(options)) => {
            if let Some(path) = doc::find(options, "path") {
                expression(&path, used, 0);
            }
            false
        }
        ("$sortByCount", _) => {
            expression(stage, used, 0);
            true
        }
        ("$set" | "$addFields", Some(fields)) => {
            targets(fields, used);
            false
        }
        ("$group", Some(fields)) => {
            for field in doc::elements(fields) {
                match field {
                    Ok(field) => expression(&field, used, 0),
                    Err(_) => *used = None,
                }
            }
            true
        }
        ("$project", Some(fields)) => {
            let excludes = |field: Element<'_>| {
                field.key != "_id"
                    && (field.as_bool().is_some() || field.as_f64().is_some())
                    && !field.is_truthy()
            };
            let plain_id = || {
                let mut rest = doc::elements(fields).map_while(Result::ok);
                rest.all(|field| field.key == "_id" && !field.is_truthy())
            };
            if doc::elements(fields).any(|field| field.is_ok_and(excludes)) || plain_id() {
                return false;
            }
            targets(fields, used);
            true
        }
        _ => {
            *used = None;
            true
        }
    }
}

/// The targets of a `$set` or `$project` (parts of what they had may stay), and what their
/// expressions look at.
fn targets(fields: &[u8], used: &mut Option<Vec<String>>) {
    for field in doc::elements(fields) {
        match field {
            Ok(field) => {
                add(used, field.key);
                expression(&field, used, 0);
            }
            Err(_) => *used = None,
        }
    }
}

/// Adds the fields that an expression looks at.
fn expression(value: &Element<'_>, used: &mut Option<Vec<String>>, depth: u32) {
    if depth > MAX_DEPTH {
        *used = None;
        return;
    }
    if let Some(text) = value.as_str() {
        match text.strip_prefix('$') {
            Some(variable) if variable.starts_with('$') => *used = None,
            Some(path) => add(used, path),
            None => {}
        }
        return;
    }
    let Some(inner) = value.as_document().or(value.as_array()) else {
        return;
    };
    for part in doc::elements(inner) {
        match part {
            Ok(part) if part.key.starts_with('$') && !OPERATORS.contains(&part.key) => {
                *used = None;
            }
            Ok(part) => expression(&part, used, depth + 1),
            Err(_) => *used = None,
        }
    }
}

fn add_paths(used: &mut Option<Vec<String>>, paths: &Paths) {
    if paths.is_all() {
        *used = None;
    }
    for path in paths.iter() {
        add(used, path);
    }
}

fn add(used: &mut Option<Vec<String>>, path: &str) {
    if let Some(used) = used {
        used.push(top_level(path).to_owned());
    }
}

const MAX_DEPTH: u32 = 50;

/// Operators that look at nothing but their arguments.
const OPERATORS: [&str; 38] = [
    "$sum",
    "$avg",
    "$min",
    "$max",
    "$first",
    "$last",
    "$push",
    "$addToSet",
    "$count",
    "$mergeObjects",
    "$stdDevPop",
    "$stdDevSamp",
    "$add",
    "$subtract",
    "$multiply",
    "$divide",
    "$mod",
    "$abs",
    "$ceil",
    "$floor",
    "$round",
    "$cond",
    "$ifNull",
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$and",
    "$or",
    "$not",
    "$concat",
    "$toLower",
    "$toUpper",
    "$size",
    "$year",
    "$month",
];
