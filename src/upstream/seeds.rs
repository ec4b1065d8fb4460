//! The connection string of the upstream, read by the official driver (`mongodb+srv://` too).

use mongodb::options::{ClientOptions, ServerAddress, Tls};

use super::address::Address;
use super::tls::{Connector, TlsError};
use crate::config;

/// What a connection string says that matters to us.
#[derive(Debug)]
pub(super) struct Seeds {
    pub addresses: Vec<Address>,
    pub direct: bool,
    pub set_name: Option<String>,
    pub tls: Option<Connector>,
}

/// A connection string that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Not a connection string, or its DNS records can't be found.
    #[error("upstream.uri: {0}")]
    Uri(String),
    /// Unix sockets and load balancers.
    #[error("upstream.uri: {0} is not supported; name host:port of mongod or mongos")]
    Unsupported(&'static str),
    /// TLS files.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Seeds {
    pub async fn resolve(config: &config::Upstream) -> Result<Seeds, SeedError> {
        let options = ClientOptions::parse(config.uri.expose())
            .await
            .map_err(|e| SeedError::Uri(e.to_string()))?;
        if options.load_balanced == Some(true) {
            return Err(SeedError::Unsupported("loadBalanced=true"));
        }
        let mut addresses = Vec::new();
        for host in &options.hosts {
            match host {
                ServerAddress::Tcp { host, port } => {
                    let host = host
                        .trim_start_matches('[')
                        .trim_end_matches(']')
                        .to_ascii_lowercase();
                    addresses.push(Address {
                        host,
                        port: port.unwrap_or(27017),
                    });
                }
                _ => return Err(SeedError::Unsupported("a Unix socket")),
            }
        }
        let from_uri = match &options.tls {
            Some(Tls::Enabled(tls)) => Some(tls),
            _ => None,
        };
        let tls = match config.tls.mode {
            config::UpstreamTlsMode::Off => None,
            config::UpstreamTlsMode::Auto if from_uri.is_none() => None,
            _ => Some(Connector::new(&config.tls, from_uri)?),
        };
        Ok(Seeds {
            addresses,
            direct: options.direct_connection == Some(true),
            set_name: options.repl_set_name.clone(),
            tls,
        })
    }
}
