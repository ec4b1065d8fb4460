//! What we compare with, each a process of its own: [`echo`], the least that a server can do; [`haproxy`] in TCP mode,
//! the least that a proxy can do; [`redis`], a cache that speaks its own protocol; [`relay`], the distance to a MongoDB
//! that is elsewhere.
//!
//! haproxy and Redis take part where they're installed.

pub mod echo;
pub mod haproxy;
pub mod redis;
pub mod relay;

use super::load::Target;
use super::process::Child;

/// A running peer. It ends when dropped.
#[derive(Debug)]
pub struct Peer {
    /// Where and how to ask it.
    pub target: Target,
    /// Its process.
    pub child: Child,
}
