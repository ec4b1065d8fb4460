//! Transactions: committed, aborted, conflicting, misused.

use bson::{Document, doc};

use super::super::mask::Mask;
use super::{Ctx, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [committed(), aborted(), conflicting(), misused()].concat()
}

fn committed() -> Vec<Op> {
    vec![
        once("insert_accounts", |_| {
            doc! { "insert": "accounts", "documents": [{ "_id": "a", "n": 100 }, { "_id": "b", "n": 0 }, { "_id": "c", "n": 5 }] }
        }),
        once("txn_start_with_read", |c| {
            first(
                c,
                "t",
                1,
                doc! { "find": "accounts", "filter": { "_id": "a" } },
            )
        }),
        once("txn_debit", |c| next(c, "t", 1, add("a", -30))),
        once("txn_credit", |c| next(c, "t", 1, add("b", 30))),
        read("txn_reads_its_own_writes", |c| {
            next(c, "t", 1, doc! { "find": "accounts", "sort": { "_id": 1 } })
        }),
        read("others_do_not_see_the_transaction", |_| {
            doc! { "find": "accounts", "sort": { "_id": 1 } }
        }),
        read("txn_aggregate", |c| {
            let pipeline = vec![doc! { "$group": { "_id": null, "sum": { "$sum": "$n" } } }];
            next(
                c,
                "t",
                1,
                doc! { "aggregate": "accounts", "pipeline": pipeline, "cursor": {} },
            )
        }),
        once("txn_insert", |c| {
            next(
                c,
                "t",
                1,
                doc! { "insert": "accounts", "documents": [{ "_id": "d", "n": 1 }] },
            )
        }),
        once("txn_find_and_modify", |c| {
            next(
                c,
                "t",
                1,
                doc! { "findAndModify": "accounts", "query": { "_id": "d" }, "remove": true },
            )
        }),
        once("txn_cursor", |c| {
            next(
                c,
                "t",
                1,
                doc! { "find": "accounts", "sort": { "_id": 1 }, "batchSize": 1 },
            )
        }),
        once("txn_get_more", |c| {
            let id = c.cursor("txn_cursor");
            next(
                c,
                "t",
                1,
                doc! { "getMore": id, "collection": "accounts", "batchSize": 1 },
            )
        }),
        once("txn_commit", |c| end(c, "t", 1, "commitTransaction")).on_admin(),
        once("txn_commit_again", |c| end(c, "t", 1, "commitTransaction")).on_admin(),
        read(
            "others_see_the_commit",
            |_| doc! { "find": "accounts", "sort": { "_id": 1 } },
        ),
        once("txn_abort_after_commit", |c| {
            end(c, "t", 1, "abortTransaction")
        })
        .on_admin(),
        once("txn_read_after_commit", |c| {
            next(c, "t", 1, doc! { "find": "accounts" })
        }),
    ]
}

fn aborted() -> Vec<Op> {
    vec![
        once("txn_start_with_write", |c| first(c, "t", 2, add("a", 1000))),
        read(
            "others_do_not_see_the_write",
            |_| doc! { "find": "accounts", "filter": { "_id": "a" } },
        ),
        once("txn_abort", |c| end(c, "t", 2, "abortTransaction")).on_admin(),
        once("txn_abort_again", |c| end(c, "t", 2, "abortTransaction")).on_admin(),
        read(
            "the_aborted_write_is_gone",
            |_| doc! { "find": "accounts", "filter": { "_id": "a" } },
        ),
        once("txn_commit_after_abort", |c| {
            end(c, "t", 2, "commitTransaction")
        })
        .on_admin(),
        once("txn_start_with_snapshot", |c| {
            first(
                c,
                "t",
                3,
                doc! { "count": "accounts", "query": {}, "readConcern": { "level": "snapshot" } },
            )
        }),
        once("txn_start_with_aggregate", |c| {
            first(
                c,
                "t",
                4,
                doc! { "aggregate": "accounts", "pipeline": [{ "$count": "n" }], "cursor": {}, "readConcern": { "level": "snapshot" } },
            )
        }),
        once("txn_error_aborts", |c| {
            next(
                c,
                "t",
                4,
                doc! { "insert": "accounts", "documents": [{ "_id": "a" }] },
            )
        }),
        once("txn_after_error", |c| {
            next(c, "t", 4, doc! { "find": "accounts" })
        }),
    ]
}

fn conflicting() -> Vec<Op> {
    vec![
        once("txn_left_starts", |c| first(c, "left", 1, add("c", 1))),
        once("txn_right_starts", |c| {
            first(
                c,
                "right",
                1,
                doc! { "find": "accounts", "filter": { "_id": "b" } },
            )
        }),
        once("txn_right_conflicts", |c| next(c, "right", 1, add("c", 2))),
        once("txn_right_is_aborted", |c| {
            end(c, "right", 1, "commitTransaction")
        })
        .on_admin(),
        once("txn_left_commits_majority", |c| {
            let mut command = end(c, "left", 1, "commitTransaction");
            command.insert("writeConcern", doc! { "w": "majority" });
            command
        })
        .on_admin(),
        once("txn_creates_a_collection", |c| {
            first(
                c,
                "left",
                2,
                doc! { "insert": "made_in_txn", "documents": [{ "_id": 1 }] },
            )
        }),
        once("txn_index_on_non_empty_is_refused", |c| {
            next(
                c,
                "left",
                2,
                doc! { "createIndexes": "made_in_txn", "indexes": [{ "key": { "a": 1 }, "name": "a_1" }] },
            )
        }),
        once(
            "txn_killed_with_its_session",
            |c| doc! { "killSessions": [c.session("left")] },
        ),
        once("txn_commit_after_kill", |c| {
            end(c, "left", 2, "commitTransaction")
        })
        .on_admin(),
        read("find_made_in_txn", |_| doc! { "find": "made_in_txn" }),
    ]
}

fn misused() -> Vec<Op> {
    vec![
        once("txn_never_started", |c| {
            next(c, "none", 1, doc! { "find": "accounts" })
        }),
        once("txn_commit_unknown", |c| {
            end(c, "none", 5, "commitTransaction")
        })
        .on_admin(),
        once("txn_commit_elsewhere_is_refused", |c| {
            end(c, "none", 5, "commitTransaction")
        }),
        once("txn_without_session", |_| {
            doc! { "find": "accounts", "txnNumber": 1_i64, "autocommit": false, "startTransaction": true }
        }),
        once("txn_without_autocommit", |c| {
            doc! { "find": "accounts", "lsid": c.session("none"), "txnNumber": 6_i64, "startTransaction": true }
        }),
        once("txn_autocommit_true", |c| {
            doc! { "find": "accounts", "lsid": c.session("none"), "txnNumber": 6_i64, "startTransaction": true, "autocommit": true }
        }),
        once("txn_write_concern_inside", |c| {
            let mut command = add("a", 1);
            command.insert("writeConcern", doc! { "w": 1 });
            first(c, "none", 7, command)
        }),
        once("txn_forbidden_command", |c| {
            first(c, "none", 8, doc! { "listCollections": 1 })
        }),
        once("txn_count_is_refused", |c| {
            first(c, "none", 9, doc! { "count": "accounts" })
        }),
        once("txn_old_number", |c| {
            first(c, "t", 1, doc! { "find": "accounts" })
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("txn_end_sessions", |c| {
            doc! { "endSessions": [c.session("t"), c.session("left"), c.session("right"), c.session("none"), c.session("retries")] }
        }),
    ]
}

fn first(c: &mut Ctx, session: &'static str, number: i64, command: Document) -> Document {
    let mut command = next(c, session, number, command);
    command.insert("startTransaction", true);
    command
}

fn next(c: &mut Ctx, session: &'static str, number: i64, mut command: Document) -> Document {
    let lsid = c.session(session);
    command.extend(doc! { "lsid": lsid, "txnNumber": number, "autocommit": false });
    command
}

fn end(c: &mut Ctx, session: &'static str, number: i64, how: &str) -> Document {
    next(c, session, number, doc! { how: 1 })
}

fn add(account: &str, n: i32) -> Document {
    doc! { "update": "accounts", "updates": [{ "q": { "_id": account }, "u": { "$inc": { "n": n } } }] }
}
