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
//! The server itself drops all but the last of several sorts, with their errors: so none goes unless all can.
//! Before the sort, only stages that can't fail either, and no `$group` (`are_plain`). Before a `$group` by a value the sort stays: it decides which of `1` and `1.0` names the group,
//! and in which order doubles are added.
//!
//! Measured: documents examined and time of a count behind a sort.

use super::super::pipeline::{Stage, are_plain, first_count, sorts_by_one_path};

pub(super) fn apply(stages: &mut Vec<Stage<'_>>) -> bool {
    let Some(count) = first_count(stages) else {
        return false;
    };
    let before = stages.get(..count).unwrap_or_default();
    if !are_plain(before) {
        return false;
    }
    let kept = before.iter().rposition(|stage| stage.name != "$sort");
    let sorts = kept.map_or(0, |kept| kept + 1)..count;
    let is_idle = |sorts: &[Stage<'_>]| !sorts.is_empty() && sorts.iter().all(sorts_by_one_path);
    if !stages.get(sorts.clone()).is_some_and(is_idle) {
        return false;
    }
    stages.drain(sorts);
    true
}
