//! Writers in disguise: `$out`, `$merge`, mapReduce. Reads `orders`.

use bson::{Bson, doc};

use super::super::mask::Mask;
use super::aggregate::on;
use super::{Database, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("aggregate_out", |_| {
            on(
                "orders",
                vec![
                    doc! { "$match": { "qty": { "$gt": 1 } } },
                    doc! { "$out": "big_orders" },
                ],
            )
        }),
        read(
            "find_what_out_wrote",
            |_| doc! { "find": "big_orders", "sort": { "_id": 1 } },
        ),
        once("aggregate_out_to_other_database", |c| {
            let other = c.other.clone();
            on(
                "orders",
                vec![doc! { "$out": { "db": other, "coll": "orders" } }],
            )
        }),
        read(
            "find_in_other_database",
            |_| doc! { "find": "orders", "sort": { "_id": 1 } },
        )
        .on(Database::Other),
        once("aggregate_merge", |_| {
            on(
                "orders",
                vec![
                    doc! { "$group": { "_id": "$item", "sold": { "$sum": "$qty" } } },
                    doc! { "$merge": { "into": "sales", "whenMatched": "replace", "whenNotMatched": "insert" } },
                ],
            )
        }),
        once("aggregate_merge_again_with_pipeline", |_| {
            on(
                "orders",
                vec![
                    doc! { "$group": { "_id": "$item", "sold": { "$sum": "$qty" } } },
                    doc! { "$merge": { "into": "sales", "on": "_id", "whenMatched": [{ "$set": { "sold": { "$add": ["$sold", "$$new.sold"] } } }] } },
                ],
            )
        }),
        once("aggregate_merge_fails_on_match", |_| {
            on(
                "orders",
                vec![
                    doc! { "$match": { "_id": 2 } },
                    doc! { "$project": { "_id": "$item" } },
                    doc! { "$merge": { "into": "sales", "whenMatched": "fail" } },
                ],
            )
        }),
        once("aggregate_merge_to_other_database", |c| {
            let other = c.other.clone();
            on(
                "orders",
                vec![doc! { "$merge": { "into": { "db": other, "coll": "merged" } } }],
            )
        }),
        read(
            "find_what_merge_wrote",
            |_| doc! { "find": "sales", "sort": { "_id": 1 } },
        ),
        once("aggregate_out_not_last_is_refused", |_| {
            on("orders", vec![doc! { "$out": "x" }, doc! { "$match": {} }])
        }),
        read("map_reduce_inline", |_| {
            doc! { "mapReduce": "orders", "map": "function() { emit(this.item, this.qty); }",
            "reduce": "function(k, v) { return Array.sum(v); }", "out": { "inline": 1 } }
        })
        .masking(&[("results", Mask::Unordered)]),
        once("map_reduce_to_collection", |_| {
            doc! { "mapReduce": "orders", "map": Bson::JavaScriptCode("function() { emit(this.item, this.qty); }".into()),
            "reduce": Bson::JavaScriptCode("function(k, v) { return Array.sum(v); }".into()), "out": "reduced" }
        }),
        read(
            "find_what_map_reduce_wrote",
            |_| doc! { "find": "reduced", "sort": { "_id": 1 } },
        ),
    ]
}
