//! An aggregation pipeline as a list that rules can change.

use std::borrow::Cow;

use super::filter::is_plain_path;
use crate::wire::doc::{self, Element, kind};

/// One stage, with the document that it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage<'a> {
    pub name: &'a str,
    /// The whole stage document: `{name: …}`.
    pub document: Cow<'a, [u8]>,
}

impl<'a> Stage<'a> {
    fn read(document: &'a [u8]) -> Option<Stage<'a>> {
        let mut fields = doc::elements(document);
        let name = fields.next()?.ok()?.key;
        let known = KNOWN.contains(&name) && fields.next().is_none();
        known.then_some(Stage {
            name,
            document: Cow::Borrowed(document),
        })
    }

    /// What the stage is told.
    pub fn spec(&self) -> Option<Element<'_>> {
        doc::elements(&self.document).next()?.ok()
    }
}

/// The stages, or `None` if one of them isn't known: then nobody knows what their order means.
pub(super) fn parse<'a>(pipeline: &Element<'a>) -> Option<Vec<Stage<'a>>> {
    let mut stages = Vec::new();
    for stage in doc::elements(pipeline.as_array()?) {
        stages.push(Stage::read(stage.ok()?.as_document()?)?);
    }
    Some(stages)
}

/// Where the first stage stands that does nothing with its documents but count them.
pub(super) fn first_count(stages: &[Stage<'_>]) -> Option<usize> {
    stages
        .iter()
        .position(|stage| stage.spec().is_some_and(|spec| counts(&spec)))
}

/// Whether stages only choose documents or take fields out.
///
/// Before anything else the fields that later stages ask for decide how a stage is run and what it's shown,
/// and so whether it fails: a `$sort` does by an ambiguous path, and by a Symbol under a collation unless an index
/// covers it. And a `$group` right before a count is a plan of its own (with `$or` before it, 6.0.5 counts 1).
pub(super) fn are_plain(stages: &[Stage<'_>]) -> bool {
    stages.iter().all(|stage| match stage.name {
        "$match" | "$limit" | "$skip" | "$unset" => true,
        "$unwind" => {
            let path = stage.spec().and_then(|spec| spec.as_str());
            path.and_then(|path| path.strip_prefix('$'))
                .is_some_and(is_plain_path)
        }
        _ => false,
    })
}

/// `{$count: name}`, or a `$group` of all documents with sums of whole constants.
pub(super) fn counts(stage: &Element<'_>) -> bool {
    match stage.key {
        "$count" => stage.as_str().is_some_and(is_plain_name),
        "$group" => stage.as_document().is_some_and(groups_all),
        _ => false,
    }
}

fn groups_all(group: &[u8]) -> bool {
    let mut fields = doc::elements(group);
    let id = fields.next().and_then(Result::ok);
    if !id.is_some_and(|id| id.key == "_id" && (id.kind == kind::NULL || is_whole(&id))) {
        return false;
    }
    let sums = |field: Element<'_>| {
        let sum = field.as_document().and_then(only);
        is_plain_name(field.key) && sum.is_some_and(|s| s.key == "$sum" && is_whole(&s))
    };
    fields.all(|field| field.is_ok_and(sums))
}

fn is_whole(number: &Element<'_>) -> bool {
    number.kind == kind::INT32
}

/// The only field of a document.
pub(super) fn only(document: &[u8]) -> Option<Element<'_>> {
    let mut fields = doc::elements(document);
    let field = fields.next()?.ok()?;
    fields.next().is_none().then_some(field)
}

/// A name that any field may have and that isn't a path.
pub(super) fn is_plain_name(name: &str) -> bool {
    is_plain_path(name) && !name.contains('.')
}

/// Stages that are functions of what comes into them, anywhere in a pipeline. (Others may have to stand
/// first, or last, or need rights.)
const KNOWN: [&str; 12] = [
    "$match",
    "$sort",
    "$project",
    "$addFields",
    "$set",
    "$unset",
    "$group",
    "$count",
    "$sortByCount",
    "$limit",
    "$skip",
    "$unwind",
];
