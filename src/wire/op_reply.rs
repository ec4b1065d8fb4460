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
