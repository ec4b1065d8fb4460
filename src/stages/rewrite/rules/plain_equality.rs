//! `plain_equality`: `{p: {$eq: v}}`, `{p: {$in: [v]}}` and `{p: {$all: [v]}}` become `{p: v}`.
//!
//! On `_id` only the plain form takes the server's shortest way (IDHACK, which plans nothing); on
//! other paths, all of them share a cache key.
//!
//! Proof. For scalars `v`, `{p: v}` is by definition `{p: {$eq: v}}`: some value at `p`, or an element of
//! an array there, equals `v` (for null also: nothing is there). `$in` holds if `$eq` holds
//! for one of its values, `$all` of values if it holds for each; of one value both are `$eq`. Regular
//! expressions (`{p: /x/}` searches, `{$eq: /x/}` compares), documents (whose first key may make them
//! operators), arrays (`$all: [[…]]` means something else) and retired types are left as they are. Equality
//! under a collation is the same in all forms.
//!
//! Measured: IDHACK instead of an index scan, and a shared cache key.

use super::super::filter::{Field, Node, Test, is_scalar, scalars};
use super::Site;

pub(super) fn apply(top: &mut Vec<Node<'_>>, _: Site) -> bool {
    let mut changed = false;
    super::each_field(top, &mut |field| changed |= plain(field));
    changed
}

fn plain(field: &mut Field<'_>) -> bool {
    let value = match field.only() {
        Some(Test::Operator(o)) if o.key == "$eq" && is_scalar(o) => Some(*o),
        Some(Test::Operator(o)) if o.key == "$all" => scalars(o)
            .filter(|v| v.len() == 1)
            .and_then(|v| v.first().copied()),
        Some(Test::In(values)) if values.len() == 1 => values.first().copied(),
        _ => None,
    };
    let Some(value) = value else {
        return false;
    };
    field.tests = vec![Test::Literal(value)];
    true
}
