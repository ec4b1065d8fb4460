//! Memory of a running proxy: a full cache, a limit, leaks.

mod documents;
mod full_cache;
mod hits;
mod leaks;
mod under_a_limit;
