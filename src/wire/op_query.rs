//! OP_QUERY: the legacy query, still the first message of many drivers
//! (`isMaster` against `admin.$cmd`).
//!
//! Absent on purpose: flag bits and counts are kept as they came; mongod
//! refuses every OP_QUERY but the handshake by itself.

use bytes::Bytes;

use super::doc::take_document;
use super::error::MsgError;
use super::frame::Frame;
use super::op_code::OP_QUERY;
use super::op_msg::Identifier;
use super::reader::Reader;

/// A parsed OP_QUERY; all its parts are slices of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpQuery {
    /// Flag bits (`slaveOk` is bit 2).
    pub flags: u32,
    /// `db.collection`; for commands `db.$cmd`.
    pub full_collection_name: Identifier,
    /// Documents to skip.
    pub number_to_skip: i32,
    /// Documents to return; -1 in commands.
    pub number_to_return: i32,
    /// The query, or the command.
    pub query: Bytes,
    /// The projection, if there is one.
    pub return_fields: Option<Bytes>,
}

impl OpQuery {
    /// Parses a frame without copying from it.
    ///
    /// # Errors
    /// Whatever is wrong with the message's own structure; see [`MsgError`].
    pub fn parse(frame: &Frame) -> Result<Self, MsgError> {
        let actual = frame.op_code();
        if actual != OP_QUERY {
            return Err(MsgError::OpCode {
                expected: OP_QUERY,
                actual,
            });
        }
        let mut reader = Reader::new(frame.body());
        let flags = reader.u32().ok_or(MsgError::Truncated("flags"))?;
        let name = reader
            .cstring()
            .ok_or(MsgError::Truncated("collection name"))?;
        let full_collection_name = Identifier::new(frame.bytes.slice_ref(name))
            .ok_or(MsgError::Utf8("collection name"))?;
        let number_to_skip = reader.i32().ok_or(MsgError::Truncated("numberToSkip"))?;
        let number_to_return = reader.i32().ok_or(MsgError::Truncated("numberToReturn"))?;
        let query = frame.bytes.slice_ref(take_document(&mut reader)?);
        let return_fields = if reader.is_empty() {
            None
        } else {
            Some(frame.bytes.slice_ref(take_document(&mut reader)?))
        };
        if !reader.is_empty() {
            return Err(MsgError::Trailing(reader.rest().len()));
        }
        Ok(Self {
            flags,
            full_collection_name,
            number_to_skip,
            number_to_return,
            query,
            return_fields,
        })
    }

    /// The database part of the collection name.
    #[must_use]
    pub fn database(&self) -> &str {
        let name = self.full_collection_name.as_str();
        name.split_once('.').map_or(name, |(database, _)| database)
    }

    /// True if this carries a command (`db.$cmd`), not a query.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.full_collection_name
            .split_once('.')
            .is_some_and(|(_, collection)| collection == "$cmd")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::build;
    use crate::wire::error::DocError;
    use crate::wire::golden;
    use crate::wire::header::Header;

    /// The golden hello with another body.
    fn query(body: &[u8]) -> Frame {
        let header = Header {
            message_length: i32::try_from(16 + body.len()).unwrap(),
            op_code: OP_QUERY,
            ..Header::default()
        };
        let bytes = [&header.encode()[..], body].concat();
        Frame::from_bytes(Bytes::from(bytes)).unwrap()
    }

    #[test]
    fn a_legacy_hello_is_read_and_written_byte_by_byte() {
        let frame = golden::frame(golden::HELLO);
        let hello = OpQuery::parse(&frame).unwrap();
        assert_eq!(hello.flags, 4);
        assert_eq!(hello.full_collection_name, "admin.$cmd");
        assert_eq!(hello.database(), "admin");
        assert!(hello.is_command());
        assert_eq!((hello.number_to_skip, hello.number_to_return), (0, -1));
        assert_eq!(hello.query, golden::HELLO[39..]);
        assert_eq!(hello.return_fields, None);
        assert_eq!(
            build::op_query(1, 4, "admin.$cmd", &hello.query),
            golden::HELLO
        );
    }

    #[test]
    fn a_projection_may_follow_and_nothing_else() {
        let body = &golden::HELLO[16..];
        let doc = &golden::HELLO[39..];
        let with = OpQuery::parse(&query(&[body, doc].concat())).unwrap();
        assert_eq!(with.return_fields.as_deref(), Some(doc));
        assert_eq!(
            OpQuery::parse(&query(&[body, doc, b"xy"].concat())),
            Err(MsgError::Trailing(2))
        );
    }

    #[test]
    fn a_query_cut_anywhere_is_refused() {
        let body = &golden::HELLO[16..];
        for length in 0..body.len() {
            assert!(OpQuery::parse(&query(&body[..length])).is_err(), "{length}");
        }
        assert_eq!(
            OpQuery::parse(&query(&body[..body.len() - 1])),
            Err(DocError::Truncated.into())
        );
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        let mut body = golden::HELLO[16..].to_vec();
        body[4] = 0xff;
        assert_eq!(
            OpQuery::parse(&query(&body)),
            Err(MsgError::Utf8("collection name"))
        );
    }

    #[test]
    fn another_operation_code_is_refused() {
        assert!(OpQuery::parse(&golden::frame(golden::PING)).is_err());
    }

    #[test]
    fn a_plain_query_is_no_command() {
        let frame = Frame::from_bytes(build::op_query(1, 0, "db.$cmd.x", &golden::HELLO[39..]));
        let query = OpQuery::parse(&frame.unwrap()).unwrap();
        assert!(!query.is_command());
        assert_eq!(query.database(), "db");
    }
}
