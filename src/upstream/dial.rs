//! Connecting to a server: TCP, TLS, hello.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;
use super::faults::Faults;
use super::hello::greeting;
use super::link::{Link, LinkError};
use super::server::Server;
use super::sock::{Sock, keep_alive};
use super::tls::Connector;
use crate::memory::Memory;
use crate::pipeline::{Failure, Fault};
use crate::wire::build;
use crate::wire::doc;
use crate::wire::frame::Frame;
use crate::wire::op_compressed::Compressor;

/// How links are made.
#[derive(Debug)]
pub struct Dialer {
    pub(super) tls: Option<Connector>,
    pub(super) connect_timeout: Duration,
    pub(super) compressors: Vec<&'static str>,
    #[cfg_attr(
        not(feature = "test-hooks"),
        expect(dead_code, reason = "there are no faults")
    )]
    pub(super) faults: Faults,
    pub(super) memory: Arc<Memory>,
}

impl Dialer {
    /// Connects and says hello. Returns the link and the hello reply.
    pub async fn dial(
        &self,
        server: &Arc<Server>,
        home: usize,
        extra: &[&[u8]],
    ) -> Result<(Link, Bytes), Failure> {
        let dialling = async {
            let sock = self.connect(&server.address).await?;
            let mut link = Link::new(sock, Arc::clone(server), home, self);
            let bytes = build::op_msg(1, 0, 0, &greeting(&self.compressors, extra));
            let reply = link.exchange(&Frame { bytes }, false).await?;
            Ok::<_, LinkError>((link, body_of(&reply)))
        };
        match timeout(self.connect_timeout, dialling).await {
            Ok(Ok((mut link, hello))) => {
                link.compressor = negotiated(&hello, &self.compressors);
                Ok((link, hello))
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!(
                "no answer within {} ms (upstream.connect_timeout)",
                self.connect_timeout.as_millis()
            ))),
        }
    }

    async fn connect(&self, address: &Address) -> Result<Sock, LinkError> {
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
        tcp.set_nodelay(true)?;
        keep_alive(&tcp)?;
        match &self.tls {
            Some(connector) => Ok(connector.connect(&address.host, tcp).await?),
            None => Ok(Sock::Plain(tcp)),
        }
    }
}

/// The document of a reply to a message of our own.
pub(super) fn body_of(reply: &Frame) -> Bytes {
    let reply = crate::pipeline::Reply::from_server(reply.clone());
    Bytes::copy_from_slice(reply.body())
}

fn unreachable(reason: String) -> Failure {
    Failure::unsent(Fault::Unreachable {
        server: "an upstream server",
        reason,
    })
}

fn negotiated(hello: &[u8], offered: &[&'static str]) -> Option<Compressor> {
    let accepted = doc::find(hello, "compression")?.as_array()?;
    let names: Vec<&str> = doc::elements(accepted)
        .flatten()
        .filter_map(|e| e.as_str())
        .collect();
    let first = offered.iter().find(|o| names.contains(o))?;
    Compressor::from_name(first)
}
