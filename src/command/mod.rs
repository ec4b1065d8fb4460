//! command (being built).
