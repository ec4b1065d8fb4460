//! `[profile]`: what is counted of requests, shape by shape.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value;

/// `[profile]`: statistics by shape, and the slow log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Whether requests are profiled.
    pub enabled: bool,
    /// Shapes kept at most; rarer ones give way.
    pub max_shapes: usize,
    /// A request that takes at least this long is slow.
    #[serde(with = "value::duration")]
    pub slow_threshold: Duration,
    /// Slow requests logged in a second, at most.
    pub slow_per_second: u32,
    /// Whether the slow log shows the values of commands.
    pub slow_values: bool,
    /// A file that gets slow requests, one JSON object per line; `""` = only the log does.
    pub slow_file: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            enabled: true,
            max_shapes: 512,
            slow_threshold: Duration::from_millis(100),
            slow_per_second: 10,
            slow_values: false,
            slow_file: String::new(),
        }
    }
}
