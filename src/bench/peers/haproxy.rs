//! haproxy in TCP mode before the same mongod: bytes in, bytes out, one upstream connection per client. A proxy that
//! understands the protocol should cost no more.

use std::io::Write;
use std::net::SocketAddr;

use super::Peer;
use crate::bench::load::Target;
use crate::bench::process::{Child, ProcessError, find_program, free_address};
use crate::bench::reply::Protocol;

/// Starts haproxy before `upstream`. `None` when it isn't installed.
pub fn start(upstream: SocketAddr) -> Result<Option<Peer>, ProcessError> {
    let Some(program) = find_program("haproxy") else {
        return Ok(None);
    };
    let address = free_address()?;
    let mut config = tempfile::Builder::new()
        .prefix("petiole-haproxy-")
        .suffix(".cfg")
        .tempfile()?;
    config.write_all(configuration(address, upstream).as_bytes())?;
    let path = config.path().to_string_lossy();
    let mut child = Child::start("haproxy", &program, &["-db", "-f", &path])?;
    child.wait_for_port(address)?;
    Ok(Some(Peer {
        target: Target {
            address,
            protocol: Protocol::Mongo,
        },
        child,
    }))
}

/// Its threads stay at the default, one per core.
fn configuration(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen mongod
    bind {listen}
    server upstream {upstream}
"
    )
}
