//! `[batch]`: inserts of several clients sent in one command.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, ByteSize, NamespacePattern};

/// `[batch]`: which writes wait for each other, and how many go together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Whether writes are batched at all.
    pub enabled: bool,
    /// Most documents in one batch.
    pub max_documents: usize,
    /// Most bytes of documents in one batch.
    pub max_size: ByteSize,
    /// How long a batch waits for more writes before it leaves.
    #[serde(with = "value::duration")]
    pub linger: Duration,
    /// Longest time that a write is held up by others before it goes its own way.
    #[serde(with = "value::duration")]
    pub max_wait: Duration,
    /// Sessions whose last retryable write is remembered.
    pub journal: usize,
    /// Namespaces in which every write goes by itself.
    pub bypass_namespaces: Vec<NamespacePattern>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            enabled: true,
            max_documents: 1000,
            max_size: ByteSize(4 << 20),
            linger: Duration::ZERO,
            max_wait: Duration::from_secs(1),
            journal: 20_000,
            bypass_namespaces: Vec::new(),
        }
    }
}
