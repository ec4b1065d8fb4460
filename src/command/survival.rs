//! Whether a cached answer provably survives a write (docs/coherence.md, rule 7).
//!
//! [`survives`] proves it for one answer; [`reach`] says, from shapes alone, which answers need
//! looking at, so that a write's cost doesn't grow with the number of entries.
//!
//! Invariants: no proof, no survival. `reach` covers every entry that doesn't survive.
//!
//! "The same answer" is one that the server could give now: where there's no total sort, any
//! lawful order will do, and any lawful choice of documents at a limit.

use super::matcher::{self, Equality, Reached, Work};
use super::path::Paths;
use super::read_plan::{ReadPlan, ReadShape};
use super::statement::{Change, Inserts, Selector, Statement, filled_in, nested, top_level};
use super::value::{Strings, Tri, ValueKey};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// Which entries of a shape a statement may affect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None.
    Nothing,
    /// Possibly all.
    Everything,
    /// At most those that one of these ways leads to.
    Entries {
        /// Entries whose anchor agrees with [`Inserts::values_at`] at every anchor path.
        by_filter: bool,
        /// Entries whose anchor agrees with [`Change::values_at`] at every anchor path.
        by_sets: bool,
        /// Entries with a result document that the selector may match, and entries whose result
        /// documents aren't known. Result documents can be looked up at [`document_keys`].
        by_document: bool,
        /// The anchor is `_id`: entries that want one of the selector's [`selected_ids`].
        by_id: bool,
        /// Entries whose anchor agrees with the pre-image's values ([`known_at`]) at every anchor path.
        by_pre_image: bool,
    },
}

/// Whether the answer of `plan` is still right after the statement, whatever part of it was
/// carried out. `documents` are the answer's result documents; `None`: they aren't known.
///
/// `pre_image`: top-level fields that the only document that the statement selects has, and which the statement leaves
/// as they are (it may have others). A read whose filter refuses those sees nothing of the change.
///
/// `work`: what the proof may cost. Nothing survives once that is spent.
pub fn survives(
    plan: &ReadPlan,
    documents: Option<&mut dyn Iterator<Item = &[u8]>>,
    statement: &Statement,
    pre_image: Option<&[u8]>,
    work: &Work,
) -> bool {
    work.spend(ONE_PROOF)
        && insert_misses(plan, statement, work)
        && (refuses(plan, pre_image, work) || change_misses(plan, documents, statement, work))
}

/// Whether the read's filter certainly doesn't match a document with these fields.
fn refuses(plan: &ReadPlan, fields: Option<&[u8]>, work: &Work) -> bool {
    let refuses = |fields| {
        matcher::matches_partial_within(plan.filter(), fields, plan.strings(), work) == Tri::No
    };
    fields.is_some_and(refuses)
}

/// Whether what the statement inserts certainly doesn't match the read's filter.
fn insert_misses(plan: &ReadPlan, statement: &Statement, work: &Work) -> bool {
    let (filter, strings) = (plan.filter(), plan.strings());
    match &statement.inserts {
        Inserts::Nothing => true,
        Inserts::Anything => false,
        Inserts::Seeded(seed) => {
            matcher::matches_partial_within(filter, seed, strings, work) == Tri::No
        }
        Inserts::Document(document) => {
            if apart(plan, &inserted_id(document)) {
                return true;
            }
            let Some(mut filled) = filled_in(document).filter(|_| work.spend(document.len() / 16))
            else {
                return false;
            };
            if statement.change == Change::Replaces {
                // The document keeps its own `_id`, which equals this but may be of another type.
                filled.push("_id");
            }
            let known = |paths: &Paths| !meets_fields(paths, &filled);
            if known(&plan.shape().filter) {
                return matcher::matches_within(filter, document, strings, work) == Tri::No;
            }
            refuses_part(filter, &without(document, &filled), strings, &known, work)
        }
    }
}

/// Whether what happens to the selected documents certainly leaves the answer right.
fn change_misses(
    plan: &ReadPlan,
    documents: Option<&mut dyn Iterator<Item = &[u8]>>,
    statement: &Statement,
    work: &Work,
) -> bool {
    if statement.change == Change::Nothing {
        return true;
    }
    let Some(selector) = &statement.selects else {
        return false;
    };
    // `_id` is never an array and never changes.
    if apart(plan, &selected_ids(selector)) {
        return true;
    }
    let shape = plan.shape();
    match effect(shape, &statement.change) {
        Effect::None => true,
        Effect::Shown => none_selected(shape, documents, selector, work),
        Effect::Leaving => {
            leaves(plan, &statement.change, work) && none_selected(shape, documents, selector, work)
        }
        Effect::Anything => false,
    }
}

/// What a change can do to the answers of a shape.
enum Effect {
    /// Nothing.
    None,
    /// Something, if one of the result documents is selected.
    Shown,
    /// As `Shown`, if what is set keeps every selected document from matching the filter.
    Leaving,
    /// Anything.
    Anything,
}

fn effect(shape: &ReadShape, change: &Change) -> Effect {
    match change {
        Change::Nothing => Effect::None,
        Change::Paths { paths, sets } => {
            if !paths.meets(&shape.filter) && !paths.meets(&shape.order) {
                // The same documents match, in the same order.
                if !shape.projection.depends.meet(paths) {
                    Effect::None
                } else if shape.lists {
                    Effect::Shown
                } else {
                    Effect::Anything
                }
            } else if shape.lists
                && !shape.skips
                && !shape.hinted
                && doc::elements(sets).next().is_some()
            {
                Effect::Leaving
            } else {
                Effect::Anything
            }
        }
        // Others may go, but what is shown stays, and stays first.
        Change::Removes | Change::Replaces if shape.lists && !shape.skips => Effect::Shown,
        Change::Removes | Change::Replaces => Effect::Anything,
    }
}

/// Whether the selector matches none of the result documents.
fn none_selected(
    shape: &ReadShape,
    documents: Option<&mut dyn Iterator<Item = &[u8]>>,
    selector: &Selector,
    work: &Work,
) -> bool {
    let Some(documents) = documents else {
        return false;
    };
    let whole = shape.projection.tells(&matcher::paths(&selector.filter));
    let filter = &selector.filter;
    for document in documents {
        let known = shape.projection.known(document);
        let refused = if whole {
            matcher::matches_within(filter, &known, selector.strings, work) == Tri::No
        } else {
            let tells = |paths: &Paths| shape.projection.tells(paths);
            refuses_part(filter, &known, selector.strings, &tells, work)
        };
        if !refused {
            return false;
        }
    }
    true
}

/// Whether a filter certainly doesn't match a document that is known at some paths only.
fn refuses_part(
    filter: &[u8],
    document: &[u8],
    strings: Strings,
    known: &dyn Fn(&Paths) -> bool,
    work: &Work,
) -> bool {
    // Fields that are missing may be there, unless all that a condition looks at is known.
    matcher::matches_partial_within(filter, document, strings, work) == Tri::No
        || any_condition(
            filter,
            &mut |condition| {
                let condition = alone(condition);
                work.spend(1 + condition.len() / 16)
                    && known(&matcher::paths(&condition))
                    && matcher::matches_within(&condition, document, strings, work) == Tri::No
            },
            0,
        )
}

/// Whether a plain `$set` writes what the read's filter doesn't want on exactly that path.
fn leaves(plan: &ReadPlan, change: &Change, work: &Work) -> bool {
    let Change::Paths { sets, .. } = change else {
        return false;
    };
    doc::elements(sets).map_while(Result::ok).any(|set| {
        let document = nested(&set);
        any_condition(
            plan.filter(),
            &mut |condition| {
                work.spend(1)
                    && condition.key == set.key
                    && work.spend(condition.raw.len() / 64)
                    && matcher::matches_within(&alone(condition), &document, plan.strings(), work)
                        == Tri::No
            },
            0,
        )
    })
}

/// Whether `holds` is true of one of the conditions that a filter puts together by "and".
fn any_condition(filter: &[u8], holds: &mut dyn FnMut(&Element<'_>) -> bool, depth: u32) -> bool {
    doc::elements(filter)
        .map_while(Result::ok)
        .any(|condition| match condition.as_array() {
            Some(branches) if condition.key == "$and" && depth < MAX_DEPTH => {
                doc::elements(branches).map_while(Result::ok).any(|branch| {
                    any_condition(branch.as_document().unwrap_or_default(), holds, depth + 1)
                })
            }
            _ => holds(&condition),
        })
}

/// A filter of one condition.
fn alone(condition: &Element<'_>) -> Vec<u8> {
    let mut filter = DocBuf::new();
    filter.append_raw(condition.raw);
    filter.finish()
}

/// Which entries of a shape the statement may affect, judged without the values of the reads.
/// Never fewer than those that don't [`survive`](survives).
pub fn reach(shape: &ReadShape, statement: &Statement, pre_image: Option<&[u8]>) -> Reach {
    let by_filter = match &statement.inserts {
        Inserts::Nothing => false,
        Inserts::Anything => return Reach::Everything,
        _ => true,
    };
    let effect = effect(shape, &statement.change);
    let (mut by_sets, mut by_document, mut by_id) = (false, false, false);
    let mut by_pre_image = false;
    if let (Some(selector), false) = (&statement.selects, matches!(effect, Effect::None)) {
        let lookup = document_keys(selector)
            .iter()
            .all(|key| shape.tells(&key.path));
        let set = |path: &String| statement.change.values_at(path).is_some();
        match effect {
            Effect::Shown if lookup => by_document = true,
            Effect::Leaving if lookup && shape.anchor.iter().any(set) => {
                (by_sets, by_document) = (true, true)
            }
            _ if shape.anchor == ["_id"] && selected_ids(selector).is_some() => by_id = true,
            _ if pre_image.is_some_and(|known| tells(known, shape)) => by_pre_image = true,
            _ => return Reach::Everything,
        }
    }
    if !(by_filter || by_sets || by_document || by_id || by_pre_image) {
        return Reach::Nothing;
    }
    Reach::Entries {
        by_filter,
        by_sets,
        by_document,
        by_id,
        by_pre_image,
    }
}

/// Whether a pre-image says something of a path that the reads of this shape are told apart by.
fn tells(pre_image: &[u8], shape: &ReadShape) -> bool {
    shape
        .anchor
        .iter()
        .any(|path| known_at(pre_image, path).is_some())
}

/// What an equality on `path` sees in a document with these top-level fields; `None`: that isn't known.
pub fn known_at(pre_image: &[u8], path: &str) -> Option<Reached> {
    doc::find(pre_image, top_level(path)).map(|_| matcher::values_at(pre_image, path))
}

/// Fields of the document that the statement selects by its `_id` which would tell which reads of
/// this shape it affects, if they were known: without them it may affect all.
pub fn telling_fields<'a>(shape: &'a ReadShape, statement: &Statement) -> Vec<&'a str> {
    let Change::Paths { paths, .. } = &statement.change else {
        return Vec::new();
    };
    let fields = shape.anchor.iter().map(|path| top_level(path));
    fields
        .filter(|field| *field != "_id" && !meets_fields(paths, &[field]))
        .collect()
}

/// Where the documents that a selector may match can be looked up: its equality on `_id`, if it
/// has one; else all its equalities (none: it may match any document).
pub fn document_keys(selector: &Selector) -> Vec<Equality> {
    let mut keys = matcher::equalities(&selector.filter, selector.strings);
    if let Some(at) = keys.iter().position(|key| key.path == "_id") {
        return vec![keys.swap_remove(at)];
    }
    keys
}

/// The `_id`s that a selector is confined to; `None` if it isn't.
pub fn selected_ids(selector: &Selector) -> Option<Vec<ValueKey>> {
    let keys = matcher::equalities(&selector.filter, selector.strings);
    keys.into_iter()
        .find(|key| key.path == "_id")
        .map(|key| key.values)
}

fn inserted_id(document: &[u8]) -> Option<Vec<ValueKey>> {
    let id = doc::find(document, "_id").filter(|id| id.as_timestamp() != Some(0))?;
    // Where the read's strings don't compare byte for byte, it's confined to none.
    Some(vec![ValueKey::of(&id, Strings::Simple)?])
}

/// Whether the read is confined to other `_id`s than these.
fn apart(plan: &ReadPlan, ids: &Option<Vec<ValueKey>>) -> bool {
    let wanted = plan.anchor().iter().find(|anchor| anchor.path == "_id");
    match (wanted, ids) {
        (Some(wanted), Some(ids)) => !wanted.values.iter().any(|id| ids.contains(id)),
        _ => false,
    }
}

fn meets_fields(paths: &Paths, fields: &[&str]) -> bool {
    !fields.is_empty()
        && (paths.is_all() || paths.iter().any(|path| fields.contains(&top_level(path))))
}

fn without(document: &[u8], fields: &[&str]) -> Vec<u8> {
    let mut out = DocBuf::with_capacity(document.len());
    for field in doc::elements(document).map_while(Result::ok) {
        if !fields.contains(&field.key) {
            out.append_raw(field.raw);
        }
    }
    out.finish()
}

const MAX_DEPTH: u32 = 20;

/// What a proof costs besides the values that it looks at.
const ONE_PROOF: usize = 4;

#[cfg(test)]
mod tests;
