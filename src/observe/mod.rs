//! observe (being built).
