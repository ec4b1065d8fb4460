//! What is known of the upstream as a whole: one place, for stages, fences and connections alike.
//!
//! The monitors publish it at the moment they hear a server's hello, before that server can be chosen for a request.
//! So whoever handles a request knows what the server said that the request will go to, from the first request on. It
//! isn't asked for, polled or kept anywhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};

/// What kind of deployment the upstream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deployment {
    /// Nobody has answered yet.
    #[default]
    Unknown,
    /// One mongod without a replica set.
    Single,
    /// A replica set.
    ReplicaSet,
    /// One or more mongos.
    Sharded,
}

/// The facts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What kind of deployment it is.
    pub deployment: Deployment,
    /// The server that takes writes, as it described itself last; `None` until one has.
    pub writer: Option<Arc<Writer>>,
}

/// A server that takes writes: a primary, a standalone or a mongos.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// `maxWireVersion`.
    pub wire_version: i32,
    /// Release (6, 0, 27), where the server was asked and said it.
    pub release: Option<[u16; 3]>,
    /// Whether it runs a write with a `txnNumber` once only: it is a member of a replica set and has sessions. (A mongos
    /// does as well, and isn't counted: nothing here gives numbers to what goes there.)
    pub numbers: bool,
    /// `maxWriteBatchSize`.
    pub max_documents: usize,
    /// `maxMessageSizeBytes`.
    pub max_message: usize,
    /// `topologyVersion.processId`, which tells one process from the next.
    pub process: Option<Vec<u8>>,
    /// How far away it is.
    pub distance: Distance,
}

/// The time that a message and its answer spend on the network, as far as it is known. Its copies know the same.
#[derive(Clone, Debug, Default)]
pub struct Distance {
    us: Arc<AtomicU64>,
}

impl Distance {
    /// Microseconds; 0 where MongoDB is near, or nothing was measured.
    #[must_use]
    pub fn us(&self) -> u64 {
        self.us.load(Relaxed)
    }

    /// For whoever measures it.
    pub fn set_us(&self, us: u64) {
        self.us.store(us, Relaxed);
    }
}

/// It belongs to a server, and says nothing of it that would have to be published.
impl PartialEq for Distance {
    fn eq(&self, other: &Distance) -> bool {
        Arc::ptr_eq(&self.us, &other.us)
    }
}

impl Eq for Distance {}

impl Facts {
    /// Whether writes may be given numbers, by which they are run once only.
    #[must_use]
    pub fn numbers_writes(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.numbers)
    }
}

/// See the module. Shared by all parts of one proxy.
#[derive(Debug, Default)]
pub struct UpstreamFacts {
    facts: ArcSwap<Facts>,
}

impl UpstreamFacts {
    /// What is known now.
    #[must_use]
    pub fn get(&self) -> Guard<Arc<Facts>> {
        self.facts.load()
    }

    /// For whoever hears of the upstream: changes what is known. (One at a time: the topology's lock sees to that.)
    pub fn publish(&self, change: impl FnOnce(&mut Facts)) {
        let before = self.facts.load();
        let mut facts = Facts::clone(&before);
        change(&mut facts);
        // The same facts stay the same: others compare their addresses.
        if facts != **before {
            self.facts.store(Arc::new(facts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_is_no_news() {
        let facts = UpstreamFacts::default();
        let distance = Distance::default();
        let writer = |wire_version| {
            Some(Arc::new(Writer {
                wire_version,
                distance: distance.clone(),
                ..Writer::default()
            }))
        };
        facts.publish(|f| f.writer = writer(17));
        let first = Arc::clone(&facts.get());
        facts.publish(|f| f.writer = writer(17));
        assert!(Arc::ptr_eq(&first, &facts.get()));
        facts.publish(|f| f.writer = writer(21));
        assert!(!Arc::ptr_eq(&first, &facts.get()));
    }
}
