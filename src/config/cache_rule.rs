//! `[[cache.rules]]`: what is different for reads of a namespace, or of one shape in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, ByteSize, NamespacePattern};

/// One rule. Of those that fit a read, the first counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRule {
    /// Which collections it is about.
    pub namespace: NamespacePattern,
    /// Which command; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CachedCommand>,
    /// The fields that the filter (of `aggregate`: a leading `$match`) names at its top level, in
    /// any order; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Vec<String>>,
    /// Fields that the filter names at its top level, perhaps beside others; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_includes: Option<Vec<String>>,
    /// Whether such reads are cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// Longest life of their entries, whatever `external_writes` says.
    #[serde(
        default,
        with = "value::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub ttl: Option<Duration>,
    /// Largest of their entries that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_entry: Option<ByteSize>,
}

/// A command whose answers are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CachedCommand {
    /// `find`.
    Find,
    /// `aggregate`.
    Aggregate,
    /// `count`.
    Count,
    /// `distinct`.
    Distinct,
}

impl CachedCommand {
    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Aggregate => "aggregate",
            Self::Count => "count",
            Self::Distinct => "distinct",
        }
    }
}
