//! Side questions to the deployment, in the proxy's own name: the seam between who draws
//! conclusions about indexes and who can ask.

use std::time::{Duration, SystemTime};

use bson::Document;

use super::stage::BoxFuture;
use crate::command::Namespace;

/// An answer, or why there is none.
pub type Probed<'a, T> = BoxFuture<'a, Result<T, ProbeError>>;

/// A question that wasn't answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ProbeError {
    /// In the server's or the driver's words.
    pub reason: String,
}

/// How much an explain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explain {
    /// It names the plan.
    Plan,
    /// It carries the plan out, except that nothing is written.
    Execute,
}

/// A collection and its indexes.
#[derive(Clone, Debug, Default)]
pub struct CollectionFacts {
    /// Documents in it, about.
    pub documents: u64,
    /// Its default collation.
    pub collation: Option<Document>,
    /// Its indexes, as listIndexes describes them.
    pub indexes: Vec<Document>,
    /// Its shard key, if it is sharded.
    pub shard_key: Option<Document>,
}

/// How often an index was used, on all servers together.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexUse {
    /// Its name.
    pub name: String,
    /// Uses counted.
    pub uses: i64,
    /// Every server counts since then, or longer.
    pub since: SystemTime,
}

/// Who can ask.
pub trait Probe: Send + Sync {
    /// Explains a command, at most for `limit`.
    fn explain<'a>(
        &'a self,
        db: &'a str,
        command: Document,
        how: Explain,
        limit: Duration,
    ) -> Probed<'a, Document>;

    /// What is known of a collection; an error for views and the like.
    fn collection<'a>(&'a self, namespace: &'a Namespace) -> Probed<'a, CollectionFacts>;

    /// Its indexes alone, as listIndexes describes them.
    fn indexes<'a>(&'a self, namespace: &'a Namespace) -> Probed<'a, Vec<Document>>;

    /// How often its indexes were used; an error if not every server could be asked.
    fn index_uses<'a>(&'a self, namespace: &'a Namespace) -> Probed<'a, Vec<IndexUse>>;

    /// Some documents drawn at random, with at least these top-level fields.
    fn sample<'a>(
        &'a self,
        namespace: &'a Namespace,
        fields: Vec<String>,
        size: u32,
        limit: Duration,
    ) -> Probed<'a, Vec<Document>>;
}
