//! Petiole: a transparent MongoDB wire-protocol proxy.

pub mod admin;
pub mod advice;
pub mod bench;
pub mod cli;
pub mod command;
pub mod config;
pub mod embedded;
pub mod memory;
pub mod observe;
pub mod pipeline;
pub mod proxy;
pub mod server;
pub mod stages;
pub mod top;
pub mod upstream;
pub mod wire;
