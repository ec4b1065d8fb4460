//! The same commands in other clothes: checksums, sequences, compression,
//! OP_QUERY, unacknowledged writes.

use bson::doc;

use super::{Form, Op, once, read};
use crate::raw::Compressor;

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        read("checksum_find", |_| doc! { "find": "people", "filter": { "_id": 1 } }).in_form(Form::Checksum),
        once("checksum_insert", |_| doc! { "insert": "wired" })
            .in_form(Form::Checksum)
            .with("documents", |_| vec![doc! { "_id": 1 }, doc! { "_id": 2 }]),
        read("snappy_find", |_| doc! { "find": "people", "filter": { "_id": 3 } })
            .in_form(Form::Compressed(Compressor::Snappy)),
        read("zlib_find", |_| doc! { "find": "people", "filter": { "_id": 4 } })
            .in_form(Form::Compressed(Compressor::Zlib)),
        read("zstd_find", |_| doc! { "find": "people", "filter": { "_id": 5 } })
            .in_form(Form::Compressed(Compressor::Zstd)),
        once("snappy_insert_sequence", |_| doc! { "insert": "wired" })
            .in_form(Form::Compressed(Compressor::Snappy))
            .with("documents", |_| (100..140).map(|n| doc! { "_id": n, "pad": "pad ".repeat(50) }).collect()),
        read("zstd_find_large", |_| doc! { "find": "wired", "filter": { "_id": { "$gte": 100 } } })
            .in_form(Form::Compressed(Compressor::Zstd)),
        once("unacknowledged_insert", |_| {
            doc! { "insert": "wired", "documents": [{ "_id": 50 }], "writeConcern": { "w": 0 } }
        })
        .in_form(Form::Unacknowledged),
        read("find_unacknowledged_insert", |_| doc! { "find": "wired", "filter": { "_id": 50 } }),
        once("unacknowledged_sequence", |_| doc! { "insert": "wired", "writeConcern": { "w": 0 } })
            .in_form(Form::Unacknowledged)
            .with("documents", |_| vec![doc! { "_id": 51 }, doc! { "_id": 50 }, doc! { "_id": 52 }]),
        read("count_after_unacknowledged_error", |_| {
            doc! { "count": "wired", "query": { "_id": { "$in": [50, 51, 52] } } }
        }),
        once("unacknowledged_update", |_| {
            doc! { "update": "wired", "updates": [{ "q": { "_id": 50 }, "u": { "$set": { "a": 1 } } }], "writeConcern": { "w": 0 } }
        })
        .in_form(Form::Unacknowledged),
        read("find_unacknowledged_update", |_| doc! { "find": "wired", "filter": { "_id": 50 } }),
        once("unacknowledged_delete", |_| {
            doc! { "delete": "wired", "deletes": [{ "q": { "_id": 50 }, "limit": 1 }], "writeConcern": { "w": 0 } }
        })
        .in_form(Form::Unacknowledged),
        read("find_unacknowledged_delete", |_| doc! { "find": "wired", "filter": { "_id": 50 } }),
        once("acknowledged_although_w_0", |_| {
            doc! { "insert": "wired", "documents": [{ "_id": 60 }], "writeConcern": { "w": 0 } }
        }),
        read("unacknowledged_ping", |_| doc! { "ping": 1 }).in_form(Form::Unacknowledged),
        read("sequence_unknown_to_the_command", |_| doc! { "ping": 1 })
            .with("documents", |_| vec![doc! { "a": 1 }]),
        read("ping_by_query", |_| doc! { "ping": 1 })
            .on_admin()
            .in_form(Form::Query)
            .answered_by_the_proxy(),
        read("find_by_query", |_| doc! { "find": "people", "filter": { "_id": 1 } })
            .in_form(Form::Query)
            .answered_by_the_proxy(),
        once("unacknowledged_drop", |_| doc! { "drop": "wired", "writeConcern": { "w": 0 } })
            .in_form(Form::Unacknowledged),
        read("count_after_unacknowledged_drop", |_| doc! { "count": "wired" }),
    ]
}
