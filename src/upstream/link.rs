//! One socket to a server, one request at a time.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::budget::Budget;
use super::dial::Dialer;
#[cfg(feature = "test-hooks")]
use super::faults::{Act, Faults};
use super::server::Server;
use super::sock::Sock;
use crate::memory::{Held, Kind, Live, Memory, NoRoom, Permit, Pressure};
use crate::wire::op_code;
use crate::wire::op_compressed::{self, Compressor, OpCompressed};
use crate::wire::{CompressedError, Frame, FrameError, ONE_MORE, reserve_more, take_frame};

/// A link that has said hello.
#[derive(Debug)]
pub struct Link {
    sock: Sock,
    buf: BytesMut,
    /// The server at the other end.
    pub(super) server: Arc<Server>,
    /// The server's generation when the link was dialled; older links are void.
    pub(super) generation: u64,
    /// The worker thread whose reactor drives it.
    pub(super) home: usize,
    pub(super) last_used: Instant,
    /// What it counts against.
    pub(super) budget: Budget,
    pub(super) compressor: Option<Compressor>,
    held: Held,
    /// For the last reply, if it was large.
    permit: Option<Permit>,
    /// What becomes of a large reply that there's no memory for.
    pub(super) when_full: WhenFull,
    memory: Arc<Memory>,
    _live: Live,
    #[cfg(feature = "test-hooks")]
    faults: (Faults, u64),
}

/// What becomes of a large reply that there's no memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It is read and thrown away: the request can be made again.
    Refuse,
    /// It is collected all the same: it tells what was done.
    GoOn,
}

/// A link that can't be used any more, or a reply that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// The server has fallen silent, and nobody waits for it any more.
    #[error("the server doesn't answer any more")]
    GivenUp,
    /// What came isn't a wire message.
    #[error("the server sent a broken message: {0}")]
    Frame(#[from] FrameError),
    /// What came is compressed and can't be inflated.
    #[error("the server sent a broken compressed message: {0}")]
    Compressed(#[from] CompressedError),
    /// The reply belongs to another request.
    #[error("the server answered request {got} where {expected} was asked")]
    OutOfTurn {
        /// The request that was sent.
        expected: i32,
        /// What the reply says.
        got: i32,
    },
    /// There's no memory for the reply. It has been read, and the link may be used.
    #[error("{0}")]
    NoRoom(NoRoom),
}

impl Link {
    pub(super) fn new(sock: Sock, server: Arc<Server>, home: usize, dialer: &Dialer) -> Link {
        let generation = server.generation();
        Link {
            sock,
            buf: BytesMut::new(),
            server,
            generation,
            home,
            last_used: Instant::now(),
            budget: Budget::Shared,
            compressor: None,
            held: dialer.memory.buffer(),
            permit: None,
            when_full: WhenFull::GoOn,
            _live: dialer.memory.live(Kind::Links),
            memory: Arc::clone(&dialer.memory),
            #[cfg(feature = "test-hooks")]
            faults: (dialer.faults.clone(), dialer.faults.next_link()),
        }
    }

    /// Sends a message and waits for its (first) reply.
    pub async fn exchange(
        &mut self,
        frame: &Frame,
        may_compress: bool,
    ) -> Result<Frame, LinkError> {
        #[cfg(feature = "test-hooks")]
        if let Some(act) = self
            .faults
            .0
            .meet(self.faults.1, &self.server.address, frame)
        {
            return self.faulty_exchange(frame, may_compress, act).await;
        }
        self.plain_exchange(frame, may_compress).await
    }

    async fn plain_exchange(
        &mut self,
        frame: &Frame,
        may_compress: bool,
    ) -> Result<Frame, LinkError> {
        self.send(frame, may_compress).await?;
        let reply = self.receive().await?;
        let (expected, got) = (frame.header().request_id, reply.header().response_to);
        if expected != got {
            return Err(LinkError::OutOfTurn { expected, got });
        }
        Ok(reply)
    }

    /// An exchange with a fault that a test has asked for.
    #[cfg(feature = "test-hooks")]
    async fn faulty_exchange(
        &mut self,
        frame: &Frame,
        may_compress: bool,
        act: Act,
    ) -> Result<Frame, LinkError> {
        let half = |bytes: &[u8]| bytes.len() / 2;
        match act {
            Act::Delay(time) => {
                let reply = self.plain_exchange(frame, may_compress).await?;
                tokio::time::sleep(time).await;
                return Ok(reply);
            }
            Act::DropBeforeSending => {}
            Act::CutRequest => {
                let sent = frame.bytes.get(..half(&frame.bytes)).unwrap_or_default();
                self.sock.write_all(sent).await?;
                self.sock.flush().await?;
            }
            Act::DropReply => {
                self.plain_exchange(frame, may_compress).await?;
            }
            Act::CutReply => {
                let reply = self.plain_exchange(frame, may_compress).await?;
                let came = reply.bytes.get(..half(&reply.bytes)).unwrap_or_default();
                self.buf.extend_from_slice(came);
            }
        }
        self.sock.shutdown().await?;
        Err(LinkError::Closed)
    }

    /// Sends a message. Messages that carry credentials are never compressed.
    pub async fn send(&mut self, frame: &Frame, may_compress: bool) -> Result<(), LinkError> {
        let compressed = match self.compressor {
            Some(compressor) if may_compress => op_compressed::compress(frame, compressor, LEVEL),
            _ => None,
        };
        let bytes = compressed.as_ref().map_or(&frame.bytes, |c| &c.bytes);
        self.sock.write_all(bytes).await?;
        if matches!(self.sock, Sock::Tls(_)) {
            self.sock.flush().await?;
        }
        Ok(())
    }

    /// Waits for a whole message.
    pub async fn receive(&mut self) -> Result<Frame, LinkError> {
        self.permit = None;
        loop {
            if let Some(frame) = take_frame(&mut self.buf, MAX_REPLY)? {
                if frame.op_code() == op_code::OP_COMPRESSED {
                    return self.inflate(&frame).await;
                }
                return Ok(frame);
            }
            match claimed_length(&self.buf) {
                Some(length) if Memory::is_large(length) && self.permit.is_none() => {
                    self.make_room(length).await?;
                }
                _ => reserve_more(&mut self.buf),
            }
            if self.permit.is_none() {
                self.held.set(self.buf.capacity());
            }
            if self.sock.read_buf(&mut self.buf).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// The right to the memory that the last reply takes, if it was large: to be held until the
    /// reply has been passed on.
    pub fn take_permit(&mut self) -> Option<Permit> {
        self.permit.take()
    }

    /// A large reply is coming. Until there is room for it, it stays in the socket.
    async fn make_room(&mut self, length: usize) -> Result<(), LinkError> {
        match self.memory.permit(length).await {
            Ok(permit) => {
                self.permit = Some(permit);
                // What the budget has granted may be had at once, and needn't be copied as it grows.
                let mut whole = BytesMut::with_capacity(length + ONE_MORE);
                whole.extend_from_slice(&self.buf);
                self.buf = whole;
                Ok(())
            }
            Err(no_room) if self.when_full == WhenFull::Refuse => {
                self.skip(length).await?;
                Err(LinkError::NoRoom(no_room))
            }
            Err(_) => {
                reserve_more(&mut self.buf);
                Ok(())
            }
        }
    }

    /// Reads a message and throws it away.
    async fn skip(&mut self, length: usize) -> Result<(), LinkError> {
        let mut left = length.saturating_sub(self.buf.len());
        self.buf.clear();
        while left > 0 {
            reserve_more(&mut self.buf);
            let read = (&mut self.sock)
                .take(left as u64)
                .read_buf(&mut self.buf)
                .await?;
            if read == 0 {
                return Err(LinkError::Closed);
            }
            left -= read;
            self.buf.clear();
        }
        Ok(())
    }

    async fn inflate(&mut self, frame: &Frame) -> Result<Frame, LinkError> {
        let size = OpCompressed::parse(frame)?.uncompressed_size;
        let size = usize::try_from(size).unwrap_or(0);
        if Memory::is_large(size) {
            // Not while holding the other: who has one would wait for who has the other.
            self.permit = None;
            self.permit = match self.memory.permit(size + frame.len()).await {
                Ok(permit) => Some(permit),
                Err(no_room) if self.when_full == WhenFull::Refuse => {
                    return Err(LinkError::NoRoom(no_room));
                }
                Err(_) => None,
            };
        }
        Ok(op_compressed::decompress(frame, MAX_REPLY)?)
    }

    /// Counts a request that has this link.
    pub(super) fn leased(&self) -> Live {
        self.memory.live(Kind::Leases)
    }

    /// The server at the other end.
    pub fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server)
    }

    /// Whether the link may carry another request.
    pub(super) fn is_sound(&self) -> bool {
        self.generation == self.server.generation()
            && self.buf.is_empty()
            && !self.sock.is_disturbed()
    }

    /// Gives back the memory that a large reply took.
    pub(super) fn shrink(&mut self) {
        let keep = match self.memory.pressure() {
            Pressure::Calm => KEEP,
            Pressure::Tight | Pressure::Critical => 0,
        };
        if self.buf.is_empty() && self.buf.capacity() > keep {
            self.buf = BytesMut::new();
        }
        self.held.set(self.buf.capacity());
        self.permit = None;
        self.when_full = WhenFull::GoOn;
    }
}

/// The length of the message that has begun, as far as its sender says.
fn claimed_length(buf: &[u8]) -> Option<usize> {
    let claimed = i32::from_le_bytes(*buf.first_chunk::<4>()?);
    usize::try_from(claimed).ok()
}

/// The largest reply a server may send: MongoDB's own 48,000,000 and room for a header.
const MAX_REPLY: usize = 64 * 1024 * 1024;
const KEEP: usize = 64 * 1024;
/// zlib's and zstd's own middle way.
const LEVEL: i32 = 3;
