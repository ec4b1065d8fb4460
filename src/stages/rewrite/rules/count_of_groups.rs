//! `count_of_groups`: accumulators of groups that are only counted are left out.
//!
//! `[{$group: {_id: "$a", n: {$sum: 1}}}, {$count: "groups"}]` counts distinct values. The server reads every
//! document for `n`, which nobody sees; without it an index on `a` is skipped through (DISTINCT_SCAN).
//!
//! Proof. How many groups there are is decided by `_id` alone, which stays as it is, so the count is the same.
//! Accumulators are left out only if no document makes them fail and none needs memory that grows: `$sum`, `$avg`,
//! `$min`, `$max`, `$first`, `$last` and the standard deviations of a plain path or of a number, and `$count`. (`$push` may pass the
//! size of a document, `$mergeObjects` refuses what isn't one, an expression may divide by zero.) Before the
//! `$group`, only stages that can't fail (`are_plain`), whatever fields they're shown.
//!
//! Measured: documents examined with an index on the grouped path, from all to none.

use std::borrow::Cow;

use super::super::filter::is_plain_path;
use super::super::pipeline::{Stage, are_plain, first_count, is_plain_name, only};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element, kind};

pub(super) fn apply(stages: &mut Vec<Stage<'_>>) -> bool {
    let count = first_count(stages).unwrap_or_default();
    let Some((group, before)) = stages
        .get_mut(..count)
        .and_then(|stages| stages.split_last_mut())
    else {
        return false;
    };
    if !are_plain(before) {
        return false;
    }
    let Some(bare) = bare(group) else {
        return false;
    };
    group.document = Cow::Owned(bare);
    true
}

/// The same groups without their accumulators, if there are some and all may go.
fn bare(group: &Stage<'_>) -> Option<Vec<u8>> {
    let spec = group.spec().filter(|spec| spec.key == "$group")?;
    let mut id = None;
    let mut accumulators = 0;
    for field in doc::elements(spec.as_document()?) {
        let field = field.ok()?;
        if field.key == "_id" {
            id = id.is_none().then_some(field);
            id?;
        } else if is_plain_name(field.key) && never_fails(&only(field.as_document()?)?) {
            accumulators += 1;
        } else {
            return None;
        }
    }
    let id = id.filter(|_| accumulators > 0)?;
    let mut bare = DocBuf::new();
    bare.append_doc_with("$group", |group| {
        group.append_raw(id.raw);
    });
    Some(bare.finish())
}

fn never_fails(accumulator: &Element<'_>) -> bool {
    match accumulator.key {
        "$count" => accumulator.as_document().is_some_and(|none| none == EMPTY),
        "$sum" | "$avg" | "$min" | "$max" | "$first" | "$last" | "$stdDevPop" | "$stdDevSamp" => {
            let is_number = matches!(accumulator.kind, kind::INT32 | kind::INT64 | kind::DOUBLE);
            let path = accumulator.as_str().and_then(|path| path.strip_prefix('$'));
            is_number || path.is_some_and(is_plain_path)
        }
        _ => false,
    }
}

/// `{}`.
const EMPTY: [u8; 5] = [5, 0, 0, 0, 0];
