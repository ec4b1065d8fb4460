//! What operators see: logs, and spans for their collector.

pub mod logs;
pub mod traces;
