//! `proxy.toml`: every setting, parsed once into its final type.
//!
//! [`Config::load`] reports every mistake at once, each with its key and what to do about it.
//! One file per table ([`server`], [`upstream`], [`rewrite`], [`cache`], [`batch`], [`profile`], [`advice`], [`retry`],
//! [`admission`], [`memory`], [`admin`], [`log`], [`traces`]), plus the
//! value types that more than one of them needs ([`value`]). A [`Config`] is an ordinary value that is
//! handed down; nothing here is global, so several proxies fit in one process.
//!
//! Invariant: `proxy.toml` at the top of the repository holds every key with its default, and
//! `Config::default()` equals that file (a test compares both directions).

pub mod admin;
pub mod admission;
pub mod advice;
pub mod batch;
pub mod cache;
mod cache_rule;
mod check;
mod console;
mod load;
pub mod log;
pub mod memory;
mod mistake;
pub mod pem;
pub mod profile;
pub mod retry;
pub mod rewrite;
mod rewrite_rule;
mod secrets;
pub mod server;
pub mod traces;
pub mod upstream;
pub mod value;

use serde::{Deserialize, Serialize};

pub use admin::Admin;
pub use admission::Admission;
pub use advice::Advice;
pub use batch::{Batch, RetryableUpdates, WriteKind};
pub use cache::{Cache, ExternalWrites};
pub use cache_rule::{CacheRule, CachedCommand};
pub use console::Console;
pub use log::{Log, LogFormat};
pub use memory::Memory;
pub use mistake::{ConfigErrors, Mistake};
pub use profile::Profile;
pub use retry::Retry;
pub use rewrite::{Rewrite, RewriteRule};
pub use rewrite_rule::{PreferenceMode, RuledCommand, UserRule};
pub use server::{LostUpstream, Posture, Server, ServerTls, ServerTlsMode};
pub use traces::Traces;
pub use upstream::{Upstream, UpstreamTls, UpstreamTlsMode};
pub use value::{
    ByteSize, Compression, HostPort, HttpUrl, NamespacePattern, SecretSource, Token, UpstreamUri,
};

/// The whole configuration; `Config::default()` is what runs when no file is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`: the side that applications connect to.
    pub server: Server,
    /// `[upstream]`: the MongoDB deployment behind the proxy.
    pub upstream: Upstream,
    /// `[rewrite]`: queries turned into cheaper ones, and rules of the operator's own.
    pub rewrite: Rewrite,
    /// `[cache]`: replies of reads kept in memory.
    pub cache: Cache,
    /// `[batch]`: writes of several clients sent in one command.
    pub batch: Batch,
    /// `[profile]`: statistics by shape, and the slow log.
    pub profile: Profile,
    /// `[advice]`: which indexes to create and to drop.
    pub advice: Advice,
    /// `[retry]`: sending again what failed for a passing reason.
    pub retry: Retry,
    /// `[admission]`: how much may be under way at once.
    pub admission: Admission,
    /// `[memory]`: how much the process may have.
    pub memory: Memory,
    /// `[admin]`: the HTTP listener for health, metrics and status.
    pub admin: Admin,
    /// `[log]`: what is written to standard error.
    pub log: Log,
    /// `[traces]`: requests told as spans.
    pub traces: Traces,
}

impl Config {
    /// The secrets that come from the environment or from files of their own, each with where it comes from.
    pub fn secret_sources(&self) -> Vec<(&'static str, &SecretSource)> {
        let token = self.admin.token.as_ref().and_then(Token::source);
        let uri = self.upstream.uri.source();
        [("upstream.uri", uri), ("admin.token", token)]
            .into_iter()
            .filter_map(|(key, source)| Some((key, source?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
