//! The dimensions in which a message can grow.

use bson::{Bson, Document, doc};
use petiole::wire::{Frame, build};

use crate::walk::message;

/// One dimension.
pub struct Case {
    pub name: &'static str,
    /// Counts of what there is more and more of.
    pub sizes: [usize; 4],
    /// A message with that many.
    pub message: fn(usize) -> Frame,
}

const WIDE: [usize; 4] = [32, 256, 2_048, 16_384];
/// The server's own limit on nesting is 200.
const DEEP: [usize; 4] = [10, 40, 90, 170];

const fn wide(name: &'static str, message: fn(usize) -> Frame) -> Case {
    Case {
        name,
        sizes: WIDE,
        message,
    }
}

const fn deep(name: &'static str, message: fn(usize) -> Frame) -> Case {
    Case {
        name,
        sizes: DEEP,
        message,
    }
}

pub const ALL: [Case; 64] = [
    // Filters.
    wide("fields", |n| {
        find(each(n, |i| format!("f{i}"), |i| i.into()))
    }),
    wide("fields_descending", |n| {
        find(each(n, |i| format!("f{:06}", n - i), |i| i.into()))
    }),
    wide("fields_nested_paths", |n| {
        find(each(n, |i| format!("a.b{i}.c"), |i| i.into()))
    }),
    wide("fields_operators", |n| {
        find(each(
            n,
            |i| format!("f{i}"),
            |_| doc! {"$gte": 1, "$lt": 5}.into(),
        ))
    }),
    wide("operators_of_one_field", |n| {
        find(doc! {"a": each(n, |i| format!("$op{i}"), |i| i.into())})
    }),
    wide("long_path", |n| find(doc! {vec!["a"; n].join("."): 1})),
    wide("long_name", |n| find(doc! {"a".repeat(8 * n): 1})),
    wide("value_fields", |n| {
        find(doc! {"a": each(n, |i| format!("f{i}"), |i| i.into())})
    }),
    wide("or_same_path", |n| {
        find(doc! {"$or": list(n, |i| doc! {"a": i}.into())})
    }),
    wide("or_other_paths", |n| {
        find(doc! {"$or": list(n, |i| doc! {format!("f{i}"): i}.into())})
    }),
    wide("or_of_in", |n| {
        find(doc! {"$or": list(n, |i| doc! {"a": {"$in": [i, 1]}}.into())})
    }),
    wide("or_dead_branches", |n| {
        find(doc! {"$or": list(n, |i| doc! {format!("f{i}"): {"$in": []}}.into())})
    }),
    wide("and_other_paths", |n| {
        find(doc! {"$and": list(n, |i| doc! {format!("f{i}"): {"$gt": i}}.into())})
    }),
    wide("and_same_path", |n| {
        find(doc! {"$and": list(n, |i| doc! {"a": i}.into())})
    }),
    wide("and_of_ors", |n| {
        find(doc! {"$and": list(n, |i| doc! {"$or": [{"a": i}, {"b": i}]}.into())})
    }),
    wide("and_of_ids", |n| {
        find(doc! {"$and": list(n, |i| doc! {"_id": i}.into())})
    }),
    wide("nor", |n| {
        find(doc! {"$nor": list(n, |i| doc! {format!("f{i}"): i}.into())})
    }),
    wide("in_numbers", |n| {
        find(doc! {"a": {"$in": list(n, |i| shuffled(i).into())}})
    }),
    wide("in_strings", |n| {
        find(
            doc! {"a": {"$in": list(n, |i| format!("the same beginning of all {}", shuffled(i)).into())}},
        )
    }),
    wide("in_of_id", |n| {
        find(doc! {"_id": {"$in": list(n, |i| shuffled(i).into())}})
    }),
    wide("all_values", |n| {
        find(doc! {"a": {"$all": list(n, |i| i.into())}})
    }),
    wide("all_elem_match", |n| {
        find(doc! {"a": {"$all": list(n, |i| doc! {"$elemMatch": {format!("f{i}"): i}}.into())}})
    }),
    wide("types", |n| {
        find(doc! {"a": {"$type": list(n, |_| "string".into())}})
    }),
    wide("regex", |n| {
        find(doc! {"user": {"$regex": "a".repeat(4 * n)}})
    }),
    deep("depth_of_value", |n| {
        find(doc! {"a": nested(n, |inner| doc! {"a": inner})})
    }),
    deep("depth_of_array", |n| {
        find(doc! {"a": (0..n).fold(Bson::Int32(1), |inner, _| Bson::Array(vec![inner]))})
    }),
    deep("depth_of_and", |n| {
        find(nested(n, |inner| doc! {"$and": [inner, {"b": 1}]}))
    }),
    deep("depth_of_or", |n| {
        find(nested(n, |inner| doc! {"$or": [inner, {"b": 1}]}))
    }),
    deep("depth_of_nor", |n| {
        find(nested(n, |inner| doc! {"$nor": [inner]}))
    }),
    deep("depth_of_elem_match", |n| {
        find(nested(n, |inner| doc! {"a": {"$elemMatch": inner}}))
    }),
    deep("depth_of_not", |n| {
        find(doc! {"a": nested(n, |inner| doc! {"$not": inner})})
    }),
    // What else a read has.
    wide("sort", |n| {
        read("sort", each(n, |i| format!("f{i}"), |_| 1.into()))
    }),
    wide("projection", |n| {
        read("projection", each(n, |i| format!("f{i}"), |_| 1.into()))
    }),
    wide("projection_of_parts", |n| {
        read(
            "projection",
            each(n, |i| format!("f{}.g{i}", i % 100), |_| 1.into()),
        )
    }),
    wide("hint", |n| {
        read("hint", each(n, |i| format!("f{i}"), |_| 1.into()))
    }),
    wide("let", |n| {
        read("let", each(n, |i| format!("v{i}"), |i| i.into()))
    }),
    wide("comment", |n| {
        read("comment", each(n, |i| format!("v{i}"), |i| i.into()))
    }),
    wide("sort_and_projection", |n| {
        let fields = each(n, |i| format!("f{i}"), |_| 1.into());
        command(
            doc! {"find": "c", "filter": fields.clone(), "sort": fields.clone(), "projection": fields},
        )
    }),
    wide("unknown_fields", |n| {
        let mut find = doc! {"find": "c"};
        find.extend(each(n, |i| format!("u{i}"), |i| i.into()));
        command(find)
    }),
    wide("unknown_command", |n| {
        let mut other = doc! {"ping": 1};
        other.extend(each(n, |i| format!("u{i}"), |i| i.into()));
        command(other)
    }),
    // Pipelines.
    wide("stages_match", |n| {
        pipeline(list(n, |i| doc! {"$match": {format!("f{i}"): i}}.into()))
    }),
    wide("stages_set", |n| {
        pipeline(list(n, |i| doc! {"$set": {format!("f{i}"): i}}.into()))
    }),
    wide("stages_before_count", |n| {
        let mut stages = list(n, |i| doc! {"$match": {format!("f{i}"): i}}.into());
        stages.extend([
            doc! {"$project": {"a": 1}}.into(),
            doc! {"$count": "n"}.into(),
        ]);
        pipeline(stages)
    }),
    wide("project_before_count", |n| {
        let project = each(n, |i| format!("f{i}"), |_| 1.into());
        pipeline(vec![
            doc! {"$project": project}.into(),
            doc! {"$count": "n"}.into(),
        ])
    }),
    wide("group", |n| {
        let mut group = doc! {"_id": "$a"};
        group.extend(each(
            n,
            |i| format!("f{i}"),
            |i| doc! {"$sum": format!("$g{i}")}.into(),
        ));
        pipeline(vec![
            doc! {"$group": group}.into(),
            doc! {"$count": "n"}.into(),
        ])
    }),
    wide("facets", |n| {
        let facets = each(
            n,
            |i| format!("f{i}"),
            |i| Bson::Array(vec![doc! {"$match": {"a": i}}.into()]),
        );
        pipeline(vec![doc! {"$facet": facets}.into()])
    }),
    wide("expression", |n| {
        pipeline(vec![
            doc! {"$set": {"a": {"$add": list(n, |i| format!("$f{i}").into())}}}.into(),
        ])
    }),
    deep("depth_of_expression", |n| {
        pipeline(vec![
            doc! {"$group": {"_id": nested(n, |inner| doc! {"$abs": inner})}}.into(),
        ])
    }),
    deep("depth_of_lookup", |n| {
        let inner = nested(
            n / 4,
            |inner| doc! {"$lookup": {"from": "x", "as": "y", "pipeline": [inner]}},
        );
        let inner = if n < 4 {
            doc! {"$match": {}}
        } else {
            inner
        };
        pipeline(vec![inner.into()])
    }),
    // Writes.
    wide("inserted_documents", |n| {
        command(
            doc! {"insert": "c", "documents": list(n, |i| doc! {"_id": i, "user": i, "score": 1}.into())},
        )
    }),
    wide("inserted_sequence", |n| {
        sequence(
            "insert",
            "documents",
            n,
            |i| doc! {"_id": i, "user": i, "score": 1},
        )
    }),
    wide("inserted_fields", |n| {
        command(doc! {"insert": "c", "documents": [each(n, |i| format!("f{i}"), |i| i.into())]})
    }),
    wide("inserted_timestamps", |n| {
        let zero = Bson::Timestamp(bson::Timestamp {
            time: 0,
            increment: 0,
        });
        command(doc! {"insert": "c", "documents": [each(n, |i| format!("f{i}"), |_| zero.clone())]})
    }),
    wide("inserted_array", |n| {
        command(
            doc! {"insert": "c", "documents": [{"_id": 1, "user": list(n, |i| i.into()), "score": 1}]},
        )
    }),
    wide("inserted_arrays", |n| {
        let arrays = list(n / 16, |i| doc! {"c": list(16, |j| (i + j).into())}.into());
        command(doc! {"insert": "c", "documents": [{"_id": 1, "b": arrays}]})
    }),
    wide("update_statements", |n| {
        sequence(
            "update",
            "updates",
            n,
            |i| doc! {"q": {"_id": i}, "u": {"$inc": {"score": 1}}},
        )
    }),
    wide("update_statements_unlike", |n| {
        sequence(
            "update",
            "updates",
            n,
            |i| doc! {"q": {"user": {"$gt": i}}, "u": {"$set": {format!("g{i}"): 1}}, "multi": true},
        )
    }),
    wide("update_fields", |n| {
        update(
            doc! {"user": 1},
            doc! {"$set": each(n, |i| format!("f{i}"), |i| i.into())},
            true,
        )
    }),
    wide("update_same_field", |n| {
        let operators = each(n, |i| format!("f{}", i % 200), |i| i.into());
        let filter = each(n.min(200), |i| format!("f{i}"), |i| i.into());
        update(
            filter,
            doc! {"$set": operators, "$inc": each(n, |i| format!("n.x{i}"), |i| i.into())},
            true,
        )
    }),
    wide("update_and_filter_fields", |n| {
        update(
            each(n, |i| format!("f{i}"), |i| i.into()),
            doc! {"$set": each(n, |i| format!("g{i}"), |i| i.into())},
            true,
        )
    }),
    wide("update_stages", |n| {
        let stages = list(n, |i| doc! {"$set": {format!("f{i}"): i}}.into());
        command(doc! {"update": "c", "updates": [{"q": {"a": 1}, "u": stages, "upsert": true}]})
    }),
    wide("delete_statements", |n| {
        sequence(
            "delete",
            "deletes",
            n,
            |i| doc! {"q": {"user": {"$lt": i}}, "limit": 0},
        )
    }),
    wide("sections", |n| {
        let one = doc! {"_id": 1}.to_vec().expect("a document that encodes");
        let sections: Vec<(&str, &[u8])> = (0..n).map(|_| ("documents", one.as_slice())).collect();
        let body = doc! {"insert": "c", "$db": "d"}
            .to_vec()
            .expect("a document that encodes");
        Frame {
            bytes: build::op_msg_with_sequences(1, 0, 0, &body, &sections),
        }
    }),
    wide("bulk_write_namespaces", |n| {
        command(
            doc! {"bulkWrite": 1, "ops": [], "nsInfo": list(n, |i| doc! {"ns": format!("d.c{i}")}.into())},
        )
    }),
];

fn command(mut document: Document) -> Frame {
    document.insert("$db", "d");
    message(&document)
}

fn find(filter: Document) -> Frame {
    command(doc! {"find": "c", "filter": filter})
}

fn read(field: &str, value: Document) -> Frame {
    command(doc! {"find": "c", "filter": {"a": 1}, field: value})
}

fn pipeline(stages: Vec<Bson>) -> Frame {
    command(doc! {"aggregate": "c", "pipeline": stages, "cursor": {}})
}

fn update(filter: Document, update: Document, upsert: bool) -> Frame {
    command(doc! {"update": "c", "updates": [{"q": filter, "u": update, "upsert": upsert}]})
}

fn sequence(name: &str, list: &str, n: usize, one: impl Fn(i64) -> Document) -> Frame {
    let documents: Vec<u8> = (0..n as i64)
        .flat_map(|i| one(i).to_vec().expect("a document that encodes"))
        .collect();
    let body = doc! {name: "c", "$db": "d"}
        .to_vec()
        .expect("a document that encodes");
    Frame {
        bytes: build::op_msg_with_sequences(1, 0, 0, &body, &[(list, &documents)]),
    }
}

fn each(n: usize, key: impl Fn(usize) -> String, value: impl Fn(i64) -> Bson) -> Document {
    (0..n).map(|i| (key(i), value(i as i64))).collect()
}

fn list(n: usize, item: impl Fn(i64) -> Bson) -> Vec<Bson> {
    (0..n as i64).map(item).collect()
}

fn nested(n: usize, around: impl Fn(Document) -> Document) -> Document {
    (0..n).fold(doc! {"a": 1}, |inner, _| around(inner))
}

/// Numbers in no order.
fn shuffled(i: i64) -> i64 {
    i * 7_919 % 1_000_003
}
