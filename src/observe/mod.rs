//! What operators see: logs, and the names of metrics.

pub mod logs;
