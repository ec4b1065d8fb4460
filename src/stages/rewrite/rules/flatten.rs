//! `flatten`: `$and` in a conjunction, `$or` in `$or`, and lists of one are dissolved.
//!
//! The server does the same before it plans, but only a filter that comes as `{_id: v}` takes its
//! shortest way (IDHACK), and query builders' `{$and: [{a: 1}, {b: 2}]}` shares a cache key with `{a: 1, b: 2}`.
//!
//! Proof. A filter document is the conjunction of its fields, so `$and` is associative with it;
//! disjunction is associative too; both of one member are that member. Two sets of operators on one path,
//! none of them in both, are joined: the server makes a conjunction of `{p: {$gte: 1, $lt: 5}}`, each of its
//! operators for itself, so on an array different elements may fulfil them, as in `$and`. What can't be
//! joined (`{$and: [{a: 1}, {a: 2}]}`) keeps its place in `$and`. All members have been read through
//! (`super::super::filter`): none of them is an operator that is allowed at the top only, or elsewhere only. A filter
//! of a count or an aggregate isn't emptied (see `every_match`).
//!
//! Measured: IDHACK instead of an index scan, and a shared cache key.

use super::super::filter::{Field, Node, Test};
use super::Site;

pub(super) fn apply(top: &mut Vec<Node<'_>>, site: Site) -> bool {
    let mut flat = top.clone();
    let Some(changed) = conjunction(&mut flat) else {
        return false;
    };
    if !changed || flat.is_empty() && !top.is_empty() && !site.may_be_empty() {
        return false;
    }
    *top = flat;
    true
}

/// `None`: there are too many conditions side by side to be compared with each other.
fn conjunction(nodes: &mut Vec<Node<'_>>) -> Option<bool> {
    let mut changed = false;
    let mut flat: Vec<Node<'_>> = Vec::with_capacity(nodes.len());
    for mut node in std::mem::take(nodes) {
        match &mut node {
            Node::And(members) => {
                conjunction(members)?;
                changed = true;
                flat.append(members);
                continue;
            }
            Node::Or(branches) => {
                changed |= disjunction(branches)?;
                if branches.len() == 1 {
                    changed = true;
                    match branches.pop() {
                        Some(Node::And(mut only)) => flat.append(&mut only),
                        other => flat.extend(other),
                    }
                    continue;
                }
            }
            _ => {}
        }
        flat.push(node);
    }
    if flat.len() > MOST_SIDE_BY_SIDE {
        return None;
    }
    for node in flat {
        match joins(nodes, node) {
            Ok(()) => changed = true,
            Err(node) => nodes.push(node),
        }
    }
    Some(changed)
}

fn disjunction(branches: &mut Vec<Node<'_>>) -> Option<bool> {
    let mut changed = false;
    for mut branch in std::mem::take(branches) {
        if let Node::And(members) = &mut branch {
            changed |= conjunction(members)?;
            if let [Node::Or(inner)] = members.as_mut_slice() {
                changed = true;
                branches.append(inner);
                continue;
            }
        }
        branches.push(branch);
    }
    Some(changed)
}

/// Joins the operators on a path with those that are there for it, or gives them back.
fn joins<'a>(nodes: &mut [Node<'a>], node: Node<'a>) -> Result<(), Node<'a>> {
    let Node::Field(mut field) = node else {
        return Err(node);
    };
    for there in nodes {
        if let Node::Field(there) = there
            && there.path == field.path
            && are_apart(there, &field)
        {
            there.tests.append(&mut field.tests);
            return Ok(());
        }
    }
    Err(Node::Field(field))
}

/// Most conditions of a conjunction: each is compared with each.
const MOST_SIDE_BY_SIDE: usize = 200;

fn are_apart(one: &Field<'_>, other: &Field<'_>) -> bool {
    let is_literal = |test: &Test<'_>| matches!(test, Test::Literal(_));
    let is_in_one = |test: &Test<'_>| one.tests.iter().any(|t| t.operator() == test.operator());
    !one.tests.iter().any(is_literal)
        && !other
            .tests
            .iter()
            .any(|test| is_literal(test) || is_in_one(test))
}
