//! What is in each collection of the console.

use std::time::SystemTime;

use bson::{Bson, DateTime, Document, doc};
use serde_json::Value;

use crate::server::Shared;

/// A collection of the database `petiole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collection {
    /// One document: what `/api/status` says.
    Status,
    /// Shapes of queries, as in `/api/shapes`.
    Shapes,
    /// The slow log, as in `/api/slow`.
    Slow,
    /// Advice on indexes, as in `/api/advice`.
    Advice,
    /// Who is connected.
    Clients,
    /// The servers behind.
    Servers,
    /// Any other name: empty.
    Unknown,
}

impl Collection {
    /// Those that there are.
    pub const ALL: [Collection; 6] = [
        Collection::Advice,
        Collection::Clients,
        Collection::Servers,
        Collection::Shapes,
        Collection::Slow,
        Collection::Status,
    ];

    /// The collection of this name.
    pub fn of(name: &str) -> Collection {
        let named = Collection::ALL.into_iter().find(|c| c.name() == name);
        named.unwrap_or(Collection::Unknown)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Collection::Status => "status",
            Collection::Shapes => "shapes",
            Collection::Slow => "slow",
            Collection::Advice => "advice",
            Collection::Clients => "clients",
            Collection::Servers => "servers",
            Collection::Unknown => "",
        }
    }

    /// Its documents now, each with an `_id`.
    pub fn rows(self, shared: &Shared) -> Vec<Document> {
        match self {
            Collection::Status => vec![status(shared)],
            Collection::Shapes => listed(&mut crate::admin::shapes(shared), "shapes", "id"),
            Collection::Slow => listed(&mut crate::admin::slow(shared), "slow", "id"),
            Collection::Advice => listed(&mut crate::admin::advice(shared), "advice", "id"),
            Collection::Clients => clients(shared),
            Collection::Servers => servers(shared),
            Collection::Unknown => Vec::new(),
        }
    }
}

fn status(shared: &Shared) -> Document {
    let mut row = doc! { "_id": "status", "at": DateTime::now() };
    if let Bson::Document(status) = to_bson("", crate::admin::status(shared)) {
        row.extend(status);
    }
    row
}

/// The documents of a list within a JSON answer, with a field of each as its `_id`; without that
/// field they are numbered.
fn listed(answer: &mut Value, list: &str, id: &str) -> Vec<Document> {
    let Some(Value::Array(entries)) = answer.get_mut(list).map(Value::take) else {
        return Vec::new();
    };
    let documents = entries.into_iter().enumerate().filter_map(|(i, entry)| {
        let Bson::Document(entry) = to_bson("", entry) else {
            return None;
        };
        let number = || Bson::Int32(i32::try_from(i).unwrap_or(i32::MAX));
        let mut row = doc! { "_id": entry.get(id).cloned().unwrap_or_else(number) };
        row.extend(entry);
        Some(row)
    });
    documents.collect()
}

fn clients(shared: &Shared) -> Vec<Document> {
    let row = |client: &crate::server::Client| {
        let principal = client.principal();
        let text = |text: Option<&str>| text.map_or(Bson::Null, Bson::from);
        doc! {
            "_id": count(client.id),
            "address": text(client.address.map(|a| a.to_string()).as_deref()),
            "principal": text(Some(principal.name.as_str()).filter(|name| !name.is_empty())),
            "application": text(client.application()),
            "driver": text(client.driver()),
            "since": DateTime::from_system_time(client.since),
            "seconds": SystemTime::now().duration_since(client.since).unwrap_or_default().as_secs_f64().round(),
            "requests": count(client.requests()),
        }
    };
    let clients = shared.roster.clients();
    clients.iter().map(|client| row(client)).collect()
}

fn servers(shared: &Shared) -> Vec<Document> {
    let mut status = crate::admin::status(shared);
    let mut upstream = status["upstream"].take();
    listed(&mut upstream, "servers", "address")
}

/// JSON as BSON: whole numbers stay whole, and times become dates.
fn to_bson(key: &str, value: Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(bool) => Bson::Boolean(bool),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => whole(n),
            (None, Some(_)) => Bson::Int64(i64::MAX),
            (None, None) => Bson::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) if TIMES.contains(&key) => match DateTime::parse_rfc3339_str(&text) {
            Ok(time) => Bson::DateTime(time),
            Err(_) => Bson::String(text),
        },
        Value::String(text) => Bson::String(text),
        Value::Array(list) => list.into_iter().map(|v| to_bson(key, v)).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(k, v)| {
                let value = to_bson(&k, v);
                (k, value)
            });
            Bson::Document(fields.collect())
        }
    }
}

fn count(n: u64) -> Bson {
    whole(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Shells print the short kind of number plainly.
fn whole(n: i64) -> Bson {
    i32::try_from(n).map_or(Bson::Int64(n), Bson::Int32)
}

/// Fields that hold a time.
const TIMES: [&str; 3] = ["at", "since", "last_seen"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_becomes_documents_with_an_id_and_real_dates() {
        let mut answer = json!({"slow": [
            {"at": "2026-11-25T10:00:00Z", "ms": 1.5, "n": 3, "big": 1_u64 << 40, "text": "x"},
        ]});
        let rows = listed(&mut answer, "slow", "id");
        let at = DateTime::parse_rfc3339_str("2026-11-25T10:00:00Z").unwrap();
        let row = doc! {"_id": 0, "at": at, "ms": 1.5, "n": 3, "big": 1_i64 << 40, "text": "x"};
        // (The order of JSON's fields isn't kept.)
        let sorted = |row: &Document| {
            let mut fields: Vec<_> = row.iter().map(|(k, v)| format!("{k}: {v:?}")).collect();
            fields.sort();
            fields
        };
        assert_eq!(sorted(&rows[0]), sorted(&row));
    }

    #[test]
    fn every_collection_is_found_by_its_name() {
        for collection in Collection::ALL {
            assert_eq!(Collection::of(collection.name()), collection);
        }
        assert_eq!(Collection::of("users"), Collection::Unknown);
    }
}
