//! Cursors: batches, getMore, killCursors, tailable, exhaust, change streams.

use bson::{Document, doc};

use super::super::mask::Mask;
use super::{Ctx, Form, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [batches(), killed(), capped(), exhausted(), change_streams()].concat()
}

fn batches() -> Vec<Op> {
    vec![
        read("first_batch_of_101", |_| doc! { "find": "numbers" }),
        once("get_more_all_the_rest", |c| {
            more(c, "first_batch_of_101", "numbers")
        }),
        once("get_more_after_the_end", |c| {
            more(c, "first_batch_of_101", "numbers")
        }),
        read(
            "batch_size_zero",
            |_| doc! { "find": "numbers", "batchSize": 0 },
        ),
        once("get_more_of_three", |c| {
            let mut command = more(c, "batch_size_zero", "numbers");
            command.insert("batchSize", 3);
            command
        }),
        once("get_more_of_wrong_collection", |c| {
            more(c, "batch_size_zero", "people")
        }),
        once("get_more_with_comment", |c| {
            let mut command = more(c, "batch_size_zero", "numbers");
            command.extend(doc! { "batchSize": 2, "comment": "slowly" });
            command
        }),
        once("get_more_with_max_time", |c| {
            let mut command = more(c, "batch_size_zero", "numbers");
            command.extend(doc! { "batchSize": 2, "maxTimeMS": 1000 });
            command
        }),
        once("get_more_unknown_field", |c| {
            let mut command = more(c, "batch_size_zero", "numbers");
            command.insert("colour", "red");
            command
        }),
        read("aggregate_in_batches", |_| {
            doc! { "aggregate": "numbers", "pipeline": [{ "$match": { "even": true } }], "cursor": { "batchSize": 50 } }
        }),
        once("aggregate_get_more", |c| {
            more(c, "aggregate_in_batches", "numbers")
        }),
        once("insert_wide_documents", |_| doc! { "insert": "wide" }).with("documents", |_| {
            let filler = "0123456789abcdef".repeat(1 << 16);
            let wide = |n| doc! { "_id": n, "filler": filler.as_str() };
            (0..34).map(wide).collect()
        }),
        // 34 MiB: three batches, each cut at 16 MiB by the server.
        once(
            "wide_first_batch",
            |_| doc! { "find": "wide", "batchSize": 100 },
        ),
        once("wide_second_batch", |c| more(c, "wide_first_batch", "wide")),
        once("wide_third_batch", |c| more(c, "wide_first_batch", "wide")),
        once("wide_no_fourth_batch", |c| {
            more(c, "wide_first_batch", "wide")
        }),
        once("drop_wide", |_| doc! { "drop": "wide" }),
    ]
}

fn killed() -> Vec<Op> {
    vec![
        once(
            "open_cursor_to_kill",
            |_| doc! { "find": "numbers", "batchSize": 2 },
        ),
        once("kill_cursor", |c| {
            doc! { "killCursors": "numbers", "cursors": [c.cursor("open_cursor_to_kill")] }
        })
        .masking(KILLED),
        once("get_more_of_killed_cursor", |c| {
            more(c, "open_cursor_to_kill", "numbers")
        }),
        once("kill_cursor_again", |c| {
            doc! { "killCursors": "numbers", "cursors": [c.cursor("open_cursor_to_kill")] }
        })
        .masking(KILLED),
        once("kill_two_cursors_one_unknown", |c| {
            doc! { "killCursors": "numbers", "cursors": [c.cursor("batch_size_zero"), 12_345_i64] }
        })
        .masking(KILLED),
        once(
            "kill_no_cursors",
            |_| doc! { "killCursors": "numbers", "cursors": [] },
        ),
        once("get_more_of_unknown_cursor", |_| {
            doc! { "getMore": 12_345_i64, "collection": "numbers" }
        }),
        once("get_more_of_cursor_zero", |_| {
            doc! { "getMore": 0_i64, "collection": "numbers" }
        }),
        once("get_more_id_of_wrong_type", |_| {
            doc! { "getMore": "next", "collection": "numbers" }
        }),
        once(
            "open_cursor_then_drop",
            |_| doc! { "find": "doomed", "batchSize": 0 },
        ),
        once("insert_doomed", |_| {
            doc! { "insert": "doomed", "documents": [{ "_id": 1 }, { "_id": 2 }, { "_id": 3 }] }
        }),
        once(
            "open_cursor_on_doomed",
            |_| doc! { "find": "doomed", "batchSize": 1 },
        ),
        once("drop_doomed", |_| doc! { "drop": "doomed" }),
        once("get_more_after_drop", |c| {
            more(c, "open_cursor_on_doomed", "doomed")
        })
        .masking(&[("errmsg", Mask::Value)]),
    ]
}

fn capped() -> Vec<Op> {
    vec![
        once("create_capped", |_| {
            doc! { "create": "log", "capped": true, "size": 4096, "max": 3 }
        }),
        once("insert_capped", |_| {
            doc! { "insert": "log", "documents": [{ "_id": 1 }, { "_id": 2 }, { "_id": 3 }, { "_id": 4 }] }
        }),
        read("find_capped_keeps_the_last", |_| doc! { "find": "log" }),
        once("tailable", |_| doc! { "find": "log", "tailable": true }),
        once("tailable_has_no_more", |c| more(c, "tailable", "log")),
        once("insert_for_the_tail", |_| {
            doc! { "insert": "log", "documents": [{ "_id": 5 }] }
        }),
        once("tailable_has_one_more", |c| more(c, "tailable", "log")),
        once("tailable_await", |_| {
            doc! { "find": "log", "tailable": true, "awaitData": true }
        }),
        once("tailable_await_in_vain", |c| {
            let mut command = more(c, "tailable_await", "log");
            command.insert("maxTimeMS", 20);
            command
        }),
        once("kill_tails", |c| {
            doc! { "killCursors": "log", "cursors": [c.cursor("tailable"), c.cursor("tailable_await")] }
        })
        .masking(KILLED),
        once("tailable_on_uncapped_is_refused", |_| {
            doc! { "find": "numbers", "tailable": true }
        }),
        once("delete_from_capped", |_| {
            doc! { "delete": "log", "deletes": [{ "q": { "_id": 5 }, "limit": 1 }] }
        }),
        once("convert_to_capped", |_| doc! { "convertToCapped": "inserts", "size": 8192 }),
        once("is_capped_now", |_| {
            doc! { "listCollections": 1, "filter": { "name": "inserts" } }
        })
        .masking(&[("cursor.firstBatch.*.info.uuid", Mask::Value)]),
    ]
}

fn exhausted() -> Vec<Op> {
    vec![
        once("open_for_exhaust", |_| {
            doc! { "find": "numbers", "filter": { "n": { "$lt": 25 } }, "batchSize": 5 }
        }),
        once("exhaust_get_more", |c| {
            let mut command = more(c, "open_for_exhaust", "numbers");
            command.insert("batchSize", 5);
            command
        })
        .in_form(Form::Exhaust),
        once("exhaust_allowed_on_find", |_| {
            doc! { "find": "numbers", "filter": { "n": { "$lt": 4 } } }
        })
        .in_form(Form::Exhaust),
    ]
}

fn change_streams() -> Vec<Op> {
    vec![
        once("create_watched", |_| doc! { "create": "watched" }),
        once("watch", |_| {
            doc! { "aggregate": "watched", "pipeline": [{ "$changeStream": {} }], "cursor": {} }
        }),
        once("insert_watched", |_| {
            doc! { "insert": "watched", "documents": [{ "_id": 1, "a": 1 }],
            "writeConcern": { "w": "majority" } }
        }),
        once("watch_sees_insert", |c| event(c, "watch", "watched")).masking(EVENT),
        once("update_watched", |_| {
            doc! { "update": "watched", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "a": 2 } } }],
            "writeConcern": { "w": "majority" } }
        }),
        once("watch_sees_update", |c| event(c, "watch", "watched")).masking(EVENT),
        once("delete_watched", |_| {
            doc! { "delete": "watched", "deletes": [{ "q": { "_id": 1 }, "limit": 1 }],
            "writeConcern": { "w": "majority" } }
        }),
        once("watch_sees_delete", |c| event(c, "watch", "watched")).masking(EVENT),
        once("watch_sees_nothing_more", |c| {
            let mut command = more(c, "watch", "watched");
            command.insert("maxTimeMS", 20);
            command
        }),
        once("drop_watched", |_| {
            doc! { "drop": "watched", "writeConcern": { "w": "majority" } }
        }),
        once("watch_sees_drop", |c| event(c, "watch", "watched")).masking(EVENT),
        once("watch_is_invalidated", |c| event(c, "watch", "watched")).masking(EVENT),
        once("watch_a_database", |_| {
            doc! { "aggregate": 1, "pipeline": [{ "$changeStream": { "fullDocument": "updateLookup" } }], "cursor": {} }
        }),
        once("kill_watch", |c| {
            doc! { "killCursors": "$cmd.aggregate", "cursors": [c.cursor("watch_a_database")] }
        })
        .masking(KILLED),
        once("watch_with_bad_token", |_| {
            doc! { "aggregate": "watched", "cursor": {},
            "pipeline": [{ "$changeStream": { "resumeAfter": { "_data": "nonsense" } } }] }
        }),
    ]
}

/// The ids of cursors, wherever killCursors lists them.
const KILLED: &[(&str, Mask)] = &[
    ("cursorsKilled.*", Mask::NonZero),
    ("cursorsNotFound.*", Mask::NonZero),
    ("cursorsAlive.*", Mask::NonZero),
    ("cursorsUnknown.*", Mask::NonZero),
];

/// What a change event knows about when it happened.
const EVENT: &[(&str, Mask)] = &[
    ("cursor.nextBatch.*._id", Mask::Value),
    ("cursor.nextBatch.*.clusterTime", Mask::Value),
    ("cursor.nextBatch.*.wallTime", Mask::Value),
];

fn more(c: &mut Ctx, opened_by: &str, collection: &str) -> Document {
    doc! { "getMore": c.cursor(opened_by), "collection": collection }
}

/// A getMore that waits for an event.
fn event(c: &mut Ctx, opened_by: &str, collection: &str) -> Document {
    let mut command = more(c, opened_by, collection);
    command.insert("maxTimeMS", 10_000);
    command
}
