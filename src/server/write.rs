//! Writing replies.

use bytes::Buf;
use tokio::io::AsyncWriteExt;

use super::connection::{Close, Connection};
use crate::pipeline::Reply;
use crate::upstream::Sock;
use crate::wire::op_compressed;
use crate::wire::{Frame, HEADER_LEN, Header};

impl Connection {
    /// Writes the reply to `request`, compressed as the request was.
    pub(super) async fn write(&mut self, request: &Frame, reply: &Reply) -> Result<(), Close> {
        let original = reply.frame.header();
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
            let mut bytes = reply.frame.bytes.to_vec();
            crate::wire::patch_ids(&mut bytes, header.request_id, header.response_to);
            let whole = Frame {
                bytes: bytes.into(),
            };
            let compressed = op_compressed::compress(&whole, compressor, LEVEL).unwrap_or(whole);
            self.sock.write_all(&compressed.bytes).await?;
        } else if header == original {
            self.sock.write_all(&reply.frame.bytes).await?;
        } else {
            let head = header.encode();
            let mut message = head.chain(reply.frame.bytes.slice(HEADER_LEN..));
            self.sock.write_all_buf(&mut message).await?;
        }
        if matches!(self.sock, Sock::Tls(_)) {
            self.sock.flush().await?;
        }
        Ok(())
    }
}

/// zlib's and zstd's own middle way.
const LEVEL: i32 = 3;
