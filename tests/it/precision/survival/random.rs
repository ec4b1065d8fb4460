//! Random documents, reads and writes over a domain so small that they meet all the time.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, Timestamp, doc};

use crate::precision::random::Random;

/// True that many times in a hundred.
fn percent(r: &mut Random, n: usize) -> bool {
    r.below(100) < n
}

pub const FIELDS: [&str; 4] = ["a", "b", "c", "d"];

fn path(r: &mut Random) -> &'static str {
    match r.below(100) {
        0..64 => r.pick(&FIELDS),
        64..92 => r.pick(&["a.b", "a.c", "b.a", "b.b", "b.c", "c.b", "c.c", "d.b.c"]),
        _ => r.pick(&["a.0", "a.0.b", "b.0.c", "b.2.b", "c.1", "a.3.c", "a.2.b"]),
    }
}

pub fn id(r: &mut Random) -> Bson {
    match r.below(14) {
        n @ 0..=7 => Bson::Int32(n as i32),
        8 => Bson::Int64(1),
        9 => Bson::Double(2.0),
        10 => Bson::Double(1.5),
        11 => "x".into(),
        12 => Bson::ObjectId(ObjectId::from_bytes([7; 12])),
        _ => "X".into(),
    }
}

fn scalar(r: &mut Random) -> Bson {
    match r.below(24) {
        n @ 0..=7 => Bson::Int32((n % 4) as i32),
        8 => Bson::Int64(1),
        9 => Bson::Int64(2),
        10 => Bson::Double(1.0),
        11 => Bson::Double(1.5),
        12 => Bson::Decimal128("1".parse().unwrap()),
        13 => Bson::Decimal128("2.0".parse().unwrap()),
        14 => Bson::Null,
        15 => Bson::Boolean(true),
        16 => Bson::DateTime(DateTime::from_millis(1_000)),
        17 => Bson::ObjectId(ObjectId::from_bytes([7; 12])),
        18 => Bson::Timestamp(Timestamp {
            time: 0,
            increment: 0,
        }),
        19 => Bson::Double(f64::NAN),
        20 => "X".into(),
        21 => regex("x"),
        _ => r.pick(&["x", "y", "xy"]).into(),
    }
}

fn regex(pattern: &str) -> Bson {
    Bson::RegularExpression(bson::Regex {
        pattern: pattern.try_into().unwrap(),
        options: "".try_into().unwrap(),
    })
}

pub fn value(r: &mut Random) -> Bson {
    match r.below(20) {
        0 | 1 => small(r).into(),
        2 => Bson::Array((0..r.below(4)).map(|_| scalar(r)).collect()),
        3 => Bson::Array((0..r.below(3)).map(|_| small(r).into()).collect()),
        4 => vec![small(r)].into(),
        5 => Bson::Array(vec![scalar(r), small(r).into()]),
        6 => Bson::Array(vec![Bson::Array(vec![scalar(r), small(r).into()])]),
        _ => scalar(r),
    }
}

fn small(r: &mut Random) -> Document {
    let mut d = Document::new();
    for field in ["b", "c", "a"] {
        if percent(r, 50) {
            let value = match r.below(8) {
                0 => doc! {"c": scalar(r)}.into(),
                1 => Bson::Array(vec![scalar(r), scalar(r)]),
                _ => scalar(r),
            };
            d.insert(field, value);
        }
    }
    d
}

pub fn fields(r: &mut Random) -> Document {
    let mut d = Document::new();
    for field in FIELDS {
        match r.below(100) {
            0..25 => {}
            25..29 => drop(d.insert(
                field,
                Timestamp {
                    time: 0,
                    increment: 0,
                },
            )),
            _ => drop(d.insert(field, value(r))),
        }
    }
    d
}

pub fn document(r: &mut Random) -> Document {
    let mut d = fields(r);
    if percent(r, 93) {
        d.insert("_id", id(r));
    }
    d
}

fn operand(r: &mut Random) -> Bson {
    match r.below(17) {
        // What the server makes of a timestamp of zero.
        16 => doc! {r.pick(&["$gt", "$ne"]): Timestamp { time: 0, increment: 0 }}.into(),
        14 => Bson::Null,
        15 => doc! {"$exists": false}.into(),
        0 => doc! {"$in": [scalar(r), scalar(r)]}.into(),
        1 => doc! {"$ne": value(r)}.into(),
        2 => doc! {r.pick(&["$gt", "$gte", "$lt", "$lte"]): scalar(r)}.into(),
        3 => doc! {"$exists": percent(r, 50)}.into(),
        4 => doc! {"$eq": value(r)}.into(),
        5 => match r.below(10) {
            0 => doc! {"$size": r.below(3) as i32}.into(),
            1 => doc! {"$all": [scalar(r), scalar(r)]}.into(),
            2 => doc! {"$type": r.pick(&["int", "number", "string", "array", "object", "null"])}
                .into(),
            3 => doc! {"$not": {"$gt": scalar(r)}}.into(),
            4 => doc! {"$elemMatch": {"b": scalar(r)}}.into(),
            5 => doc! {"$elemMatch": {"$gte": scalar(r)}}.into(),
            6 => doc! {"$nin": [scalar(r), Bson::Null]}.into(),
            7 => doc! {"$mod": [2, 1]}.into(),
            8 => regex("x"),
            _ => doc! {"$gt": scalar(r), "$lt": scalar(r)}.into(),
        },
        _ => value(r),
    }
}

fn id_operand(r: &mut Random) -> Bson {
    match r.below(8) {
        0 => doc! {"$in": [id(r), id(r)]}.into(),
        1 => doc! {r.pick(&["$gt", "$ne", "$lte"]): id(r)}.into(),
        2 => doc! {"$type": r.pick(&["int", "double", "long"])}.into(),
        3 => doc! {"$eq": id(r)}.into(),
        _ => id(r),
    }
}

pub fn filter(r: &mut Random) -> Document {
    let mut f = Document::new();
    if percent(r, 30) {
        f.insert("_id", id_operand(r));
    }
    if percent(r, 80) || f.is_empty() && percent(r, 80) {
        f.insert(path(r), operand(r));
    }
    if percent(r, 30) {
        f.insert(path(r), operand(r));
    }
    match r.below(24) {
        0 => drop(f.insert(
            "$or",
            vec![doc! {path(r): operand(r)}, doc! {path(r): operand(r)}],
        )),
        1 => drop(f.insert(
            "$and",
            vec![doc! {path(r): operand(r)}, doc! {path(r): operand(r)}],
        )),
        2 => drop(f.insert("$nor", vec![doc! {path(r): operand(r)}])),
        3 => drop(f.insert(
            "$expr",
            doc! {"$eq": [format!("${}", r.pick(&FIELDS)), scalar(r)]},
        )),
        _ => {}
    }
    f
}

pub fn collation(r: &mut Random) -> Option<Document> {
    percent(r, 6).then(|| doc! {"locale": "en", "strength": 1})
}

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

fn sort(r: &mut Random, total: bool) -> Document {
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
        5 => drop(c.insert("returnKey", true)),
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

/// A write, as a command.
pub fn write(r: &mut Random, collection: &str, db: &str) -> Document {
    let mut command = match r.below(20) {
        0..=2 => {
            let documents: Vec<_> = (0..1 + r.below(2)).map(|_| document(r)).collect();
            doc! {"insert": collection, "documents": documents}
        }
        3..=4 => {
            let mut delete = doc! {"q": selector(r), "limit": r.below(2) as i32};
            if let Some(collation) = collation(r) {
                delete.insert("collation", collation);
            }
            doc! {"delete": collection, "deletes": [delete]}
        }
        5..=6 => find_and_modify(r, collection),
        _ => {
            let updates: Vec<_> = (0..1 + r.below(6) / 5)
                .map(|_| update_statement(r))
                .collect();
            doc! {"update": collection, "updates": updates, "ordered": percent(r, 50)}
        }
    };
    command.insert("$db", db);
    command
}

fn selector(r: &mut Random) -> Document {
    match r.below(12) {
        0..=5 => doc! {"_id": id(r)},
        6 => doc! {"_id": id(r), path(r): value(r)},
        7..=8 => doc! {r.pick(&FIELDS): value(r)},
        _ => filter(r),
    }
}

fn update_statement(r: &mut Random) -> Document {
    let mut s = doc! {"q": selector(r)};
    let (update, filters) = update(r, &mut s, "q");
    if update.as_array().is_some() || update.as_document().is_some_and(by_operators) {
        s.insert("multi", percent(r, 40));
    }
    s.insert("u", update);
    if !filters.is_empty() {
        s.insert("arrayFilters", filters);
    }
    if percent(r, 25) {
        s.insert("upsert", true);
    }
    if let Some(collation) = collation(r) {
        s.insert("collation", collation);
    }
    s
}

fn find_and_modify(r: &mut Random, collection: &str) -> Document {
    let mut c = doc! {"findAndModify": collection, "query": selector(r)};
    if percent(r, 30) {
        c.insert("sort", sort(r, true));
    }
    if percent(r, 25) {
        c.insert("remove", true);
        return c;
    }
    let (update, filters) = update(r, &mut c, "query");
    c.insert("update", update);
    if !filters.is_empty() {
        c.insert("arrayFilters", filters);
    }
    c.insert("upsert", percent(r, 25));
    if let Some(collation) = collation(r) {
        c.insert("collation", collation);
    }
    c
}

fn by_operators(update: &Document) -> bool {
    update.keys().next().is_some_and(|key| key.starts_with('$'))
}

fn update(r: &mut Random, statement: &mut Document, q: &str) -> (Bson, Vec<Document>) {
    match r.below(20) {
        0..=2 => {
            let mut d = fields(r);
            if percent(r, 10) {
                d.insert("_id", id(r));
            }
            (d.into(), vec![])
        }
        3..=4 => (pipeline(r).into(), vec![]),
        5 => {
            // A positional operator needs a condition on its array.
            let array = r.pick(&["a", "b", "c"]);
            let filter = statement.get_document_mut(q).unwrap();
            let condition = if percent(r, 50) {
                doc! {"$elemMatch": {"$exists": true}}.into()
            } else {
                operand(r)
            };
            filter.insert(array, condition);
            let target = r.pick(&["$", "$.b", "$.c"]);
            (
                doc! {"$set": {format!("{array}.{target}"): scalar(r)}}.into(),
                vec![],
            )
        }
        6 => {
            let array = r.pick(&["a", "b", "c"]);
            let target = r.pick(&["$[]", "$[].b", "$[].c"]);
            (
                doc! {r.pick(&["$set", "$unset"]): {format!("{array}.{target}"): scalar(r)}}.into(),
                vec![],
            )
        }
        7 => {
            let array = r.pick(&["a", "b", "c"]);
            let (target, filter) = if percent(r, 50) {
                ("$[x].c", doc! {"x.b": operand(r)})
            } else {
                ("$[x]", doc! {"x": operand(r)})
            };
            (
                doc! {"$set": {format!("{array}.{target}"): scalar(r)}}.into(),
                vec![filter],
            )
        }
        _ => {
            let mut update = Document::new();
            for _ in 0..1 + r.below(5) / 3 {
                let (operator, target, operand) = operator(r);
                let targets = update
                    .entry(operator.to_owned())
                    .or_insert(Document::new().into());
                targets.as_document_mut().unwrap().insert(target, operand);
            }
            (update.into(), vec![])
        }
    }
}

fn operator(r: &mut Random) -> (&'static str, &'static str, Bson) {
    let p = path(r);
    match r.below(30) {
        0..=11 => ("$set", p, value(r)),
        12 => ("$set", "_id", id(r)),
        13..=14 => ("$unset", p, "".into()),
        15 => ("$inc", p, 1.into()),
        16 => ("$mul", p, 2.into()),
        17 => ("$min", p, scalar(r)),
        18 => ("$max", p, scalar(r)),
        19 => ("$rename", p, r.pick(&["a", "b", "c.b", "d", "e"]).into()),
        20 => ("$push", p, value(r)),
        21 => (
            "$push",
            p,
            doc! {"$each": [scalar(r), scalar(r)], "$position": 0, "$slice": 3, "$sort": 1}.into(),
        ),
        22 => ("$pull", p, operand(r)),
        23 => ("$pullAll", p, Bson::Array(vec![scalar(r), scalar(r)])),
        24 => ("$addToSet", p, scalar(r)),
        25 => ("$pop", p, 1.into()),
        26 => ("$bit", p, doc! {"xor": 1}.into()),
        27 => ("$currentDate", p, true.into()),
        28 => ("$setOnInsert", "_id", id(r)),
        _ => ("$setOnInsert", p, value(r)),
    }
}

fn pipeline(r: &mut Random) -> Vec<Document> {
    let (f, g) = (r.pick(&FIELDS), r.pick(&FIELDS));
    vec![match r.below(9) {
        0 | 1 => doc! {"$set": {f: {"$literal": scalar(r)}}},
        2 => {
            doc! {"$addFields": {r.pick(&["a.b", "b.c", "c.b", "d.b.c"]): {"$literal": scalar(r)}}}
        }
        3 => doc! {"$set": {f: format!("${g}")}},
        4 => doc! {"$unset": path(r)},
        5 => doc! {"$unset": [f, g]},
        6 => doc! {"$project": {f: 1, g: 1}},
        7 => doc! {"$replaceWith": {f: {"$literal": scalar(r)}}},
        _ => doc! {"$set": {"_id": {"$literal": id(r)}, f: 1}},
    }]
}
