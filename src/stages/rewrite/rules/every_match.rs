//! `every_match`: `{p: {$nin: []}}` is left out.
//!
//! Applications send it for an empty list of exceptions. The server keeps it as a filter, and so
//! must fetch documents that an index alone could have counted.
//!
//! Proof. `$nin` is the negation of `$in`, and nothing is in an empty list: every document fulfils it,
//! also one without the path. `x ∧ true = x`. A `$nin` of an empty array has nothing to be refused.
//! A filter of a count isn't emptied: an empty one may be answered from the collection's metadata, whose
//! count can be off after a crash. Nothing is left out where documents are seen in part (`Seen`).
//!
//! Measured: documents examined by a count on an indexed path with an empty `$nin` on another, from
//! all of the range to none.

use super::super::filter::{Node, Test};
use super::Site;

pub(super) fn apply(top: &mut Vec<Node<'_>>, site: Site) -> bool {
    if !site.may_lose_conditions() {
        return false;
    }
    let mut changed = false;
    for branches in top.iter_mut() {
        if let Node::And(members) | Node::Or(members) = branches {
            for member in members {
                changed |= within(member);
            }
        }
    }
    let kept = top.iter().filter(|node| !is_true(node)).count();
    if kept > 0 || site.may_be_empty() {
        changed |= leave_out(top);
    }
    changed
}

/// Within a list, a member that would become empty stays: `{}` there is another condition.
fn within(member: &mut Node<'_>) -> bool {
    match member {
        Node::And(nodes) => {
            let mut changed = nodes.iter_mut().fold(false, |c, n| within(n) | c);
            if nodes.iter().any(|node| !is_true(node)) {
                changed |= leave_out(nodes);
            }
            changed
        }
        Node::Or(branches) => branches.iter_mut().fold(false, |c, n| within(n) | c),
        _ => false,
    }
}

fn leave_out(nodes: &mut Vec<Node<'_>>) -> bool {
    let mut changed = false;
    nodes.retain_mut(|node| {
        let Node::Field(field) = node else {
            return true;
        };
        let before = field.tests.len();
        field.tests.retain(|test| !is_empty_nin(test));
        changed |= field.tests.len() < before;
        !field.tests.is_empty()
    });
    changed
}

fn is_true(node: &Node<'_>) -> bool {
    matches!(node, Node::Field(field) if field.tests.iter().all(is_empty_nin))
}

fn is_empty_nin(test: &Test<'_>) -> bool {
    matches!(test, Test::Nin(values) if values.is_empty())
}
