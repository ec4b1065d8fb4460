//! update and delete: every operator, form and option.

use bson::{Document, doc};

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [prepare(), operators(), arrays(), forms(), deletes()].concat()
}

fn prepare() -> Vec<Op> {
    vec![
        once("insert_for_updates", |_| {
            doc! { "insert": "updates", "documents": [
                { "_id": 1, "n": 10, "s": "one", "list": [1, 2, 3, 4], "sub": { "a": 1 }, "long": 5_i64 },
                { "_id": 2, "n": 20, "s": "two", "list": [5, 6], "grades": [
                    { "k": "x", "g": 1 }, { "k": "y", "g": 2 }, { "k": "x", "g": 3 }] },
                { "_id": 3, "n": 30, "s": "THREE", "list": [] },
                { "_id": 4, "n": 40, "s": "four" },
            ] }
        }),
        once("index_updates", |_| {
            doc! { "createIndexes": "updates", "indexes": [
                { "key": { "n": 1 }, "name": "n_1" },
                { "key": { "code": 1 }, "name": "code_1", "unique": true, "sparse": true },
            ] }
        }),
    ]
}

fn operators() -> Vec<Op> {
    vec![
        once("update_set", |_| {
            one(
                doc! { "_id": 1 },
                doc! { "$set": { "s": "uno", "sub.b": 2 } },
            )
        }),
        once("update_set_to_the_same", |_| {
            one(doc! { "_id": 1 }, doc! { "$set": { "s": "uno" } })
        }),
        once("update_unset", |_| {
            one(doc! { "_id": 1 }, doc! { "$unset": { "sub.a": "" } })
        }),
        once("update_inc", |_| {
            one(
                doc! { "_id": 1 },
                doc! { "$inc": { "n": 5, "long": 1, "fresh": 1.5 } },
            )
        }),
        once("update_inc_text_is_refused", |_| {
            one(doc! { "_id": 1 }, doc! { "$inc": { "s": 1 } })
        }),
        once("update_inc_overflow", |_| {
            one(doc! { "_id": 1 }, doc! { "$inc": { "long": i64::MAX } })
        }),
        once("update_mul", |_| {
            one(doc! { "_id": 1 }, doc! { "$mul": { "n": 2.5, "none": 3 } })
        }),
        once("update_min_max", |_| {
            one(
                doc! { "_id": 2 },
                doc! { "$min": { "n": 5 }, "$max": { "top": 9 } },
            )
        }),
        once("update_rename", |_| {
            one(doc! { "_id": 2 }, doc! { "$rename": { "top": "best" } })
        }),
        once("update_bit", |_| {
            one(
                doc! { "_id": 1 },
                doc! { "$bit": { "long": { "or": 8_i64 } } },
            )
        }),
        once("update_current_date", |_| {
            one(
                doc! { "_id": 4 },
                doc! { "$currentDate": { "at": true, "ts": { "$type": "timestamp" } } },
            )
        }),
        read(
            "find_current_date",
            |_| doc! { "find": "updates", "filter": { "_id": 4 } },
        )
        .masking(&[
            ("cursor.firstBatch.0.at", Mask::Value),
            ("cursor.firstBatch.0.ts", Mask::Value),
        ]),
        once("update_unset_current_date", |_| {
            one(doc! { "_id": 4 }, doc! { "$unset": { "at": 1, "ts": 1 } })
        }),
        once("update_conflicting_paths", |_| {
            one(
                doc! { "_id": 1 },
                doc! { "$set": { "sub": 1 }, "$inc": { "sub.b": 1 } },
            )
        }),
        once("update_id_is_refused", |_| {
            one(doc! { "_id": 1 }, doc! { "$set": { "_id": 99 } })
        }),
        once("update_unknown_operator", |_| {
            one(doc! { "_id": 1 }, doc! { "$double": { "n": 1 } })
        }),
        once("update_through_scalar_is_refused", |_| {
            one(doc! { "_id": 1 }, doc! { "$set": { "s.deep": 1 } })
        }),
    ]
}

fn arrays() -> Vec<Op> {
    vec![
        once("update_push", |_| {
            one(doc! { "_id": 1 }, doc! { "$push": { "list": 9 } })
        }),
        once("update_push_each_sort_slice", |_| {
            one(
                doc! { "_id": 1 },
                doc! { "$push": { "list": { "$each": [8, 0], "$sort": -1, "$slice": 5 } } },
            )
        }),
        once("update_push_position", |_| {
            one(
                doc! { "_id": 2 },
                doc! { "$push": { "list": { "$each": [0], "$position": 0 } } },
            )
        }),
        once("update_add_to_set", |_| {
            one(
                doc! { "_id": 2 },
                doc! { "$addToSet": { "list": { "$each": [5, 7] } } },
            )
        }),
        once("update_pop", |_| {
            one(doc! { "_id": 2 }, doc! { "$pop": { "list": -1 } })
        }),
        once("update_pull", |_| {
            one(
                doc! { "_id": 2 },
                doc! { "$pull": { "list": { "$gte": 7 } } },
            )
        }),
        once("update_pull_all", |_| {
            one(doc! { "_id": 1 }, doc! { "$pullAll": { "list": [0, 1] } })
        }),
        once("update_push_to_scalar_is_refused", |_| {
            one(doc! { "_id": 1 }, doc! { "$push": { "n": 1 } })
        }),
        once("update_positional", |_| {
            one(
                doc! { "_id": 2, "grades.k": "y" },
                doc! { "$set": { "grades.$.g": 22 } },
            )
        }),
        once("update_positional_without_match", |_| {
            one(doc! { "_id": 2 }, doc! { "$set": { "grades.$.g": 22 } })
        }),
        once("update_all_positional", |_| {
            one(doc! { "_id": 2 }, doc! { "$inc": { "grades.$[].g": 100 } })
        }),
        once("update_array_filters", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "_id": 2 },
            "u": { "$set": { "grades.$[x].seen": true } }, "arrayFilters": [{ "x.k": "x" }] }] }
        }),
        once("update_unused_array_filter", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "_id": 2 },
            "u": { "$set": { "a": 1 } }, "arrayFilters": [{ "x.k": "x" }] }] }
        }),
        read(
            "find_after_array_updates",
            |_| doc! { "find": "updates", "sort": { "_id": 1 } },
        ),
    ]
}

fn forms() -> Vec<Op> {
    vec![
        once("update_replacement", |_| {
            one(doc! { "_id": 3 }, doc! { "s": "replaced", "n": 31 })
        }),
        once("update_replacement_other_id", |_| {
            one(doc! { "_id": 3 }, doc! { "_id": 4, "s": "x" })
        }),
        once("update_mixed_is_refused", |_| {
            one(doc! { "_id": 3 }, doc! { "s": "x", "$set": { "n": 1 } })
        }),
        once("update_pipeline", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "_id": 3 }, "u": [
            { "$set": { "sum": { "$add": ["$n", 1] }, "copy": "$s" } }, { "$unset": "copy" }] }] }
        }),
        once("update_pipeline_with_let", |_| {
            doc! { "update": "updates", "let": { "step": 7 }, "updates": [
            { "q": { "_id": 3 }, "u": [{ "$set": { "sum": { "$add": ["$sum", "$$step"] } } }] }] }
        }),
        once("update_pipeline_with_constants", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "_id": 3 }, "c": { "k": 5 },
            "u": [{ "$set": { "k": "$$k" } }] }] }
        }),
        once("update_many", |_| {
            many(
                doc! { "n": { "$gt": 0 } },
                doc! { "$inc": { "touched": 1 } },
            )
        }),
        once("update_many_matches_nothing", |_| {
            many(doc! { "n": 12345 }, doc! { "$set": { "a": 1 } })
        }),
        once("update_many_replacement_is_refused", |_| {
            many(doc! {}, doc! { "a": 1 })
        }),
        once("update_upsert", |_| {
            upsert(
                doc! { "_id": 50, "kind": "new" },
                doc! { "$set": { "a": 1 } },
            )
        }),
        once("update_upsert_existing", |_| {
            upsert(doc! { "_id": 50 }, doc! { "$set": { "a": 2 } })
        }),
        once("update_upsert_set_on_insert", |_| {
            upsert(
                doc! { "_id": 51 },
                doc! { "$setOnInsert": { "born": true }, "$inc": { "n": 1 } },
            )
        }),
        once("update_upsert_server_made_id", |_| {
            upsert(doc! { "label": "unknown" }, doc! { "$set": { "a": 1 } })
        })
        .masking(&[("upserted.*._id", Mask::Value)]),
        once("update_upsert_replacement", |_| {
            upsert(doc! { "_id": 52 }, doc! { "whole": true })
        }),
        once("update_several", |_| {
            doc! { "update": "updates", "updates": [
                { "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } } },
                { "q": { "_id": 60 }, "u": { "$set": { "n": 60 } }, "upsert": true },
                { "q": { "n": { "$gte": 20 } }, "u": { "$set": { "seen": 1 } }, "multi": true },
            ] }
        }),
        once("update_ordered_stops_at_error", |_| {
            doc! { "update": "updates", "ordered": true, "updates": [
                { "q": { "_id": 1 }, "u": { "$set": { "code": "A" } } },
                { "q": { "_id": 2 }, "u": { "$set": { "code": "A" } } },
                { "q": { "_id": 3 }, "u": { "$set": { "code": "B" } } },
            ] }
        }),
        once("update_unordered_goes_past_errors", |_| {
            doc! { "update": "updates", "ordered": false, "updates": [
                { "q": { "_id": 2 }, "u": { "$set": { "code": "A" } } },
                { "q": { "_id": 3 }, "u": { "$set": { "code": "C" } } },
            ] }
        }),
        once("update_sequence", |_| doc! { "update": "updates" }).with("updates", |_| {
            vec![
                doc! { "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } } },
                doc! { "q": { "_id": 2 }, "u": { "$inc": { "n": 1 } } },
            ]
        }),
        once("update_collation", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "s": "FOUR" }, "u": { "$set": { "c": 1 } },
            "collation": { "locale": "en", "strength": 2 } }] }
        }),
        once("update_hint", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "n": 40 }, "u": { "$set": { "h": 1 } }, "hint": "n_1" }] }
        }),
        once("update_bad_hint", |_| {
            doc! { "update": "updates", "updates": [{ "q": { "n": 40 }, "u": { "$set": { "h": 1 } }, "hint": "zzz" }] }
        }),
        once(
            "update_without_u",
            |_| doc! { "update": "updates", "updates": [{ "q": {} }] },
        ),
        once(
            "update_nothing",
            |_| doc! { "update": "updates", "updates": [] },
        ),
        once("update_absent_collection", |_| {
            doc! { "update": "absent", "updates": [{ "q": {}, "u": { "$set": { "a": 1 } } }] }
        }),
        read("find_after_updates", |_| {
            doc! { "find": "updates", "sort": { "n": 1, "_id": 1 }, "filter": { "label": { "$exists": false } } }
        }),
    ]
}

fn deletes() -> Vec<Op> {
    vec![
        once("delete_one", |_| {
            doc! { "delete": "updates", "deletes": [{ "q": { "_id": 50 }, "limit": 1 }] }
        }),
        once("delete_one_again", |_| {
            doc! { "delete": "updates", "deletes": [{ "q": { "_id": 50 }, "limit": 1 }] }
        }),
        once("delete_several", |_| {
            doc! { "delete": "updates", "ordered": false, "deletes": [
            { "q": { "_id": 51 }, "limit": 1 }, { "q": { "_id": 52 }, "limit": 0 }] }
        }),
        once("delete_sequence", |_| doc! { "delete": "updates" })
            .with("deletes", |_| vec![doc! { "q": { "_id": 60 }, "limit": 1 }]),
        once("delete_hint_collation", |_| {
            doc! { "delete": "updates", "deletes": [{ "q": { "s": "FOUR" }, "limit": 1,
            "hint": { "_id": 1 }, "collation": { "locale": "en", "strength": 2 } }] }
        }),
        once("delete_let", |_| {
            doc! { "delete": "updates", "let": { "which": 3 },
            "deletes": [{ "q": { "$expr": { "$eq": ["$_id", "$$which"] } }, "limit": 1 }] }
        }),
        once("delete_limit_two_is_refused", |_| {
            doc! { "delete": "updates", "deletes": [{ "q": {}, "limit": 2 }] }
        }),
        once("delete_without_limit_is_refused", |_| {
            doc! { "delete": "updates", "deletes": [{ "q": {} }] }
        }),
        once("delete_everything", |_| {
            doc! { "delete": "updates", "deletes": [{ "q": {}, "limit": 0 }] }
        }),
        read("find_after_deletes", |_| doc! { "find": "updates" }),
    ]
}

fn one(q: Document, u: Document) -> Document {
    doc! { "update": "updates", "updates": [{ "q": q, "u": u }] }
}

fn many(q: Document, u: Document) -> Document {
    doc! { "update": "updates", "updates": [{ "q": q, "u": u, "multi": true }] }
}

fn upsert(q: Document, u: Document) -> Document {
    doc! { "update": "updates", "updates": [{ "q": q, "u": u, "upsert": true }] }
}
