//! Making messages: the reverse of the parsers, for replies and commands of
//! the proxy's own and for tests. Lengths and checksums are always right.

use bytes::Bytes;

use super::doc::documents;
use super::doc_buf::len_i32;
use super::header::{HEADER_LEN, Header};
use super::op_code::{OP_MSG, OP_QUERY, OP_REPLY};
use super::op_msg::{CHECKSUM_PRESENT, OpMsg};

pub use super::doc_buf::{ArrayBuf, DocBuf};

/// An OP_MSG with only a body. If `flags` has
/// [`CHECKSUM_PRESENT`], a checksum is added.
#[must_use]
pub fn op_msg(request_id: i32, response_to: i32, flags: u32, body: &[u8]) -> Bytes {
    op_msg_with_sequences(request_id, response_to, flags, body, &[])
}

/// An OP_MSG with a body and document sequences: pairs of an identifier and
/// whole documents, one after the other.
#[must_use]
pub fn op_msg_with_sequences(
    request_id: i32,
    response_to: i32,
    flags: u32,
    body: &[u8],
    sequences: &[(&str, &[u8])],
) -> Bytes {
    let sized: usize = sequences
        .iter()
        .map(|(id, docs)| id.len() + docs.len() + 6)
        .sum();
    let mut out = Message::open(body.len() + sized + 9);
    out.flags(flags).body(body);
    for (identifier, documents) in sequences {
        out.sequence(identifier, documents);
    }
    out.close_msg(request_id, response_to, flags)
}

pub(super) fn encode_op_msg(msg: &OpMsg, request_id: i32, response_to: i32) -> Bytes {
    let mut out = Message::open(msg.body.as_ref().map_or(0, Bytes::len) + 64);
    out.flags(msg.flags);
    if let Some(body) = &msg.body {
        out.body(body);
    }
    for sequence in &msg.sequences {
        out.sequence(&sequence.identifier, &sequence.documents);
    }
    if let Some(unknown) = &msg.unknown {
        out.0.extend_from_slice(unknown);
    }
    out.close_msg(request_id, response_to, msg.flags)
}

/// An OP_REPLY with the given documents (usually one), no cursor.
#[must_use]
pub fn op_reply(request_id: i32, response_to: i32, flags: u32, docs: &[u8]) -> Bytes {
    let mut out = Message::open(20 + docs.len());
    out.0.extend_from_slice(&flags.to_le_bytes());
    out.0.extend_from_slice(&0_i64.to_le_bytes());
    out.0.extend_from_slice(&0_i32.to_le_bytes());
    let count = documents(docs).count();
    out.0.extend_from_slice(&len_i32(count).to_le_bytes());
    out.0.extend_from_slice(docs);
    out.close(request_id, response_to, OP_REPLY)
}

/// An OP_QUERY that runs one command on `db.$cmd`, as drivers say hello.
#[must_use]
pub fn op_query(request_id: i32, flags: u32, full_collection_name: &str, query: &[u8]) -> Bytes {
    let mut out = Message::open(13 + full_collection_name.len() + query.len());
    out.0.extend_from_slice(&flags.to_le_bytes());
    out.0.extend_from_slice(full_collection_name.as_bytes());
    out.0.push(0);
    out.0.extend_from_slice(&0_i32.to_le_bytes());
    out.0.extend_from_slice(&(-1_i32).to_le_bytes());
    out.0.extend_from_slice(query);
    out.close(request_id, 0, OP_QUERY)
}

/// A message that is being written; the header is filled in at the end.
struct Message(Vec<u8>);

impl Message {
    fn open(body: usize) -> Self {
        let mut buf = Vec::with_capacity(HEADER_LEN + body);
        buf.extend_from_slice(&[0; HEADER_LEN]);
        Self(buf)
    }

    fn flags(&mut self, flags: u32) -> &mut Self {
        self.0.extend_from_slice(&flags.to_le_bytes());
        self
    }

    fn body(&mut self, body: &[u8]) -> &mut Self {
        self.0.push(0);
        self.0.extend_from_slice(body);
        self
    }

    fn sequence(&mut self, identifier: &str, documents: &[u8]) -> &mut Self {
        self.0.push(1);
        let size = len_i32(4 + identifier.len() + 1 + documents.len());
        self.0.extend_from_slice(&size.to_le_bytes());
        self.0.extend_from_slice(identifier.as_bytes());
        self.0.push(0);
        self.0.extend_from_slice(documents);
        self
    }

    fn close_msg(mut self, request_id: i32, response_to: i32, flags: u32) -> Bytes {
        if flags & CHECKSUM_PRESENT == 0 {
            return self.close(request_id, response_to, OP_MSG);
        }
        // The checksum covers the header, length included.
        self.write_header(self.0.len() + 4, request_id, response_to, OP_MSG);
        let checksum = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&checksum.to_le_bytes());
        Bytes::from(self.0)
    }

    fn close(mut self, request_id: i32, response_to: i32, op_code: i32) -> Bytes {
        self.write_header(self.0.len(), request_id, response_to, op_code);
        Bytes::from(self.0)
    }

    fn write_header(&mut self, length: usize, request_id: i32, response_to: i32, op_code: i32) {
        let header = Header {
            message_length: len_i32(length),
            request_id,
            response_to,
            op_code,
        };
        if let Some(to) = self.0.first_chunk_mut() {
            *to = header.encode();
        }
    }
}
