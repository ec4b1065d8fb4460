//! OP_MSG: the format of every current command and reply.
//!
//! Sections may come in any order, since mongod accepts a document sequence
//! before the body. A section kind that we do not know is kept raw, with
//! everything after it: its length is unknown, and it is mongod's to judge.
//!
//! Invariants of a parsed message: its body and every document of its
//! sequences have a right length and terminator (what is inside them is
//! checked by whoever walks them); identifiers are UTF-8; the checksum, if
//! there is one, is right.
//!
//! Absent on purpose: a body is not required here, and neither are distinct
//! identifiers; mongod has its own error replies for both.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::build;
use super::doc::{Documents, documents, take_document};
use super::error::MsgError;
use super::frame::Frame;
use super::header::HEADER_LEN;
use super::op_code::OP_MSG;
use super::reader::Reader;

/// Flag: the message ends with a CRC-32C.
pub const CHECKSUM_PRESENT: u32 = 1;
/// Flag: another message follows without a request; the receiver must not
/// answer this one.
pub const MORE_TO_COME: u32 = 2;
/// Flag: the client accepts replies with [`MORE_TO_COME`].
pub const EXHAUST_ALLOWED: u32 = 1 << 16;

/// Bits 0–15: a receiver must refuse those that it does not know.
const REQUIRED: u32 = 0xffff;

const KIND_BODY: u8 = 0;
const KIND_SEQUENCE: u8 = 1;

/// A parsed OP_MSG; all its parts are slices of the frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpMsg {
    /// Flag bits, unknown optional ones included.
    pub flags: u32,
    /// The document of the kind-0 section.
    pub body: Option<Bytes>,
    /// The kind-1 sections, in their order.
    pub sequences: Vec<Sequence>,
    /// The first section of an unknown kind (its kind byte included) and
    /// everything after it, without the checksum.
    pub unknown: Option<Bytes>,
    /// The verified CRC-32C, if there was one.
    pub checksum: Option<u32>,
}

/// A document sequence: a kind-1 section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The name of the command field that it stands for, such as `documents`.
    pub identifier: Identifier,
    /// Whole documents, one after the other.
    pub documents: Bytes,
}

impl Sequence {
    /// The documents one by one.
    #[must_use]
    pub fn iter(&self) -> Documents<'_> {
        documents(&self.documents)
    }
}

impl<'a> IntoIterator for &'a Sequence {
    type Item = <Documents<'a> as Iterator>::Item;
    type IntoIter = Documents<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Text that is a slice of a frame. Reads as a `str`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Identifier(Bytes);

impl Identifier {
    /// Text from bytes, if they are UTF-8.
    #[must_use]
    pub fn new(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).ok()?;
        Some(Self(bytes))
    }

    /// The text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked in `new`, so the default is never reached.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for Identifier {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Identifier {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Identifier {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl OpMsg {
    /// Parses a frame without copying from it.
    ///
    /// # Errors
    /// Whatever is wrong with the message's own structure; see [`MsgError`].
    pub fn parse(frame: &Frame) -> Result<Self, MsgError> {
        let actual = frame.op_code();
        if actual != OP_MSG {
            return Err(MsgError::OpCode {
                expected: OP_MSG,
                actual,
            });
        }
        let mut reader = Reader::new(frame.body());
        let flags = reader.u32().ok_or(MsgError::Truncated("flags"))?;
        let unknown_flags = flags & REQUIRED & !(CHECKSUM_PRESENT | MORE_TO_COME);
        if unknown_flags != 0 {
            return Err(MsgError::RequiredFlags(unknown_flags));
        }
        let mut msg = Self {
            flags,
            ..Self::default()
        };
        let mut sections = reader.rest();
        if flags & CHECKSUM_PRESENT != 0 {
            let (checksum, rest) = verify_checksum(&frame.bytes, sections)?;
            msg.checksum = Some(checksum);
            sections = rest;
        }
        msg.take_sections(frame, sections)?;
        Ok(msg)
    }

    fn take_sections(&mut self, frame: &Frame, sections: &[u8]) -> Result<(), MsgError> {
        let mut reader = Reader::new(sections);
        while !reader.is_empty() {
            let from_kind = reader.rest();
            match reader.u8() {
                Some(KIND_BODY) => {
                    if self.body.is_some() {
                        return Err(MsgError::TwoBodies);
                    }
                    let body = take_document(&mut reader)?;
                    self.body = Some(frame.bytes.slice_ref(body));
                }
                Some(KIND_SEQUENCE) => self.sequences.push(take_sequence(frame, &mut reader)?),
                _ => {
                    self.unknown = Some(frame.bytes.slice_ref(from_kind));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// True if no reply may be sent to this (or if more replies follow it).
    #[inline]
    #[must_use]
    pub fn more_to_come(&self) -> bool {
        self.flags & MORE_TO_COME != 0
    }

    /// True if the client accepts many replies to this.
    #[inline]
    #[must_use]
    pub fn exhaust_allowed(&self) -> bool {
        self.flags & EXHAUST_ALLOWED != 0
    }

    /// The sequence called `identifier`, if there is one.
    #[must_use]
    pub fn sequence(&self, identifier: &str) -> Option<&Sequence> {
        self.sequences.iter().find(|s| s.identifier == identifier)
    }

    /// Writes the message anew: the body first, then sequences in their order,
    /// then what was unknown; with a fresh checksum if the flag asks for one.
    #[must_use]
    pub fn encode(&self, request_id: i32, response_to: i32) -> Bytes {
        build::encode_op_msg(self, request_id, response_to)
    }
}

/// The flag bits of a message that may be broken otherwise; 0 if it ends before them.
#[must_use]
pub fn flags(message: &[u8]) -> u32 {
    let bits = message.get(HEADER_LEN..).and_then(|m| m.first_chunk());
    bits.map_or(0, |bits| u32::from_le_bytes(*bits))
}

/// The checksum at the end of `sections`, verified, and what is before it.
fn verify_checksum<'a>(whole: &[u8], sections: &'a [u8]) -> Result<(u32, &'a [u8]), MsgError> {
    let truncated = MsgError::Truncated("checksum");
    let (rest, checksum) = sections.split_last_chunk().ok_or(truncated.clone())?;
    let (covered, _) = whole.split_last_chunk::<4>().ok_or(truncated)?;
    let claimed = u32::from_le_bytes(*checksum);
    let actual = crc32c::crc32c(covered);
    if claimed == actual {
        Ok((claimed, rest))
    } else {
        Err(MsgError::Checksum { claimed, actual })
    }
}

fn take_sequence(frame: &Frame, reader: &mut Reader<'_>) -> Result<Sequence, MsgError> {
    let claimed = reader.i32().ok_or(MsgError::Section("document sequence"))?;
    let length = usize::try_from(claimed)
        .ok()
        .and_then(|size| size.checked_sub(4))
        .ok_or(MsgError::SequenceSize(claimed))?;
    let section = reader
        .take(length)
        .ok_or(MsgError::Section("document sequence"))?;
    let mut inner = Reader::new(section);
    let name = inner.cstring().ok_or(MsgError::Section("identifier"))?;
    let identifier = Identifier::new(frame.bytes.slice_ref(name))
        .ok_or(MsgError::Utf8("sequence identifier"))?;
    let all = inner.rest();
    for doc in documents(all) {
        doc?;
    }
    Ok(Sequence {
        identifier,
        documents: frame.bytes.slice_ref(all),
    })
}

#[cfg(test)]
mod tests;
