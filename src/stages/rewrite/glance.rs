//! Whether any rule could apply to a command: one quick walk that allocates nothing.
//!
//! It may say yes where no rule applies after all. It may not say no where one does:
//! a test holds that against random queries.

use super::filter::{is_never, is_operators, is_scalar};
use super::pipeline::counts;
use super::rules::order;
use crate::command::{Command, FieldName, Kind};
use crate::wire::doc::{self, Element, Field};

/// Whether it's worth a closer look at a command.
pub(super) fn promises(command: &Command) -> bool {
    let Some((place, _)) = place(command.kind) else {
        return false;
    };
    let element = command.field(place);
    element.is_some_and(|element| promising(command.kind, &element))
}

/// The same of a command within another.
pub(super) fn promises_within(kind: Kind, body: &[u8]) -> bool {
    let Some((_, place)) = place(kind) else {
        return false;
    };
    doc::find(body, place).is_some_and(|element| promising(kind, &element))
}

/// The field that rules are about.
fn place(kind: Kind) -> Option<(FieldName, &'static str)> {
    match kind {
        Kind::Find => Some((FieldName::Filter, "filter")),
        Kind::Count | Kind::Distinct => Some((FieldName::Query, "query")),
        Kind::Aggregate => Some((FieldName::Pipeline, "pipeline")),
        _ => None,
    }
}

fn promising(kind: Kind, element: &Element<'_>) -> bool {
    match kind {
        Kind::Aggregate => element.as_array().is_some_and(pipeline),
        _ => element.as_document().is_some_and(|f| filter(f, 0)),
    }
}

fn pipeline(stages: &[u8]) -> bool {
    let mut before = "";
    for stage in doc::elements(stages).map_while(Result::ok) {
        let stage = stage.as_document().and_then(|s| doc::elements(s).next());
        let Some(Ok(stage)) = stage else {
            return false;
        };
        if stage.key == "$match" && stage.as_document().is_some_and(|f| filter(f, 0)) {
            return true;
        }
        if matches!(before, "$project" | "$group") && counts(&stage) {
            return true;
        }
        before = stage.key;
    }
    false
}

fn filter(filter: &[u8], depth: u32) -> bool {
    depth < MAX_DEPTH
        && doc::fields(filter)
            .map_while(Result::ok)
            .any(|field| condition(field, depth))
}

fn condition(field: Field<'_>, depth: u32) -> bool {
    let element = field.unnamed();
    match field.key() {
        b"$and" => true,
        b"$or" => element.as_array().is_some_and(|b| branches(b, depth)),
        b"$nor" => element.as_array().is_some_and(|members| {
            let mut members = doc::elements(members);
            let first = members.next().and_then(Result::ok);
            let none = first.and_then(|f| f.as_document());
            members.next().is_none() && none.is_some_and(|n| doc::elements(n).next().is_none())
        }),
        [b'$', ..] => field.named().is_ok_and(|element| is_never(&element)),
        _ => element.as_document().is_some_and(operators),
    }
}

/// Whether a list of alternatives is one, or two neighbours may be joined, or one may be changed.
fn branches(branches: &[u8], depth: u32) -> bool {
    let (mut before, mut number) = (None, 0);
    for branch in doc::elements(branches).map_while(Result::ok) {
        let Some(branch) = branch.as_document() else {
            return false;
        };
        if filter(branch, depth + 1) {
            return true;
        }
        let mut conditions = doc::elements(branch).map_while(Result::ok);
        let only = conditions.next().filter(|_| conditions.next().is_none());
        let path = only.filter(asks_for_values).map(|only| only.key);
        if only.is_some_and(|only| only.key == "$or") || path.is_some() && path == before {
            return true;
        }
        before = path;
        number += 1;
    }
    number == 1
}

fn asks_for_values(condition: &Element<'_>) -> bool {
    is_scalar(condition) || condition.as_document().is_some_and(is_operators)
}

fn operators(document: &[u8]) -> bool {
    if !is_operators(document) {
        return false;
    }
    let is_only = doc::elements(document).nth(1).is_none();
    doc::elements(document)
        .map_while(Result::ok)
        .any(|operator| match operator.key {
            "$eq" => is_only && is_scalar(&operator),
            "$all" => is_only,
            "$in" => values(&operator, is_only),
            "$nin" => values(&operator, false),
            "$exists" => !is_only,
            _ => false,
        })
}

/// Whether a list is empty, or isn't in order; or has but one value, if `single`.
fn values(list: &Element<'_>, single: bool) -> bool {
    let Some(list) = list.as_array() else {
        return false;
    };
    let mut before: Option<Element<'_>> = None;
    let mut number = 0;
    for value in doc::elements(list).map_while(Result::ok) {
        if before.is_some_and(|before| order(&before, &value).is_ge()) {
            return true;
        }
        before = Some(value);
        number += 1;
    }
    number == 0 || number == 1 && single
}

/// Deeper than any rule looks.
const MAX_DEPTH: u32 = 60;
