//! What all connections of a proxy have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio_rustls::TlsAcceptor;

use super::complaints::Complaints;
use super::console::Console;
use super::descriptors::ClientLimit;
use super::drain::Drain;
use super::durations::Durations;
use super::latency::Latencies;
use super::pulse::Pulse;
use super::roster::Roster;
use super::workers::Workers;
use crate::config::Config;
use crate::memory::Memory;
use crate::observe::traces::Traces;
use crate::pipeline::{Horizon, Pipeline};
use crate::stages::advise::Advisor;
use crate::stages::batch::Batch;
use crate::stages::cache::Cache;
use crate::stages::profile::Profile;
use crate::stages::retry::Retry;
use crate::stages::rewrite::Rewrite;
use crate::upstream::Upstream;

/// One proxy's parts, as connections and the admin side see them.
pub struct Shared {
    /// The configuration in force.
    pub config: Config,
    /// Stages, fences and backend.
    pub pipeline: Pipeline,
    /// The deployment behind.
    pub upstream: Arc<Upstream>,
    /// Query rewriting and the configuration's rules.
    pub rewrite: Arc<Rewrite>,
    /// The read cache, if it is on.
    pub cache: Option<Arc<Cache>>,
    /// How far the watch of writes that go around the proxy has come.
    pub horizon: Arc<Horizon>,
    /// Write batching, if it is on.
    pub batch: Option<Arc<Batch>>,
    /// Statistics by shape, if they are on.
    pub profile: Option<Arc<Profile>>,
    /// Retries, if they are on.
    pub retry: Option<Arc<Retry>>,
    /// Which indexes to create and to drop, if that is looked for.
    pub advisor: Option<Arc<Advisor>>,
    /// What is counted about clients.
    pub clients: ClientStats,
    /// The threads that serve them.
    pub workers: Arc<Workers>,
    /// How many clients may be connected.
    pub client_limit: ClientLimit,
    /// What goes wrong with clients.
    pub complaints: Complaints,
    /// How long requests take.
    pub latencies: Latencies,
    /// Who is connected.
    pub roster: Arc<Roster>,
    /// The virtual database, if it is on.
    pub(super) console: Option<Arc<dyn Console>>,
    /// How long commands take.
    pub durations: Durations,
    /// What the process has, and where it goes.
    pub memory: Arc<Memory>,
    /// The export of requests as spans, if it is on.
    pub traces: Option<Traces>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) drain: Drain,
    pub(super) pulse: Pulse,
}

impl Shared {
    /// Whether the proxy drains.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }
}

/// Counters of the client side.
#[derive(Debug, Default)]
pub struct ClientStats {
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    broken: AtomicU64,
    given_up: AtomicU64,
}

impl ClientStats {
    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections closed at once, for `server.max_clients`.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Messages handled so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests answered with an error of the proxy's own.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Requests given up because their clients were gone: reads at any time, others before they were sent.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    /// Messages that couldn't be read: answered with an error, or the end of their connections.
    pub fn broken(&self) -> u64 {
        self.broken.load(Relaxed)
    }

    /// Counts a connection in, if there is room; its number.
    pub(super) fn enter(&self, max_clients: usize) -> Option<u64> {
        if self.open.fetch_add(1, Relaxed) >= max_clients {
            self.open.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.accepted.fetch_add(1, Relaxed) + 1)
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn gave_up(&self) {
        self.given_up.fetch_add(1, Relaxed);
    }

    pub(super) fn broken_message(&self) {
        self.broken.fetch_add(1, Relaxed);
    }
}
