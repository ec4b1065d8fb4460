//! One socket of the load generator: at most one request under way.
//!
//! The socket is registered edge-triggered. In a closed loop nothing more can arrive once a whole reply is here, so the
//! usual extra read that ends in "would block" is saved: one read and one write per request.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::time::{Duration, Instant};

use bson::{RawDocumentBuf, rawdoc};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::reply::{Protocol, ReplyError, body};
use super::workload::message;

/// What can go wrong with a socket.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Reading, writing or connecting failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The peer closed it.
    #[error("the peer closed the connection")]
    Closed,
    /// The reply is broken or says no.
    #[error("{0}")]
    Reply(#[from] ReplyError),
}

/// How long a blocking exchange may take: creating an index on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// A blocking connection for preparation: connects, asks, waits.
#[derive(Debug)]
pub struct Asker {
    stream: Blocking,
    protocol: Protocol,
    next_id: i32,
}

impl Asker {
    /// Connects and, on MongoDB's protocol, says hello as a driver would.
    pub fn connect(address: SocketAddr, protocol: Protocol) -> Result<Asker, ConnectionError> {
        let stream = Blocking::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut asker = Asker {
            stream,
            protocol,
            next_id: 1,
        };
        if protocol == Protocol::Mongo {
            asker.command(&rawdoc! {
                "hello": 1, "helloOk": true,
                "client": {
                    "application": {"name": "petiole bench"},
                    "driver": {"name": "petiole-bench", "version": env!("CARGO_PKG_VERSION")},
                    "os": {"type": std::env::consts::OS},
                },
                "$db": "admin",
            })?;
        }
        Ok(asker)
    }

    /// Commands sent so far, hello included.
    pub fn asked(&self) -> i64 {
        i64::from(self.next_id) - 1
    }

    /// Sends one command and waits for its reply, which must be good.
    pub fn command(&mut self, command: &RawDocumentBuf) -> Result<RawDocumentBuf, ConnectionError> {
        self.next_id += 1;
        let reply = self.exchange(&message(self.next_id, command))?;
        Ok(body(&reply)?.to_owned())
    }

    /// Sends a whole request and waits for the whole reply, which must be good.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ConnectionError> {
        self.stream.write_all(request)?;
        let mut reply = Vec::new();
        let mut buffer = [0u8; 16 * 1024];
        loop {
            if let Some(length) = self.protocol.reply_length(&reply)?
                && reply.len() >= length
            {
                reply.truncate(length);
                self.protocol.judge(request, &reply)?;
                return Ok(reply);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(ConnectionError::Closed),
                read => reply.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            }
        }
    }

    fn into_stream(self) -> Result<TcpStream, ConnectionError> {
        self.stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(self.stream))
    }
}

/// A registered socket with its buffers.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    protocol: Protocol,
    token: Token,
    request: Vec<u8>,
    sent: usize,
    inbox: Vec<u8>,
    filled: usize,
    next_id: i32,
    awaits_write: bool,
    /// When the request under way was sent, or was due.
    pub started: Instant,
}

impl Connection {
    /// Connects, shakes hands and registers.
    pub fn open(
        address: SocketAddr,
        protocol: Protocol,
        registry: &Registry,
        token: Token,
    ) -> Result<Connection, ConnectionError> {
        let mut stream = Asker::connect(address, protocol)?.into_stream()?;
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Connection {
            stream,
            protocol,
            token,
            request: Vec::with_capacity(1024),
            sent: 0,
            inbox: vec![0; 16 * 1024],
            filled: 0,
            next_id: 1_000,
            awaits_write: false,
            started: Instant::now(),
        })
    }

    /// Starts a request: `fill` writes it, its id is set here.
    pub fn send(
        &mut self,
        registry: &Registry,
        started: Instant,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), ConnectionError> {
        self.request.clear();
        self.sent = 0;
        self.filled = 0;
        self.started = started;
        fill(&mut self.request);
        if self.protocol == Protocol::Mongo {
            self.next_id = self.next_id.wrapping_add(1);
            if let Some(id) = self.request.get_mut(4..8) {
                id.copy_from_slice(&self.next_id.to_le_bytes());
            }
        }
        self.flush(registry)
    }

    /// Writes what's left of the request; asks to be told when the socket takes more.
    pub fn flush(&mut self, registry: &Registry) -> Result<(), ConnectionError> {
        while let Some(rest) = self.request.get(self.sent..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.awaits_write {
                        self.awaits_write = true;
                        let both = Interest::READABLE | Interest::WRITABLE;
                        registry.reregister(&mut self.stream, self.token, both)?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.awaits_write {
            self.awaits_write = false;
            registry.reregister(&mut self.stream, self.token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Whether part of the request hasn't left yet.
    pub fn is_flushing(&self) -> bool {
        self.awaits_write
    }

    /// Reads what's there. `Some(length)` once the whole reply has come.
    pub fn receive(&mut self) -> Result<Option<usize>, ConnectionError> {
        loop {
            let seen = self.inbox.get(..self.filled).unwrap_or_default();
            if let Some(length) = self.protocol.reply_length(seen)? {
                match self.filled.cmp(&length) {
                    std::cmp::Ordering::Equal => return Ok(Some(length)),
                    std::cmp::Ordering::Greater => {
                        return Err(ReplyError::Malformed("more bytes than one reply").into());
                    }
                    std::cmp::Ordering::Less if self.inbox.len() < length => {
                        self.inbox.resize(length, 0)
                    }
                    std::cmp::Ordering::Less => {}
                }
            }
            let space = self.inbox.get_mut(self.filled..).unwrap_or_default();
            match self.stream.read(space) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the reply just received is good.
    pub fn judge(&self, length: usize) -> Result<(), ReplyError> {
        self.protocol
            .judge(&self.request, self.inbox.get(..length).unwrap_or_default())
    }
}
