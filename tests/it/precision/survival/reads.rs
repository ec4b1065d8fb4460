//! Random reads.

use bson::{Document, doc};

use super::random::{FIELDS, collation, filter, path, percent, scalar};
use crate::precision::random::Random;

/// How a read's answers compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// A total sort: byte for byte.
    Total,
    /// All documents, in some order.
    Any,
    /// The first by a sort that may have ties; without `skip`, and with `_id`.
    Ties,
    /// Some of those that match.
    Some,
}

#[derive(Clone, Debug)]
pub struct Read {
    pub command: Document,
    pub order: Order,
}

pub fn read(r: &mut Random, collection: &str, db: &str) -> Read {
    let (mut command, order) = match r.below(20) {
        0 | 1 => count(r, collection),
        2 => distinct(r, collection),
        3..=5 => aggregate(r, collection),
        _ => find(r, collection),
    };
    if let Some(collation) = collation(r) {
        command.insert("collation", collation);
    }
    command.insert("$db", db);
    Read { command, order }
}

pub fn sort(r: &mut Random, total: bool) -> Document {
    let mut sort = doc! {path(r): r.pick(&[1, -1])};
    if percent(r, 20) {
        sort.insert(path(r), 1);
    }
    if total {
        sort.insert("_id", r.pick(&[1, -1]));
    }
    sort
}

fn find(r: &mut Random, collection: &str) -> (Document, Order) {
    let mut c = doc! {"find": collection, "filter": filter(r), "batchSize": 1000};
    let limited = percent(r, 35);
    let skips = percent(r, 8);
    let sorted = percent(r, 50);
    let total = sorted && percent(r, 70);
    if sorted {
        c.insert("sort", sort(r, total));
    }
    if limited {
        c.insert("limit", 1 + r.below(4) as i32);
    }
    if skips {
        c.insert("skip", 1 + r.below(2) as i32);
    }
    let order = match (total, limited || skips) {
        (true, _) => Order::Total,
        (false, false) => Order::Any,
        (false, true) if sorted && !skips => Order::Ties,
        (false, true) => Order::Some,
    };
    if sorted && !total && skips {
        c.remove("sort");
    }
    if order != Order::Ties && percent(r, 50) {
        c.insert("projection", projection(r));
    }
    match r.below(30) {
        0 => drop(c.insert("hint", "b_sparse")),
        1 => drop(c.insert("hint", "c_partial")),
        2 => drop(c.insert("hint", doc! {"$natural": 1})),
        3 => {
            c.insert("hint", "a_1");
            c.insert("min", doc! {"a": 1});
        }
        4 => drop(c.insert("showRecordId", true)),
        5 if order != Order::Ties => drop(c.insert("returnKey", true)),
        _ => {}
    }
    (c, order)
}

fn projection(r: &mut Random) -> Document {
    let (f, g) = (r.pick(&FIELDS), r.pick(&FIELDS));
    let mut p = match r.below(22) {
        0..=5 => doc! {f: 1},
        6..=7 => doc! {f: 1, g: true},
        8..=9 => doc! {f: 0},
        10 => doc! {f: 0, g: false},
        11 => doc! {path(r): 1},
        12 => doc! {path(r): 0},
        13 => doc! {f: {"$slice": 1}},
        14 => doc! {f: {"$elemMatch": {"b": scalar(r)}}},
        15 => doc! {"x": format!("${f}"), g: 1},
        16 => doc! {"x": {"$size": {"$ifNull": [format!("${f}.b"), []]}}},
        17 => doc! {f: {"b": 1}},
        18 => doc! {format!("{f}.$"): 1},
        19 => doc! {f: format!("${g}")},
        20 => doc! {f: 1, "x": {"$literal": 1}},
        _ => doc! {},
    };
    if percent(r, 25) {
        p.insert("_id", r.pick(&[0, 0, 1]));
    }
    p
}

fn count(r: &mut Random, collection: &str) -> (Document, Order) {
    let mut c = doc! {"count": collection, "query": filter(r)};
    if percent(r, 20) {
        c.insert("limit", 2);
    }
    if percent(r, 10) {
        c.insert("skip", 1);
    }
    if percent(r, 5) {
        c.insert("hint", r.pick(&["b_sparse", "c_partial"]));
    }
    (c, Order::Any)
}

fn distinct(r: &mut Random, collection: &str) -> (Document, Order) {
    let c = doc! {"distinct": collection, "key": path(r), "query": filter(r)};
    (c, Order::Any)
}

fn aggregate(r: &mut Random, collection: &str) -> (Document, Order) {
    let mut stages = Vec::new();
    let mut order = Order::Any;
    if percent(r, 90) {
        stages.push(doc! {"$match": filter(r)});
    }
    let f = r.pick(&FIELDS);
    match r.below(14) {
        0..=2 => {
            stages.push(doc! {"$sort": sort(r, true)});
            order = Order::Total;
            if percent(r, 20) {
                stages.push(doc! {"$skip": 1});
            }
            if percent(r, 50) {
                stages.push(doc! {"$limit": 2});
            }
            if percent(r, 50) {
                stages.push(doc! {"$project": {f: 1, r.pick(&FIELDS): 1}});
            }
        }
        3 => stages.push(doc! {"$project": {f: 1, "_id": 0}}),
        4 => stages.push(doc! {"$count": "n"}),
        5..=6 => stages.push(doc! {"$group": {"_id": format!("${f}"), "n": {"$sum": 1}}}),
        7 if percent(r, 50) => {
            stages.push(doc! {"$group": {"_id": {"$getField": f}, "n": {"$sum": 1}}});
        }
        7 => stages.push(doc! {"$group": {"_id": null, "n": {"$max": format!("${f}.b")}}}),
        8 => stages.extend([
            doc! {"$unwind": format!("${f}")},
            doc! {"$sortByCount": format!("${f}")},
        ]),
        9 => stages.extend([
            doc! {"$set": {"e": {"$ifNull": [format!("${f}"), 1]}}},
            doc! {"$project": {"e": 1, "f": format!("${}", r.pick(&FIELDS))}},
        ]),
        10 => stages.extend([doc! {"$unset": f}, doc! {"$match": filter(r)}]),
        11 => stages.extend([doc! {"$match": filter(r)}, doc! {"$count": "n"}]),
        12 => stages.push(doc! {"$facet": {
            "x": [{"$match": filter(r)}, {"$count": "n"}],
            "y": [{"$project": {"_id": 0, "x": {"$getField": f}}}, {"$group": {"_id": "$x"}}, {"$count": "n"}],
        }}),
        _ => stages.push(doc! {"$replaceWith": {"x": format!("${f}"), "y": {"$getField": r.pick(&FIELDS)}}}),
    }
    (
        doc! {"aggregate": collection, "pipeline": stages, "cursor": {"batchSize": 1000}},
        order,
    )
}
