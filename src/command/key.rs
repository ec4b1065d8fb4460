//! What makes two reads the same read, and which reads may be cached at all
//! (DESIGN §4 rules 10 and 11).
//!
//! A key is the principal, then every field of the command that changes the answer,
//! byte for byte: `1`, `1L` and `1.0` differ, and so does the order of keys.
//! A field that isn't listed here makes the command uncacheable.

use super::{Command, Kind};
use crate::wire::doc;

/// Why a read isn't served from the cache. Counted by these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Bypass {
    /// The cache is switched off.
    Disabled,
    /// Not a command that is cached.
    NotCacheable,
    /// Part of a transaction.
    Transaction,
    /// `readConcern` other than `local`, or one with `afterClusterTime`.
    ReadConcern,
    /// `$readPreference` other than primary.
    ReadPreference,
    /// A top-level field that the key doesn't know.
    UnknownField,
    /// Tailable, awaitData, exhaust or no-timeout cursor.
    CursorKind,
    /// An operator or variable whose answer changes by itself.
    Volatile,
    /// `system.*`, `admin`, `config`, `local`, or listed in the configuration.
    Namespace,
    /// A write that may change the answer is under way.
    Fenced,
    /// The collection's facts aren't known, or it has none that can be relied on.
    UnknownCollection,
    /// The reply left a cursor open.
    OpenCursor,
    /// The reply is an error or partial.
    NotOk,
    /// The reply is larger than `cache.max_entry`.
    TooLarge,
    /// A write that may have changed the answer began while it was read.
    Raced,
}

impl Bypass {
    /// How many reasons there are.
    pub const COUNT: usize = Bypass::Raced as usize + 1;

    /// All reasons, in order.
    pub const ALL: [Bypass; Bypass::COUNT] = [
        Bypass::Disabled,
        Bypass::NotCacheable,
        Bypass::Transaction,
        Bypass::ReadConcern,
        Bypass::ReadPreference,
        Bypass::UnknownField,
        Bypass::CursorKind,
        Bypass::Volatile,
        Bypass::Namespace,
        Bypass::Fenced,
        Bypass::UnknownCollection,
        Bypass::OpenCursor,
        Bypass::NotOk,
        Bypass::TooLarge,
        Bypass::Raced,
    ];

    /// The word used in metrics, status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Bypass::Disabled => "disabled",
            Bypass::NotCacheable => "not_cacheable",
            Bypass::Transaction => "transaction",
            Bypass::ReadConcern => "read_concern",
            Bypass::ReadPreference => "read_preference",
            Bypass::UnknownField => "unknown_field",
            Bypass::CursorKind => "cursor_kind",
            Bypass::Volatile => "volatile",
            Bypass::Namespace => "namespace",
            Bypass::Fenced => "fenced",
            Bypass::UnknownCollection => "unknown_collection",
            Bypass::OpenCursor => "open_cursor",
            Bypass::NotOk => "not_ok",
            Bypass::TooLarge => "too_large",
            Bypass::Raced => "raced",
        }
    }
}

/// Writes the key of a `find` to `out` (cleared first), or says why it has none.
///
/// Cheap, for it runs on every hit: values are copied, not looked into. What must
/// be looked into once, before an answer is stored, is in [`check_find`].
pub fn canonical_find(command: &Command, principal: u64, out: &mut Vec<u8>) -> Result<(), Bypass> {
    out.clear();
    if command.kind != Kind::Find {
        return Err(Bypass::NotCacheable);
    }
    if command.in_transaction || command.txn_number.is_some() {
        return Err(Bypass::Transaction);
    }
    if command.after_cluster_time || !matches!(command.read_concern_level(), None | Some("local")) {
        return Err(Bypass::ReadConcern);
    }
    out.extend_from_slice(&principal.to_le_bytes());
    let mut seen = 0_u32;
    for element in doc::elements(command.body()) {
        let Ok(element) = element else {
            return Err(Bypass::UnknownField);
        };
        match element.key {
            "find"
            | "$db"
            | "filter"
            | "sort"
            | "projection"
            | "hint"
            | "skip"
            | "limit"
            | "batchSize"
            | "singleBatch"
            | "collation"
            | "let"
            | "min"
            | "max"
            | "returnKey"
            | "showRecordId"
            | "readConcern"
            | "allowPartialResults"
            | "allowDiskUse"
            | "apiVersion"
            | "apiStrict"
            | "apiDeprecationErrors" => {
                out.extend_from_slice(element.raw);
            }
            key => ignorable(key, &element, &mut seen)?,
        }
    }
    Ok(())
}

/// Whether a field may be left out of the key: it doesn't change the answer, and its value is one
/// that the server accepts (a wrong one must get the server's own error, not an answer).
fn ignorable(key: &str, element: &doc::Element<'_>, seen: &mut u32) -> Result<(), Bypass> {
    let (place, sound, otherwise) = match key {
        "lsid" => (0, is_session_id(element), Bypass::UnknownField),
        "$clusterTime" => (1, is_cluster_time(element), Bypass::UnknownField),
        "comment" => (2, true, Bypass::UnknownField),
        "maxTimeMS" => {
            let limit = matches!(element.kind, INT32 | INT64)
                .then(|| element.as_i64())
                .flatten();
            let sound = limit.is_some_and(|ms| (0..=i64::from(i32::MAX)).contains(&ms));
            (3, sound, Bypass::UnknownField)
        }
        "$readPreference" => (4, is_primary(element), Bypass::ReadPreference),
        "tailable" => (5, is_off(element), Bypass::CursorKind),
        "awaitData" => (6, is_off(element), Bypass::CursorKind),
        "noCursorTimeout" => (7, is_off(element), Bypass::CursorKind),
        "oplogReplay" => (8, is_off(element), Bypass::CursorKind),
        _ => return Err(Bypass::UnknownField),
    };
    if !sound || *seen & (1 << place) != 0 {
        return Err(otherwise);
    }
    *seen |= 1 << place;
    Ok(())
}

fn is_off(element: &doc::Element<'_>) -> bool {
    element.as_bool() == Some(false)
}

/// `{id: UUID}` and nothing else.
fn is_session_id(element: &doc::Element<'_>) -> bool {
    let Some(lsid) = element.as_document() else {
        return false;
    };
    let mut fields = doc::elements(lsid);
    let id = fields.next().and_then(Result::ok).filter(|e| e.key == "id");
    let is_uuid = id
        .and_then(|id| id.as_binary())
        .is_some_and(|(kind, uuid)| kind == 4 && uuid.len() == 16);
    is_uuid && fields.next().is_none()
}

/// `{clusterTime: Timestamp, signature: {…}}`.
fn is_cluster_time(element: &doc::Element<'_>) -> bool {
    let Some(time) = element.as_document() else {
        return false;
    };
    let known = |e: &doc::Element<'_>| match e.key {
        "clusterTime" => e.as_timestamp().is_some(),
        "signature" => e.as_document().is_some(),
        _ => false,
    };
    doc::elements(time).all(|e| e.is_ok_and(|e| known(&e)))
        && doc::find(time, "clusterTime").is_some()
}

/// `{mode: "primary"}` and nothing else.
fn is_primary(element: &doc::Element<'_>) -> bool {
    let Some(preference) = element.as_document() else {
        return false;
    };
    let mut fields = doc::elements(preference);
    let mode = fields
        .next()
        .and_then(Result::ok)
        .filter(|e| e.key == "mode");
    mode.and_then(|m| m.as_str()) == Some("primary") && fields.next().is_none()
}

/// Looks into a `find` once, before its answer is stored: `Err` when the answer may
/// change without a write to the collection.
pub fn check_find(command: &Command) -> Result<(), Bypass> {
    let db = command.db();
    let Some(collection) = command.collection() else {
        return Err(Bypass::Namespace);
    };
    if matches!(db, "admin" | "config" | "local" | "") || collection.starts_with("system.") {
        return Err(Bypass::Namespace);
    }
    for element in doc::elements(command.body()) {
        let Ok(element) = element else {
            return Err(Bypass::UnknownField);
        };
        if matches!(
            element.key,
            "filter" | "sort" | "projection" | "let" | "min" | "max"
        ) && is_volatile(&element, 0)
        {
            return Err(Bypass::Volatile);
        }
    }
    Ok(())
}

/// Whether an operator or variable in here gives another answer by itself.
fn is_volatile(element: &doc::Element<'_>, depth: u32) -> bool {
    if depth > MAX_DEPTH || VOLATILE_OPERATORS.contains(&element.key) {
        return true;
    }
    if let Some(text) = element.as_str() {
        return VOLATILE_VARIABLES.iter().any(|v| text.starts_with(v));
    }
    // JavaScript, with or without a scope.
    if matches!(element.kind, 0x0d | 0x0f) {
        return true;
    }
    match element.as_document().or(element.as_array()) {
        Some(inner) => {
            doc::elements(inner).any(|e| e.is_ok_and(|e| is_volatile(&e, depth + 1)))
                || doc::elements(inner).any(|e| e.is_err())
        }
        None => false,
    }
}

const INT32: u8 = 0x10;
const INT64: u8 = 0x12;

/// MongoDB's own limit on nesting.
const MAX_DEPTH: u32 = 180;

const VOLATILE_OPERATORS: [&str; 7] = [
    "$where",
    "$function",
    "$accumulator",
    "$rand",
    "$sampleRate",
    "$sample",
    "$search",
];

const VOLATILE_VARIABLES: [&str; 4] = ["$$NOW", "$$CLUSTER_TIME", "$$USER_ROLES", "$$SEARCH_META"];

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};
    use bytes::Bytes;

    use super::*;

    fn command(document: Document) -> Command {
        Command::parse_body(&Bytes::from(document.to_vec().unwrap())).unwrap()
    }

    fn key_for(principal: u64, document: Document) -> Result<Vec<u8>, Bypass> {
        let mut out = Vec::new();
        canonical_find(&command(document), principal, &mut out).map(|()| out)
    }

    fn find(extra: Document) -> Document {
        let mut d = doc! {"find": "c", "filter": {"a": 1}};
        d.extend(extra);
        d.insert("$db", "d");
        d
    }

    #[test]
    fn values_of_different_types_are_different_keys() {
        let with =
            |v: Bson| key_for(0, doc! {"find": "c", "filter": {"a": v}, "$db": "d"}).unwrap();
        let keys = [
            with(Bson::Int32(1)),
            with(Bson::Int64(1)),
            with(Bson::Double(1.0)),
            with("1".into()),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in keys.iter().skip(i + 1) {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn every_field_that_changes_the_answer_changes_the_key() {
        let plain = key_for(0, find(doc! {})).unwrap();
        for extra in [
            doc! {"sort": {"a": 1}},
            doc! {"projection": {"a": 1}},
            doc! {"hint": "a_1"},
            doc! {"skip": 1},
            doc! {"limit": 1},
            doc! {"batchSize": 1},
            doc! {"singleBatch": true},
            doc! {"collation": {"locale": "en"}},
            doc! {"let": {"x": 1}},
            doc! {"min": {"a": 1}},
            doc! {"max": {"a": 1}},
            doc! {"returnKey": true},
            doc! {"showRecordId": true},
            doc! {"readConcern": {"level": "local"}},
            doc! {"apiVersion": "1"},
            doc! {"allowPartialResults": true},
        ] {
            assert_ne!(plain, key_for(0, find(extra.clone())).unwrap(), "{extra}");
        }
        assert_ne!(
            plain,
            key_for(1, find(doc! {})).unwrap(),
            "another principal"
        );
        assert_ne!(
            plain,
            key_for(0, doc! {"find": "c", "filter": {"a": 1}, "$db": "e"}).unwrap()
        );
        let ab = doc! {"find": "c", "filter": {"x": {"a": 1, "b": 2}}, "$db": "d"};
        let ba = doc! {"find": "c", "filter": {"x": {"b": 2, "a": 1}}, "$db": "d"};
        assert_ne!(key_for(0, ab).unwrap(), key_for(0, ba).unwrap());
    }

    #[test]
    fn session_comment_and_time_limit_do_not_change_the_key() {
        let plain = key_for(0, find(doc! {})).unwrap();
        for extra in [
            doc! {"lsid": {"id": bson::Uuid::new()}},
            doc! {"comment": "x"},
            doc! {"maxTimeMS": 5},
            doc! {"$clusterTime": {"clusterTime": Bson::Timestamp(bson::Timestamp { time: 1, increment: 1 })}},
            doc! {"$readPreference": {"mode": "primary"}},
        ] {
            assert_eq!(plain, key_for(0, find(extra.clone())).unwrap(), "{extra}");
        }
    }

    #[test]
    fn what_may_not_be_cached_says_why() {
        for (extra, why) in [
            (doc! {"txnNumber": 1_i64}, Bypass::Transaction),
            (
                doc! {"readConcern": {"level": "linearizable"}},
                Bypass::ReadConcern,
            ),
            (
                doc! {"readConcern": {"level": "majority"}},
                Bypass::ReadConcern,
            ),
            (
                doc! {"readConcern": {"afterClusterTime": 1}},
                Bypass::ReadConcern,
            ),
            (
                doc! {"$readPreference": {"mode": "nearest"}},
                Bypass::ReadPreference,
            ),
            (doc! {"tailable": true}, Bypass::CursorKind),
            (doc! {"frobnicate": true}, Bypass::UnknownField),
            (doc! {"tailable": "no"}, Bypass::CursorKind),
            (doc! {"maxTimeMS": -1}, Bypass::UnknownField),
            (doc! {"maxTimeMS": 1.5}, Bypass::UnknownField),
            (doc! {"maxTimeMS": 1_i64 << 40}, Bypass::UnknownField),
            (doc! {"lsid": {"id": 5}}, Bypass::UnknownField),
            (
                doc! {"lsid": {"id": bson::Uuid::new(), "x": 1}},
                Bypass::UnknownField,
            ),
            (doc! {"$clusterTime": 5}, Bypass::UnknownField),
            (
                doc! {"$readPreference": {"mode": "primary", "tags": []}},
                Bypass::ReadPreference,
            ),
        ] {
            assert_eq!(key_for(0, find(extra.clone())), Err(why), "{extra}");
        }
        assert_eq!(
            key_for(0, doc! {"count": "c", "$db": "d"}),
            Err(Bypass::NotCacheable)
        );
    }

    #[test]
    fn volatile_operators_are_found_at_any_depth() {
        let check = |filter: Document| {
            check_find(&command(doc! {"find": "c", "filter": filter, "$db": "d"}))
        };
        assert_eq!(check(doc! {"a": 1, "s": "$$ROOT"}), Ok(()));
        for filter in [
            doc! {"$where": "true"},
            doc! {"$and": [{"a": {"$not": {"$where": "true"}}}]},
            doc! {"$expr": {"$lt": ["$a", "$$NOW"]}},
            doc! {"$expr": {"$lt": ["$a", "$$NOW.x"]}},
            doc! {"$expr": {"$lt": [{"$rand": {}}, 0.5]}},
            doc! {"$sampleRate": 0.3},
            doc! {"a": Bson::JavaScriptCode("1".into())},
        ] {
            assert_eq!(check(filter.clone()), Err(Bypass::Volatile), "{filter}");
        }
        assert_eq!(
            check_find(&command(doc! {"find": "system.views", "$db": "d"})),
            Err(Bypass::Namespace)
        );
        assert_eq!(
            check_find(&command(doc! {"find": "c", "$db": "admin"})),
            Err(Bypass::Namespace)
        );
    }
}
