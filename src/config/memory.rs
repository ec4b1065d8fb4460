//! `[memory]`: how much memory the process may have, and when growth counts as a leak.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, ByteSize};

/// `[memory]`: limit, large messages, leaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Resident memory of the process, at most; `None` = what the control group or the machine has.
    #[serde(with = "value::empty_is_none")]
    pub limit: Option<ByteSize>,
    /// Longest time that a large message waits for others to go.
    #[serde(with = "value::duration")]
    pub max_wait: Duration,
    /// What grows steadily for this long is called a suspected leak within it.
    #[serde(with = "value::duration")]
    pub leak_window: Duration,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            limit: None,
            max_wait: Duration::from_secs(5),
            leak_window: Duration::from_secs(600),
        }
    }
}
