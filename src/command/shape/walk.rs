//! Walking filters, sorts, projections, updates and pipelines for their structure.

use super::List;
use super::sink::Sink;
use crate::command::Kind;
use crate::command::path::is_numeric;
use crate::wire::doc::{self, Element, kind};

/// Whether the first field of a command names a collection.
pub(super) fn names_collection(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Find
            | Kind::Aggregate
            | Kind::Count
            | Kind::Distinct
            | Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::FindAndModify
            | Kind::GetMore
            | Kind::KillCursors
            | Kind::IndexChange
    )
}

pub(super) fn filter<S: Sink>(filter: &[u8], out: &mut S, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return out.put("…");
    };
    out.put("{");
    let mut sum = Unordered::default();
    for element in doc::elements(filter).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        if element.key == "$comment" {
            continue;
        }
        let mark = sum.begin(out);
        let mut list = List::default();
        match element.key {
            "$and" | "$or" | "$nor" => {
                list.key(element.key, out);
                clauses(&element, out, |clause, out| match clause.as_document() {
                    Some(document) => self::filter(document, out, depth),
                    None => out.put("?"),
                });
            }
            "$expr" => {
                list.key(element.key, out);
                expression(&element, out, depth);
            }
            key if key.starts_with('$') => {
                list.key(key, out);
                out.put("?");
            }
            key => {
                path(key, out, &mut list);
                condition(&element, out, depth);
            }
        }
        sum.end(mark, out);
    }
    sum.finish(out);
    out.put("}");
}

/// What is asked of one path.
fn condition<S: Sink>(element: &Element<'_>, out: &mut S, depth: usize) {
    let operators = element.as_document().filter(|d| is_operators(d));
    let (Some(operators), Some(depth)) = (operators, depth.checked_sub(1)) else {
        return scalar(element, out);
    };
    out.put("{");
    let mut sum = Unordered::default();
    for operator in doc::elements(operators).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        let mark = sum.begin(out);
        List::default().key(operator.key, out);
        match operator.key {
            "$in" | "$nin" | "$all" => out.put("[?]"),
            "$not" => condition(&operator, out, depth),
            "$elemMatch" => match operator.as_document() {
                Some(inner) if is_operators(inner) => condition(&operator, out, depth),
                Some(inner) => filter(inner, out, depth),
                None => out.put("?"),
            },
            "$exists" => out.put(if operator.is_truthy() {
                "true"
            } else {
                "false"
            }),
            _ => scalar(&operator, out),
        }
        sum.end(mark, out);
    }
    sum.finish(out);
    out.put("}");
}

fn is_operators(document: &[u8]) -> bool {
    let first = doc::elements(document).next();
    first.is_some_and(|first| {
        first.is_ok_and(|first| {
            first.key.starts_with('$')
                && !matches!(first.key, "$and" | "$or" | "$nor" | "$ref" | "$id")
        })
    })
}

fn scalar<S: Sink>(element: &Element<'_>, out: &mut S) {
    out.put(match element.kind {
        kind::REGEX => "/?/",
        kind::NULL | kind::UNDEFINED => "null",
        _ => "?",
    });
}

/// A sort, or the keys of an index.
pub(super) fn directions<S: Sink>(sort: &[u8], out: &mut S) {
    out.put("{");
    let mut list = List::default();
    for element in doc::elements(sort).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        path(element.key, out, &mut list);
        match element.as_f64() {
            Some(direction) => out.put(if direction < 0.0 { "-1" } else { "1" }),
            None => expression(&element, out, 2),
        }
    }
    out.put("}");
}

pub(super) fn projection<S: Sink>(projection: &[u8], out: &mut S) {
    out.put("{");
    let mut list = List::default();
    for element in doc::elements(projection).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        path(element.key, out, &mut list);
        match element.kind {
            kind::DOCUMENT | kind::ARRAY | kind::STRING => expression(&element, out, DEPTH),
            _ => out.put(if element.is_truthy() { "1" } else { "0" }),
        }
    }
    out.put("}");
}

/// An update: its operators and the paths they touch, or a pipeline. A replacement is a value.
pub(super) fn update<S: Sink>(update: &Element<'_>, out: &mut S) {
    if let Some(stages) = update.as_array() {
        return pipeline(stages, out, DEPTH);
    }
    let Some(operators) = update.as_document().filter(|d| is_operators(d)) else {
        return out.put("?");
    };
    out.put("{");
    let mut list = List::default();
    for operator in doc::elements(operators).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        list.key(operator.key, out);
        out.put("{");
        let mut list = List::default();
        let fields = operator.as_document().unwrap_or_default();
        for field in doc::elements(fields).map_while(Result::ok) {
            if out.is_full() {
                break;
            }
            path(field.key, out, &mut list);
            out.put("?");
        }
        out.put("}");
    }
    out.put("}");
}

pub(super) fn pipeline<S: Sink>(stages: &[u8], out: &mut S, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return out.put("…");
    };
    out.put("[");
    let mut last = None;
    for stage in doc::elements(stages).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        let mark = out.begin();
        match stage.as_document().and_then(|s| doc::elements(s).next()) {
            Some(Ok(body)) => {
                out.put("{");
                List::default().key(body.key, out);
                stage_body(&body, out, depth);
                out.put("}");
            }
            _ => out.put("?"),
        }
        last = Some(out.end(mark, last));
    }
    out.put("]");
}

fn stage_body<S: Sink>(body: &Element<'_>, out: &mut S, depth: usize) {
    let document = body.as_document();
    match (body.key, document) {
        ("$match", Some(document)) => filter(document, out, depth),
        ("$sort", Some(document)) => directions(document, out),
        ("$project", Some(document)) => projection(document, out),
        ("$facet", Some(document)) => {
            out.put("{");
            let mut list = List::default();
            for facet in doc::elements(document).map_while(Result::ok) {
                if out.is_full() {
                    break;
                }
                list.key(facet.key, out);
                pipeline(facet.as_array().unwrap_or_default(), out, depth);
            }
            out.put("}");
        }
        ("$lookup" | "$graphLookup" | "$unionWith" | "$merge" | "$out", Some(document)) => {
            named(document, out, depth);
        }
        ("$geoNear", Some(document)) => named(document, out, depth),
        // (Their strings are what is looked for: none is a field's path because it begins with a `$`.)
        ("$search" | "$searchMeta" | "$vectorSearch", Some(document)) => {
            masked(document, out, depth)
        }
        ("$unionWith" | "$merge" | "$out" | "$count", None) => out.literal(body),
        _ => expression(body, out, depth),
    }
}

/// The body of a stage in which some fields hold names or filters; the values of all others are expressions.
fn named<S: Sink>(document: &[u8], out: &mut S, depth: usize) {
    out.put("{");
    let mut list = List::default();
    for field in doc::elements(document).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        list.key(field.key, out);
        match (field.key, field.kind) {
            ("pipeline" | "whenMatched", kind::ARRAY) => pipeline(field.value, out, depth),
            ("query" | "restrictSearchWithMatch", kind::DOCUMENT) => {
                filter(field.value, out, depth)
            }
            (name, kind::STRING) if NAMES.contains(&name) => out.literal(&field),
            _ => expression(&field, out, depth),
        }
    }
    out.put("}");
}

/// Fields of `$lookup`, `$graphLookup`, `$unionWith`, `$merge`, `$out` and `$geoNear` that hold a name.
const NAMES: [&str; 17] = [
    "from",
    "as",
    "localField",
    "foreignField",
    "connectFromField",
    "connectToField",
    "depthField",
    "coll",
    "db",
    "into",
    "on",
    "whenMatched",
    "whenNotMatched",
    "key",
    "distanceField",
    "includeLocs",
    "timeField",
];

/// A document of which only the keys show.
fn masked<S: Sink>(document: &[u8], out: &mut S, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return out.put("…");
    };
    out.put("{");
    let mut list = List::default();
    for field in doc::elements(document).map_while(Result::ok) {
        path(field.key, out, &mut list);
        match field.as_document() {
            Some(inner) => masked(inner, out, depth),
            None => out.put("?"),
        }
    }
    out.put("}");
}

/// Conditions whose order doesn't matter: their hash is the same in any order, their text is as they came.
#[derive(Default)]
struct Unordered {
    begun: bool,
    sum: u64,
}

impl Unordered {
    fn begin<S: Sink>(&mut self, out: &mut S) -> S::Mark {
        if self.begun {
            out.put(", ");
        }
        self.begun = true;
        out.begin()
    }

    fn end<S: Sink>(&mut self, mark: S::Mark, out: &mut S) {
        self.sum = self.sum.wrapping_add(out.part(mark));
    }

    fn finish<S: Sink>(self, out: &mut S) {
        out.sum(self.sum);
    }
}

/// An expression: keys, and strings that name a field; other values are masked.
fn expression<S: Sink>(element: &Element<'_>, out: &mut S, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return out.put("…");
    };
    match element.kind {
        kind::DOCUMENT => {
            out.put("{");
            let mut list = List::default();
            for field in doc::elements(element.value).map_while(Result::ok) {
                if out.is_full() {
                    break;
                }
                path(field.key, out, &mut list);
                match (field.key, field.as_document()) {
                    ("$literal", _) => out.put("?"),
                    // (In a find's projection: what elements must fulfil.)
                    ("$elemMatch", Some(conditions)) => filter(conditions, out, depth),
                    _ => expression(&field, out, depth),
                }
            }
            out.put("}");
        }
        kind::ARRAY => clauses(element, out, |item, out| expression(item, out, depth)),
        kind::STRING => match element.as_str().filter(|text| text.starts_with('$')) {
            Some(_) => out.literal(element),
            None => out.put("?"),
        },
        _ => out.put("?"),
    }
}

/// The items of an array; those that are like the one before them count once.
fn clauses<S: Sink>(array: &Element<'_>, out: &mut S, mut each: impl FnMut(&Element<'_>, &mut S)) {
    out.put("[");
    let mut last = None;
    for item in doc::elements(array.as_array().unwrap_or_default()).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        let mark = out.begin();
        each(&item, out);
        last = Some(out.end(mark, last));
    }
    out.put("]");
}

/// A document whose values are part of the shape.
pub(super) fn literals<S: Sink>(document: &[u8], out: &mut S) {
    out.put("{");
    let mut list = List::default();
    for field in doc::elements(document).map_while(Result::ok) {
        if out.is_full() {
            break;
        }
        list.key(field.key, out);
        out.literal(&field);
    }
    out.put("}");
}

/// A path as a key; positions in arrays aren't told apart.
fn path<S: Sink>(key: &str, out: &mut S, list: &mut List) {
    if !key.bytes().any(|b| b.is_ascii_digit()) {
        return list.key(key, out);
    }
    if list.begun {
        out.put(", ");
    }
    list.begun = true;
    for (i, part) in key.split('.').enumerate() {
        if out.is_full() {
            break;
        }
        if i > 0 {
            out.put(".");
        }
        out.put(if is_numeric(part) { "N" } else { part });
    }
    out.put(": ");
}

/// How deep a shape is followed.
pub(super) const DEPTH: usize = 24;
