//! The optimisations, one file or folder each, and their order.
//!
//! A stage never imports another stage, the upstream or the server: it sees a
//! request, the rest of the way, and a reply. See docs/adding-a-stage.md.

pub mod advise;
pub mod batch;
pub mod cache;
pub mod profile;
pub mod retry;
pub mod rewrite;

use std::sync::Arc;

use self::batch::Batch;
use self::cache::Cache;
use self::profile::Profile;
use self::retry::Retry;
use self::rewrite::Rewrite;
use crate::pipeline::Stage;

/// The stages in the order in which a request meets them.
pub struct Stages {
    /// Statistics by shape, if they are switched on.
    pub profile: Option<Arc<Profile>>,
    /// Query rewriting and the configuration's rules.
    pub rewrite: Arc<Rewrite>,
    /// The read cache, if it is switched on.
    pub cache: Option<Arc<Cache>>,
    /// Write batching, if it is switched on.
    pub batch: Option<Arc<Batch>>,
    /// Retries, if they are switched on.
    pub retry: Option<Arc<Retry>>,
}

impl Stages {
    /// The ORDER. Each line says why the stage stands where it does.
    pub fn in_order(&self) -> Vec<Box<dyn Stage>> {
        let mut order: Vec<Box<dyn Stage>> = Vec::new();
        // Outermost: it times all that a client waits for, whoever answers.
        if let Some(profile) = &self.profile {
            order.push(Box::new(Arc::clone(profile)));
        }
        // Before the cache: equal meanings share a key, and what a rule forbids isn't served from memory.
        order.push(Box::new(Arc::clone(&self.rewrite)));
        // Next: a hit must pay for nothing else.
        if let Some(cache) = &self.cache {
            order.push(Box::new(Arc::clone(cache)));
        }
        // Whatever changes a write must have done so before writes are compared and merged, and a batch
        // is a command like any other to what sends it.
        if let Some(batch) = &self.batch {
            order.push(Box::new(Arc::clone(batch)));
        }
        // Next to the backend: what is sent again is what was sent, once for all that asked for it.
        if let Some(retry) = &self.retry {
            order.push(Box::new(Arc::clone(retry)));
        }
        order
    }
}
