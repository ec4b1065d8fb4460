//! `db.coll` or `db.*`: which collections a rule is about.

use std::fmt;
use std::str::FromStr;

/// One collection, or all of one database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespacePattern {
    /// Database name.
    pub database: String,
    /// Collection name; `None` = every collection of the database.
    pub collection: Option<String>,
}

/// Why a text is not a [`NamespacePattern`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a namespace; write \"db.collection\" or \"db.*\"")]
pub struct NamespacePatternError(String);

impl NamespacePattern {
    /// Whether the collection is one of those meant.
    pub fn matches(&self, database: &str, collection: &str) -> bool {
        self.database == database && self.collection.as_deref().is_none_or(|c| c == collection)
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collection = self.collection.as_deref().unwrap_or("*");
        write!(f, "{}.{collection}", self.database)
    }
}

impl FromStr for NamespacePattern {
    type Err = NamespacePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((db, coll)) if !db.is_empty() && !coll.is_empty() && !db.contains('*') => {
                Ok(Self {
                    database: db.to_owned(),
                    collection: (coll != "*").then(|| coll.to_owned()),
                })
            }
            _ => Err(NamespacePatternError(text.to_owned())),
        }
    }
}

super::string_value!(NamespacePattern);
