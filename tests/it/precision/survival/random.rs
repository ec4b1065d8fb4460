//! Random documents and filters over a domain so small that they meet all the time.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, Timestamp, doc};

use crate::precision::random::Random;

/// True that many times in a hundred.
pub fn percent(r: &mut Random, n: usize) -> bool {
    r.below(100) < n
}

pub const FIELDS: [&str; 4] = ["a", "b", "c", "d"];

pub fn path(r: &mut Random) -> &'static str {
    match r.below(100) {
        0..64 => r.pick(&FIELDS),
        64..92 => r.pick(&["a.b", "a.c", "b.a", "b.b", "b.c", "c.b", "c.c", "d.b.c"]),
        _ => r.pick(&["a.0", "a.0.b", "b.0.c", "b.2.b", "c.1", "a.3.c", "a.2.b"]),
    }
}

pub fn id(r: &mut Random) -> Bson {
    match r.below(11) {
        n @ 0..=4 => Bson::Int32(n as i32),
        5 => Bson::Int64(1),
        6 => Bson::Double(2.0),
        7 => Bson::Double(1.5),
        8 => "x".into(),
        9 => Bson::ObjectId(ObjectId::from_bytes([7; 12])),
        _ => "X".into(),
    }
}

pub fn scalar(r: &mut Random) -> Bson {
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

/// An array whose elements lack this or that: a new element, or a new field in all of them, makes
/// or ends a match with null.
fn uneven(r: &mut Random) -> Bson {
    let element = |r: &mut Random| -> Bson {
        match r.below(4) {
            0 => scalar(r),
            1 => doc! {"b": scalar(r)}.into(),
            2 => doc! {"c": scalar(r)}.into(),
            _ => small(r).into(),
        }
    };
    Bson::Array((0..r.below(3)).map(|_| element(r)).collect())
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
    if percent(r, 30) {
        d.insert("a", uneven(r));
    }
    if percent(r, 93) {
        d.insert("_id", id(r));
    }
    d
}

pub fn operand(r: &mut Random) -> Bson {
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
    if percent(r, 10) {
        let path = r.pick(&["a.b", "a.c"]);
        let missing = [
            Bson::Null,
            doc! {"$exists": false}.into(),
            doc! {"$ne": null}.into(),
        ];
        return doc! {path: r.pick(&missing)};
    }
    match r.below(100) {
        0..10 => return f,
        10..25 => return doc! {r.pick(&FIELDS): {"$exists": percent(r, 75)}},
        25..32 => return doc! {"_id": {"$gt": id(r)}},
        _ => {}
    }
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
