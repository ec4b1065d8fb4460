//! Integration tests: one binary, so that servers are started once and links are made once.

mod auth;
mod bench;
mod cli;
mod coherence;
mod drivers;
mod embedded;
mod layers;
mod parts;
mod serve;
mod tls;
