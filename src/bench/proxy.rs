//! A proxy as a child process of this very program.

use std::net::SocketAddr;

use super::load::Target;
use super::peers::Peer;
use super::process::{Child, ProcessError, free_address};
use super::reply::Protocol;
use super::servers::ServersError;

/// A running proxy. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Its process and where it listens.
    pub peer: Peer,
    /// Its admin address.
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts a proxy before `upstream`, with `settings` as for `--set`, and waits until it's ready.
    pub fn start(name: &str, upstream: &str, settings: &[&str]) -> Result<Proxy, ServersError> {
        let admin = free_address().map_err(ProcessError::from)?;
        let admin_text = admin.to_string();
        let mut args = vec![
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            upstream,
            "--admin",
            &admin_text,
        ];
        for setting in ["log.level=warn"].iter().chain(settings) {
            args.extend(["--set", setting]);
        }
        let mut child = Child::start_self(name, &args)?;
        let line = child.wait_for_line("petiole listening on ")?;
        let address = line
            .parse()
            .map_err(|error| ServersError::Address(line.clone(), error))?;
        Ok(Proxy {
            peer: Peer {
                target: Target {
                    address,
                    protocol: Protocol::Mongo,
                },
                child,
            },
            admin,
        })
    }
}
