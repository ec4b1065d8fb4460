//! The connection string of the upstream.

use mongodb::error::ErrorKind;
use mongodb::options::{ConnectionString, HostInfo, ServerAddress};

use super::{Findings, is_same_listener};
use crate::config::{Config, HostPort, UpstreamUri};

pub(super) fn check(config: &Config, found: &mut Findings) {
    let uri = &config.upstream.uri;
    let parsed = match ConnectionString::parse(uri.expose()) {
        Ok(parsed) => parsed,
        Err(error) => {
            return found.add(
                &["upstream.uri"],
                format!("{uri} is not a connection string: {}", why_not(uri, &error)),
                "write mongodb://host:port,host:port/?replicaSet=name or mongodb+srv://name; in user names and passwords, escape : / ? # [ ] @ % as %3A and so on",
            );
        }
    };
    let HostInfo::HostIdentifiers(hosts) = parsed.host_info else {
        return;
    };
    let listen = &config.server.listen;
    let own = |host: &ServerAddress| match host {
        ServerAddress::Tcp { host, port } => {
            is_same_listener(listen, &HostPort::new(host.as_str(), port.unwrap_or(27017)))
        }
        _ => false,
    };
    if hosts.iter().any(own) {
        found.add(
            &["upstream.uri", "server.listen"],
            format!("leads back to server.listen ({listen}): the proxy would talk to itself"),
            "name MongoDB's own address, or let the proxy listen elsewhere",
        );
    }
}

/// The driver's reason, unless it might quote a secret: it's repeated only if the masked connection
/// string fails for the very same reason.
fn why_not(uri: &UpstreamUri, error: &mongodb::error::Error) -> String {
    let reason = |error: &mongodb::error::Error| match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        _ => error.to_string(),
    };
    let reason_given = reason(error);
    match ConnectionString::parse(uri.to_string()) {
        Err(error) if reason(&error) == reason_given => reason_given,
        _ => "the user name, the password or an option that holds a secret is not written as it must be".to_owned(),
    }
}
