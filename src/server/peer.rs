//! A client's TCP stream, which others may look at.
//!
//! The connection alone reads and writes. A write of the client may wait elsewhere, in a batch of another thread, say; from
//! there the stream is looked at once more before the write is sent.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::pipeline::Presence;
use crate::upstream::Tcp;

/// A client's TCP stream.
#[derive(Debug)]
pub(super) struct Stream {
    read: OwnedReadHalf,
    peer: Arc<Peer>,
}

/// The client at the other end. Keeps the stream open for as long as it is held.
#[derive(Debug)]
pub(super) struct Peer(OwnedWriteHalf);

impl Stream {
    pub fn new(tcp: TcpStream) -> Stream {
        let (read, write) = tcp.into_split();
        Stream {
            read,
            peer: Arc::new(Peer(write)),
        }
    }

    /// What may be looked at from elsewhere.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }

    /// Tries until the stream takes something.
    fn poll_when_writable<T>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&OwnedWriteHalf) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.tcp().poll_write_ready(cx))?;
            match write(&self.peer.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Tcp for Stream {
    fn tcp(&self) -> &TcpStream {
        self.read.as_ref()
    }
}

impl Presence for Peer {
    /// One system call. Asks for the end of the stream itself, which also shows behind bytes that haven't been read: the
    /// client's next request, or the farewell of TLS. Asks the kernel, not the reactor: after the process has been suspended
    /// the reactor knows nothing yet.
    fn is_gone(&self) -> bool {
        let tcp: &TcpStream = self.0.as_ref();
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut asked = [PollFd::new(tcp, ENDED)];
        // (What is wrong with the stream shows without being asked for.)
        matches!(poll(&mut asked, Some(&now)), Ok(1..))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_when_writable(cx, |half| half.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_when_writable(cx, |half| half.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(self.tcp()).shutdown(Shutdown::Write))
    }
}

/// The client won't send anything more.
#[cfg(target_os = "linux")]
const ENDED: PollFlags = PollFlags::RDHUP;
/// (Elsewhere that is a hang-up, which shows without being asked for.)
#[cfg(not(target_os = "linux"))]
const ENDED: PollFlags = PollFlags::empty();
