//! Writing replies.

use std::io::{ErrorKind, IoSlice};

use bytes::Buf;
use tokio::io::AsyncWriteExt;

use super::connection::{Close, Connection};
use crate::pipeline::Reply;
use crate::upstream::{Sock, Tcp};
use crate::wire::op_compressed;
use crate::wire::{Frame, HEADER_LEN, Header};

impl Connection {
    /// Writes the reply to `request`, compressed as the request was.
    pub(super) async fn write(&mut self, request: &Frame, reply: &Reply) -> Result<(), Close> {
        let original = reply.frame().header();
        let header = if reply.replayed || original.request_id == 0 {
            self.next_id = self.next_id.wrapping_add(1);
            Header {
                request_id: self.next_id,
                response_to: request.request_id(),
                ..original
            }
        } else {
            original
        };
        if let Some(compressor) = self.compressor {
            let mut bytes = reply.frame().bytes.to_vec();
            crate::wire::patch_ids(&mut bytes, header.request_id, header.response_to);
            let whole = Frame {
                bytes: bytes.into(),
            };
            let compressed = op_compressed::compress(&whole, compressor, LEVEL).unwrap_or(whole);
            self.sock.write_all(&compressed.bytes).await?;
        } else if header == original {
            self.sock.write_all(&reply.frame().bytes).await?;
        } else {
            let head = header.encode();
            let body = reply.frame().bytes.get(HEADER_LEN..).unwrap_or_default();
            self.write_both(&head, body).await?;
        }
        if matches!(self.sock, Sock::Tls(_)) {
            self.sock.flush().await?;
        }
        Ok(())
    }
}

impl Connection {
    /// Writes one after the other, in one system call if the socket takes all of it.
    async fn write_both(&mut self, head: &[u8], body: &[u8]) -> std::io::Result<()> {
        let mut written = 0;
        if let Sock::Plain(stream) = &self.sock {
            match stream
                .tcp()
                .try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
            {
                Ok(count) if count == head.len() + body.len() => return Ok(()),
                Ok(count) => written = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let mut rest = head.chain(body);
        rest.advance(written);
        self.sock.write_all_buf(&mut rest).await
    }
}

/// zlib's and zstd's own middle way.
const LEVEL: i32 = 3;
