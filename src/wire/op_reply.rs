//! OP_REPLY: what answers an OP_QUERY. [`super::build::op_reply`] makes one.

use bytes::Bytes;

use super::doc::{Documents, documents};
use super::error::MsgError;
use super::frame::Frame;
use super::op_code::OP_REPLY;
use super::reader::Reader;

/// Response flag: the cursor is gone.
pub const CURSOR_NOT_FOUND: u32 = 1;
/// Response flag: the query failed; the document says why.
pub const QUERY_FAILURE: u32 = 2;
/// Response flag: set in every reply of a current server.
pub const AWAIT_CAPABLE: u32 = 8;

/// A parsed OP_REPLY; its documents are a slice of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpReply {
    /// Response flag bits.
    pub flags: u32,
    /// The cursor to ask for more; 0 if there is none.
    pub cursor_id: i64,
    /// Where in the cursor this reply starts.
    pub starting_from: i32,
    /// `number_returned` whole documents, one after the other.
    pub documents: Bytes,
    /// How many documents there are; checked.
    pub number_returned: i32,
}

impl OpReply {
    /// Parses a frame without copying from it.
    ///
    /// # Errors
    /// Whatever is wrong with the message's own structure, a wrong count
    /// included; see [`MsgError`].
    pub fn parse(frame: &Frame) -> Result<Self, MsgError> {
        let actual = frame.op_code();
        if actual != OP_REPLY {
            return Err(MsgError::OpCode {
                expected: OP_REPLY,
                actual,
            });
        }
        let mut reader = Reader::new(frame.body());
        let flags = reader.u32().ok_or(MsgError::Truncated("flags"))?;
        let cursor_id = reader.i64().ok_or(MsgError::Truncated("cursorID"))?;
        let starting_from = reader.i32().ok_or(MsgError::Truncated("startingFrom"))?;
        let number_returned = reader.i32().ok_or(MsgError::Truncated("numberReturned"))?;
        let all = reader.rest();
        let mut count = 0_usize;
        for doc in documents(all) {
            doc?;
            count += 1;
        }
        if usize::try_from(number_returned) != Ok(count) {
            return Err(MsgError::Count {
                claimed: number_returned,
                actual: count,
            });
        }
        Ok(Self {
            flags,
            cursor_id,
            starting_from,
            documents: frame.bytes.slice_ref(all),
            number_returned,
        })
    }

    /// The documents one by one.
    #[must_use]
    pub fn iter(&self) -> Documents<'_> {
        documents(&self.documents)
    }

    /// The first document: the whole answer to a command.
    #[must_use]
    pub fn first(&self) -> Option<Bytes> {
        let doc = self.iter().next()?.ok()?;
        Some(self.documents.slice_ref(doc))
    }
}

impl<'a> IntoIterator for &'a OpReply {
    type Item = <Documents<'a> as Iterator>::Item;
    type IntoIter = Documents<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::build;
    use crate::wire::golden;

    fn changed(at: usize, value: u8) -> Result<OpReply, MsgError> {
        let mut bytes = golden::REPLY.to_vec();
        bytes[at] = value;
        OpReply::parse(&Frame::from_bytes(Bytes::from(bytes)).unwrap())
    }

    #[test]
    fn a_reply_is_read_and_written_byte_by_byte() {
        let reply = OpReply::parse(&golden::frame(golden::REPLY)).unwrap();
        assert_eq!(reply.flags, AWAIT_CAPABLE);
        assert_eq!((reply.cursor_id, reply.starting_from), (0, 0));
        assert_eq!(reply.number_returned, 1);
        let doc = reply.first().unwrap();
        assert_eq!(doc, golden::REPLY[36..]);
        assert_eq!(build::op_reply(99, 1, AWAIT_CAPABLE, &doc), golden::REPLY);
    }

    #[test]
    fn several_documents_are_counted() {
        let doc = &golden::REPLY[36..];
        let bytes = build::op_reply(1, 2, QUERY_FAILURE, &[doc, doc, doc].concat());
        let reply = OpReply::parse(&Frame::from_bytes(bytes).unwrap()).unwrap();
        assert_eq!(reply.number_returned, 3);
        assert!(reply.iter().all(|d| d == Ok(doc)));
        let none = build::op_reply(1, 2, CURSOR_NOT_FOUND, &[]);
        let none = OpReply::parse(&Frame::from_bytes(none).unwrap()).unwrap();
        assert_eq!(none.first(), None);
    }

    #[test]
    fn a_wrong_count_is_refused() {
        for claimed in [0, 2, 255] {
            assert_eq!(
                changed(32, claimed),
                Err(MsgError::Count {
                    claimed: i32::from(claimed),
                    actual: 1
                })
            );
        }
        assert!(matches!(changed(35, 0xff), Err(MsgError::Count { .. })));
    }

    #[test]
    fn broken_documents_are_refused() {
        assert!(changed(36, 4).is_err());
        assert!(changed(36, 18).is_err());
        assert!(changed(52, 1).is_err());
        assert!(OpReply::parse(&golden::frame(golden::PING)).is_err());
    }
}
