//! `sort_before_count`: a `$sort` right before a count is left out. **Off by default.**
//!
//! Pages are counted with the pipeline that fetches them: `[{$match}, {$sort}, {$count}]`. The server sorts before
//! it counts, and fetches documents that the index alone could have counted.
//!
//! Proof. What is counted is the number of documents that come in, whatever their order. A sort can fail:
//! - by two paths that are both arrays, so only sorts by one path are left out, without numbers in it (which can be
//!   ambiguous in arrays);
//! - by memory, where a command forbids the disk (`allowDiskUse: false`): nothing is rewritten then;
//! - **by a value of the retired type Symbol under a collation**, which may be the collection's own and so isn't known
//!   here. With this rule such a count succeeds. No other error goes, but that is why the rule is off.
//!
//! The server itself drops all but the last of several sorts, with their errors: so either all go or none.
//! Before a `$group` by a value the sort stays: it decides which of `1` and `1.0` names the group,
//! and in which order doubles are added.
//!
//! Measured: documents examined and time of a count behind a sort.

use super::super::filter::is_plain_path;
use super::super::pipeline::{Stage, first_count, only};
use crate::wire::doc::kind;

pub(super) fn apply(stages: &mut Vec<Stage<'_>>) -> bool {
    let Some(count) = first_count(stages) else {
        return false;
    };
    let before = stages.get(..count).unwrap_or_default();
    let kept = before.iter().rposition(|stage| stage.name != "$sort");
    let sorts = kept.map_or(0, |kept| kept + 1)..count;
    let is_idle = |sorts: &[Stage<'_>]| !sorts.is_empty() && sorts.iter().all(cannot_fail);
    if !stages.get(sorts.clone()).is_some_and(is_idle) {
        return false;
    }
    stages.drain(sorts);
    true
}

/// Whether a stage sorts by one plain path.
fn cannot_fail(stage: &Stage<'_>) -> bool {
    let spec = stage.spec();
    let key = spec.and_then(|spec| spec.as_document()).and_then(only);
    key.is_some_and(|key| {
        let way = key.as_i32().filter(|_| key.kind == kind::INT32);
        is_plain_path(key.key) && matches!(way, Some(1 | -1))
    })
}
