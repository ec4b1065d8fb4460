//! findAndModify: updates, replacements, upserts, removals.

use bson::doc;

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("insert_for_find_and_modify", |_| {
            doc! { "insert": "fam", "documents": [
                { "_id": 1, "n": 3, "s": "a", "list": [{ "k": 1, "v": 1 }, { "k": 2, "v": 2 }] },
                { "_id": 2, "n": 2, "s": "b" }, { "_id": 3, "n": 1, "s": "C" }] }
        }),
        once("fam_returns_the_old_one", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 1 }, "update": { "$inc": { "n": 1 } } }
        }),
        once("fam_returns_the_new_one", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 1 }, "update": { "$inc": { "n": 1 } }, "new": true }
        }),
        once("fam_lower_case_name", |_| {
            doc! { "findandmodify": "fam", "query": { "_id": 1 }, "update": { "$inc": { "n": 1 } } }
        }),
        once("fam_sort_and_fields", |_| {
            doc! { "findAndModify": "fam", "sort": { "n": 1 }, "update": { "$set": { "picked": true } },
            "fields": { "s": 1 } }
        }),
        once("fam_no_match", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 77 }, "update": { "$set": { "n": 1 } } }
        }),
        once("fam_upsert_returns_null", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 10 }, "update": { "$set": { "n": 1 } }, "upsert": true }
        }),
        once("fam_upsert_returns_new", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 11 }, "update": { "$set": { "n": 1 } }, "upsert": true, "new": true }
        }),
        once("fam_upsert_server_made_id", |_| {
            doc! { "findAndModify": "fam", "query": { "label": "x" }, "update": { "$set": { "n": 1 } },
            "upsert": true, "new": true }
        })
        .masking(&[("lastErrorObject.upserted", Mask::Value), ("value._id", Mask::Value)]),
        once("fam_replacement", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 2 }, "update": { "whole": "new" }, "new": true }
        }),
        once("fam_pipeline", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 3 }, "new": true,
            "update": [{ "$set": { "m": { "$multiply": ["$n", 10] } } }] }
        }),
        once("fam_array_filters", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 1 }, "new": true,
            "update": { "$set": { "list.$[e].v": 9 } }, "arrayFilters": [{ "e.k": 2 }] }
        }),
        once("fam_collation_and_hint", |_| {
            doc! { "findAndModify": "fam", "query": { "s": "c" }, "update": { "$set": { "hit": 1 } }, "new": true,
            "collation": { "locale": "en", "strength": 2 }, "hint": { "_id": 1 } }
        }),
        once("fam_let", |_| {
            doc! { "findAndModify": "fam", "query": { "$expr": { "$eq": ["$_id", "$$id"] } },
            "update": { "$set": { "let": 1 } }, "let": { "id": 3 } }
        }),
        once("fam_remove", |_| doc! { "findAndModify": "fam", "query": { "_id": 10 }, "remove": true }),
        once("fam_remove_absent", |_| doc! { "findAndModify": "fam", "query": { "_id": 10 }, "remove": true }),
        once("fam_remove_with_sort", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": { "$lt": 12 } }, "sort": { "_id": -1 }, "remove": true }
        }),
        once("fam_remove_and_update_is_refused", |_| {
            doc! { "findAndModify": "fam", "query": {}, "remove": true, "update": { "$set": { "a": 1 } } }
        }),
        once("fam_remove_and_new_is_refused", |_| {
            doc! { "findAndModify": "fam", "query": {}, "remove": true, "new": true }
        }),
        once("fam_neither_is_refused", |_| doc! { "findAndModify": "fam", "query": {} }),
        once("fam_immutable_id", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 1 }, "update": { "$set": { "_id": 2 } } }
        }),
        once("fam_unknown_field", |_| {
            doc! { "findAndModify": "fam", "query": { "_id": 1 }, "update": { "$set": { "a": 2 } }, "colour": 1 }
        }),
        read("find_after_find_and_modify", |_| {
            doc! { "find": "fam", "filter": { "label": { "$exists": false } }, "sort": { "_id": 1 } }
        }),
    ]
}
