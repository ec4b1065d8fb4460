//! Where a server listens.

use std::fmt;

/// Host and port of a server, as the deployment names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Host name or IP literal, without brackets, lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// Reads `host`, `host:port` or `[v6]:port`; 27017 where no port is given.
    pub fn parse(text: &str) -> Option<Address> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']')?;
                (host, tail.strip_prefix(':'))
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&p| p != 0)?,
            None => 27017,
        };
        (!host.is_empty()).then(|| Address {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_ipv6_are_read_and_printed_back() {
        for (text, printed) in [
            ("A.example:5", "a.example:5"),
            ("h", "h:27017"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), printed);
        }
        assert!(Address::parse("h:0").is_none() && Address::parse(":1").is_none());
    }
}
