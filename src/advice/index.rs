//! An index that exists: what it is, and whether a query may use it.

use bson::{Bson, Document};

use super::query::{Op, Query};
use crate::command::matcher::matches;
use crate::command::{Strings, Tri};

/// How a key of an index is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// In order, this way (1) or that (-1).
    Ordered(i32),
    /// Hashed, text, geo, wildcard.
    Special,
}

/// An index, as listIndexes describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<(String, Key)>,
    /// Its keys as they were given.
    pub pattern: Document,
    /// A value may be there only once.
    pub unique: bool,
    /// Documents without its fields aren't in it.
    pub sparse: bool,
    /// Only documents that match are in it.
    pub partial: Option<Document>,
    /// The planner doesn't look at it.
    pub hidden: bool,
    /// It ends documents.
    pub expires: bool,
    /// Of a clustered collection.
    pub clustered: bool,
    /// Its collation, if it isn't simple.
    pub collation: Option<Document>,
}

impl Index {
    /// From a document of listIndexes.
    #[must_use]
    pub fn read(spec: &Document) -> Option<Index> {
        let pattern = spec.get_document("key").ok()?.clone();
        let keys = pattern
            .iter()
            .map(|(path, kind)| {
                let key = match kind {
                    Bson::Int32(n) => Key::Ordered(n.signum()),
                    Bson::Int64(n) => Key::Ordered(n.signum() as i32),
                    Bson::Double(n) => Key::Ordered(if *n < 0.0 { -1 } else { 1 }),
                    _ => Key::Special,
                };
                let wildcard = path == "$**" || path.ends_with(".$**");
                (path.clone(), if wildcard { Key::Special } else { key })
            })
            .collect();
        let flag = |key: &str| spec.get_bool(key).unwrap_or(false);
        Some(Index {
            name: spec.get_str("name").ok()?.to_owned(),
            keys,
            pattern,
            unique: flag("unique"),
            sparse: flag("sparse"),
            partial: spec.get_document("partialFilterExpression").ok().cloned(),
            hidden: flag("hidden"),
            expires: spec.contains_key("expireAfterSeconds"),
            clustered: flag("clustered"),
            collation: spec.get_document("collation").ok().cloned(),
        })
    }

    /// Its keys, if all of them are in order.
    #[must_use]
    pub fn ordered(&self) -> Option<Vec<(String, i32)>> {
        let each = self.keys.iter().map(|(path, key)| match key {
            Key::Ordered(direction) => Some((path.clone(), *direction)),
            Key::Special => None,
        });
        each.collect()
    }

    /// Whether it holds every document that a query may return, in the order of the query's
    /// collation. (A hidden one may, too.)
    #[must_use]
    pub fn holds(&self, query: &Query, default: Option<&Document>) -> bool {
        let collation = query.collation.as_ref().or(default);
        let same = same_collation(self.collation.as_ref(), collation);
        (same || !query.compares_strings()) && self.holds_partly(query) && self.holds_sparse(query)
    }

    /// A partial index: does the query imply its expression?
    fn holds_partly(&self, query: &Query) -> bool {
        let Some(expression) = &self.partial else {
            return true;
        };
        expression
            .iter()
            .all(|(path, wanted)| implies(query, path, wanted))
    }

    /// A sparse index: does the query demand that a field of it is there?
    fn holds_sparse(&self, query: &Query) -> bool {
        let demands = |(path, _): &(String, Key)| {
            query.on(path).is_some_and(|p| match (&p.op, &p.condition) {
                (Op::Equal, Bson::Null) => false,
                (Op::Equal, Bson::Document(d)) => d.get("$eq") != Some(&Bson::Null),
                (Op::Equal | Op::Range, _) => true,
                (Op::List(_), Bson::Document(d)) => d
                    .get_array("$in")
                    .is_ok_and(|list| !list.contains(&Bson::Null)),
                _ => false,
            })
        };
        !self.sparse || self.keys.iter().any(demands)
    }
}

/// Whether every document that matches the query has `path` as `wanted` says. Sound, not complete.
fn implies(query: &Query, path: &str, wanted: &Bson) -> bool {
    let Some(asked) = query.on(path) else {
        return false;
    };
    if asked.condition == *wanted {
        return true;
    }
    let value = match (&asked.op, &asked.condition) {
        (Op::Equal, Bson::Document(d)) if d.keys().next().is_some_and(|k| k.starts_with('$')) => {
            d.get("$eq")
        }
        (Op::Equal, value) => Some(value),
        _ => None,
    };
    match (value, wanted) {
        (Some(Bson::Null | Bson::Array(_)), _) => false,
        // A document with this very value must match.
        (Some(value), wanted) => {
            let filter = bson::doc! {"v": wanted.clone()}.to_vec();
            let document = bson::doc! {"v": value.clone()}.to_vec();
            match (filter, document) {
                (Ok(filter), Ok(document)) => {
                    matches(&filter, &document, Strings::Simple) == Tri::Yes
                }
                _ => false,
            }
        }
        // Any comparison demands that the field is there.
        (None, Bson::Document(wanted)) => {
            asked.op == Op::Range
                && wanted.len() == 1
                && wanted.get_bool("$exists").is_ok_and(|yes| yes)
        }
        (None, _) => false,
    }
}

/// Whether two collations are the same; the simple one is none.
pub(super) fn same_collation(a: Option<&Document>, b: Option<&Document>) -> bool {
    let simple = |c: &&Document| c.get_str("locale").ok() != Some("simple");
    match (a.filter(simple), b.filter(simple)) {
        (None, None) => true,
        // An index names all fields; a command those that it wants otherwise.
        (Some(a), Some(b)) => b.iter().all(|(key, value)| {
            let other = a.get(key);
            other == Some(value) || number(other) == number(Some(value)) && other.is_some()
        }),
        _ => false,
    }
}

fn number(value: Option<&Bson>) -> Option<i64> {
    match value? {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        _ => None,
    }
}
