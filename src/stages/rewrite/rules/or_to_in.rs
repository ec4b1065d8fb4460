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
    for mut branch in std::mem::take(branches) {
        // (Values are moved into the list of the branch before, which grows in place: copying it for each
        // branch would take time by the square of their number.)
        let joined = match (branches.last_mut().and_then(asking), asking(&mut branch)) {
            (Some(last), Some(more)) if last.path == more.path => {
                let more = take_values(more);
                match last.tests.as_mut_slice() {
                    [Test::In(all)] => all.extend(more),
                    _ => {
                        let all = take_values(last).into_iter().chain(more).collect();
                        last.tests = vec![Test::In(all)];
                    }
                }
                true
            }
            _ => false,
        };
        if !joined {
            branches.push(branch);
        }
    }
    branches.len() < before
}

/// The field of a branch that asks for some values at one path only.
fn asking<'a, 'n>(branch: &'n mut Node<'a>) -> Option<&'n mut Field<'a>> {
    let Node::And(conditions) = branch else {
        return None;
    };
    let [Node::Field(field)] = conditions.as_mut_slice() else {
        return None;
    };
    let asks = match field.only()? {
        Test::Literal(value) => is_scalar(value),
        Test::In(values) => !values.is_empty(),
        _ => false,
    };
    asks.then_some(field)
}

/// The values that such a field asks for.
fn take_values<'a>(field: &mut Field<'a>) -> Vec<Element<'a>> {
    match std::mem::take(&mut field.tests).pop() {
        Some(Test::Literal(value)) => vec![value],
        Some(Test::In(values)) => values,
        _ => Vec::new(),
    }
}
