//! `[[rewrite.rules]]`: what the operator wants for commands on a namespace, or for one shape of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, NamespacePattern};

/// One rule. Of those that fit a command, the first counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRule {
    /// What logs, status and the client of a denied command call it; absent: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which collections it is about.
    pub namespace: NamespacePattern,
    /// Which command; absent: any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<RuledCommand>,
    /// The fields that the filter (of `aggregate`: a leading `$match`; of `update` and `delete`: any
    /// statement) names at its top level, in any order; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Vec<String>>,
    /// Fields that the filter names at its top level, perhaps beside others; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_includes: Option<Vec<String>>,
    /// Not sent to the server: the client gets an error with this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<String>,
    /// The index to use, by name, unless the client names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Longest `maxTimeMS`.
    #[serde(
        default,
        with = "value::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_time: Option<Duration>,
    /// Most documents that a find or aggregate returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_limit: Option<u32>,
    /// Which server a read outside a transaction goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_preference: Option<PreferenceMode>,
}

/// A command that a rule may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum RuledCommand {
    Find,
    Aggregate,
    Count,
    Distinct,
    Insert,
    Update,
    Delete,
    FindAndModify,
}

impl RuledCommand {
    /// Whether it only reads (an aggregate may write, too).
    pub fn reads(self) -> bool {
        matches!(
            self,
            Self::Find | Self::Aggregate | Self::Count | Self::Distinct
        )
    }

    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Aggregate => "aggregate",
            Self::Count => "count",
            Self::Distinct => "distinct",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::FindAndModify => "findAndModify",
        }
    }
}

/// `$readPreference.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum PreferenceMode {
    Primary,
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
    Nearest,
}

impl PreferenceMode {
    /// As commands spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::PrimaryPreferred => "primaryPreferred",
            Self::Secondary => "secondary",
            Self::SecondaryPreferred => "secondaryPreferred",
            Self::Nearest => "nearest",
        }
    }
}
