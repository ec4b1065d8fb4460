//! What tests stand on: servers, languages, certificates. Nothing here is a test.
//!
//! Whatever is missing on the machine makes the test fail with a message that says what to
//! install; nothing is skipped. What has to be downloaded is downloaded once, into Petiole's
//! cache directory.

#![allow(dead_code, reason = "a part may wait for its first user")]

pub mod asker;
pub mod in_process;
pub mod kept;
pub mod mongods;
pub mod node;
pub mod proxy;
pub mod python;
pub mod running;
pub mod secantus;
pub mod shared;
pub mod tls;
pub mod wait;
