//! Integration tests.

mod cli;
mod drivers;
mod embedded;
mod parts;
