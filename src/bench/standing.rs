//! What the proxy costs while nobody asks: time from start to ready, memory, memory per idle client.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::connection::Asker;
use super::process::resident;
use super::proxy::Proxy;
use super::ratio::median;
use super::reply::Protocol;
use super::servers::ServersError;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Milliseconds from starting the process to its ready line; the median of several starts.
    pub ready_ms: f64,
    /// Resident bytes before the first client.
    pub idle_bytes: f64,
    /// Resident bytes that each idle client adds, after its hello.
    pub bytes_per_client: f64,
}

/// Starts that the time to ready is the median of.
const STARTS: usize = 5;
/// Idle clients at once.
const CLIENTS: usize = 1_000;
/// For what starting leaves behind to be given back.
const SETTLE: Duration = Duration::from_millis(500);

/// Measures a proxy with default settings before `upstream`.
pub fn measure(upstream: &str) -> Result<Standing, ServersError> {
    let mut times = Vec::new();
    let mut proxy = None;
    for _ in 0..STARTS {
        drop(proxy.take());
        let begin = Instant::now();
        proxy = Some(Proxy::start("petiole, idle", upstream, &[])?);
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let bytes = || {
        std::thread::sleep(SETTLE);
        let pid = proxy.as_ref().map(|proxy| proxy.peer.child.pid());
        pid.and_then(resident).unwrap_or_default() as f64
    };
    let idle_bytes = bytes();
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let address = proxy.as_ref().map(|proxy| proxy.peer.target.address);
        let client = address.map(|address| Asker::connect(address, Protocol::Mongo));
        let client = client.transpose();
        clients.push(
            client.map_err(|error| ServersError::Asking("an idle client".to_owned(), error))?,
        );
    }
    Ok(Standing {
        ready_ms: median(&times).unwrap_or_default(),
        idle_bytes,
        bytes_per_client: (bytes() - idle_bytes) / CLIENTS as f64,
    })
}
