//! Rewrites against a real mongod: the same answers from the query as it came and as it is sent on.
//!
//! - `differential`: random commands on adversarial documents; every rule alone, and all together
//! - `mutants`: the same comparison finds rules that are slightly wrong
//! - `benefit`: what each rule saves
//! - `proxied`: through the proxy, with the cache, explain and rules of the configuration

mod benefit;
mod compare;
mod differential;
mod mutants;
mod places;
mod proxied;
mod random;
