//! Random writes.

use bson::{Bson, Document, doc};

use super::random::{
    FIELDS, collation, document, fields, filter, id, operand, path, percent, scalar, value,
};
use super::reads::sort;
use crate::precision::random::Random;

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
    match r.below(22) {
        20 => {
            let path = r.pick(&["a.1.b", "a.2.c", "a.3.b", "a.1"]);
            (doc! {"$set": {path: scalar(r)}}.into(), vec![])
        }
        21 => {
            let path = r.pick(&["a.b", "a.c"]);
            let stage = doc! {"$set": {path: {"$literal": scalar(r)}}};
            (vec![stage].into(), vec![])
        }
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
