//! The 16 bytes before every message.

use super::op_code::OP_MSG;
use super::op_msg::CHECKSUM_PRESENT;
use super::reader::Reader;

/// Length of a message header, in bytes.
pub const HEADER_LEN: usize = 16;

/// A message header (`MsgHeader` of the wire protocol), as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Length of the whole message, header included, in bytes.
    pub message_length: i32,
    /// The sender's number for this message.
    pub request_id: i32,
    /// The `request_id` that a reply answers; 0 in requests.
    pub response_to: i32,
    /// One of [`super::op_code`].
    pub op_code: i32,
}

impl Header {
    /// Reads a header from the first 16 bytes; `None` if there are fewer.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        Some(Self {
            message_length: r.i32()?,
            request_id: r.i32()?,
            response_to: r.i32()?,
            op_code: r.i32()?,
        })
    }

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let words = [
            self.message_length,
            self.request_id,
            self.response_to,
            self.op_code,
        ];
        let mut out = [0; HEADER_LEN];
        for (to, word) in out.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

/// Gives a stored message new ids, in place: for replaying a cached reply.
///
/// `message` is a whole message, or only its 16 header bytes if the body is
/// sent from elsewhere. If a whole OP_MSG carries a checksum it is recomputed,
/// because it covers the ids; with only the header that is impossible, so
/// messages with checksums need the whole. Returns false, and changes nothing,
/// if there is no whole header.
#[inline]
pub fn patch_ids(message: &mut [u8], request_id: i32, response_to: i32) -> bool {
    let Some(header) = Header::parse(message) else {
        return false;
    };
    let patched = Header {
        request_id,
        response_to,
        ..header
    };
    if let Some(to) = message.first_chunk_mut() {
        *to = patched.encode();
    }
    if header.op_code == OP_MSG
        && let Some(flags) = message.get(HEADER_LEN..).and_then(|b| Reader::new(b).u32())
        && flags & CHECKSUM_PRESENT != 0
        && message.len() >= HEADER_LEN + 8
        && let Some((covered, checksum)) = message.split_last_chunk_mut::<4>()
    {
        *checksum = crc32c::crc32c(covered).to_le_bytes();
    }
    true
}
