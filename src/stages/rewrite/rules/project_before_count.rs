//! `project_before_count`: a `$project` right before a count is left out.
//!
//! Pages are counted with the pipeline that fetches them. For `[{$match}, {$project: {name: 1}}, {$count}]` the
//! server fetches documents that the index alone could have counted.
//!
//! Proof. `$count`, and `$group` with a constant `_id` and sums of whole constants, are functions of the
//! number of documents that come in, and a `$project` that names fields to be kept lets through as many as come.
//! Only `1` or `true` for single fields (and `_id`): no expression, which may fail. Before it, only stages
//! that can't fail and make no fields (`are_plain`): which fields they're shown, and whether a computed field that
//! nobody sees is computed, follows from what comes after.
//!
//! Measured: documents examined by a count on an indexed path, from all of the range to none.

use std::collections::HashSet;

use super::super::pipeline::{Stage, are_plain, first_count, is_plain_name};
use crate::wire::doc::{self, Element, kind};

pub(super) fn apply(stages: &mut Vec<Stage<'_>>) -> bool {
    let Some(at) = first_count(stages).and_then(|count| count.checked_sub(1)) else {
        return false;
    };
    let before = stages.get(..at).unwrap_or_default();
    let is_idle = are_plain(before) && stages.get(at).is_some_and(only_keeps);
    if is_idle {
        stages.remove(at);
    }
    is_idle
}

/// Whether a stage names fields to be kept, once each, and does nothing else.
fn only_keeps(stage: &Stage<'_>) -> bool {
    let spec = stage.spec().filter(|spec| spec.key == "$project");
    let Some(fields) = spec.and_then(|spec| spec.as_document()) else {
        return false;
    };
    let mut names = HashSet::new();
    for field in doc::elements(fields) {
        let Ok(field) = field else {
            return false;
        };
        let is_number = |n| field.kind == kind::INT32 && field.as_i32() == Some(n);
        let is_kept = field.as_bool() == Some(true) || is_number(1);
        let is_id = |field: &Element<'_>| field.as_bool().is_some() || is_number(0);
        let is_right = is_kept || field.key == "_id" && is_id(&field);
        if !is_right || !is_plain_name(field.key) || !names.insert(field.key) {
            return false;
        }
    }
    names.iter().any(|name| *name != "_id")
}
