//! What the cache keeps through a write: proofs of docs/coherence.md, rule 7 against a real mongod.

mod matcher;
pub mod random;
mod survival;
mod values;
