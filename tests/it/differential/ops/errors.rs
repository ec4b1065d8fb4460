//! Commands that no server accepts, and names that none allows.

use bson::{Bson, doc};

use super::{Database, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        read("unknown_command", |_| doc! { "frobnicate": 1 }),
        read("unknown_command_long", |_| doc! { "a".repeat(2000): 1 }),
        read("command_in_other_case", |_| doc! { "PING": 1 }),
        read("empty_command", |_| doc! {}),
        read("empty_command_name", |_| doc! { "": 1 }),
        read(
            "command_name_not_first",
            |_| doc! { "comment": 1, "ping": 1 },
        ),
        read(
            "unknown_dollar_field",
            |_| doc! { "ping": 1, "$frobnicate": 1 },
        ),
        read("no_database", |_| doc! { "ping": 1 }).on(Database::Absent),
        read("database_of_wrong_type", |_| doc! { "ping": 1, "$db": 5 }).on(Database::Absent),
        read("empty_database_name", |_| doc! { "find": "people" }).on(Database::Named("")),
        read("database_name_with_dot", |_| doc! { "find": "people" }).on(Database::Named("a.b")),
        read("database_name_with_space", |_| doc! { "find": "people" }).on(Database::Named("a b")),
        read("database_name_with_dollar", |_| doc! { "find": "people" }).on(Database::Named("$x")),
        read("database_name_with_slash", |_| doc! { "ping": 1 }).on(Database::Named("a/b")),
        read("database_name_with_nul", |_| doc! { "find": "people" }).on(Database::Named("a\0b")),
        read("database_name_too_long", |_| doc! { "find": "people" }).on(Database::Named(
            "x234567890123456789012345678901234567890123456789012345678901234567890",
        )),
        once("database_name_in_other_case", |c| {
            doc! { "insert": "x", "documents": [{ "_id": 1 }], "$db": c.database.to_uppercase() }
        })
        .on(Database::Absent),
        read("find_name_of_wrong_type", |_| doc! { "find": 5 }),
        read("find_name_null", |_| doc! { "find": Bson::Null }),
        read("find_name_with_nul", |_| doc! { "find": "a\0b" }),
        read("find_name_starting_with_dot", |_| doc! { "find": ".a" }),
        read("find_name_ending_with_dot", |_| doc! { "find": "a." }),
        read(
            "find_system_namespace",
            |_| doc! { "find": "system.profile" },
        ),
        read(
            "write_concern_on_read",
            |_| doc! { "find": "people", "writeConcern": { "w": 1 } },
        ),
        once("read_concern_on_write", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 900 }], "readConcern": { "level": "majority" } }
        }),
        read(
            "write_concern_of_wrong_type",
            |_| doc! { "drop": "nobody", "writeConcern": 1 },
        ),
        read("read_preference_unknown_mode", |_| {
            doc! { "find": "people", "$readPreference": { "mode": "psychic" } }
        }),
        read("read_preference_of_wrong_type", |_| {
            doc! { "find": "people", "$readPreference": "primary" }
        }),
        read(
            "read_concern_of_wrong_type",
            |_| doc! { "find": "people", "readConcern": "local" },
        ),
        read(
            "admin_command_elsewhere",
            |_| doc! { "replSetGetConfig": 1 },
        ),
        once("shutdown_elsewhere_is_refused", |_| doc! { "shutdown": 1 }),
        read("removed_command_eval", |_| doc! { "eval": "1" }),
        read(
            "removed_command_group",
            |_| doc! { "group": { "ns": "people" } },
        ),
        read(
            "removed_command_get_last_error",
            |_| doc! { "getLastError": 1 },
        ),
        read(
            "cluster_time_of_wrong_type",
            |_| doc! { "ping": 1, "$clusterTime": "now" },
        ),
    ]
}
