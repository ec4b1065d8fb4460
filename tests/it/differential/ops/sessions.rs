//! Sessions, causal reads and retryable writes.

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};

use super::super::mask::Mask;
use super::{Ctx, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [lifecycle(), causal(), retried()].concat()
}

fn lifecycle() -> Vec<Op> {
    vec![
        once("start_session", |_| doc! { "startSession": 1 }).masking(&[("id.id", Mask::Value)]),
        read("find_in_session", |c| {
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": c.session("plain") }
        }),
        once("cursor_in_session", |c| {
            doc! { "find": "numbers", "batchSize": 2, "lsid": c.session("plain") }
        }),
        once("get_more_in_session", |c| {
            doc! { "getMore": c.cursor("cursor_in_session"), "collection": "numbers", "batchSize": 2, "lsid": c.session("plain") }
        }),
        once("get_more_in_other_session_is_refused", |c| {
            doc! { "getMore": c.cursor("cursor_in_session"), "collection": "numbers", "lsid": c.session("stranger") }
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("get_more_without_session_is_refused", |c| {
            doc! { "getMore": c.cursor("cursor_in_session"), "collection": "numbers" }
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("refresh_sessions", |c| {
            doc! { "refreshSessions": [c.session("plain"), c.session("stranger")] }
        }),
        once("kill_sessions", |c| doc! { "killSessions": [c.session("plain")] }),
        once("get_more_of_killed_session", |c| {
            doc! { "getMore": c.cursor("cursor_in_session"), "collection": "numbers", "lsid": c.session("plain") }
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("end_sessions", |c| {
            doc! { "endSessions": [c.session("plain"), c.session("stranger")] }
        }),
        once("end_sessions_of_wrong_type", |_| doc! { "endSessions": "all" }),
        read("session_id_of_wrong_type", |_| {
            doc! { "find": "people", "lsid": "mine" }
        }),
        read("session_id_without_uuid", |_| {
            doc! { "find": "people", "lsid": { "id": 5 } }
        }),
        read("find_to_be_remembered", |_| {
            doc! { "find": "people", "filter": { "_id": 1 } }
        }),
        read("session_id_of_wrong_type_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": "mine" }
        }),
        read("session_id_empty_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": {} }
        }),
        read("session_id_of_wrong_subtype_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": { "id": binary(0, 16) } }
        }),
        read("session_id_too_short_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": { "id": binary(4, 5) } }
        }),
        read("session_id_with_unknown_field_on_remembered_find", |c| {
            let mut lsid = c.session("other");
            lsid.insert("colour", "red");
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": lsid }
        }),
        read("transaction_number_alone_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "txnNumber": 5_i64 }
        }),
        read("transaction_number_on_remembered_find", |c| {
            doc! { "find": "people", "filter": { "_id": 1 }, "lsid": c.session("other"), "txnNumber": 5_i64 }
        }),
        read("autocommit_alone_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "autocommit": false }
        }),
        read("cluster_time_of_wrong_type_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "$clusterTime": "now" }
        }),
        read("cluster_time_empty_on_remembered_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "$clusterTime": {} }
        }),
    ]
}

fn causal() -> Vec<Op> {
    vec![
        once("insert_causal", |c| {
            doc! { "insert": "causal", "documents": [{ "_id": 1 }], "lsid": c.session("causal") }
        }),
        read("find_after_cluster_time", |c| {
            doc! { "find": "causal", "lsid": c.session("causal"), "readConcern": { "level": "local", "afterClusterTime": c.seen() } }
        }),
        read("find_majority_after_cluster_time", |c| {
            doc! { "find": "causal", "lsid": c.session("causal"), "readConcern": { "level": "majority", "afterClusterTime": c.seen() } }
        }),
        read("count_after_cluster_time", |c| {
            doc! { "count": "causal", "lsid": c.session("causal"), "readConcern": { "afterClusterTime": c.seen() } }
        }),
        read("after_cluster_time_of_wrong_type", |_| {
            doc! { "find": "causal", "readConcern": { "afterClusterTime": "yesterday" } }
        }),
    ]
}

fn retried() -> Vec<Op> {
    vec![
        once("create_retried", |_| doc! { "create": "retried" }),
        once("retryable_insert", |c| numbered(c, 1, insert())),
        once("retryable_insert_again", |c| numbered(c, 1, insert())),
        once("retryable_update", |c| numbered(c, 2, increment())),
        once("retryable_update_again", |c| numbered(c, 2, increment())),
        read(
            "find_incremented_once",
            |_| doc! { "find": "retried", "sort": { "_id": 1 } },
        ),
        once("retryable_find_and_modify", |c| numbered(c, 3, modify())),
        once("retryable_find_and_modify_again", |c| {
            numbered(c, 3, modify())
        }),
        once("retryable_delete", |c| numbered(c, 4, remove())),
        once("retryable_delete_again", |c| numbered(c, 4, remove())),
        once("retryable_old_number_is_refused", |c| {
            numbered(c, 2, increment())
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("retryable_without_session_is_refused", |_| {
            let mut command = insert();
            command.insert("txnNumber", 9_i64);
            command
        }),
        once("retryable_multi_update_is_refused", |c| {
            let command = doc! { "update": "retried", "updates": [{ "q": {}, "u": { "$set": { "a": 1 } }, "multi": true }] };
            numbered(c, 5, command)
        }),
        once("retryable_number_of_wrong_type", |c| {
            let mut command = insert();
            command.extend(doc! { "lsid": c.session("retries"), "txnNumber": "six" });
            command
        }),
        once("retryable_ordered_with_error", |c| {
            let command = doc! { "insert": "retried", "documents": [{ "_id": 7 }, { "_id": 7 }, { "_id": 8 }] };
            numbered(c, 10, command)
        }),
        once("retryable_ordered_with_error_again", |c| {
            let command = doc! { "insert": "retried", "documents": [{ "_id": 7 }, { "_id": 7 }, { "_id": 8 }] };
            numbered(c, 10, command)
        }),
        once("retryable_statement_ids", |c| {
            let mut command = doc! { "insert": "retried", "documents": [{ "_id": 20 }, { "_id": 21 }], "stmtIds": [5, 6] };
            command = numbered(c, 11, command);
            command
        }),
        read(
            "find_after_retries",
            |_| doc! { "find": "retried", "sort": { "_id": 1 } },
        ),
    ]
}

fn numbered(c: &mut Ctx, number: i64, mut command: Document) -> Document {
    command.extend(doc! { "lsid": c.session("retries"), "txnNumber": number });
    command
}

fn binary(subtype: u8, length: usize) -> Binary {
    let subtype = BinarySubtype::from(subtype);
    let bytes = vec![7; length];
    Binary { subtype, bytes }
}

fn insert() -> Document {
    doc! { "insert": "retried", "documents": [{ "_id": 1, "n": 0 }, { "_id": 2, "n": 0 }] }
}

fn increment() -> Document {
    doc! { "update": "retried", "updates": [{ "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } } }] }
}

fn modify() -> Document {
    doc! { "findAndModify": "retried", "query": { "_id": 1 }, "update": { "$inc": { "n": 10 } }, "new": true }
}

fn remove() -> Document {
    doc! { "delete": "retried", "deletes": [{ "q": { "_id": 2 }, "limit": 1 }] }
}
