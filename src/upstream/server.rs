//! One member of the deployment, as last seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::address::Address;
use super::hello::Hello;

/// A server that the topology knows.
#[derive(Debug)]
pub struct Server {
    /// Number of this server in this process.
    pub id: u32,
    /// Where it listens.
    pub address: Address,
    state: ArcSwap<State>,
    generation: AtomicU64,
    /// Wakes the monitor: somebody had trouble with this server.
    pub(super) suspected: Notify,
    /// The monitor must end: the server left the deployment.
    pub(super) removed: Notify,
}

/// What is known of a server.
#[derive(Debug, Default)]
pub struct State {
    /// Its last hello; `None` before the first and after a failure.
    pub hello: Option<Arc<Hello>>,
    /// Why there is none.
    pub error: Option<String>,
    /// Moving average of the round trip, in microseconds.
    pub rtt_us: u64,
}

impl Server {
    pub(super) fn new(id: u32, address: Address) -> Arc<Server> {
        Arc::new(Server {
            id,
            address,
            state: ArcSwap::default(),
            generation: AtomicU64::new(0),
            suspected: Notify::new(),
            removed: Notify::new(),
        })
    }

    /// What is known now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// Counts up whenever all links to the server must be given up.
    pub fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, SeqCst);
    }

    /// A link to this server failed: have it looked at now.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }
}
