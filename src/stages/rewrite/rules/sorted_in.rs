//! `sorted_in`: the values of `$in` and `$nin` are sorted, and each is there once.
//!
//! The server does the same; here it lets lists that were collected in any order share a cache key.
//!
//! Proof. Both ask whether a value is in a set; a set has no order, and an element that is there twice is
//! there. Only elements that are the same byte for byte are taken out: `1` and `1.0` stay both, and under a
//! collation `"a"` and `"A"`. All of them are scalars, which no server refuses, so no error goes with an
//! element that is left out. Without a sort, the order of an answer never followed the list.
//!
//! Measured: a shared cache key.

use std::cmp::Ordering;

use super::super::filter::{Node, Test};
use super::Site;
use crate::wire::doc::{Element, kind};

pub(super) fn apply(top: &mut Vec<Node<'_>>, _: Site) -> bool {
    let mut changed = false;
    super::each_field(top, &mut |field| {
        for test in &mut field.tests {
            if let Test::In(values) | Test::Nin(values) = test {
                changed |= sort(values);
            }
        }
    });
    changed
}

fn sort(values: &mut Vec<Element<'_>>) -> bool {
    if values.is_sorted_by(|a, b| order(a, b).is_lt()) {
        return false;
    }
    values.sort_by(order);
    values.dedup_by(|a, b| order(a, b).is_eq());
    true
}

/// By type, then whole numbers and dates by value, then byte for byte.
pub(in super::super) fn order(a: &Element<'_>, b: &Element<'_>) -> Ordering {
    let whole = |e: &Element<'_>| match e.kind {
        kind::INT32 | kind::INT64 => e.as_i64(),
        kind::DATE => e.as_date(),
        _ => None,
    };
    let kinds = a.kind.cmp(&b.kind);
    kinds
        .then_with(|| whole(a).cmp(&whole(b)))
        .then_with(|| a.value.cmp(b.value))
}
