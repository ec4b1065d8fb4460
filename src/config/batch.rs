//! `[batch]`: writes of several clients sent in one command.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, ByteSize, NamespacePattern};

/// `[batch]`: which writes wait for each other, and how many go together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Whether writes are batched at all.
    pub enabled: bool,
    /// Which commands are batched.
    pub kinds: Vec<WriteKind>,
    /// Which updates and deletes are batched though their client may send them again.
    pub retryable_updates: RetryableUpdates,
    /// Commands of writes that may share a batch, under way at one time; beyond them a write waits for company.
    pub at_once: usize,
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

/// A command whose writes can be merged with others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteKind {
    /// `insert`
    Insert,
    /// `update`
    Update,
    /// `delete`
    Delete,
}

impl WriteKind {
    /// All of them.
    pub const ALL: [WriteKind; 3] = [WriteKind::Insert, WriteKind::Update, WriteKind::Delete];

    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            WriteKind::Insert => "insert",
            WriteKind::Update => "update",
            WriteKind::Delete => "delete",
        }
    }
}

/// Which updates and deletes with a `txnNumber` are batched. If this process dies while one is
/// under way, its client sends it again to another one, which can't know of the first try: it runs as a
/// new write, and its reply may differ (a compare-and-set that was carried out is answered with `n: 0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryableUpdates {
    /// None: the only choice that keeps every reply exact.
    Never,
    /// Those that leave the document as it is when they are applied a second time.
    Idempotent,
    /// All: then a `$inc` may be applied twice.
    Always,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            enabled: true,
            kinds: WriteKind::ALL.to_vec(),
            retryable_updates: RetryableUpdates::Never,
            at_once: 3,
            max_documents: 1000,
            max_size: ByteSize(4 << 20),
            linger: Duration::ZERO,
            max_wait: Duration::from_secs(1),
            journal: 20_000,
            bypass_namespaces: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_no_update_whose_client_may_send_it_again_is_batched() {
        // Its retry would get another reply if this process died.
        let default = Batch::default().retryable_updates;
        assert_eq!(default, RetryableUpdates::Never);
    }
}
