//! What drivers, shells and dashboards ask a server about itself.

use bson::doc;

use super::super::mask::{ANY_ORDER, Mask, Rule};
use super::{Form, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [hello(), about(), api()].concat()
}

fn hello() -> Vec<Op> {
    vec![
        read("hello", |_| doc! { "hello": 1 })
            .on_admin()
            .masking(HELLO),
        read("is_master", |_| doc! { "isMaster": 1 })
            .on_admin()
            .masking(IS_MASTER),
        read("ismaster_lower_case", |_| doc! { "ismaster": 1 })
            .on_admin()
            .masking(IS_MASTER),
        read("hello_ok", |_| doc! { "isMaster": 1, "helloOk": true })
            .on_admin()
            .masking(IS_MASTER),
        read("hello_of_wrong_type", |_| doc! { "hello": "you" })
            .on_admin()
            .masking(HELLO),
        read(
            "hello_by_query",
            |_| doc! { "isMaster": 1, "helloOk": true },
        )
        .on_admin()
        .in_form(Form::Query)
        .masking(IS_MASTER),
    ]
}

fn about() -> Vec<Op> {
    vec![
        read("ping", |_| doc! { "ping": 1 }),
        read("ping_admin", |_| doc! { "ping": 1 }).on_admin(),
        read("build_info", |_| doc! { "buildInfo": 1 }).on_admin(),
        read("build_info_lower_case", |_| doc! { "buildinfo": 1 }),
        read("host_info_names", |_| doc! { "hostInfo": 1 }).on_admin().masking(&[
            ("system", Mask::Names),
            ("os", Mask::Names),
            ("extra", Mask::Names),
        ]),
        read("get_parameter", |_| {
            doc! { "getParameter": 1, "featureCompatibilityVersion": 1 }
        })
        .on_admin(),
        read("get_parameter_unknown", |_| doc! { "getParameter": 1, "colour": 1 }).on_admin(),
        read("get_parameter_elsewhere_is_refused", |_| {
            doc! { "getParameter": 1, "featureCompatibilityVersion": 1 }
        }),
        once("set_parameter_unknown", |_| doc! { "setParameter": 1, "colour": "red" }).on_admin(),
        read("get_cmd_line_opts_names", |_| doc! { "getCmdLineOpts": 1 }).on_admin().masking(&[
            ("argv", Mask::Length),
            ("parsed", Mask::Names),
        ]),
        read("connection_status", |_| doc! { "connectionStatus": 1 }),
        read("connection_status_privileges", |_| {
            doc! { "connectionStatus": 1, "showPrivileges": true }
        }),
        read("whats_my_uri", |_| doc! { "whatsmyuri": 1 }).masking(&[("you", Mask::Value)]),
        read("server_status_names", |_| doc! { "serverStatus": 1 }).on_admin().masking(NAMES_ONLY),
        read("current_op_names", |_| doc! { "currentOp": 1, "$ownOps": true })
            .on_admin()
            .masking(&[("inprog", Mask::Length)]),
        read("top_is_for_admin", |_| doc! { "top": 1 }),
        read("list_commands", |_| doc! { "listCommands": 1 }).on_admin(),
        read("get_log_names", |_| doc! { "getLog": "*" }).on_admin().masking(LOG),
        read("get_log_global", |_| doc! { "getLog": "global" }).on_admin().masking(LOG),
        read("profile_level", |_| doc! { "profile": -1 }),
        read("repl_set_status_names", |_| doc! { "replSetGetStatus": 1 })
            .on_admin()
            .masking(NAMES_ONLY),
        read("repl_set_status_elsewhere_is_refused", |_| doc! { "replSetGetStatus": 1 })
            .masking(NAMES_ONLY),
        read("default_rw_concern_names", |_| doc! { "getDefaultRWConcern": 1 })
            .on_admin()
            .masking(&[
                ("updateOpTime", Mask::Drop),
                ("updateWallClockTime", Mask::Drop),
                ("localUpdateWallClockTime", Mask::Value),
            ]),
        read("list_shards_is_for_mongos", |_| doc! { "listShards": 1 }).on_admin(),
        once("kill_op_unknown", |_| doc! { "killOp": 1, "op": 2_000_000_000 }).on_admin(),
        once("kill_op_without_op", |_| doc! { "killOp": 1 }).on_admin(),
        read("features", |_| doc! { "features": 1 }).masking(&[("oidMachine", Mask::Number)]),
        read("find_startup_log_names", |_| {
            doc! { "find": "startup_log", "limit": 1, "projection": { "_id": 0, "pid": { "$type": "$pid" } } }
        })
        .on(super::Database::Named("local")),
        read("apply_ops_of_nothing", |_| doc! { "applyOps": "all" }).on_admin(),
    ]
}

fn api() -> Vec<Op> {
    vec![
        read("api_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "apiVersion": "1" }
        }),
        read("api_strict_find", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "apiVersion": "1", "apiStrict": true, "apiDeprecationErrors": true }
        }),
        read("api_strict_refuses", |_| {
            doc! { "collStats": "people", "apiVersion": "1", "apiStrict": true }
        }),
        read("api_unknown_version", |_| doc! { "ping": 1, "apiVersion": "7" }),
        read("api_strict_without_version", |_| doc! { "ping": 1, "apiStrict": true }),
        read("api_deprecated", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "apiVersion": "1", "apiDeprecationErrors": "yes" }
        }),
        once("api_cursor", |_| doc! { "find": "numbers", "batchSize": 2, "apiVersion": "1" }),
        once("api_get_more_without_version", |c| {
            doc! { "getMore": c.cursor("api_cursor"), "collection": "numbers" }
        })
        .masking(&[("errmsg", Mask::Value)]),
        once("api_get_more", |c| {
            doc! { "getMore": c.cursor("api_cursor"), "collection": "numbers", "batchSize": 2, "apiVersion": "1" }
        }),
        once("api_kill_cursor", |c| {
            doc! { "killCursors": "numbers", "cursors": [c.cursor("api_cursor")], "apiVersion": "1" }
        })
        .masking(&[("cursorsKilled.*", Mask::NonZero), ("cursorsNotFound.*", Mask::NonZero)]),
    ]
}

/// A proxy speaks for itself about addresses and topology; the rest of hello
/// is the server's.
const HELLO: &[Rule] = &topology("ismaster");

/// Likewise; some servers say it both ways.
const IS_MASTER: &[Rule] = &topology("isWritablePrimary");

const fn topology(other_word: &'static str) -> [Rule; 18] {
    [
        ANY_ORDER,
        (other_word, Mask::Drop),
        ("msg", Mask::Drop),
        ("hosts", Mask::Drop),
        ("passives", Mask::Drop),
        ("arbiters", Mask::Drop),
        ("me", Mask::Drop),
        ("primary", Mask::Drop),
        ("setName", Mask::Drop),
        ("setVersion", Mask::Drop),
        ("secondary", Mask::Drop),
        ("electionId", Mask::Drop),
        ("lastWrite", Mask::Drop),
        ("connectionId", Mask::Drop),
        ("maxWireVersion", Mask::Number),
        ("readOnly", Mask::Drop),
        ("operationTime", Mask::Drop),
        // mongod repeats what was negotiated on the connection; the proxy
        // negotiates for itself, and says so once.
        ("compression", Mask::Drop),
    ]
}

/// A log grows.
const LOG: &[Rule] = &[("totalLinesWritten", Mask::Number), ("log", Mask::Length)];

/// Every field may have any value.
const NAMES_ONLY: &[Rule] = &[
    ("ok", Mask::Number),
    ("errmsg", Mask::Value),
    ("code", Mask::Number),
    ("codeName", Mask::Value),
    ("*", Mask::Anything),
];
