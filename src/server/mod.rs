//! Clients: accepting them, their connection loop, handshake, authentication relay,
//! and the lanes for what doesn't fit one request and one reply.

mod accept;
mod auth_relay;
mod connection;
mod disguise;
mod handshake;
mod lane;
mod legacy;
mod shared;
mod tls;
mod write;

pub use accept::{Clients, StartError};
pub use shared::{ClientStats, Shared};
