//! Integration tests.

mod bench;
mod cli;
mod drivers;
mod embedded;
mod parts;
