//! Clients: accepting them, their connection loop, handshake, authentication relay, and messages that aren't requests.

mod accept;
mod at;
mod auth_relay;
mod awake;
mod complaints;
mod connection;
mod console;
mod descriptors;
mod disguise;
mod drain;
mod durations;
mod gone;
mod handshake;
mod latency;
mod legacy;
mod malformed;
mod peer;
mod pulse;
mod roster;
mod shards;
mod shared;
mod tls;
mod traces;
mod turn_away;
mod workers;
mod write;

pub use accept::{Clients, StartError};
pub use complaints::{Complaint, Complaints};
pub use console::Console;
pub use descriptors::{ClientLimit, raise_limit};
pub use durations::{BOUNDS_US, COMMANDS, Durations, Outcome, Series};
pub use latency::{Histogram, Lane, Latencies};
pub use roster::{Client, Roster};
pub use shared::{ClientStats, Shared};
pub use workers::{StuckWorker, Workers};
