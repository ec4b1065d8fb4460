//! aggregate: stages, expressions, joins, and what it refuses. Prepares
//! `orders` and `staff`.

use bson::{Document, doc};

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [prepare(), stages(), joins(), expressions(), refused()].concat()
}

fn prepare() -> Vec<Op> {
    vec![
        once("insert_orders", |_| {
            doc! { "insert": "orders", "documents": [
                { "_id": 1, "who": 1, "item": "pen", "qty": 5, "price": 1.5 },
                { "_id": 2, "who": 1, "item": "ink", "qty": 1, "price": 9 },
                { "_id": 3, "who": 2, "item": "pen", "qty": 2, "price": 1.25 },
                { "_id": 4, "who": 9, "item": "cup", "qty": 1, "price": 4_i64 },
            ] }
        }),
        once("insert_staff", |_| {
            doc! { "insert": "staff", "documents": [
            { "_id": "ceo" }, { "_id": "cto", "boss": "ceo" }, { "_id": "dev", "boss": "cto" },
            { "_id": "ops", "boss": "cto" }, { "_id": "cfo", "boss": "ceo" }] }
        }),
    ]
}

fn stages() -> Vec<Op> {
    vec![
        read("aggregate_empty_pipeline", |_| on("orders", vec![])),
        read("aggregate_match_sort_project", |_| {
            on(
                "orders",
                vec![
                    doc! { "$match": { "qty": { "$gt": 1 } } },
                    doc! { "$sort": { "price": -1 } },
                    doc! { "$project": { "_id": 0, "item": 1, "total": { "$multiply": ["$qty", "$price"] } } },
                ],
            )
        }),
        read("aggregate_group", |_| {
            on(
                "orders",
                vec![
                    doc! { "$group": { "_id": "$item", "sum": { "$sum": "$qty" }, "avg": { "$avg": "$price" },
                    "min": { "$min": "$price" }, "max": { "$max": "$price" }, "n": { "$count": {} } } },
                    doc! { "$sort": { "_id": 1 } },
                ],
            )
        }),
        read("aggregate_group_accumulators", |_| {
            on(
                "orders",
                vec![
                    doc! { "$sort": { "_id": 1 } },
                    doc! { "$group": { "_id": null,
                    "first": { "$first": "$item" }, "last": { "$last": "$item" }, "all": { "$push": "$qty" },
                    "dev": { "$stdDevPop": "$qty" }, "top": { "$top": { "sortBy": { "price": -1 }, "output": "$item" } } } },
                ],
            )
        }),
        read("aggregate_unwind", |_| {
            on(
                "people",
                vec![
                    doc! { "$unwind": { "path": "$scores", "includeArrayIndex": "i",
                    "preserveNullAndEmptyArrays": true } },
                    doc! { "$project": { "name": 1, "scores": 1, "i": 1 } },
                ],
            )
        }),
        read("aggregate_facet", |_| {
            on(
                "numbers",
                vec![doc! { "$facet": {
                "low": [{ "$match": { "n": { "$lt": 3 } } }],
                "count": [{ "$count": "n" }],
                "by7": [{ "$sortByCount": "$mod7" }, { "$sort": { "_id": 1 } }] } }],
            )
        }),
        read("aggregate_bucket", |_| {
            on(
                "people",
                vec![
                    doc! { "$bucket": { "groupBy": "$age", "boundaries": [0, 30, 60], "default": "other",
                    "output": { "n": { "$sum": 1 }, "names": { "$push": "$name" } } } },
                ],
            )
        }),
        read("aggregate_bucket_auto", |_| {
            on(
                "numbers",
                vec![
                    doc! { "$bucketAuto": { "groupBy": "$n", "buckets": 4, "granularity": "R5" } },
                ],
            )
        }),
        read("aggregate_count", |_| {
            on(
                "numbers",
                vec![
                    doc! { "$match": { "even": true } },
                    doc! { "$count": "even" },
                ],
            )
        }),
        read("aggregate_skip_limit", |_| {
            on(
                "numbers",
                vec![
                    doc! { "$sort": { "n": 1 } },
                    doc! { "$skip": 5 },
                    doc! { "$limit": 3 },
                ],
            )
        }),
        read("aggregate_replace_root", |_| {
            on(
                "people",
                vec![
                    doc! { "$match": { "address.zip": { "$exists": true } } },
                    doc! { "$replaceRoot": { "newRoot": "$address" } },
                ],
            )
        }),
        read("aggregate_redact", |_| {
            on(
                "people",
                vec![
                    doc! { "$redact": { "$cond": [{ "$eq": ["$city", "London"] }, "$$KEEP", "$$PRUNE"] } },
                ],
            )
        }),
        read("aggregate_set_window_fields", |_| {
            on(
                "orders",
                vec![
                    doc! { "$setWindowFields": { "sortBy": { "_id": 1 }, "output": {
                    "running": { "$sum": "$qty", "window": { "documents": ["unbounded", "current"] } } } } },
                ],
            )
        }),
        read("aggregate_fill_and_densify", |_| {
            on(
                "numbers",
                vec![
                    doc! { "$match": { "n": { "$in": [1, 4] } } },
                    doc! { "$project": { "n": 1 } },
                    doc! { "$densify": { "field": "n", "range": { "step": 1, "bounds": "full" } } },
                    doc! { "$fill": { "sortBy": { "n": 1 }, "output": { "_id": { "method": "locf" } } } },
                ],
            )
        }),
        read("aggregate_documents", |_| {
            doc! { "aggregate": 1, "cursor": {}, "pipeline": [{ "$documents": [{ "a": 1 }, { "a": 2 }] }] }
        }),
        read("aggregate_index_stats_names", |_| {
            on("orders", vec![doc! { "$indexStats": {} }])
        })
        .masking(&[
            ("cursor.firstBatch.*.accesses", Mask::Names),
            ("cursor.firstBatch.*.host", Mask::Value),
        ]),
        read("aggregate_coll_stats_count", |_| {
            on("orders", vec![doc! { "$collStats": { "count": {} } }])
        })
        .masking(&[
            ("cursor.firstBatch.*.host", Mask::Value),
            ("cursor.firstBatch.*.localTime", Mask::Value),
        ]),
        read("aggregate_options", |_| {
            doc! { "aggregate": "people", "cursor": { "batchSize": 100 }, "allowDiskUse": true, "maxTimeMS": 60_000,
            "hint": "age_1", "comment": "c", "let": { "limit": 30 }, "collation": { "locale": "en", "strength": 2 },
            "readConcern": { "level": "local" },
            "pipeline": [{ "$match": { "$expr": { "$lt": ["$age", "$$limit"] } } }, { "$sort": { "_id": 1 } }] }
        }),
    ]
}

fn joins() -> Vec<Op> {
    vec![
        read("lookup_equality", |_| {
            on(
                "people",
                vec![
                    doc! { "$lookup": { "from": "orders", "localField": "_id", "foreignField": "who", "as": "orders" } },
                    doc! { "$project": { "name": 1, "orders": 1 } },
                ],
            )
        }),
        read("lookup_pipeline", |_| {
            on(
                "people",
                vec![
                    doc! { "$lookup": { "from": "orders", "let": { "id": "$_id" }, "as": "items", "pipeline": [
                    { "$match": { "$expr": { "$eq": ["$who", "$$id"] } } }, { "$sort": { "_id": 1 } }, { "$project": { "item": 1 } }] } },
                    doc! { "$match": { "items": { "$ne": [] } } },
                    doc! { "$project": { "items": 1 } },
                ],
            )
        }),
        read("lookup_absent_collection", |_| {
            on(
                "orders",
                vec![
                    doc! { "$lookup": { "from": "nothing", "localField": "a", "foreignField": "b", "as": "c" } },
                ],
            )
        }),
        read("graph_lookup", |_| {
            on(
                "staff",
                vec![
                    doc! { "$match": { "_id": "dev" } },
                    doc! { "$graphLookup": { "from": "staff", "startWith": "$boss",
                    "connectFromField": "boss", "connectToField": "_id", "as": "chain", "depthField": "depth" } },
                    doc! { "$set": { "chain": { "$sortArray": { "input": "$chain", "sortBy": { "depth": 1 } } } } },
                ],
            )
        }),
        read("union_with", |_| {
            on(
                "orders",
                vec![
                    doc! { "$project": { "item": 1 } },
                    doc! { "$unionWith": { "coll": "staff", "pipeline": [{ "$match": { "boss": "ceo" } }] } },
                ],
            )
        }),
    ]
}

fn expressions() -> Vec<Op> {
    vec![
        read("expressions_strings", |_| {
            compute(
                doc! { "a": { "$concat": ["$name", "-", "$city"] }, "b": { "$split": ["$city", "n"] },
                "c": { "$regexFind": { "input": "$name", "regex": "[aeiou]" } }, "d": { "$strLenCP": "$name" }, "e": { "$substrCP": ["$name", 0, 2] } },
            )
        }),
        read("expressions_numbers", |_| {
            compute(
                doc! { "a": { "$divide": ["$_id", 3] }, "b": { "$mod": ["$_id", 2] }, "c": { "$round": [{ "$sqrt": "$_id" }, 3] },
                "d": { "$toDecimal": "$_id" }, "e": { "$trunc": { "$pow": ["$_id", 0.5] } } },
            )
        }),
        read("expressions_arrays", |_| {
            compute(
                doc! { "a": { "$map": { "input": { "$ifNull": ["$scores", []] }, "in": "$$this.points" } },
                "b": { "$filter": { "input": { "$ifNull": ["$scores", []] }, "cond": { "$gt": ["$$this.points", 50] } } },
                "c": { "$reduce": { "input": [1, 2, 3], "initialValue": 0, "in": { "$add": ["$$value", "$$this"] } } }, "d": { "$range": [0, 3] } },
            )
        }),
        read("expressions_dates", |_| {
            compute(
                doc! { "a": { "$dateToString": { "date": { "$toDate": 1_700_000_000_000_i64 }, "format": "%Y-%m-%d" } },
                "b": { "$dateAdd": { "startDate": { "$toDate": 0_i64 }, "unit": "month", "amount": 1 } }, "c": { "$year": { "$toDate": 0_i64 } } },
            )
        }),
        read("expressions_conditionals", |_| {
            compute(
                doc! { "a": { "$switch": { "branches": [{ "case": { "$eq": ["$_id", 1] }, "then": "one" }], "default": "more" } },
                "b": { "$ifNull": ["$age", "ageless"] }, "c": { "$type": "$age" }, "d": { "$objectToArray": { "x": "$_id" } } },
            )
        }),
        read("expressions_division_by_zero", |_| {
            compute(doc! { "a": { "$divide": [1, 0] } })
        }),
        read("expressions_bad_conversion", |_| {
            compute(doc! { "a": { "$toInt": "$name" } })
        }),
    ]
}

fn refused() -> Vec<Op> {
    vec![
        read(
            "aggregate_without_cursor",
            |_| doc! { "aggregate": "orders", "pipeline": [] },
        ),
        read("aggregate_unknown_stage", |_| {
            on("orders", vec![doc! { "$frobnicate": {} }])
        }),
        read("aggregate_two_stages_in_one", |_| {
            on("orders", vec![doc! { "$match": {}, "$limit": 1 }])
        }),
        read(
            "aggregate_pipeline_of_wrong_type",
            |_| doc! { "aggregate": "orders", "pipeline": {}, "cursor": {} },
        ),
        read("aggregate_negative_limit", |_| {
            on("orders", vec![doc! { "$limit": -1 }])
        }),
        read("aggregate_search_is_not_here", |_| {
            on(
                "orders",
                vec![doc! { "$search": { "text": { "query": "x", "path": "y" } } }],
            )
        }),
    ]
}

pub(super) fn on(collection: &str, pipeline: Vec<Document>) -> Document {
    doc! { "aggregate": collection, "pipeline": pipeline, "cursor": {} }
}

fn compute(fields: Document) -> Document {
    let mut projection = doc! { "_id": 1 };
    projection.extend(fields);
    on(
        "people",
        vec![
            doc! { "$sort": { "_id": 1 } },
            doc! { "$project": projection },
        ],
    )
}
