//! Collections that are more than documents: views, validators, collMod.

use bson::doc;

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [views(), validators()].concat()
}

fn views() -> Vec<Op> {
    vec![
        once("create_view", |_| {
            doc! { "create": "londoners", "viewOn": "people", "pipeline": [{ "$match": { "city": "London" } }] }
        }),
        once("create_view_on_view", |_| {
            doc! { "create": "london_names", "viewOn": "londoners", "pipeline": [{ "$project": { "name": 1 } }] }
        }),
        read(
            "find_in_view",
            |_| doc! { "find": "londoners", "sort": { "_id": 1 } },
        ),
        read(
            "find_in_view_on_view",
            |_| doc! { "find": "london_names", "sort": { "_id": 1 } },
        ),
        read(
            "count_view",
            |_| doc! { "count": "londoners", "query": { "age": 25 } },
        ),
        read(
            "distinct_view",
            |_| doc! { "distinct": "londoners", "key": "name" },
        )
        .masking(&[("values", Mask::Unordered)]),
        read("aggregate_view", |_| {
            doc! { "aggregate": "londoners", "pipeline": [{ "$group": { "_id": null, "n": { "$sum": 1 } } }], "cursor": {} }
        }),
        once("insert_into_view_is_refused", |_| {
            doc! { "insert": "londoners", "documents": [{ "_id": 1 }] }
        }),
        once("update_view_is_refused", |_| {
            doc! { "update": "londoners", "updates": [{ "q": {}, "u": { "$set": { "a": 1 } } }] }
        }),
        once("write_below_view", |_| {
            doc! { "update": "people", "updates": [{ "q": { "_id": 2 }, "u": { "$set": { "city": "London" } } }] }
        }),
        read(
            "view_shows_the_write",
            |_| doc! { "find": "londoners", "sort": { "_id": 1 } },
        ),
        once("modify_view", |_| {
            doc! { "collMod": "londoners", "viewOn": "people", "pipeline": [{ "$match": { "city": "Paris" } }] }
        }),
        read(
            "modified_view_shows_others",
            |_| doc! { "find": "londoners", "sort": { "_id": 1 } },
        ),
        once("create_view_in_a_circle", |_| {
            doc! { "collMod": "londoners", "viewOn": "london_names", "pipeline": [] }
        }),
        read(
            "list_views",
            |_| doc! { "listCollections": 1, "filter": { "type": "view" } },
        )
        .unordered(),
        read(
            "find_system_views",
            |_| doc! { "find": "system.views", "sort": { "_id": 1 } },
        )
        .masking(&[("cursor.firstBatch", Mask::Unordered)]),
        once("drop_view", |_| doc! { "drop": "london_names" }),
    ]
}

fn validators() -> Vec<Op> {
    vec![
        once("create_with_validator", |_| {
            doc! { "create": "strict", "validator": { "$jsonSchema": { "bsonType": "object", "required": ["n"],
            "properties": { "n": { "bsonType": "int", "minimum": 0, "description": "a count" } } } } }
        }),
        once(
            "insert_valid",
            |_| doc! { "insert": "strict", "documents": [{ "_id": 1, "n": 1 }] },
        ),
        once(
            "insert_invalid",
            |_| doc! { "insert": "strict", "documents": [{ "_id": 2, "n": -1 }] },
        ),
        once("insert_invalid_missing", |_| {
            doc! { "insert": "strict", "ordered": false, "documents": [{ "_id": 3 }, { "_id": 4, "n": 4 }] }
        }),
        once("insert_invalid_with_bypass", |_| {
            doc! { "insert": "strict", "documents": [{ "_id": 5, "n": "x" }], "bypassDocumentValidation": true }
        }),
        once("update_to_invalid", |_| {
            doc! { "update": "strict", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "n": -5 } } }] }
        }),
        once("update_to_invalid_with_bypass", |_| {
            doc! { "update": "strict", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "n": -5 } } }], "bypassDocumentValidation": true }
        }),
        once("fam_to_invalid", |_| {
            doc! { "findAndModify": "strict", "query": { "_id": 4 }, "update": { "$set": { "n": "four" } } }
        }),
        once("coll_mod_validator", |_| {
            doc! { "collMod": "strict", "validator": { "n": { "$gt": 100 } }, "validationLevel": "moderate", "validationAction": "error" }
        }),
        once("update_already_invalid_moderate", |_| {
            doc! { "update": "strict", "updates": [{ "q": { "_id": 5 }, "u": { "$set": { "m": 1 } } }] }
        }),
        once("insert_invalid_query_expression", |_| {
            doc! { "insert": "strict", "documents": [{ "_id": 6, "n": 6 }] }
        }),
        once(
            "coll_mod_unknown_option",
            |_| doc! { "collMod": "strict", "colour": "red" },
        ),
        once("coll_mod_absent_collection", |_| {
            doc! { "collMod": "nobody", "validationLevel": "off" }
        }),
        once("create_bad_validator", |_| {
            doc! { "create": "bad", "validator": { "n": { "$nearly": 1 } } }
        }),
        read(
            "find_after_validation",
            |_| doc! { "find": "strict", "sort": { "_id": 1 } },
        ),
    ]
}
