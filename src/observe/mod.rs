//! What operators see: logs, and spans for their collector.

mod escape;
pub mod logs;
pub mod repeats;
mod text;
pub mod traces;

pub use escape::escaped;
