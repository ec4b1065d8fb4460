//! Indexes: create, list, hide, drop; what unique and partial ones refuse.

use bson::doc;

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("insert_for_indexes", |_| {
            doc! { "insert": "indexed", "documents": [
                { "_id": 1, "a": 1, "b": "x", "t": bson::DateTime::from_millis(32_503_680_000_000_i64) },
                { "_id": 2, "a": 2, "b": "y" }, { "_id": 3, "a": 2, "b": ["p", "q"] }] }
        }),
        once("create_index", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1, "b": -1 }, "name": "a_b" }] }
        }),
        once("create_index_again", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1, "b": -1 }, "name": "a_b" }] }
        }),
        once("create_index_same_key_other_name", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1, "b": -1 }, "name": "other" }] }
        }),
        once("create_index_same_name_other_key", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "c": 1 }, "name": "a_b" }] }
        }),
        once("create_unique_index_fails_on_duplicates", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1 }, "name": "a_unique", "unique": true }] }
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("create_unique_partial_index", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1 }, "name": "a_partial", "unique": true,
            "partialFilterExpression": { "b": "x" } }] }
        }),
        once("create_ttl_index", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "t": 1 }, "name": "t_ttl", "expireAfterSeconds": 3600 }] }
        }),
        once("create_several_indexes", |_| {
            doc! { "createIndexes": "indexed", "indexes": [
                { "key": { "h": "hashed" }, "name": "h_hashed" },
                { "key": { "$**": 1 }, "name": "wild", "wildcardProjection": { "b": 1 } },
                { "key": { "s": 1 }, "name": "s_sparse", "sparse": true, "hidden": true }] }
        }),
        once("create_index_bad_key", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": "sideways" }, "name": "bad" }] }
        }),
        once("create_index_without_name", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1 } }] }
        }),
        once("create_index_unknown_option", |_| {
            doc! { "createIndexes": "indexed", "indexes": [{ "key": { "zz": 1 }, "name": "zz", "colour": "red" }] }
        }),
        once("create_index_makes_the_collection", |_| {
            doc! { "createIndexes": "fresh", "indexes": [{ "key": { "a": 1 }, "name": "a_1" }], "commitQuorum": "majority" }
        }),
        read("list_indexes", |_| doc! { "listIndexes": "indexed" }),
        read("list_indexes_in_batches", |_| {
            doc! { "listIndexes": "indexed", "cursor": { "batchSize": 2 } }
        }),
        once("list_indexes_get_more", |c| {
            doc! { "getMore": c.cursor("list_indexes_in_batches"), "collection": "indexed" }
        }),
        read("list_indexes_of_absent_collection", |_| doc! { "listIndexes": "nobody" }),
        once("insert_against_unique_partial", |_| {
            doc! { "insert": "indexed", "documents": [{ "_id": 10, "a": 1, "b": "x" }] }
        }),
        once("insert_array_pair_into_compound", |_| {
            doc! { "insert": "indexed", "documents": [{ "_id": 11, "a": [1], "b": [2] }] }
        }),
        once("hide_index", |_| {
            doc! { "collMod": "indexed", "index": { "name": "a_b", "hidden": true } }
        }),
        once("change_ttl", |_| {
            doc! { "collMod": "indexed", "index": { "name": "t_ttl", "expireAfterSeconds": 7200 } }
        }),
        once("drop_index_by_name", |_| {
            doc! { "dropIndexes": "indexed", "index": "t_ttl" }
        }),
        once("drop_index_by_key", |_| {
            doc! { "dropIndexes": "indexed", "index": { "h": "hashed" } }
        }),
        once("drop_absent_index", |_| doc! { "dropIndexes": "indexed", "index": "t_ttl" }),
        once("drop_id_index_is_refused", |_| {
            doc! { "dropIndexes": "indexed", "index": "_id_" }
        }),
        once("drop_all_indexes", |_| doc! { "dropIndexes": "indexed", "index": "*" }),
        read("list_indexes_after_drop", |_| doc! { "listIndexes": "indexed" }),
        once("legacy_delete_indexes", |_| {
            doc! { "deleteIndexes": "fresh", "index": "a_1" }
        }),
    ]
}
