use bson::{Document, doc};
use bytes::Bytes;

use super::*;
use crate::wire::build;
use crate::wire::frame::Frame;

fn parsed(document: &Document) -> (Command, OpMsg) {
    let body = document.to_vec().unwrap();
    let bytes = build::op_msg(1, 0, 0, &body);
    let msg = OpMsg::parse(&Frame { bytes }).unwrap();
    (Command::parse(&msg).unwrap(), msg)
}

fn text(mut document: Document) -> String {
    document.insert("$db", "game");
    let (command, msg) = parsed(&document);
    shape_text(&command, &msg)
}

fn id(mut document: Document) -> ShapeId {
    if !document.contains_key("$db") {
        document.insert("$db", "game");
    }
    let (command, msg) = parsed(&document);
    shape_id(&command, &msg)
}

/// Both have one shape, in both forms.
#[track_caller]
fn same(a: Document, b: Document) {
    assert_eq!(text(a.clone()), text(b.clone()));
    assert_eq!(id(a), id(b));
}

#[track_caller]
fn differ(a: Document, b: Document) {
    assert_ne!(id(a), id(b));
}

#[test]
fn a_shape_reads_as_people_write_it() {
    let find = doc! {"find": "users", "filter": {"guild": 5, "at": {"$gte": 1, "$lt": 9}}, "sort": {"balance": -1},
    "projection": {"balance": 1, "_id": false}, "limit": 10, "lsid": {"id": 1}, "comment": "x"};
    assert_eq!(
        text(find),
        "{filter: {guild: ?, at: {$gte: ?, $lt: ?}}, sort: {balance: -1}, projection: {balance: 1, _id: 0}, limit: ?}"
    );
    let update = doc! {"update": "users", "updates": [{"q": {"_id": 5}, "u": {"$inc": {"balance": 5}, "$set": {"a.b": "x"}}, "upsert": true}]};
    assert_eq!(
        text(update),
        "{updates: [{q: {_id: ?}, u: {$inc: {balance: ?}, $set: {a.b: ?}}, upsert: true}]}"
    );
    let aggregate = doc! {"aggregate": "c", "pipeline": [{"$match": {"a": "secret"}}, {"$group": {"_id": "$b", "n": {"$sum": 1}}},
    {"$lookup": {"from": "users", "localField": "b", "foreignField": "_id", "as": "u"}}, {"$limit": 5}], "cursor": {}};
    assert_eq!(
        text(aggregate),
        "{pipeline: [{$match: {a: ?}}, {$group: {_id: \"$b\", n: {$sum: ?}}}, \
         {$lookup: {from: \"users\", localField: \"b\", foreignField: \"_id\", as: \"u\"}}, {$limit: ?}]}"
    );
}

#[test]
fn values_dont_make_a_shape() {
    let find = |filter: Document| doc! {"find": "users", "filter": filter};
    same(find(doc! {"a": 1}), find(doc! {"a": "text"}));
    same(find(doc! {"a": {"b": 1}}), find(doc! {"a": 5}));
    same(
        find(doc! {"a": {"$in": [1]}}),
        find(doc! {"a": {"$in": [1, 2, 3]}}),
    );
    same(
        find(doc! {"$or": [{"a": 1}, {"a": 2}, {"a": 3}]}),
        find(doc! {"$or": [{"a": 1}]}),
    );
    same(find(doc! {"items.3.n": 1}), find(doc! {"items.14.n": 1}));
    same(
        doc! {"find": "users", "filter": {"a": 1}, "lsid": 1, "maxTimeMS": 5, "batchSize": 3},
        find(doc! {"a": 1}),
    );
    let update = |n: usize| {
        let one = doc! {"q": {"_id": 1}, "u": {"$set": {"a": 1}}};
        doc! {"update": "users", "updates": vec![one; n]}
    };
    same(update(1), update(100));
}

#[test]
fn what_chooses_a_plan_makes_a_shape() {
    let find = |filter: Document| doc! {"find": "users", "filter": filter};
    differ(find(doc! {"a": 1}), find(doc! {"b": 1}));
    differ(find(doc! {"a": 1}), find(doc! {"a": {"$gt": 1}}));
    differ(find(doc! {"a": 1}), find(doc! {"a": bson::Bson::Null}));
    differ(
        find(doc! {"a": {"$exists": true}}),
        find(doc! {"a": {"$exists": false}}),
    );
    differ(
        doc! {"find": "users", "sort": {"a": 1}},
        doc! {"find": "users", "sort": {"a": -1}},
    );
    differ(
        doc! {"find": "users", "collation": {"locale": "en"}},
        doc! {"find": "users", "collation": {"locale": "fr"}},
    );
    differ(
        doc! {"distinct": "users", "key": "a"},
        doc! {"distinct": "users", "key": "b"},
    );
    differ(doc! {"find": "users"}, doc! {"find": "guilds"});
    differ(
        doc! {"find": "users", "$db": "a"},
        doc! {"find": "users", "$db": "b"},
    );
    differ(doc! {"find": "users"}, doc! {"count": "users"});
    // Names that run into each other.
    differ(
        find(doc! {"a": 1, "b": {"$in": [1]}}),
        find(doc! {"a": {"$in": [1]}, "b": 1}),
    );
}

#[test]
fn the_order_of_conditions_makes_no_shape() {
    let find = |filter: Document| doc! {"find": "users", "filter": filter};
    let same_id = |a: Document, b: Document| assert_eq!(id(find(a)), id(find(b)));
    same_id(
        doc! {"a": 1, "b": {"$gt": 1}},
        doc! {"b": {"$gt": 1}, "a": 1},
    );
    same_id(
        doc! {"a": {"$gte": 1, "$lt": 2}},
        doc! {"a": {"$lt": 2, "$gte": 1}},
    );
    same_id(
        doc! {"$or": [{"a": 1, "b": 1}], "c": 1},
        doc! {"c": 1, "$or": [{"b": 1, "a": 1}]},
    );
    differ(find(doc! {"a": 1, "b": 1}), find(doc! {"a": 1}));
    differ(find(doc! {"a": {"b": 1}}), find(doc! {"a": 1, "b": 1}));
    // A sort's order counts.
    let sort = |sort: Document| doc! {"find": "users", "sort": sort};
    differ(sort(doc! {"a": 1, "b": 1}), sort(doc! {"b": 1, "a": 1}));
}

#[test]
fn what_looks_like_a_field_s_path_and_is_a_value_is_masked() {
    let stages = [
        doc! {"$graphLookup": {
            "from": "t", "startWith": "SECRET", "connectFromField": "a", "connectToField": "b", "as": "x",
            "restrictSearchWithMatch": {"p": "$SECRET"},
        }},
        doc! {"$geoNear": {"key": "g", "distanceField": "d", "query": {"p": "$SECRET", "$or": [{"q": {"$ne": "$SECRET"}}]}}},
        doc! {"$search": {"text": {"query": "$SECRET", "path": "a"}}},
        doc! {"$lookup": {"from": "t", "as": "x", "let": {"v": "SECRET"}, "pipeline": [{"$match": {"p": "$SECRET"}}]}},
    ];
    for stage in stages {
        let text = text(doc! {"aggregate": "t", "pipeline": [stage]});
        assert!(!text.contains("SECRET"), "{text}");
    }
    let projection = doc! {"a": {"$elemMatch": {"b": "$SECRET"}}};
    let text = text(doc! {"find": "t", "projection": projection});
    assert!(!text.contains("SECRET"), "{text}");
}

#[test]
fn hash_and_text_agree_on_what_is_the_same() {
    let filters = [
        doc! {"a": 1},
        doc! {"a": {"$gt": 1}},
        doc! {"$or": [{"a": 1}, {"b": 1}]},
        doc! {"$or": [{"b": 1}, {"a": 1}]},
        doc! {"$or": [{"a": 1}, {"a": 5}, {"b": 1}]},
        doc! {"a": {"$elemMatch": {"b": 1, "c": {"$lt": 4}}}},
        doc! {"a": {"$elemMatch": {"$gt": 1}}},
        doc! {"a": {"$not": {"$gt": 1}}},
        doc! {"$expr": {"$gt": ["$a", "$b"]}},
        doc! {"$expr": {"$gt": ["$a", 5]}},
        doc! {},
    ];
    for a in &filters {
        for b in &filters {
            let find = |filter: &Document| doc! {"find": "users", "filter": filter.clone()};
            assert_eq!(
                id(find(a)) == id(find(b)),
                text(find(a)) == text(find(b)),
                "{a} {b}"
            );
        }
    }
}

#[test]
fn statements_of_a_sequence_are_read_as_those_in_the_body() {
    let body = doc! {"delete": "users", "deletes": [{"q": {"a": 1}, "limit": 1}], "$db": "game"};
    let (command, msg) = parsed(&body);
    let apart = doc! {"delete": "users", "$db": "game"}.to_vec().unwrap();
    let statement = doc! {"q": {"a": 7}, "limit": 1}.to_vec().unwrap();
    let sequence = crate::wire::op_msg::Sequence {
        identifier: crate::wire::op_msg::Identifier::new(Bytes::from_static(b"deletes")).unwrap(),
        documents: Bytes::from(statement.clone()),
    };
    let with_sequence = OpMsg {
        body: Some(Bytes::from(apart)),
        sequences: vec![sequence],
        ..OpMsg::default()
    };
    let other = Command::parse(&with_sequence).unwrap();
    assert_eq!(
        shape_text(&command, &msg),
        shape_text(&other, &with_sequence)
    );
    assert_eq!(shape_id(&command, &msg), shape_id(&other, &with_sequence));
    assert_eq!(
        first_statement(&other, &with_sequence),
        Some(&statement[..])
    );
}

#[test]
fn broken_and_deep_documents_have_a_shape_too() {
    let mut deep = doc! {"a": 1};
    for _ in 0..100 {
        deep = doc! {"$and": [deep]};
    }
    assert!(text(doc! {"find": "c", "filter": deep}).contains('…'));
    let wide: Document = (0..3000)
        .map(|i| (format!("field{i}x"), bson::Bson::Int32(1)))
        .collect();
    let text = text(doc! {"find": "c", "filter": wide});
    assert!(text.len() < 5000 && text.ends_with('…'));
}

#[test]
fn of_a_very_wide_command_the_first_parts_make_the_shape() {
    let filter = |fields: usize| -> Document {
        let names = (0..fields).map(|i| (format!("field{i}x"), bson::Bson::Int32(1)));
        names.collect()
    };
    let find = |fields: usize| doc! {"find": "c", "filter": filter(fields), "sort": {"a": 1}};
    differ(find(1_000), find(1_001));
    same(find(20_000), find(20_001));
    let update = |fields: usize| {
        let one = doc! {"q": {}, "u": {"$set": filter(fields)}};
        doc! {"update": "c", "updates": [one]}
    };
    differ(update(1_000), update(1_001));
    same(update(20_000), update(20_001));
}

#[test]
fn a_text_takes_no_more_memory_than_it_is_long() {
    for document in [
        doc! {"a".repeat(1 << 20): 1},
        doc! {"a": {"$in": [1]}, "$or": vec![doc! {"b".repeat(10_000): 1}; 100]},
    ] {
        let text = text(doc! {"find": "c", "filter": document});
        assert!(text.capacity() <= text.len() + 16, "{}", text.capacity());
    }
}
