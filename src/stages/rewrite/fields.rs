//! Which commands may be rewritten at all, by their fields.
//!
//! A field that isn't listed may make the filter mean more than which documents are wanted; so do a
//! hint (somebody cares for the plan), `min` and `max`, a positional projection (which element
//! matched?), a tailable cursor, and a promise to stay within an API version strictly.

use crate::command::Kind;
use crate::wire::doc::{self, Element};

/// Whether every field of the command is one beside which rewriting is right.
pub(super) fn allow(kind: Kind, body: &[u8]) -> bool {
    let mut fields = doc::elements(body);
    let names_collection = matches!(fields.next(), Some(Ok(name)) if is_ordinary(&name));
    names_collection && fields.all(|field| field.is_ok_and(|f| allows(kind, &f)))
}

fn is_ordinary(name: &Element<'_>) -> bool {
    name.as_str().is_some_and(|c| !c.starts_with("system."))
}

fn allows(kind: Kind, field: &Element<'_>) -> bool {
    match (kind, field.key) {
        (_, "$db") => !matches!(field.as_str(), None | Some("admin" | "config" | "local")),
        (
            _,
            "lsid"
            | "txnNumber"
            | "autocommit"
            | "startTransaction"
            | "$clusterTime"
            | "readConcern"
            | "$readPreference"
            | "maxTimeMS"
            | "comment"
            | "apiVersion"
            | "apiDeprecationErrors"
            | "collation",
        ) => true,
        (_, "apiStrict") => field.as_bool() == Some(false),
        (
            Kind::Find,
            "filter"
            | "skip"
            | "limit"
            | "batchSize"
            | "singleBatch"
            | "let"
            | "allowDiskUse"
            | "allowPartialResults"
            | "noCursorTimeout",
        )
        | (Kind::Aggregate, "pipeline" | "cursor" | "let" | "explain")
        | (Kind::Count, "query" | "limit" | "skip")
        | (Kind::Distinct, "query" | "key") => true,
        (Kind::Find, "tailable" | "awaitData") => field.as_bool() == Some(false),
        (Kind::Find, "sort") => field.as_document().is_some_and(|sort| !has_dollar(sort)),
        (Kind::Find, "projection") => field.as_document().is_some_and(|p| !has_dollar(p)),
        (Kind::Aggregate, "allowDiskUse") => field.as_bool() == Some(true),
        _ => false,
    }
}

/// `{$natural: 1}`, `{"a.$": 1}`.
fn has_dollar(fields: &[u8]) -> bool {
    doc::elements(fields).any(|field| field.is_ok_and(|f| f.key.contains('$')))
}
