//! Requests that the proxy has retried in vain, so that the driver's own retry isn't retried again.
//!
//! Otherwise two tries here for each of two tries there would be four. A driver's retry is known by
//! its session: a write has the same number, a read comes as the next of its kind on the same
//! collection. Entries are used up by the retry that they wait for, and the oldest are forgotten.
//!
//! A batch has a session of the proxy's own. A driver's retry of a write that was in one is known by
//! the journal of batches, which says so in the request (`Progress::spent`).

use std::hash::BuildHasher;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::command::Kind;
use crate::pipeline::Request;

/// See the module.
pub(super) struct Spent {
    until: Cache<u64, Instant>,
    hasher: foldhash::fast::RandomState,
}

impl Default for Spent {
    fn default() -> Spent {
        Spent {
            until: Cache::new(MOST),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl Spent {
    /// This request was retried here, and the client is told that it failed.
    pub fn note(&self, request: &Request) {
        if let Some(key) = self.key(request) {
            self.until.insert(key, Instant::now() + LIFETIME);
        }
    }

    /// Whether this is the driver's retry of a noted request.
    pub fn take(&self, request: &Request) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let found = self.key(request).and_then(|key| self.until.remove(&key));
        found.is_some_and(|(_, until)| until >= Instant::now())
    }

    /// `None` without a session: nobody's retry can be told.
    fn key(&self, request: &Request) -> Option<u64> {
        let command = &request.command;
        let lsid = command.lsid()?;
        let what = (
            command.kind,
            command.name(),
            command.db(),
            command.collection(),
        );
        let number = match command.kind {
            Kind::GetMore => command.cursor_id(),
            _ => command.txn_number,
        };
        Some(
            self.hasher
                .hash_one((request.principal.id, lsid, number, what)),
        )
    }
}

/// So many failed requests are remembered, for so long: a driver retries at once, or with the
/// pauses of the client-backpressure specification.
const MOST: usize = 10_000;
const LIFETIME: Duration = Duration::from_secs(10);
