//! `host:port`, the form of every address in the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host (name or IP address, IPv6 without its brackets) and a port.
///
/// Names are not resolved here: that is done each time something listens or connects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port; 0 means "any free one" where something listens.
    pub port: u16,
}

/// Why a text is not a [`HostPort`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostPortError {
    /// No colon, or an IPv6 address without brackets.
    #[error("{0:?} has no port; write host:port, with an IPv6 address in brackets")]
    NoPort(String),
    /// What follows the colon isn't a port.
    #[error("{0:?} is not a port (0 to 65535)")]
    Port(String),
    /// Nothing before the colon, or something that no host is called.
    #[error("{0:?} is not a host name or IP address")]
    Host(String),
}

impl HostPort {
    /// Joins the parts; `host` is taken as it is.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Whether only this machine can reach the address. A name other than `localhost` is taken as
    /// reachable from elsewhere.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether it means "every address of this machine" (`0.0.0.0`, `::`).
    pub fn is_unspecified(&self) -> bool {
        self.host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_unspecified())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_port = || HostPortError::NoPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        let host = if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(no_port)?;
            if inner.parse::<Ipv6Addr>().is_err() {
                return Err(HostPortError::Host(inner.to_owned()));
            }
            inner
        } else if host.contains(':') {
            return Err(no_port());
        } else {
            host
        };
        // Underscores are no part of a host name, but container names have them.
        let plausible = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plausible) {
            return Err(HostPortError::Host(host.to_owned()));
        }
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostPortError::Port(port.to_owned()));
        }
        let port = port
            .parse()
            .map_err(|_| HostPortError::Port(port.to_owned()))?;
        Ok(Self::new(host, port))
    }
}

super::string_value!(HostPort);
