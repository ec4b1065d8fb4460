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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_header_is_read_and_written_byte_by_byte() {
        let header = Header::parse(golden::REPLY).unwrap();
        assert_eq!((header.message_length, header.request_id), (53, 99));
        assert_eq!((header.response_to, header.op_code), (1, 1));
        assert_eq!(header.encode(), golden::REPLY[..16]);
        assert_eq!(Header::parse(&golden::REPLY[..15]), None);
    }

    #[test]
    fn ids_are_patched_in_a_header_alone() {
        let mut bytes = golden::REPLY[..16].to_vec();
        assert!(patch_ids(&mut bytes, 5, 6));
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.request_id, header.response_to), (5, 6));
        assert_eq!((header.message_length, header.op_code), (53, 1));
    }

    #[test]
    fn half_a_header_is_left_alone() {
        let mut bytes = golden::REPLY[..15].to_vec();
        assert!(!patch_ids(&mut bytes, 5, 6));
        assert_eq!(bytes, golden::REPLY[..15]);
    }
}
