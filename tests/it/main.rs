//! Integration tests: one binary, so that servers are started once and links are made once.

mod auth;
mod batch;
mod bench;
mod broken_frames;
mod cache_memory;
mod cli;
mod coherence;
mod cursors;
mod dependencies;
mod differential;
mod drivers;
mod embedded;
mod layers;
mod linear;
mod many_clients;
mod mongos;
mod parts;
mod precision;
mod principals;
mod profile;
mod raw;
mod serve;
mod sessions;
mod shadow;
mod tls;
mod watch;
