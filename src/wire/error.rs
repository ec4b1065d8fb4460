//! Everything that can be wrong with bytes from a peer.
//!
//! One enum per thing that is parsed, and [`WireError`] over all of them for
//! callers that close the connection whichever it was. A message says what was
//! found and what was allowed; it never quotes document content.

use thiserror::Error;

/// What is wrong with the framing of a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length in the header is below zero.
    #[error("negative message length {0}")]
    Negative(i32),
    /// The length in the header is shorter than the header itself.
    #[error("message length {0} is shorter than the 16-byte header")]
    TooShort(i32),
    /// The length in the header is above the limit.
    #[error("message length {length} is above the limit of {max} bytes")]
    TooLong {
        /// The length that the peer claimed.
        length: i32,
        /// The limit, in bytes.
        max: usize,
    },
    /// Bytes that were to be exactly one message have another length.
    #[error("message length {claimed} does not match the {actual} bytes given")]
    Mismatch {
        /// The length in the header.
        claimed: i32,
        /// The number of bytes there are.
        actual: usize,
    },
}

/// What is wrong with a BSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DocError {
    /// The bytes end before the document, or an element, does.
    #[error("BSON ends too early")]
    Truncated,
    /// The document's length prefix is impossible or not the length given.
    #[error("BSON length prefix {0} is wrong")]
    Length(i32),
    /// The document does not end with a zero byte, or has one too early.
    #[error("BSON document is not terminated where its length says")]
    Terminator,
    /// A field name is not UTF-8.
    #[error("BSON field name is not UTF-8")]
    Key,
    /// An element has a type byte that BSON does not know.
    #[error("unknown BSON type 0x{0:02x}")]
    Kind(u8),
    /// A value's own length prefix or terminator is wrong.
    #[error("BSON value of type 0x{0:02x} has a wrong length")]
    Value(u8),
    /// Documents are nested deeper than allowed.
    #[error("BSON is nested deeper than {0} levels")]
    Depth(usize),
}

/// What is wrong inside an OP_MSG, OP_QUERY or OP_REPLY.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MsgError {
    /// The frame has another operation code than the parser's.
    #[error("expected operation code {expected}, got {actual}")]
    OpCode {
        /// The code that was asked for.
        expected: i32,
        /// The code in the header.
        actual: i32,
    },
    /// The message ends before its fixed fields do.
    #[error("message ends too early in {0}")]
    Truncated(&'static str),
    /// A section ends within one of its parts.
    #[error("a section ends too early in its {0}")]
    Section(&'static str),
    /// A required flag bit (0–15) that this version does not know.
    #[error("unknown required flag bits 0x{0:04x}")]
    RequiredFlags(u32),
    /// The CRC-32C at the end does not match the message.
    #[error("checksum is 0x{claimed:08x}, the message has 0x{actual:08x}")]
    Checksum {
        /// The checksum in the message.
        claimed: u32,
        /// The checksum of the message.
        actual: u32,
    },
    /// Two sections of kind 0.
    #[error("more than one body section")]
    TwoBodies,
    /// A document sequence whose size is impossible.
    #[error("document sequence has the impossible size {0}")]
    SequenceSize(i32),
    /// A name (of a sequence or a collection) that is not UTF-8.
    #[error("{0} is not UTF-8")]
    Utf8(&'static str),
    /// Bytes are left after the end of the message's last field.
    #[error("{0} bytes left over after the message")]
    Trailing(usize),
    /// The number of documents is not the number that the reply claims.
    #[error("reply claims {claimed} documents and holds {actual}")]
    Count {
        /// `numberReturned`.
        claimed: i32,
        /// How many there are.
        actual: usize,
    },
    /// A document in the message is broken.
    #[error(transparent)]
    Doc(#[from] DocError),
}

/// What is wrong with an OP_COMPRESSED.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompressedError {
    /// The frame is not an OP_COMPRESSED.
    #[error("operation code {0} is not OP_COMPRESSED")]
    OpCode(i32),
    /// The frame is shorter than the fixed fields.
    #[error("compressed message ends too early")]
    Truncated,
    /// The message inside is itself an OP_COMPRESSED.
    #[error("compressed message inside a compressed message")]
    Nested,
    /// A compressor that this version does not know.
    #[error("unknown compressor {0}")]
    Compressor(u8),
    /// The claimed size is negative.
    #[error("negative uncompressed size {0}")]
    Negative(i32),
    /// The claimed size, with a header, is above the limit.
    #[error("uncompressed size {size} is above the limit of {max} bytes")]
    TooLong {
        /// The size that the peer claimed, without the header.
        size: i32,
        /// The limit for a whole message, in bytes.
        max: usize,
    },
    /// The data inflates to another size than claimed.
    #[error("data does not inflate to the claimed {claimed} bytes")]
    Size {
        /// The size that the peer claimed.
        claimed: usize,
    },
    /// The data is not what the compressor makes.
    #[error("{0} data is corrupt")]
    Corrupt(&'static str),
}

/// Any error of this layer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Broken framing.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A broken message.
    #[error(transparent)]
    Msg(#[from] MsgError),
    /// A broken document.
    #[error(transparent)]
    Doc(#[from] DocError),
    /// A broken compressed message.
    #[error(transparent)]
    Compressed(#[from] CompressedError),
}
