//! Which indexes a workload needs, and which it doesn't. Pure: no server is asked here.
//!
//! - `query`: what a command asks of an index: equalities, lists, ranges, a sort. `filter`: the same
//!   of one filter.
//! - `plan`: what an explain says was examined.
//! - `data`: what a sample of documents says of their values. `estimate`: what a query would
//!   examine through an index.
//! - `index`: an index that exists: may a query use it?
//! - `candidates`: the indexes that a query would like best (equality, sort, range).
//! - `choose`: the fewest of them that serve all. `surplus`: what can go.
//! - `words`: why, effect, cost, and the command.
//!
//! Invariants: an index that is there in effect isn't advised; one that is unique, that ends
//! documents, that a shard key needs, or that is in use isn't advised to be dropped. Where the data
//! isn't known, nothing is advised rather than something wrong.

mod candidates;
mod choose;
mod data;
mod estimate;
mod filter;
mod index;
mod plan;
mod query;
mod surplus;
mod words;

#[cfg(test)]
mod tests;

use bson::Document;

pub use choose::{Choice, Need, choose};
pub use data::Data;
pub use estimate::{Work, estimate};
pub use index::{Index, Key};
pub use plan::{Explained, explainable, explained};
pub use query::{Op, Predicate, Query, queries};
pub use surplus::{Surplus, Use, surplus};
pub use words::{create, surplus_words, unhide};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create an index.
    Create,
    /// Drop one.
    Drop,
    /// Hide one that another replaces, to see whether anybody misses it.
    Hide,
    /// Show one again that would serve.
    Unhide,
}

impl Action {
    /// The word in JSON and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Drop => "drop",
            Action::Hide => "hide",
            Action::Unhide => "unhide",
        }
    }
}

/// One piece of advice, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// What to do.
    pub action: Action,
    /// The index's keys.
    pub keys: Document,
    /// Its options, those that aren't the server's defaults.
    pub options: Document,
    /// What mongosh runs.
    pub command: String,
    /// What is wrong now.
    pub why: String,
    /// What gets better.
    pub effect: String,
    /// What it costs.
    pub cost: String,
}

/// Examined / returned at most: what counts as well served.
pub const WELL_SERVED: f64 = 1.5;

/// Fields of an advised index, at most.
pub const MOST_FIELDS: usize = 16;
