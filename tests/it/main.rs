//! Integration tests.

mod cli;
mod embedded;
mod parts;
