//! embedded (being built).
