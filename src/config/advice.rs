//! `[advice]`: which indexes to create and to drop.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value;

/// `[advice]`: how much the search for better indexes may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Advice {
    /// Whether advice is looked for.
    pub enabled: bool,
    /// Time between two looks.
    #[serde(with = "value::duration")]
    pub interval: Duration,
    /// Time that the server may spend on this, as a share of what it spends on clients' requests.
    pub explain_share: f64,
    /// Longest time that one explain may run.
    #[serde(with = "value::duration")]
    pub explain_max_time: Duration,
    /// An index that nobody has used for this long is advised to be dropped.
    #[serde(with = "value::duration")]
    pub unused_after: Duration,
}

impl Default for Advice {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            explain_share: 0.01,
            explain_max_time: Duration::from_secs(1),
            unused_after: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}
