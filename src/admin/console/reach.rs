//! Commands on other databases that would reach the real one behind the console's name: `$out` and
//! `$merge` into it, `renameCollection`, `bulkWrite`, and what the server may know besides.
//!
//! What they write there nobody could read while the console is on. So they are refused, as writes on
//! the console itself are. Reads can't get there: a pipeline reads its own database only.

use super::DATABASE;
use crate::command::{Command, Footprint, Kind, footprint};
use crate::wire::doc;
use crate::wire::op_msg::OpMsg;

/// Whether a command on another database would reach the one of the console's name.
pub(super) fn reaches(command: &Command, msg: &OpMsg) -> bool {
    match command.kind {
        Kind::Aggregate if !command.pipeline_writes => return false,
        Kind::Aggregate | Kind::Rename | Kind::BulkWrite => {}
        Kind::Unknown if !is_about_rights(command.name()) => {}
        // All others stay in their database.
        _ => return false,
    }
    match footprint(command, msg) {
        Footprint::Nothing => false,
        Footprint::Statements(namespace, _) => namespace.db == DATABASE,
        Footprint::Namespaces(all) => all.iter().any(|namespace| namespace.db == DATABASE),
        Footprint::Databases(all) => all.iter().any(|db| db == DATABASE),
        Footprint::Everything => is_named(command, msg),
    }
}

/// A user may have rights on a database of this name, or have the name.
fn is_about_rights(command: &str) -> bool {
    command.contains("User") || command.contains("Role")
}

/// Whether a command that may write anywhere names the database where a place is named.
fn is_named(command: &Command, msg: &OpMsg) -> bool {
    if matches!(command.name(), "mapReduce" | "mapreduce") {
        // Its other strings are collections of its own database.
        let out = doc::find(command.body(), "out").and_then(|out| out.as_document());
        let db = out.and_then(|out| doc::find(out, "db"));
        return db.and_then(|db| db.as_str()) == Some(DATABASE);
    }
    let documents = msg.sequences.iter().flatten();
    is_first(command)
        || names(command.body(), 0)
        || documents
            .filter_map(Result::ok)
            .any(|document| names(document, 0))
}

/// Whether a command's first field is a place in the database. On other databases than `admin` it is a
/// collection there, whatever it is called.
fn is_first(command: &Command) -> bool {
    // (The database to be sharded or moved; another command's first field may be anything.)
    let moves = matches!(command.name(), "enableSharding" | "movePrimary");
    // A string, though not always a collection.
    let first = command.collection();
    command.db() == "admin"
        && first.is_some_and(|value| is_within(value) || moves && value == DATABASE)
}

fn names(document: &[u8], depth: usize) -> bool {
    depth > DEEPEST
        || doc::elements(document)
            .map_while(Result::ok)
            .any(|element| {
                let inner = element.as_document().or_else(|| element.as_array());
                let value = element.as_str().filter(|_| PLACES.contains(&element.key));
                value.is_some_and(|value| value == DATABASE || is_within(value))
                    || inner.is_some_and(|inner| names(inner, depth + 1))
            })
}

/// `petiole.collection`.
fn is_within(namespace: &str) -> bool {
    let rest = namespace.strip_prefix(DATABASE);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// Fields that say where something is, or goes.
const PLACES: [&str; 10] = [
    "db",
    "fromdb",
    "todb",
    "ns",
    "to",
    "from",
    "into",
    "out",
    "collection",
    "renameCollection",
];
/// No deeper does any command name a place; what does is refused.
const DEEPEST: usize = 100;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::pipeline::scripted::request;

    fn reached(mut command: Document, db: &str) -> bool {
        command.insert("$db", db);
        let request = request(&command);
        reaches(&request.command, &request.msg)
    }

    #[test]
    fn every_route_into_the_database_is_seen() {
        for command in [
            doc! {"aggregate": "c", "pipeline": [{"$out": {"db": "petiole", "coll": "x"}}], "cursor": {}},
            doc! {"aggregate": "c", "pipeline": [{"$merge": {"into": {"db": "petiole", "coll": "x"}}}], "cursor": {}},
            doc! {"mapReduce": "c", "map": "", "reduce": "", "out": {"replace": "x", "db": "petiole"}},
            doc! {"mapreduce": "petiole.c", "map": "", "reduce": "", "out": {"db": "petiole", "merge": "x"}},
        ] {
            assert!(reached(command.clone(), "shop"), "{command}");
        }
        for command in [
            doc! {"renameCollection": "shop.a", "to": "petiole.a"},
            doc! {"renameCollection": "petiole.a", "to": "shop.a"},
            doc! {"bulkWrite": 1, "ops": [{"insert": 0, "document": {}}], "nsInfo": [{"ns": "petiole.a"}]},
            doc! {"applyOps": [{"op": "i", "ns": "petiole.a", "o": {"_id": 1}}]},
            doc! {"copydb": 1, "fromdb": "shop", "todb": "petiole"},
            doc! {"shardCollection": "petiole.a", "key": {"_id": 1}},
            doc! {"enableSharding": "petiole"},
        ] {
            assert!(reached(command.clone(), "admin"), "{command}");
        }
    }

    #[test]
    fn what_only_has_the_word_in_it_goes_on() {
        for command in [
            doc! {"aggregate": "c", "pipeline": [{"$match": {"db": "petiole"}}, {"$out": "petiole"}], "cursor": {}},
            doc! {"aggregate": "c", "pipeline": [{"$match": {"ns": "petiole.a"}}], "cursor": {}},
            doc! {"insert": "petiole.a", "documents": [{"db": "petiole"}]},
            doc! {"createUser": "petiole", "roles": [{"role": "read", "db": "petiole"}]},
            doc! {"renameCollection": "shop.petiole", "to": "shop.petiole.a"},
            doc! {"find": "petiole", "filter": {"ns": "petiole.a"}},
            doc! {"validate": "petiole.events"},
            doc! {"compact": "petiole.events"},
            doc! {"mapReduce": "petiole.events", "map": "", "reduce": "", "out": {"inline": 1}},
            doc! {"mapReduce": "c", "map": "", "reduce": "", "query": {"db": "petiole"}, "out": "x"},
            doc! {"mapReduce": "c", "map": "", "reduce": "", "scope": {"to": "petiole.x"}, "out": "petiole.x"},
            doc! {"mapreduce": "c", "map": "", "reduce": "", "out": {"merge": "petiole.x", "db": "shop"}},
        ] {
            assert!(!reached(command.clone(), "shop"), "{command}");
        }
    }
}
