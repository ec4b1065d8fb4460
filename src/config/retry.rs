//! `[retry]`: sending again what failed for a passing reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value;

/// `[retry]`: how often, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Whether the proxy retries at all.
    pub enabled: bool,
    /// Retries of a read or a retryable write at the same server and term.
    pub retries: u32,
    /// Retries of what an overloaded server has refused.
    pub overload_retries: u32,
    /// Longest first pause before such a retry; it doubles, and the true pause is random below it.
    #[serde(with = "value::duration")]
    pub base_backoff: Duration,
    /// Whether writes that carry no `txnNumber` are given one of the proxy's own, unless they ask for `{w: 1}`.
    pub number_writes: bool,
    /// Retries that may be made in a burst, at most.
    pub budget: u32,
    /// Retries allowed for each request, beyond the burst.
    pub budget_share: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            enabled: true,
            retries: 1,
            overload_retries: 2,
            base_backoff: Duration::from_millis(100),
            number_writes: true,
            budget: 100,
            budget_share: 0.1,
        }
    }
}
