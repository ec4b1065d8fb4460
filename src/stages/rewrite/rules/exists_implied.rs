//! `exists_implied`: `$exists: true` is left out beside a condition that implies it.
//!
//! `{b: {$exists: true, $gt: 98}}` makes the server fetch each document to see what the index has
//! just shown.
//!
//! Proof. `$eq`, `$gt`, `$gte`, `$lt` and `$lte` against a value that isn't null compare within the types
//! of that value, so they hold only if some value is found at the path, in an array or not;
//! `$in` of values none of which is null likewise. What is found there exists: both conditions walk the
//! path in the same way. `x ∧ y = x` if `x` implies `y`. Null (which a missing field equals), arrays,
//! documents, regular expressions and the smallest and largest key are left as they are; and nothing is
//! left out where documents are seen in part (`Seen`).
//!
//! Measured: documents examined by a count on an indexed path, from all of the range to none.

use super::super::filter::{Field, Node, Test, is_scalar};
use super::Site;
use crate::wire::doc::Element;

pub(super) fn apply(top: &mut Vec<Node<'_>>, site: Site) -> bool {
    if !site.may_lose_conditions() {
        return false;
    }
    let mut changed = false;
    super::each_field(top, &mut |field| changed |= leave_out(field));
    changed
}

fn leave_out(field: &mut Field<'_>) -> bool {
    if !field.tests.iter().any(implies) {
        return false;
    }
    let before = field.tests.len();
    field.tests.retain(|test| !is_exists(test));
    field.tests.len() < before
}

fn is_exists(test: &Test<'_>) -> bool {
    matches!(test, Test::Operator(o) if o.key == "$exists" && o.as_bool() == Some(true))
}

fn implies(test: &Test<'_>) -> bool {
    let is_some = |value: &Element<'_>| is_scalar(value) && !value.is_null();
    match test {
        Test::In(values) => !values.is_empty() && values.iter().all(is_some),
        Test::Operator(operator) => {
            matches!(operator.key, "$eq" | "$gt" | "$gte" | "$lt" | "$lte") && is_some(operator)
        }
        Test::Literal(_) | Test::Nin(_) => false,
    }
}
