//! What one change event says was written.
//!
//! Events are read as raw BSON. What isn't understood counts as a change of all that it might
//! concern: an unknown kind of event of its database, an event without a namespace of everything.

use std::sync::Arc;

use crate::command::{Footprint, Namespace, Paths, Statement, modified_path};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// What to hand on.
#[derive(Debug, PartialEq)]
pub(super) enum Landing {
    /// What may have changed.
    Footprint(Footprint),
    /// Nobody knows: the stream itself is void.
    Flush,
}

/// Reads an event.
pub(super) fn landing(event: &[u8]) -> Landing {
    let mut parts = Parts::default();
    for element in doc::elements(event).map_while(Result::ok) {
        match element.key {
            "operationType" => parts.operation = element.as_str().unwrap_or_default(),
            "ns" => parts.ns = element.as_document(),
            "to" => parts.to = element.as_document(),
            "documentKey" => parts.key = element.as_document(),
            "fullDocument" => parts.document = element.as_document(),
            "updateDescription" => parts.update = element.as_document(),
            "splitEvent" => parts.split = element.as_document(),
            _ => {}
        }
    }
    if let Some(split) = parts.split {
        return part_of_an_event(split, parts.namespace());
    }
    let namespace = parts.namespace();
    let collection = namespace.as_ref().map(|ns| ns.collection.as_str());
    match parts.operation {
        // A time series, which nobody but views can show from memory; or `system.views`.
        "insert" | "update" | "replace" | "delete"
            if collection.is_some_and(|name| name.starts_with("system.")) =>
        {
            match namespace {
                Some(buckets) if buckets.collection.starts_with("system.buckets.") => {
                    Landing::Footprint(Footprint::Namespaces(vec![buckets]))
                }
                _ => Landing::Footprint(parts.databases()),
            }
        }
        "insert" | "update" | "replace" | "delete" => match (namespace, parts.statement()) {
            (Some(namespace), Some(statement)) => {
                Landing::Footprint(Footprint::Statements(namespace, Arc::new([statement])))
            }
            (Some(namespace), None) => Landing::Footprint(Footprint::Namespaces(vec![namespace])),
            (None, _) => Landing::Footprint(Footprint::Everything),
        },
        "createIndexes" | "dropIndexes" => match namespace {
            Some(namespace) => Landing::Footprint(Footprint::Namespaces(vec![namespace])),
            None => Landing::Footprint(Footprint::Everything),
        },
        "invalidate" => Landing::Flush,
        // drop, rename, dropDatabase, create, modify, and what isn't known.
        _ => Landing::Footprint(parts.databases()),
    }
}

/// The first part of an event beyond 16 MB holds its small fields, the namespace among them; it
/// stands for all of them.
fn part_of_an_event(split: &[u8], namespace: Option<Namespace>) -> Landing {
    let number = doc::find(split, "fragment").and_then(|n| n.as_i64());
    Landing::Footprint(match (number, namespace) {
        (_, Some(namespace)) => Footprint::Namespaces(vec![namespace]),
        (Some(2..), None) => Footprint::Nothing,
        _ => Footprint::Everything,
    })
}

#[derive(Default)]
struct Parts<'a> {
    operation: &'a str,
    ns: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    document: Option<&'a [u8]>,
    update: Option<&'a [u8]>,
    split: Option<&'a [u8]>,
}

impl Parts<'_> {
    fn namespace(&self) -> Option<Namespace> {
        let ns = self.ns?;
        let part = |key| doc::find(ns, key).and_then(|e| e.as_str());
        Some(Namespace::new(part("db")?, part("coll")?))
    }

    fn databases(&self) -> Footprint {
        let mut names = Vec::new();
        for ns in [self.ns, self.to].into_iter().flatten() {
            match doc::find(ns, "db").and_then(|e| e.as_str()) {
                Some(db) if names.iter().any(|known| known == db) => {}
                Some(db) => names.push(db.to_owned()),
                None => return Footprint::Everything,
            }
        }
        match names.is_empty() {
            true => Footprint::Everything,
            false => Footprint::Databases(names),
        }
    }

    fn statement(&self) -> Option<Statement> {
        match self.operation {
            "insert" => Some(Statement::landed_insert(self.document?)),
            "replace" => Some(Statement::landed_replace(self.key?, self.document?)),
            "delete" => Some(Statement::landed_delete(self.key?)),
            _ => {
                let (paths, sets) = changed(self.update?)?;
                Some(Statement::landed_update(self.key?, paths, &sets))
            }
        }
    }
}

/// The paths of an `updateDescription`, and the values set where the path says for certain which
/// field is meant. `None` if it can't be read.
fn changed(update: &[u8]) -> Option<(Paths, Vec<u8>)> {
    let mut paths = Paths::none();
    let mut sets = DocBuf::new();
    let mut add = |path: &str| {
        let cut = modified_path(path);
        match &cut {
            Some(path) => paths.insert(path),
            None => paths = Paths::all(),
        }
        cut.is_some_and(|cut| cut == path)
    };
    for part in doc::elements(update) {
        let part = part.ok()?;
        match part.key {
            "updatedFields" => {
                for field in doc::elements(part.as_document()?) {
                    let field = field.ok()?;
                    if add(field.key) {
                        sets.append_value(field.key, field.kind, field.value);
                    }
                }
            }
            "removedFields" => {
                for path in doc::elements(part.as_array()?) {
                    add(path.ok()?.as_str()?);
                }
            }
            "truncatedArrays" => {
                for array in doc::elements(part.as_array()?) {
                    add(doc::find(array.ok()?.as_document()?, "field")?.as_str()?);
                }
            }
            // `disambiguatedPaths` says more of the same fields.
            _ => {}
        }
    }
    Some((paths, sets.finish()))
}

/// The cluster time in a resume token: `_data` is the hexadecimal form of a server's key string,
/// which begins with a timestamp.
pub(super) fn token_time(token: Element<'_>) -> Option<u64> {
    let data = doc::find(token.as_document()?, "_data")?.as_str()?;
    let time = data.strip_prefix(TIMESTAMP)?.get(..16)?;
    u64::from_str_radix(time, 16).ok()
}

/// The key string's type byte of a timestamp.
const TIMESTAMP: &str = "82";

#[cfg(test)]
#[path = "event/tests.rs"]
mod tests;
