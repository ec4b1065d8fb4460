//! `[server]`: the side that applications connect to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{self, ByteSize, Compression, HostPort};

/// `[server]`: listening, limits per client, what clients are told about the topology.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address for clients; port 0 lets the system choose one.
    pub listen: HostPort,
    /// Address told to clients in replica-set posture; `None` = the one that the client
    /// connected to.
    #[serde(with = "value::empty_is_none")]
    pub advertise: Option<HostPort>,
    /// What kind of deployment clients are told they are talking to.
    pub posture: Posture,
    /// Worker threads; 0 = one per core.
    pub threads: usize,
    /// Client connections accepted at one time.
    pub max_clients: usize,
    /// Longest message accepted from a client, header included.
    pub max_message_size: ByteSize,
    /// A client that says nothing for this long is disconnected; zero = never.
    #[serde(with = "value::duration")]
    pub idle_timeout: Duration,
    /// Time within which a message that was started must have arrived whole.
    #[serde(with = "value::duration")]
    pub frame_timeout: Duration,
    /// Time within which a client's login must be done, its waiting for a turn included.
    #[serde(with = "value::duration")]
    pub login_timeout: Duration,
    /// Time given to clients at shutdown to receive the replies they wait for.
    #[serde(with = "value::duration")]
    pub drain_timeout: Duration,
    /// What a client gets when the server can't be reached and all tries are used up.
    pub lost_upstream: LostUpstream,
    /// Compressors offered to clients, best first.
    pub compressors: Vec<Compression>,
    /// `[server.tls]`.
    pub tls: ServerTls,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: HostPort::new("127.0.0.1", 27016),
            advertise: None,
            posture: Posture::Auto,
            threads: 0,
            max_clients: 10_000,
            max_message_size: ByteSize(48_000_000),
            idle_timeout: Duration::ZERO,
            frame_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            lost_upstream: LostUpstream::Close,
            compressors: vec![Compression::Snappy, Compression::Zstd, Compression::Zlib],
            tls: ServerTls::default(),
        }
    }
}

/// What kind of deployment the proxy says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Posture {
    /// `mongos` before a replica set or sharded cluster, `standalone` before a standalone.
    Auto,
    /// A router (`msg: "isdbgrid"`).
    Mongos,
    /// One member under the upstream's set name, for URIs that carry `replicaSet=`.
    ReplicaSet,
    /// A single server; drivers then switch retryable writes and transactions off.
    Standalone,
}

/// What a client gets when the server can't be reached and all tries are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostUpstream {
    /// Its connection is closed, as the loss of mongod would close it: drivers raise their network error.
    Close,
    /// An error reply (6, 43 or 133), and it keeps its connection: drivers raise an error of the server.
    Error,
}

/// `[server.tls]`: encryption between applications and the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// Whether clients must speak TLS.
    pub mode: ServerTlsMode,
    /// PEM file with the certificate chain shown to clients, leaf first.
    #[serde(with = "value::empty_is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`; `None` = it's in the same file.
    #[serde(with = "value::empty_is_none")]
    pub key: Option<PathBuf>,
    /// PEM file with the authorities that may sign client certificates.
    #[serde(with = "value::empty_is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub require_client_certificate: bool,
}

/// Whether the client listener speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerTlsMode {
    /// Plain TCP.
    #[default]
    Off,
    /// TLS only.
    On,
}
