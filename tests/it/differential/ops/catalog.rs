//! Collections and databases: create, list, rename, modify, measure, drop.

use bson::doc;

use super::super::mask::Mask;
use super::{Database, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [created(), listed(), changed(), measured()].concat()
}

fn created() -> Vec<Op> {
    vec![
        once("create_plain", |_| doc! { "create": "plain" }),
        once("create_again", |_| doc! { "create": "plain" }),
        once("create_again_otherwise", |_| {
            doc! { "create": "plain", "capped": true, "size": 1000 }
        }),
        once("create_with_collation", |_| {
            doc! { "create": "caseless", "collation": { "locale": "en", "strength": 2 } }
        }),
        once("insert_caseless", |_| {
            doc! { "insert": "caseless", "documents": [{ "_id": "A" }, { "_id": "a" }, { "_id": "B" }] }
        }),
        read(
            "find_caseless",
            |_| doc! { "find": "caseless", "filter": { "_id": "b" } },
        ),
        once("create_bad_name", |_| doc! { "create": "a$b" }),
        once("create_name_with_nul", |_| doc! { "create": "a\u{0}b" }),
        once(
            "create_name_too_long",
            |_| doc! { "create": "x".repeat(300) },
        ),
        once(
            "create_capped_without_size",
            |_| doc! { "create": "c2", "capped": true },
        ),
        once(
            "create_unknown_option",
            |_| doc! { "create": "c3", "colour": "red" },
        ),
        once("create_time_series", |_| {
            doc! { "create": "weather", "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes" } }
        }),
        once("insert_time_series", |_| {
            doc! { "insert": "weather", "documents": [
            { "_id": 1, "t": bson::DateTime::from_millis(1_700_000_000_000), "m": { "s": 1 }, "c": 20.5 },
            { "_id": 2, "t": bson::DateTime::from_millis(1_700_000_060_000), "m": { "s": 1 }, "c": 21 }] }
        }),
        read("find_time_series", |_| {
            // One field: the order in which buckets give their fields back varies.
            doc! { "find": "weather", "sort": { "t": 1 }, "projection": { "_id": 0, "c": 1 } }
        }),
    ]
}

fn listed() -> Vec<Op> {
    vec![
        read("list_collections_names", |_| {
            doc! { "listCollections": 1, "nameOnly": true }
        })
        .unordered(),
        read("list_collections_whole", |_| doc! { "listCollections": 1 }).masking(LISTED),
        read("list_collections_filtered", |_| {
            doc! { "listCollections": 1, "filter": { "name": "caseless" } }
        })
        .masking(LISTED),
        read("list_collections_authorized", |_| {
            doc! { "listCollections": 1, "nameOnly": true, "authorizedCollections": true, "filter": { "name": "plain" } }
        }),
        read(
            "list_collections_of_absent_database",
            |_| doc! { "listCollections": 1 },
        )
        .on(Database::Named("diff_no_such_database")),
        read("list_databases_names", |c| {
            doc! { "listDatabases": 1, "nameOnly": true, "filter": { "name": c.database.as_str() } }
        })
        .on_admin(),
        read("list_databases_sizes", |c| {
            doc! { "listDatabases": 1, "filter": { "name": c.database.as_str() } }
        })
        .on_admin()
        .masking(SIZES),
        read(
            "list_databases_elsewhere_is_refused",
            |_| doc! { "listDatabases": 1 },
        ),
    ]
}

fn changed() -> Vec<Op> {
    vec![
        once("rename_collection", |c| {
            doc! { "renameCollection": format!("{}.plain", c.database), "to": format!("{}.renamed", c.database) }
        })
        .on_admin(),
        once("rename_absent_collection", |c| {
            doc! { "renameCollection": format!("{}.plain", c.database), "to": format!("{}.again", c.database) }
        })
        .on_admin(),
        once("rename_onto_existing_is_refused", |c| {
            doc! { "renameCollection": format!("{}.renamed", c.database), "to": format!("{}.people", c.database) }
        })
        .on_admin(),
        once("rename_onto_existing_with_drop", |c| {
            doc! { "renameCollection": format!("{}.renamed", c.database), "to": format!("{}.sales", c.database), "dropTarget": true }
        })
        .on_admin(),
        read("find_renamed", |_| doc! { "find": "sales" }),
        once("rename_to_other_database", |c| {
            doc! { "renameCollection": format!("{}.big_orders", c.database), "to": format!("{}.big_orders", c.other) }
        })
        .on_admin(),
        once("rename_elsewhere_is_refused", |c| {
            doc! { "renameCollection": format!("{}.a", c.database), "to": format!("{}.b", c.database) }
        }),
        once("drop_collection", |_| doc! { "drop": "reduced" })
            .masking(&[("nIndexesWas", Mask::Number)]),
        once("drop_absent_collection", |_| doc! { "drop": "reduced" }),
        once("drop_bad_name", |_| doc! { "drop": "" }),
        once("create_in_other_database", |_| doc! { "create": "temporary" }).on(Database::Other),
        once("drop_other_database", |_| doc! { "dropDatabase": 1 }).on(Database::Other),
        once("drop_other_database_again", |_| doc! { "dropDatabase": 1 }).on(Database::Other),
        read("find_in_dropped_database", |_| doc! { "find": "orders" }).on(Database::Other),
    ]
}

fn measured() -> Vec<Op> {
    vec![
        read("db_stats", |_| doc! { "dbStats": 1 }).masking(SIZES),
        read("db_stats_scaled", |_| doc! { "dbStats": 1, "scale": 1024 }).masking(SIZES),
        read("coll_stats", |_| doc! { "collStats": "people" }).masking(SIZES),
        read("coll_stats_absent", |_| doc! { "collStats": "nobody" }).masking(SIZES),
        read(
            "data_size",
            |c| doc! { "dataSize": format!("{}.people", c.database) },
        )
        .masking(&[("millis", Mask::Number)]),
        once("validate", |_| doc! { "validate": "people" }).masking(SIZES),
        once(
            "validate_full",
            |_| doc! { "validate": "people", "full": true },
        )
        // A checkpoint in its way is reported by table name, and passes.
        .masking(&[
            ("warnings", Mask::Length),
            ("valid", Mask::Value),
            ("indexDetails", Mask::Names),
        ]),
        once("validate_absent", |_| doc! { "validate": "nobody" }).masking(SIZES),
        read(
            "db_hash_names",
            |_| doc! { "dbHash": 1, "collections": ["people", "numbers"] },
        )
        .masking(&[
            ("host", Mask::Drop),
            ("timeMillis", Mask::Number),
            ("uuids", Mask::Names),
        ]),
    ]
}

const LISTED: &[(&str, Mask)] = &[("cursor.firstBatch", Mask::Unordered)];

/// Sizes on disk follow checkpoints, not operations.
const SIZES: &[(&str, Mask)] = &[
    ("databases.*.sizeOnDisk", Mask::Number),
    ("totalSize", Mask::Number),
    ("totalSizeMb", Mask::Number),
    ("storageSize", Mask::Number),
    ("freeStorageSize", Mask::Number),
    ("indexSize", Mask::Number),
    ("totalIndexSize", Mask::Number),
    ("indexSizes.*", Mask::Number),
    ("fsUsedSize", Mask::Number),
    ("fsTotalSize", Mask::Number),
    ("wiredTiger", Mask::Names),
    ("indexDetails", Mask::Names),
];
