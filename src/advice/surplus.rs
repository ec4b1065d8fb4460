//! Indexes that nobody would miss.

use std::time::Duration;

use bson::Document;

use super::Action;
use super::choose::begins;
use super::data::Data;
use super::index::{Index, same_collation};

/// How an index is used, on all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// For so long nobody has used it.
    pub unused_for: Duration,
}

/// An index that can go.
#[derive(Clone, Debug, PartialEq)]
pub struct Surplus {
    /// The index.
    pub name: String,
    /// Drop it, or hide it first.
    pub action: Action,
    /// The index that does the same, if that is the reason.
    pub replaced_by: Option<String>,
    /// For so long nobody has used it.
    pub unused_for: Duration,
}

/// What can go of the indexes of a collection. `uses`: as far as known, by name. `shard_key`: of a
/// sharded collection. `hinted`: names that commands prescribe, and others that must stay.
#[must_use]
pub fn surplus(
    existing: &[Index],
    uses: &dyn Fn(&str) -> Option<Use>,
    data: &Data,
    shard_key: Option<&Document>,
    hinted: &[String],
    unused_after: Duration,
) -> Vec<Surplus> {
    let may_go = |index: &&Index| {
        let needed = index.name == "_id_" || index.unique || index.expires || index.clustered;
        let carries_key = shard_key.is_some_and(|key| carries(index, key));
        !needed && !carries_key && !hinted.contains(&index.name)
    };
    let unused_for = |index: &Index| uses(&index.name).map(|u| u.unused_for);
    let mut gone: Vec<Surplus> = Vec::new();
    for index in existing.iter().filter(may_go) {
        if let Some(unused_for) = unused_for(index).filter(|time| *time >= unused_after) {
            gone.push(Surplus {
                name: index.name.clone(),
                action: Action::Drop,
                replaced_by: None,
                unused_for,
            });
        }
    }
    for index in existing.iter().filter(may_go) {
        let stays = |other: &&Index| !gone.iter().any(|g| g.name == other.name);
        if !stays(&index) {
            continue;
        }
        let longer = existing
            .iter()
            .filter(stays)
            .find(|longer| replaces(longer, index, data));
        let (Some(longer), Some(unused_for)) = (longer, unused_for(index)) else {
            continue;
        };
        let action = match unused_for >= IDLE {
            true => Action::Drop,
            // In use: whether it's missed is seen when the planner doesn't see it.
            false if !index.hidden => Action::Hide,
            false => continue,
        };
        gone.push(Surplus {
            name: index.name.clone(),
            action,
            replaced_by: Some(longer.name.clone()),
            unused_for,
        });
    }
    gone
}

/// Whether `longer` serves everything that `index` does.
fn replaces(longer: &Index, index: &Index, data: &Data) -> bool {
    let plain = |i: &Index| !i.sparse && i.partial.is_none();
    let (Some(long), Some(short)) = (longer.ordered(), index.ordered()) else {
        return false;
    };
    // (An array in a further field would make an order and a cover impossible.)
    let scalar = long
        .iter()
        .skip(short.len())
        .all(|(path, _)| data.is_scalar(path));
    longer.name != index.name
        && !longer.hidden
        && plain(longer)
        && plain(index)
        && long.len() > short.len()
        && begins(&long, &short)
        && same_collation(longer.collation.as_ref(), index.collation.as_ref())
        && scalar
}

/// Whether an index begins with the shard key.
fn carries(index: &Index, shard_key: &Document) -> bool {
    let paths = index.keys.iter().map(|(path, _)| path);
    index.keys.len() >= shard_key.len() && shard_key.keys().zip(paths).all(|(a, b)| a == b)
}

/// What wasn't used for this long isn't in use.
const IDLE: Duration = Duration::from_secs(60);
