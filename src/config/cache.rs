//! `[cache]`: replies of reads kept in memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cache_rule::CacheRule;
use super::value::{self, ByteSize, NamespacePattern};

/// `[cache]`: size of the cache and how far it trusts that it sees every write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Whether reads are cached at all.
    pub enabled: bool,
    /// Memory for all entries, their keys and index included.
    pub max_size: ByteSize,
    /// Largest entry that is kept.
    pub max_entry: ByteSize,
    /// What is known about writes that do not pass through this proxy.
    pub external_writes: ExternalWrites,
    /// How long a write that goes around the proxy may stay unseen under
    /// `external_writes = "watch"`; beyond that, nothing is served from memory.
    #[serde(with = "value::duration")]
    pub max_lag: Duration,
    /// Longest life of an entry under `external_writes = "ttl"`, and where a watch isn't possible.
    #[serde(with = "value::duration")]
    pub ttl: Duration,
    /// How long a principal's rights are taken as unchanged.
    #[serde(with = "value::duration")]
    pub principal_ttl: Duration,
    /// How long a namespace stays uncached after a write whose outcome is unknown.
    #[serde(with = "value::duration")]
    pub quarantine: Duration,
    /// Whether single documents are looked at, so that writes to them end fewer answers.
    pub pre_images: bool,
    /// Share of the hits that are also asked of the server and compared, from 0 to 1.
    pub shadow_share: f64,
    /// Namespaces that are never cached.
    pub bypass_namespaces: Vec<NamespacePattern>,
    /// What is different for some reads; of the rules that fit one, the first counts.
    pub rules: Vec<CacheRule>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: true,
            max_size: ByteSize(256 << 20),
            max_entry: ByteSize(1 << 20),
            external_writes: ExternalWrites::Auto,
            max_lag: Duration::from_secs(1),
            ttl: Duration::from_secs(1),
            principal_ttl: Duration::from_secs(60),
            quarantine: Duration::from_secs(90),
            pre_images: true,
            shadow_share: 0.001,
            bypass_namespaces: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// How writes that go around the proxy are allowed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalWrites {
    /// `watch` before a replica set, `ttl` elsewhere.
    Auto,
    /// There may be some, and a change stream tells of them. Where there can't be one: `ttl`.
    Watch,
    /// There may be some: an entry lives at most `ttl`.
    Ttl,
    /// The operator promises that there are none: entries live until a write removes them.
    None,
}

impl ExternalWrites {
    /// Whether a watch is wanted.
    pub fn watches(self) -> bool {
        matches!(self, ExternalWrites::Auto | ExternalWrites::Watch)
    }
}
