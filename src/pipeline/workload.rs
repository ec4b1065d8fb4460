//! What has been asked so far, shape by shape: the seam between who observes requests and who
//! draws conclusions from them.

use std::time::Duration;

use crate::command::{Kind, Namespace, ShapeId};

/// One shape, and what it has cost since it was first seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its hash.
    pub id: ShapeId,
    /// Database and collection.
    pub namespace: Namespace,
    /// The command.
    pub kind: Kind,
    /// How often it was asked.
    pub calls: u64,
    /// How often the server answered it.
    pub upstream_calls: u64,
    /// What the server took for these, waiting for a link included.
    pub upstream_time: Duration,
    /// Documents that the server's answers held.
    pub upstream_documents: u64,
    /// Requests a second, lately.
    pub per_second: f64,
    /// A few real commands of this shape, latest last: whole command documents with the first
    /// statement of a write in them.
    pub samples: Vec<bson::Document>,
}

/// Who has observed.
pub trait Workload: Send + Sync {
    /// All shapes that are known.
    fn observed(&self) -> Vec<Observed>;

    /// All time that requests have spent upstream.
    fn upstream_time(&self) -> Duration;
}
