//! A client too many: it is told so, in answer to the first message that it sends, and its connection is closed. It would
//! otherwise see no more than a lost connection, and look for the fault in its network.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::command::{ErrorReply, codes, labels};
use crate::wire::op_code::{OP_MSG, OP_QUERY};
use crate::wire::{Frame, build, take_frame};

/// The clients that are being turned away.
pub(super) struct TurnedAway(Arc<Semaphore>);

impl TurnedAway {
    pub fn new() -> TurnedAway {
        TurnedAway(Arc::new(Semaphore::new(MOST)))
    }

    /// Tells a client why, in a task of its own, unless too many are being told: then it is closed at once.
    pub fn refuse(&self, socket: TcpStream, tls: Option<TlsAcceptor>, why: String) {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let told = async {
                match tls {
                    None => tell(socket, &why).await,
                    Some(acceptor) => match acceptor.accept(socket).await {
                        Ok(socket) => tell(socket, &why).await,
                        Err(_) => None,
                    },
                }
            };
            // Whether it listens is its own affair.
            let _ = timeout(PATIENCE, told).await;
            drop(permit);
        });
    }
}

/// Answers the first message. `None`: it can't be answered.
async fn tell(mut socket: impl AsyncRead + AsyncWrite + Unpin, why: &str) -> Option<()> {
    let mut buf = BytesMut::new();
    let first = loop {
        if let Some(first) = take_frame(&mut buf, LONGEST).ok()? {
            break first;
        }
        if socket.read_buf(&mut buf).await.ok()? == 0 {
            return None;
        }
    };
    socket.write_all(&answer(&first, why)?).await.ok()?;
    socket.shutdown().await.ok()
}

fn answer(first: &Frame, why: &str) -> Option<bytes::Bytes> {
    // Drivers that know the label wait before they try again.
    let error = ErrorReply::new(codes::RATE_LIMIT_EXCEEDED, why);
    let error = error.label(labels::SYSTEM_OVERLOADED).document();
    let id = first.request_id();
    match first.op_code() {
        OP_MSG => Some(build::op_msg(1, id, 0, &error)),
        OP_QUERY => Some(build::op_reply(1, id, 0, &error)),
        _ => None,
    }
}

/// At one time. (`descriptors` keeps room for them.)
const MOST: usize = 32;
const PATIENCE: Duration = Duration::from_secs(2);
/// The first message is a hello.
const LONGEST: usize = 64 * 1024;
