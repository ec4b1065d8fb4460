//! The rewrites, one per file, each with its proof. Their names are in [`RewriteRule`].
//!
//! A rule is right if the result is the same on any data: arrays, null, missing fields, NaN, mixed types,
//! collations; and if no error comes or goes (limits on time and memory excepted, which a cheaper
//! command meets later). `tests/it/rewriting` holds every rule against a real mongod.

mod count_of_groups;
mod every_match;
mod exists_implied;
mod flatten;
mod no_match;
mod or_to_in;
mod plain_equality;
mod project_before_count;
mod sorted_in;

use super::filter::{Field, Node};
use super::pipeline::Stage;
use crate::config::RewriteRule;

pub(super) use sorted_in::order;

/// What a filter decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub place: Place,
    pub seen: Seen,
}

/// Where a filter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It decides which documents are read from the collection.
    First,
    /// A `$match` on what other stages let through.
    Later,
}

/// What the client sees of the documents.
///
/// A plan that takes values from an index alone shows null where a field is missing, and `distinct` by an
/// index shows undefined for an empty array (6.0.5 does). Conditions decide which plan can be taken, so none
/// is left out where a document is seen in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All of them, as they're stored.
    Whole,
    /// How many there are.
    Counted,
    /// Anything else.
    InPart,
}

impl Site {
    /// Whether a condition may be left out.
    pub fn may_lose_conditions(self) -> bool {
        self.seen != Seen::InPart
    }

    /// Whether a filter that holds something may become one that holds nothing. (A count of everything
    /// may be answered from the collection's metadata, which can be off after a crash.)
    pub fn may_be_empty(self) -> bool {
        self.seen == Seen::Whole
    }
}

/// A rule on filters: changes the conditions and says whether it did.
pub(super) type OnFilter = for<'a> fn(&mut Vec<Node<'a>>, Site) -> bool;

/// A rule on pipelines.
pub(super) type OnPipeline = for<'a> fn(&mut Vec<Stage<'a>>) -> bool;

/// In the order in which they are applied, again until none changes anything.
pub(super) const ON_FILTERS: [(RewriteRule, OnFilter); 7] = [
    (RewriteRule::Flatten, flatten::apply),
    (RewriteRule::EveryMatch, every_match::apply),
    (RewriteRule::ExistsImplied, exists_implied::apply),
    (RewriteRule::OrToIn, or_to_in::apply),
    (RewriteRule::SortedIn, sorted_in::apply),
    (RewriteRule::PlainEquality, plain_equality::apply),
    (RewriteRule::NoMatch, no_match::apply),
];

/// Likewise.
pub(super) const ON_PIPELINES: [(RewriteRule, OnPipeline); 2] = [
    (RewriteRule::ProjectBeforeCount, project_before_count::apply),
    (RewriteRule::CountOfGroups, count_of_groups::apply),
];

/// Shows every `$or`, inner ones first.
fn each_or<'a>(nodes: &mut [Node<'a>], see: &mut impl FnMut(&mut Vec<Node<'a>>)) {
    for node in nodes {
        match node {
            Node::And(members) => each_or(members, see),
            Node::Or(branches) => {
                each_or(branches, see);
                see(branches);
            }
            _ => {}
        }
    }
}

/// Shows every field.
fn each_field<'a>(nodes: &mut [Node<'a>], see: &mut impl FnMut(&mut Field<'a>)) {
    for node in nodes {
        match node {
            Node::And(nodes) | Node::Or(nodes) => each_field(nodes, see),
            Node::Field(field) => see(field),
            _ => {}
        }
    }
}
