//! `or_to_in`: neighbouring branches of `$or` that ask for values at one path become one `$in`.
//!
//! The server does the same before it plans; here it lets `{$or: [{a: 1}, {a: 2}]}` and `{a: {$in: [1, 2]}}`
//! share a cache key.
//!
//! Proof. `$in` holds exactly if `$eq` holds for one of its values, so the disjunction of equalities
//! on one path is the `$in` of their values, and that of two `$in` the `$in` of both lists; on arrays too, where
//! each branch may be fulfilled by an element of its own. Only branches of one condition, only scalars:
//! a regular expression or a document in `$in` may mean something else than in a branch. Null is in a list as
//! it is alone: a missing field equals it.
//!
//! Measured: a shared cache key.

use super::super::filter::{Field, Node, Test, is_scalar};
use super::Site;
use crate::wire::doc::Element;

pub(super) fn apply(top: &mut Vec<Node<'_>>, _: Site) -> bool {
    let mut changed = false;
    super::each_or(top, &mut |branches| changed |= merge(branches));
    changed
}

fn merge(branches: &mut Vec<Node<'_>>) -> bool {
    let before = branches.len();
    for branch in std::mem::take(branches) {
        let joined = match (branches.last_mut(), values(&branch)) {
            (Some(last), Some((path, mut more))) => match values(last) {
                Some((same, mut all)) if same == path => {
                    all.append(&mut more);
                    *last = asking(path, all);
                    true
                }
                _ => false,
            },
            _ => false,
        };
        if !joined {
            branches.push(branch);
        }
    }
    branches.len() < before
}

fn asking<'a>(path: &'a str, values: Vec<Element<'a>>) -> Node<'a> {
    let tests = vec![Test::In(values)];
    Node::And(vec![Node::Field(Field { path, tests })])
}

/// The path of a branch that asks for some values only, and the values.
fn values<'a>(branch: &Node<'a>) -> Option<(&'a str, Vec<Element<'a>>)> {
    let Node::And(conditions) = branch else {
        return None;
    };
    let [Node::Field(field)] = conditions.as_slice() else {
        return None;
    };
    match field.only()? {
        Test::Literal(value) if is_scalar(value) => Some((field.path, vec![*value])),
        Test::In(values) if !values.is_empty() => Some((field.path, values.clone())),
        _ => None,
    }
}
