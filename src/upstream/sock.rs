//! A TCP stream, with TLS or without, on either side of the proxy.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A byte stream to a peer, over TCP or what stands for it.
#[derive(Debug)]
pub enum Sock<S = TcpStream> {
    /// Plain TCP.
    Plain(S),
    /// TLS over TCP.
    Tls(Box<TlsStream<S>>),
}

/// What has a TCP stream in it.
pub trait Tcp {
    /// The stream.
    fn tcp(&self) -> &TcpStream;
}

impl Tcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Sock {
    /// Whether the peer has closed, or has sent something nobody asked for. Costs no
    /// system call while nothing has happened. Only meaningful when idle.
    pub fn is_disturbed(&self) -> bool {
        let mut byte = [0];
        match self {
            Sock::Plain(tcp) => {
                !matches!(tcp.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
            // Bytes of a TLS record must not be taken from under the session.
            Sock::Tls(_) => false,
        }
    }
}

impl<S: Tcp> Sock<S> {
    /// The stream below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Sock::Plain(plain) => plain.tcp(),
            Sock::Tls(tls) => tls.get_ref().0.tcp(),
        }
    }
}

/// Has the system notice a peer that is gone without having closed the connection, within some two minutes.
pub fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    SockRef::from(tcp).set_tcp_keepalive(&probes)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sock<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Sock::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Sock::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sock<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Sock::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Sock::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Sock::Plain(s) => Pin::new(s).poll_flush(cx),
            Sock::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Sock::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Sock::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Sock::Plain(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Sock::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Sock::Plain(s) => s.is_write_vectored(),
            Sock::Tls(s) => s.is_write_vectored(),
        }
    }
}
