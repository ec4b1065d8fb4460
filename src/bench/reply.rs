//! Where a reply ends, and whether it's a good one.
//!
//! Two protocols, so that Redis can be measured by the very same generator.

use bson::RawDocument;

/// What a target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MongoDB's, OP_MSG only.
    Mongo,
    /// Redis', RESP2: simple strings, integers, errors and bulk strings.
    Resp,
}

/// Why a reply isn't one.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ReplyError {
    /// The length in a header can't be true.
    #[error("a reply claims {0} bytes")]
    Length(i64),
    /// The reply isn't an OP_MSG.
    #[error("a reply with opcode {0} instead of OP_MSG")]
    OpCode(i32),
    /// It answers another request.
    #[error("a reply to request {got} where {want} was asked")]
    OutOfTurn {
        /// The request that was sent.
        want: i32,
        /// The one that the reply names.
        got: i32,
    },
    /// The server says no.
    #[error("the server answered {0}")]
    Refused(String),
    /// Not the protocol that we expected.
    #[error("a reply that can't be read: {0}")]
    Malformed(&'static str),
}

/// No reply of ours is longer: MongoDB's own limit for a message.
const LONGEST: i64 = 48_000_000;

impl Protocol {
    /// The length of the reply that starts in `bytes`, as soon as it can be known.
    pub fn reply_length(self, bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
        match self {
            Protocol::Mongo => {
                let Some(prefix) = bytes.first_chunk::<4>() else {
                    return Ok(None);
                };
                let length = i64::from(i32::from_le_bytes(*prefix));
                if !(16..=LONGEST).contains(&length) {
                    return Err(ReplyError::Length(length));
                }
                Ok(Some(length as usize))
            }
            Protocol::Resp => resp_length(bytes),
        }
    }

    /// Checks a whole reply. The request is the one that it must answer.
    pub fn judge(self, request: &[u8], reply: &[u8]) -> Result<(), ReplyError> {
        match self {
            Protocol::Mongo => judge_mongo(request, reply),
            Protocol::Resp => match reply.first() {
                Some(b'-') => Err(ReplyError::Refused(
                    String::from_utf8_lossy(reply).trim().to_owned(),
                )),
                Some(b'$') if reply.get(1) == Some(&b'-') => {
                    Err(ReplyError::Refused("no such key".to_owned()))
                }
                _ => Ok(()),
            },
        }
    }
}

fn resp_length(bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
    let Some(line_end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = bytes.get(..line_end).unwrap_or_default();
    match line.split_first() {
        Some((b'+' | b'-' | b':', _)) => Ok(Some(line_end + 2)),
        Some((b'$', digits)) => {
            let length: i64 = std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(ReplyError::Malformed("a bulk string without a length"))?;
            match length {
                -1 => Ok(Some(line_end + 2)),
                0..=LONGEST => Ok(Some(line_end + 2 + length as usize + 2)),
                other => Err(ReplyError::Length(other)),
            }
        }
        _ => Err(ReplyError::Malformed("an unknown RESP type")),
    }
}

fn int32(bytes: &[u8], at: usize) -> Result<i32, ReplyError> {
    let tail = bytes
        .get(at..)
        .ok_or(ReplyError::Malformed("too short for a header"))?;
    let chunk = tail
        .first_chunk::<4>()
        .ok_or(ReplyError::Malformed("too short for a header"))?;
    Ok(i32::from_le_bytes(*chunk))
}

fn judge_mongo(request: &[u8], reply: &[u8]) -> Result<(), ReplyError> {
    let (want, got) = (int32(request, 4)?, int32(reply, 8)?);
    if want != got {
        return Err(ReplyError::OutOfTurn { want, got });
    }
    let document = body(reply)?;
    let mut ok = false;
    for field in document.iter() {
        let (key, value) = field.map_err(|_| ReplyError::Malformed("broken BSON"))?;
        match key.as_str() {
            "ok" => ok = value.as_f64() == Some(1.0) || value.as_i32() == Some(1),
            "writeErrors" | "writeConcernError" => return Err(refusal(document)),
            _ => {}
        }
    }
    if ok { Ok(()) } else { Err(refusal(document)) }
}

/// The body document of an OP_MSG whose first section is the body (all servers answer so).
pub fn body(reply: &[u8]) -> Result<&RawDocument, ReplyError> {
    let op_code = int32(reply, 12)?;
    if op_code != OP_MSG {
        return Err(ReplyError::OpCode(op_code));
    }
    let section = reply.get(HEADER + 4..).unwrap_or_default();
    let Some((0, document)) = section.split_first() else {
        return Err(ReplyError::Malformed("no body section"));
    };
    let length =
        usize::try_from(int32(document, 0)?).map_err(|_| ReplyError::Malformed("broken BSON"))?;
    let bytes = document
        .get(..length)
        .ok_or(ReplyError::Malformed("broken BSON"))?;
    RawDocument::from_bytes(bytes).map_err(|_| ReplyError::Malformed("broken BSON"))
}

fn refusal(document: &RawDocument) -> ReplyError {
    let mut text = format!("{document:?}");
    if let Ok(readable) = bson::Document::try_from(document) {
        text = readable.to_string();
    }
    ReplyError::Refused(text.chars().take(400).collect())
}

/// OP_MSG.
pub const OP_MSG: i32 = 2013;

/// Bytes of a message header.
const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::message;
    use bson::rawdoc;

    fn reply_to(request: i32, document: &bson::RawDocumentBuf) -> Vec<u8> {
        let mut bytes = message(9, document);
        bytes[8..12].copy_from_slice(&request.to_le_bytes());
        bytes
    }

    #[test]
    fn an_ok_reply_to_its_own_request_is_good() {
        let request = message(7, &rawdoc! {"ping": 1});
        let reply = reply_to(7, &rawdoc! {"ok": 1.0});
        assert_eq!(Protocol::Mongo.reply_length(&reply), Ok(Some(reply.len())));
        assert_eq!(Protocol::Mongo.judge(&request, &reply), Ok(()));
    }

    #[test]
    fn errors_write_errors_and_foreign_replies_are_not_good() {
        let request = message(7, &rawdoc! {"ping": 1});
        let refused = reply_to(7, &rawdoc! {"ok": 0.0, "errmsg": "no"});
        assert!(matches!(
            Protocol::Mongo.judge(&request, &refused),
            Err(ReplyError::Refused(_))
        ));
        let partly = reply_to(
            7,
            &rawdoc! {"n": 0, "writeErrors": [{"code": 11000}], "ok": 1.0},
        );
        assert!(matches!(
            Protocol::Mongo.judge(&request, &partly),
            Err(ReplyError::Refused(_))
        ));
        let foreign = reply_to(8, &rawdoc! {"ok": 1.0});
        assert_eq!(
            Protocol::Mongo.judge(&request, &foreign),
            Err(ReplyError::OutOfTurn { want: 7, got: 8 })
        );
    }

    #[test]
    fn an_impossible_length_is_refused() {
        assert_eq!(
            Protocol::Mongo.reply_length(&(-1i32).to_le_bytes()),
            Err(ReplyError::Length(-1))
        );
        assert_eq!(Protocol::Mongo.reply_length(&[1, 0]), Ok(None));
    }

    #[test]
    fn resp_replies_end_where_they_say() {
        assert_eq!(Protocol::Resp.reply_length(b"$5\r\nhel"), Ok(Some(11)));
        assert_eq!(Protocol::Resp.reply_length(b"$5\r"), Ok(None));
        assert_eq!(Protocol::Resp.reply_length(b"+OK\r\n"), Ok(Some(5)));
        assert_eq!(Protocol::Resp.reply_length(b"$-1\r\n"), Ok(Some(5)));
        assert!(Protocol::Resp.judge(b"", b"$-1\r\n").is_err());
        assert!(Protocol::Resp.judge(b"", b"-ERR no\r\n").is_err());
        assert!(Protocol::Resp.reply_length(b"hello\r\n").is_err());
    }
}
