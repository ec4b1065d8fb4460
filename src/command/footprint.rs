//! What a command may change.

use std::sync::Arc;

use super::statement::{Statement, statements};
use super::{Command, Kind};
use crate::wire::doc;
use crate::wire::op_msg::OpMsg;

/// A collection in a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Database.
    pub db: String,
    /// Collection, view or bucket collection.
    pub collection: String,
}

impl Namespace {
    /// A namespace from its two parts.
    pub fn new(db: &str, collection: &str) -> Namespace {
        Namespace {
            db: db.to_owned(),
            collection: collection.to_owned(),
        }
    }

    /// Splits `db.collection` at the first dot.
    pub fn parse(full: &str) -> Option<Namespace> {
        let (db, collection) = full.split_once('.')?;
        Some(Namespace::new(db, collection))
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.db, self.collection)
    }
}

/// What a command may touch. Never smaller than the truth.
#[derive(Clone, Debug, PartialEq)]
pub enum Footprint {
    /// Provably nothing that a cached read could show.
    Nothing,
    /// What these statements may touch in a collection.
    Statements(Namespace, Arc<[Statement]>),
    /// Documents (or index order) of these collections.
    Namespaces(Vec<Namespace>),
    /// Anything in these databases, also what their names mean.
    Databases(Vec<String>),
    /// Anything at all.
    Everything,
}

/// The footprint of a command (docs/coherence.md, rules 1, 6 and 7).
///
/// `commitTransaction`, `abortTransaction` and `getMore` have none of their own:
/// the pipeline knows what their transaction or cursor touches.
pub fn footprint(command: &Command, msg: &OpMsg) -> Footprint {
    match command.kind {
        Kind::Insert | Kind::Update | Kind::Delete | Kind::FindAndModify | Kind::IndexChange => {
            one(command, msg)
        }
        Kind::Aggregate if !command.pipeline_writes => Footprint::Nothing,
        Kind::Aggregate => out_target(command),
        Kind::Definition => Footprint::Databases(vec![command.db().to_owned()]),
        Kind::Rename => rename(command),
        Kind::Validate => validate(command, msg),
        Kind::BulkWrite => bulk_write(command, msg),
        Kind::Commit | Kind::Abort | Kind::GetMore => Footprint::Nothing,
        kind if kind.never_writes() => Footprint::Nothing,
        _ => Footprint::Everything,
    }
}

fn one(command: &Command, msg: &OpMsg) -> Footprint {
    match command.collection() {
        Some(name) if !name.starts_with("system.") && !command.db().is_empty() => {
            let namespace = Namespace::new(command.db(), name);
            match statements(command, msg) {
                Some(list) if !list.is_empty() => Footprint::Statements(namespace, list.into()),
                _ => Footprint::Namespaces(vec![namespace]),
            }
        }
        _ => Footprint::Everything,
    }
}

/// With `repair` it may put documents into a collection of its own making.
fn validate(command: &Command, msg: &OpMsg) -> Footprint {
    let repairs = |key| doc::find(command.body(), key).is_some_and(|flag| flag.is_truthy());
    match repairs("repair") || repairs("fixMultikey") {
        true => Footprint::Databases(vec![command.db().to_owned()]),
        false => one(command, msg),
    }
}

/// `$out` and `$merge` may create or replace a collection, in another database too.
fn out_target(command: &Command) -> Footprint {
    let Some(target) = last_stage(command) else {
        return Footprint::Everything;
    };
    let target = match target.key {
        "$merge" => match target.as_document() {
            Some(spec) => doc::find(spec, "into"),
            None => Some(target),
        },
        _ => Some(target),
    };
    let Some(target) = target else {
        return Footprint::Everything;
    };
    let db = match target.as_document() {
        Some(place) => doc::find(place, "db").and_then(|e| e.as_str()),
        None => target.as_str().map(|_| command.db()),
    };
    // Without a `db`, `into: {coll}` means the command's own database.
    let own = target
        .as_document()
        .is_some_and(|d| doc::find(d, "db").is_none());
    match db.or(own.then(|| command.db())) {
        Some(db) if !db.is_empty() => Footprint::Databases(vec![db.to_owned()]),
        _ => Footprint::Everything,
    }
}

fn last_stage(command: &Command) -> Option<doc::Element<'_>> {
    let stages = doc::find(command.body(), "pipeline")?.as_array()?;
    let last = doc::elements(stages).last()?.ok()?.as_document()?;
    doc::elements(last)
        .next()?
        .ok()
        .filter(|e| matches!(e.key, "$out" | "$merge"))
}

fn rename(command: &Command) -> Footprint {
    let to = doc::find(command.body(), "to").and_then(|e| e.as_str());
    match (
        command.collection().and_then(Namespace::parse),
        to.and_then(Namespace::parse),
    ) {
        (Some(from), Some(to)) => Footprint::Databases(vec![from.db, to.db]),
        _ => Footprint::Everything,
    }
}

/// `bulkWrite` names its collections in `nsInfo`, in the body or as a sequence.
fn bulk_write(command: &Command, msg: &OpMsg) -> Footprint {
    let mut namespaces = Vec::new();
    let mut add = |entry: &[u8]| {
        let namespace = doc::find(entry, "ns")
            .and_then(|e| e.as_str())
            .and_then(Namespace::parse);
        match namespace {
            Some(ns) if !ns.collection.starts_with("system.") => namespaces.push(ns),
            _ => return false,
        }
        true
    };
    if let Some(list) = doc::find(command.body(), "nsInfo").and_then(|e| e.as_array()) {
        for entry in doc::elements(list) {
            if !entry
                .ok()
                .and_then(|e| e.as_document())
                .is_some_and(&mut add)
            {
                return Footprint::Everything;
            }
        }
    }
    for sequence in msg
        .sequences
        .iter()
        .filter(|s| s.identifier.as_str() == "nsInfo")
    {
        for entry in sequence.iter() {
            if !entry.is_ok_and(&mut add) {
                return Footprint::Everything;
            }
        }
    }
    if namespaces.is_empty() {
        Footprint::Everything
    } else {
        Footprint::Namespaces(namespaces)
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::*;

    fn of(document: Document) -> Footprint {
        let body = Bytes::from(document.to_vec().unwrap());
        let bytes = crate::wire::build::op_msg(1, 0, 0, &body);
        let msg = OpMsg::parse(&crate::wire::frame::Frame { bytes }).unwrap();
        footprint(&Command::parse(&msg).unwrap(), &msg)
    }

    #[test]
    fn a_write_touches_its_collection() {
        let ns = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
        for name in [
            "insert",
            "update",
            "delete",
            "findAndModify",
            "createIndexes",
        ] {
            assert_eq!(of(doc! {name: "c", "$db": "d"}), ns, "{name}");
        }
    }

    #[test]
    fn writes_to_system_collections_and_unknown_commands_touch_everything() {
        assert_eq!(
            of(doc! {"insert": "system.views", "$db": "d"}),
            Footprint::Everything
        );
        for name in [
            "mapReduce",
            "applyOps",
            "createUser",
            "grantRolesToUser",
            "frobnicate",
        ] {
            assert_eq!(
                of(doc! {name: "c", "$db": "d"}),
                Footprint::Everything,
                "{name}"
            );
        }
    }

    #[test]
    fn out_and_merge_touch_the_database_they_name() {
        let agg = |stage: Document| of(doc! {"aggregate": "c", "pipeline": [stage], "$db": "d"});
        let db = |name: &str| Footprint::Databases(vec![name.to_owned()]);
        assert_eq!(agg(doc! {"$out": "x"}), db("d"));
        assert_eq!(agg(doc! {"$out": {"db": "e", "coll": "x"}}), db("e"));
        assert_eq!(agg(doc! {"$merge": "x"}), db("d"));
        assert_eq!(agg(doc! {"$merge": {"into": "x"}}), db("d"));
        assert_eq!(agg(doc! {"$merge": {"into": {"coll": "x"}}}), db("d"));
        assert_eq!(
            agg(doc! {"$merge": {"into": {"db": "e", "coll": "x"}}}),
            db("e")
        );
        assert_eq!(agg(doc! {"$merge": {"on": "x"}}), Footprint::Everything);
    }

    #[test]
    fn bulk_write_touches_every_namespace_it_lists() {
        let found = of(
            doc! {"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "a.b"}, {"ns": "c.d.e"}], "$db": "admin"},
        );
        let expected = vec![Namespace::new("a", "b"), Namespace::new("c", "d.e")];
        assert_eq!(found, Footprint::Namespaces(expected));
        assert_eq!(
            of(doc! {"bulkWrite": 1, "$db": "admin"}),
            Footprint::Everything
        );
        assert_eq!(
            of(doc! {"bulkWrite": 1, "nsInfo": [{"ns": 5}], "$db": "admin"}),
            Footprint::Everything
        );
    }

    #[test]
    fn validate_touches_its_collection_and_with_repair_its_database() {
        let ns = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
        assert_eq!(of(doc! {"validate": "c", "full": true, "$db": "d"}), ns);
        for flag in ["repair", "fixMultikey"] {
            let found = of(doc! {"validate": "c", flag: true, "$db": "d"});
            assert_eq!(found, Footprint::Databases(vec!["d".into()]));
        }
    }

    #[test]
    fn rename_touches_both_databases() {
        let found = of(doc! {"renameCollection": "a.x", "to": "b.y", "$db": "admin"});
        assert_eq!(found, Footprint::Databases(vec!["a".into(), "b".into()]));
    }
}
