//! `[upstream]`: the MongoDB deployment behind the proxy.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, Compression, UpstreamUri};

/// `[upstream]`: where MongoDB is, and the links to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Connection string; its credentials are used for the proxy's own side work only.
    pub uri: UpstreamUri,
    /// File that holds the connection string, and nothing else, in place of `uri`; `None` = there is none.
    #[serde(with = "value::empty_is_none")]
    pub uri_file: Option<PathBuf>,
    /// Links kept at one time, over all servers and principals.
    pub max_links: usize,
    /// Links for logins under way, beside those.
    pub max_login_links: usize,
    /// A link that nobody used for this long is closed; zero = never.
    #[serde(with = "value::duration")]
    pub link_idle_timeout: Duration,
    /// Time for TCP, TLS and hello of a new link.
    #[serde(with = "value::duration")]
    pub connect_timeout: Duration,
    /// Longest time that a request waits in the queue for a link.
    #[serde(with = "value::duration")]
    pub wait_timeout: Duration,
    /// Longest time that a request waits for a new primary.
    #[serde(with = "value::duration")]
    pub failover_wait: Duration,
    /// Failures in a row after which nothing is sent to a server for a while; 0 = never.
    pub breaker_failures: u32,
    /// Time between two looks at each server's state.
    #[serde(with = "value::duration")]
    pub heartbeat: Duration,
    /// Compressors asked for on links, best first.
    pub compressors: Vec<Compression>,
    /// Servers at most this much slower than the nearest are as good as the nearest.
    #[serde(with = "value::duration")]
    pub local_threshold: Duration,
    /// Gives commands without a `comment` one that names the client's application and address.
    pub comments: bool,
    /// `[upstream.tls]`.
    pub tls: UpstreamTls,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            uri: UpstreamUri::new("mongodb://127.0.0.1:27017"),
            uri_file: None,
            max_links: 64,
            max_login_links: 16,
            link_idle_timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(5),
            wait_timeout: Duration::from_secs(10),
            failover_wait: Duration::from_secs(15),
            breaker_failures: 10,
            heartbeat: Duration::from_secs(10),
            compressors: Vec::new(),
            local_threshold: Duration::from_millis(15),
            comments: false,
            tls: UpstreamTls::default(),
        }
    }
}

/// `[upstream.tls]`: encryption between the proxy and MongoDB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Whether links use TLS.
    pub mode: UpstreamTlsMode,
    /// PEM file with the authorities to trust; `None` = the public ones.
    #[serde(with = "value::empty_is_none")]
    pub ca: Option<PathBuf>,
    /// PEM file with the proxy's own client certificate.
    #[serde(with = "value::empty_is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the key of `certificate`; `None` = it's in the same file.
    #[serde(with = "value::empty_is_none")]
    pub key: Option<PathBuf>,
    /// Accepts any certificate: no protection against an impostor. For tests.
    pub allow_invalid_certificates: bool,
    /// Name that the server's certificate must carry; `None` = the host of the link.
    #[serde(with = "value::empty_is_none")]
    pub server_name: Option<String>,
}

/// Whether links to MongoDB speak TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamTlsMode {
    /// As the URI says (`tls=true`, or `mongodb+srv://`).
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}
