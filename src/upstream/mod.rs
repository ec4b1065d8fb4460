//! MongoDB: links, the pool of them, which server gets what, and what is pinned where.
//!
//! Client traffic goes over links of our own as raw frames; only the connection string
//! is read by the official driver. A link carries one request at a time, so a request's
//! own id can stay in its frame. Nothing here looks into documents beyond what routing needs.

mod address;
mod admission;
mod auth;
mod awaits;
mod backend;
mod breaker;
mod budget;
mod client;
mod dial;
mod explain;
mod faults;
mod hello;
mod lease;
mod link;
mod logins;
mod monitor;
mod occupancy;
mod patience;
mod pin;
mod pool;
mod read_preference;
mod seeds;
mod selection;
mod server;
mod sock;
mod stock;
mod tls;
mod topology;
pub mod watch;

pub use crate::pipeline::Deployment;
pub use address::Address;
pub use admission::AdmissionStats;
pub use auth::{AuthLink, LoginError};
pub use backend::Upstream;
pub use breaker::BreakerState;
pub use explain::Prober;
#[cfg(feature = "test-hooks")]
pub use faults::{Act, Faults, Passing, Rule};
pub use hello::{Hello, Role};
pub use lease::Lease;
pub use link::{Link, LinkError};
pub use logins::LoginStats;
pub use pool::PoolStats;
pub use seeds::SeedError;
pub use server::Server;
pub use sock::{Sock, Tcp, keep_alive};
pub use tls::{TlsError, read_certificates, read_key, read_roots};
pub use topology::ServerStatus;
