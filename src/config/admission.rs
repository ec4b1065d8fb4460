//! `[admission]`: how much may be under way at once.

use serde::{Deserialize, Serialize};

/// `[admission]`: limits on requests that go upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admission {
    /// Requests that may wait for a link, in all.
    pub max_queue: usize,
    /// Requests of one user that may be under way; 0 = no limit.
    pub max_per_principal: usize,
    /// Requests from one client address that may be under way; 0 = no limit.
    pub max_per_client: usize,
    /// Share of `upstream.max_links` that one namespace may have.
    pub namespace_share: f64,
    /// Share of `upstream.max_links` that one of several servers may have.
    pub server_share: f64,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            max_queue: 10_000,
            max_per_principal: 0,
            max_per_client: 0,
            namespace_share: 0.75,
            server_share: 0.9,
        }
    }
}
