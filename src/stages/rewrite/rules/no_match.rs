//! `no_match`: a filter that nothing fulfils is answered from the empty range of `_id`.
//!
//! `{g: {$in: []}}` is what applications send for an empty list. The server takes it as any other
//! condition: without an index on `g` it reads the whole collection.
//!
//! Proof. No value is in an empty list, so `{p: {$in: []}}` is false for every document, whatever is
//! at `p`; so are `$expr: false` and `$nor: [{}]`. A conjunction with a false
//! member is false, and so is a disjunction of false members.
//! - To a false filter the condition `_id: {$in: []}` is added and nothing is taken away: it stays
//!   false, and whatever the server checks in it (names, operands, rights, sessions, read concern) it still
//!   checks. Every collection has an index on `_id` (clustered ones are ordered by it), and the
//!   planner reads an empty range of it. On views the condition is as false as anywhere.
//! - A false branch of `$or` is left out if others remain: `x ∨ false = x`. Only branches that the
//!   server is certain to accept are left out, so that no error goes with them, and none where documents
//!   are seen in part (`Seen`).
//!
//! `{a: {$gt: 5, $lt: 3}}` and `{$and: [{a: 1}, {a: 2}]}` are not false: `a` may be an array.
//!
//! Measured: documents examined by a find, count, distinct or aggregate without an index on the
//! path, from all to none; `$or` with a dead branch, from all to those of the other branches.

use super::super::filter::{Field, Node, Test};
use super::{Place, Site};

pub(super) fn apply(top: &mut Vec<Node<'_>>, site: Site) -> bool {
    let mut changed = false;
    if site.may_lose_conditions() {
        super::each_or(top, &mut |branches| changed |= bury(branches));
    }
    if site.place == Place::First && top.iter().any(is_false) && !top.iter().any(bounds_id) {
        let nothing = Field {
            path: "_id",
            tests: vec![Test::In(Vec::new())],
        };
        top.insert(0, Node::Field(nothing));
        changed = true;
    }
    changed
}

/// Takes dead branches out.
fn bury(branches: &mut Vec<Node<'_>>) -> bool {
    let is_dead = |branch: &Node<'_>| is_false(branch) && branch.is_sound();
    if branches.iter().all(is_dead) {
        return false;
    }
    let before = branches.len();
    branches.retain(|branch| !is_dead(branch));
    branches.len() < before
}

/// Whether no document fulfils it.
fn is_false(node: &Node<'_>) -> bool {
    match node {
        Node::And(members) => members.iter().any(is_false),
        Node::Or(branches) => branches.iter().all(is_false),
        Node::Field(field) => {
            let is_empty = |test: &Test<'_>| matches!(test, Test::In(values) if values.is_empty());
            field.tests.iter().any(is_empty)
        }
        Node::Never(_) => true,
        Node::Other(_) => false,
    }
}

/// Whether the index on `_id` is the way already.
fn bounds_id(node: &Node<'_>) -> bool {
    let Node::Field(field) = node else {
        return false;
    };
    let is_narrow = |test: &Test<'_>| matches!(test, Test::Literal(_) | Test::In(_));
    field.path == "_id" && field.tests.iter().any(is_narrow)
}
