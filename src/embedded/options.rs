//! What to start.

use std::path::PathBuf;
use std::time::Duration;

/// A standalone mongod or a replica set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One mongod, no replication: no transactions, no change streams.
    Standalone,
    /// A replica set whose members all bear data and vote.
    ReplicaSet {
        /// Number of members, 1 to 7.
        members: usize,
        /// The set's name.
        name: String,
    },
}

/// PEM files for a mongod that speaks TLS only.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate (valid for 127.0.0.1) followed by its private key.
    pub certificate_key: PathBuf,
    /// The authority that signed it, and that client certificates are checked against.
    pub ca: PathBuf,
    /// Whether a client must show a certificate. If so, `certificate_key` serves as the one
    /// shown by this module.
    pub require_client_certificate: bool,
}

/// What to start and how. [`Default`] is a replica set of one, without authentication or TLS.
#[derive(Clone, Debug)]
pub struct MongodOptions {
    /// Standalone or replica set.
    pub kind: Kind,
    /// A root user to create, as name and password; turns access control on.
    pub auth: Option<(String, String)>,
    /// Turns TLS on, and everything else off.
    pub tls: Option<TlsFiles>,
    /// Given to mongod as `--setParameter name=value`.
    pub set_parameters: Vec<(String, String)>,
    /// Given to every mongod as they are, after all other arguments.
    pub extra_args: Vec<String>,
    /// WiredTiger's cache of each member, in GB; mongod's least is 0.25.
    pub wired_tiger_cache_gb: f64,
    /// The port of a standalone or of the first member. `None` takes free ports; the further
    /// members always have free ports.
    pub port: Option<u16>,
    /// How long members wait for a silent primary before they elect another.
    pub election_timeout: Duration,
    /// How often members ask for each other's health; less than `election_timeout`.
    pub heartbeat_interval: Duration,
    /// How long starting may take before it counts as failed.
    pub start_timeout: Duration,
    /// The mongod to run; `None` looks for one ([`find_mongod`](super::find_mongod)).
    pub mongod: Option<PathBuf>,
}

impl Default for MongodOptions {
    fn default() -> Self {
        MongodOptions {
            kind: Kind::ReplicaSet {
                members: 1,
                name: "rs0".to_owned(),
            },
            auth: None,
            tls: None,
            set_parameters: Vec::new(),
            extra_args: Vec::new(),
            wired_tiger_cache_gb: 0.25,
            port: None,
            election_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(500),
            start_timeout: Duration::from_secs(60),
            mongod: None,
        }
    }
}

impl MongodOptions {
    /// One mongod without replication; everything else as in [`Default`].
    pub fn standalone() -> Self {
        MongodOptions {
            kind: Kind::Standalone,
            ..Self::default()
        }
    }

    /// A replica set `rs0` of so many members; everything else as in [`Default`].
    pub fn replica_set(members: usize) -> Self {
        MongodOptions {
            kind: Kind::ReplicaSet {
                members,
                name: "rs0".to_owned(),
            },
            ..Self::default()
        }
    }

    /// Adds one `--setParameter`.
    pub fn set_parameter(mut self, name: &str, value: &str) -> Self {
        self.set_parameters
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Turns access control on, with this root user.
    pub fn with_auth(mut self, user: &str, password: &str) -> Self {
        self.auth = Some((user.to_owned(), password.to_owned()));
        self
    }

    pub(super) fn members(&self) -> usize {
        match self.kind {
            Kind::Standalone => 1,
            Kind::ReplicaSet { members, .. } => members,
        }
    }

    pub(super) fn set_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Standalone => None,
            Kind::ReplicaSet { name, .. } => Some(name),
        }
    }
}
