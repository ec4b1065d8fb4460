//! What travels the pipeline.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::time::Instant;

use super::trail::Trail;
use crate::command::Command;
use crate::wire::build;
use crate::wire::frame::Frame;
use crate::wire::header::HEADER_LEN;
use crate::wire::op_code;
use crate::wire::op_msg::OpMsg;

/// Who is asking: what the server said of the link that the client proved itself on.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// Number of this principal in this process; 0 is nobody.
    pub id: u64,
    /// Authenticated users as `db.name (mechanism)`, for people to read; empty for nobody.
    pub name: String,
}

/// The principal of clients that haven't authenticated.
pub static NO_PRINCIPAL: LazyLock<Arc<Principal>> = LazyLock::new(|| {
    Arc::new(Principal {
        id: 0,
        name: String::new(),
    })
});

/// A command on its way to the server.
#[derive(Debug)]
pub struct Request {
    /// The message as it came (decompressed), byte for byte.
    pub frame: Frame,
    /// Its parts.
    pub msg: OpMsg,
    /// What it means.
    pub command: Command,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Number of the client's connection; 0 for requests of the proxy's own.
    pub client: u64,
    /// When it arrived.
    pub received: Instant,
    /// What was decided on the way.
    pub trail: Trail,
    /// Where it was sent last, if it was sent.
    pub met: Option<Met>,
    /// Where the client is.
    pub address: Option<IpAddr>,
}

/// A server as a request has met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The server's number in this process.
    pub server: u32,
    /// Counts up when the server restarts, is lost, or another one is elected.
    pub epoch: u64,
}

impl Request {
    /// A request from a message. A body that can't be read makes an opaque command.
    pub fn new(frame: Frame, msg: OpMsg, principal: Arc<Principal>) -> Request {
        let command = Command::parse(&msg).unwrap_or_else(Command::opaque);
        Request {
            frame,
            msg,
            command,
            principal,
            client: 0,
            received: Instant::now(),
            trail: Trail::default(),
            met: None,
            address: None,
        }
    }

    /// A request of the proxy's own, in the name of the same principal.
    pub fn side(&self, body: &[u8]) -> Option<Request> {
        let bytes = build::op_msg(self.frame.header().request_id, 0, 0, body);
        let frame = Frame { bytes };
        let msg = OpMsg::parse(&frame).ok()?;
        Some(Request::new(frame, msg, Arc::clone(&self.principal)))
    }

    /// The same request as another message, which arrived when this one did.
    pub fn reworded(&self, bytes: Bytes) -> Option<Request> {
        let frame = Frame { bytes };
        let msg = OpMsg::parse(&frame).ok()?;
        Some(Request {
            received: self.received,
            trail: self.trail,
            met: self.met,
            client: self.client,
            address: self.address,
            ..Request::new(frame, msg, Arc::clone(&self.principal))
        })
    }

    /// When the client's own `maxTimeMS` runs out.
    pub fn deadline(&self) -> Option<Instant> {
        let limit = self.command.max_time_ms.filter(|&ms| ms > 0)?;
        self.received
            .checked_add(std::time::Duration::from_millis(limit))
    }
}

/// An answer on its way to the client.
#[derive(Clone, Debug)]
pub struct Reply {
    /// A whole message.
    pub frame: Frame,
    /// The message was made for another request (it comes from the cache): its ids
    /// must be replaced when it is written.
    pub replayed: bool,
}

impl Reply {
    /// A reply from the server to this very request.
    pub fn from_server(frame: Frame) -> Reply {
        Reply {
            frame,
            replayed: false,
        }
    }

    /// A reply that was stored earlier.
    pub fn replayed(frame: Frame) -> Reply {
        Reply {
            frame,
            replayed: true,
        }
    }

    /// A reply document of the proxy's own.
    pub fn document(request: &Frame, document: &[u8]) -> Reply {
        let bytes = build::op_msg(0, request.header().request_id, 0, document);
        Reply {
            frame: Frame { bytes },
            replayed: false,
        }
    }

    /// The reply document: the body section of an OP_MSG, or the only document of an OP_REPLY.
    pub fn body(&self) -> &[u8] {
        let bytes: &Bytes = &self.frame.bytes;
        let start = match self.frame.op_code() {
            op_code::OP_MSG if bytes.get(HEADER_LEN + 4) == Some(&0) => HEADER_LEN + 5,
            op_code::OP_REPLY => HEADER_LEN + 20,
            _ => return &[],
        };
        let rest = bytes.get(start..).unwrap_or_default();
        let len = rest
            .first_chunk::<4>()
            .map_or(0, |b| u32::from_le_bytes(*b) as usize);
        rest.get(..len).unwrap_or_default()
    }
}
