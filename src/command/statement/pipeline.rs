//! Updates by a pipeline: which top-level fields it may change.

use super::{Paths, top_level};
use crate::wire::doc;

/// The top-level fields that the stages name as their targets; all, when a stage makes new
/// documents. Top-level, because a `$set` of `a.b` replaces an `a` that isn't a document, and a
/// number in a path is a field's name here.
pub(super) fn paths(stages: &[u8]) -> Paths {
    targets(stages).unwrap_or_else(Paths::all)
}

fn targets(stages: &[u8]) -> Option<Paths> {
    let mut paths = Paths::none();
    for stage in doc::elements(stages) {
        let mut parts = doc::elements(stage.ok()?.as_document()?);
        let stage = parts.next()?.ok()?;
        match stage.key {
            "$set" | "$addFields" => {
                for target in doc::elements(stage.as_document()?) {
                    insert(&mut paths, target.ok()?.key)?;
                }
            }
            "$unset" => match stage.as_array() {
                Some(list) => {
                    for field in doc::elements(list) {
                        insert(&mut paths, field.ok()?.as_str()?)?;
                    }
                }
                None => insert(&mut paths, stage.as_str()?)?,
            },
            _ => return None,
        }
        if parts.next().is_some() {
            return None;
        }
    }
    Some(paths)
}

fn insert(paths: &mut Paths, target: &str) -> Option<()> {
    let top = top_level(target);
    let is_name = !top.is_empty() && !top.bytes().all(|b| b.is_ascii_digit());
    is_name.then(|| paths.insert(top))
}
