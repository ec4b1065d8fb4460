//! The indexes that a query would like best: equalities first, then the sort, then ranges.
//!
//! The order of equalities is free, so all of them are candidates: which one is taken is decided
//! by what else it serves, and then by how selective its first field is.

use super::MOST_FIELDS;
use super::data::Data;
use super::estimate::FEW;
use super::query::{Op, Predicate, Query};

/// The keys of an index.
pub(super) type Keys = Vec<(String, i32)>;

/// Indexes for a query, none twice.
pub(super) fn candidates(query: &Query, data: &Data) -> Vec<Keys> {
    let of = |wanted: fn(Op) -> bool| {
        let mut list: Vec<&Predicate> = query.predicates.iter().filter(|p| wanted(p.op)).collect();
        list.sort_by(|a, b| a.share.total_cmp(&b.share));
        list.iter().map(|p| p.path.clone()).collect::<Vec<String>>()
    };
    let equal = of(|op| op == Op::Equal);
    let sort: Keys = match query
        .sort
        .iter()
        .any(|(path, _)| data.array(path).is_some())
    {
        // An index on an array gives no order.
        true => Vec::new(),
        false => {
            let waits = |(path, _): &&(String, i32)| !equal.contains(path);
            query.sort.iter().filter(waits).cloned().collect()
        }
    };
    let few = of(|op| matches!(op, Op::List(n) if n <= FEW));
    let many = of(|op| matches!(op, Op::List(n) if n > FEW));
    let (lists, late) = match sort.is_empty() {
        true => ([few, many].concat(), Vec::new()),
        false => (few, many),
    };
    let ranges = [late, of(|op| op == Op::Range)].concat();
    let weak = query
        .predicates
        .iter()
        .filter(|p| p.op == Op::Weak && p.share < WORTH_TESTING)
        .map(|p| p.path.clone())
        .collect::<Vec<_>>();
    let up = |paths: &[String]| -> Keys { paths.iter().map(|p| (p.clone(), 1)).collect() };
    let distinct: Keys = query
        .distinct
        .iter()
        .map(|path| (path.clone(), 1))
        .collect();
    let mut all = Vec::new();
    for order in orders(&equal) {
        let begin = [up(&order), up(&lists)].concat();
        let mut tails = vec![[sort.clone(), distinct.clone(), up(&ranges), up(&weak)].concat()];
        if !ranges.is_empty() {
            // A range that leaves next to nothing is worth more than an order.
            tails.push([up(&ranges), sort.clone(), distinct.clone(), up(&weak)].concat());
        }
        for tail in tails {
            let keys = lawful([begin.clone(), tail].concat(), data);
            if !keys.is_empty() && !all.contains(&keys) {
                all.push(keys);
            }
        }
    }
    all
}

/// Orders of equalities: all of a few, otherwise each one first.
fn orders(paths: &[String]) -> Vec<Vec<String>> {
    if paths.len() <= 1 {
        return vec![paths.to_vec()];
    }
    let mut all = Vec::new();
    for (at, first) in paths.iter().enumerate() {
        let mut rest = paths.to_vec();
        rest.remove(at);
        let rests = match paths.len() <= ALL_ORDERS {
            true => orders(&rest),
            false => vec![rest],
        };
        all.extend(
            rests
                .into_iter()
                .map(|rest| [vec![first.clone()], rest].concat()),
        );
    }
    all
}

/// Without what the server refuses: a path twice, two arrays side by side, too many fields.
fn lawful(keys: Keys, data: &Data) -> Keys {
    let mut kept: Keys = Vec::new();
    let mut array: Option<&str> = None;
    for (path, direction) in keys {
        if kept.iter().any(|(known, _)| *known == path) {
            continue;
        }
        match (array, data.array(&path)) {
            (Some(one), Some(other)) if one != other => continue,
            (None, Some(first)) => array = Some(first),
            _ => {}
        }
        kept.push((path, direction));
        if kept.len() == MOST_FIELDS {
            break;
        }
    }
    kept
}

/// A test of keys that lets at most this share through saves documents.
const WORTH_TESTING: f64 = 0.67;

/// Equalities of which all orders are tried.
const ALL_ORDERS: usize = 4;
