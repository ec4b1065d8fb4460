//! Properties that must hold for any bytes at all.
//!
//! Each function takes arbitrary data and panics if a property is broken. The
//! targets in `fuzz/` call them with a coverage-guided fuzzer; the tests here
//! call them with some ten thousand mutations of golden messages, so that every
//! test run has a short smoke of each. Not part of the interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

use bytes::{Bytes, BytesMut};

use super::build::{self, DocBuf};
use super::doc::{self, Elements, MIN_LEN};
use super::error::{DocError, FrameError};
use super::frame::{Frame, take_frame};
use super::header::{HEADER_LEN, Header};
use super::op_code::{OP_COMPRESSED, OP_MSG, OP_QUERY, OP_REPLY};
use super::op_compressed::{Compressor, DEFAULT_LEVEL, compress, decompress};
use super::op_msg::{CHECKSUM_PRESENT, OpMsg};
use super::op_query::OpQuery;
use super::op_reply::OpReply;

/// The largest message in these properties.
const MAX_LEN: usize = 1 << 20;

/// A stream gives the same frames however it is split, its frames are its own
/// bytes in order, and the buffer stays near what was received.
///
/// The first two bytes choose the split, the rest is the stream.
pub fn frames(data: &[u8]) {
    let Some((choice, stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    let whole = collect(stream, &[usize::MAX]);
    let split = [usize::from(choice[0]) + 1, usize::from(choice[1] % 16) + 1];
    assert_eq!(collect(stream, &split), whole);
    assert_eq!(collect(stream, &[1]), whole);
    let (frames, _, rest) = whole;
    let again = frames.iter().map(|frame| &frame[..]).chain([&rest[..]]);
    assert_eq!(again.collect::<Vec<_>>().concat(), stream);
    for frame in frames {
        let frame = Frame::from_bytes(frame).expect("a frame is one message");
        let _ = OpMsg::parse(&frame);
        let _ = OpQuery::parse(&frame);
        let _ = OpReply::parse(&frame);
        let _ = decompress(&frame, MAX_LEN);
    }
}

/// What a stream that comes in pieces of these sizes (again and again) is cut
/// into, the error that ended it, and what is left.
fn collect(stream: &[u8], sizes: &[usize]) -> (Vec<Bytes>, Option<FrameError>, Vec<u8>) {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    let mut failed = None;
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((*size).min(rest.len()));
        rest = tail;
        buf.extend_from_slice(piece);
        while failed.is_none() {
            match take_frame(&mut buf, MAX_LEN) {
                Ok(Some(frame)) => frames.push(frame.bytes),
                Ok(None) => break,
                Err(error) => failed = Some(error),
            }
        }
        assert!(buf.capacity() <= 2 * stream.len() + 2 * 64 * 1024);
    }
    (frames, failed, buf.to_vec())
}

/// A parsed OP_MSG consists of slices of its frame that cover all of it, and
/// is the same after being written and parsed again.
///
/// `data` is the message after its header. A checksum that it says it has is
/// made right, or else nothing behind it would be reached.
pub fn op_msg(data: &[u8]) {
    let _ = OpMsg::parse(&frame_of(OP_MSG, data));
    let mut fixed = frame_of(OP_MSG, data).bytes.to_vec();
    assert!(super::patch_ids(&mut fixed, 1, 2));
    let frame = Frame::from_bytes(Bytes::from(fixed)).expect("one message");
    let Ok(msg) = OpMsg::parse(&frame) else {
        return;
    };
    let checksum = msg.flags & CHECKSUM_PRESENT != 0;
    assert_eq!(checksum, msg.checksum.is_some());
    let mut covered = 4 + if checksum { 4 } else { 0 };
    covered += msg.body.as_ref().map_or(0, |body| 1 + body.len());
    covered += msg.unknown.as_ref().map_or(0, Bytes::len);
    for sequence in &msg.sequences {
        covered += 6 + sequence.identifier.len() + sequence.documents.len();
        let lengths: usize = sequence.iter().map(|doc| doc.unwrap().len()).sum();
        assert_eq!(lengths, sequence.documents.len());
    }
    assert_eq!(covered, frame.body().len());
    if let Some(body) = &msg.body {
        assert!(body.len() >= MIN_LEN && body.last() == Some(&0));
        let _ = doc::check_deep(body, 100);
    }

    let written = Frame::from_bytes(msg.encode(1, 2)).expect("one message");
    assert_eq!(written.len(), frame.len());
    let mut again = OpMsg::parse(&written).expect("what was written is right");
    again.checksum = msg.checksum;
    assert_eq!(again, msg);
}

/// OP_QUERY and OP_REPLY: what was parsed is written the same.
///
/// `data` is the message after its header.
pub fn op_query(data: &[u8]) {
    if let Ok(query) = OpQuery::parse(&frame_of(OP_QUERY, data)) {
        let name = query.full_collection_name.as_str();
        assert!(name.starts_with(query.database()));
        let written = build::op_query(0, query.flags, name, &query.query);
        let again = OpQuery::parse(&Frame::from_bytes(written).unwrap()).unwrap();
        assert_eq!(again.full_collection_name, query.full_collection_name);
        assert_eq!((again.flags, &again.query), (query.flags, &query.query));
        let extra = query.return_fields.as_ref().map_or(0, Bytes::len);
        assert_eq!(13 + name.len() + query.query.len() + extra, data.len());
    }
    if let Ok(reply) = OpReply::parse(&frame_of(OP_REPLY, data)) {
        assert_eq!(20 + reply.documents.len(), data.len());
        let written = build::op_reply(0, 0, reply.flags, &reply.documents);
        let again = OpReply::parse(&Frame::from_bytes(written).unwrap()).unwrap();
        assert_eq!(again.documents, reply.documents);
        assert_eq!(again.number_returned, reply.number_returned);
        assert_eq!(reply.iter().count(), reply.number_returned as usize);
    }
}

/// What inflates is exactly what was claimed and within the limit, and what is
/// compressed inflates to the same.
///
/// `data` is an OP_COMPRESSED after its header, and then any message.
pub fn op_compressed(data: &[u8]) {
    for max_len in [100, MAX_LEN] {
        let frame = frame_of(OP_COMPRESSED, data);
        if let Ok(inner) = decompress(&frame, max_len) {
            let claimed = i32::from_le_bytes(*data[4..].first_chunk().unwrap());
            assert_eq!(inner.len(), HEADER_LEN + claimed as usize);
            assert!(inner.len() <= max_len);
            assert_ne!(inner.op_code(), OP_COMPRESSED);
            assert_eq!(Frame::from_bytes(inner.bytes.clone()).unwrap(), inner);
            let _ = OpMsg::parse(&inner);
        }
    }
    let plain = frame_of(OP_MSG, data);
    for compressor in Compressor::ALL {
        if let Some(small) = compress(&plain, compressor, DEFAULT_LEVEL) {
            assert!(small.len() < plain.len() || compressor == Compressor::Noop);
            assert_eq!(decompress(&small, plain.len()).unwrap(), plain);
            assert!(decompress(&small, plain.len() - 1).is_err());
        }
    }
}

/// Elements lie one after the other and make their document again; checks,
/// searches and reads agree with the walk; and what another BSON library reads
/// is walked without an error.
pub fn doc(data: &[u8]) {
    walk(data);
    // Most data have no right length; give them one.
    let mut framed = DocBuf::new();
    framed.append_raw(data);
    walk(&framed.finish());
    let mut covered = 0;
    for item in doc::documents(data) {
        covered += item.map_or(0, <[u8]>::len);
    }
    assert!(covered <= data.len());
}

fn walk(data: &[u8]) {
    let mut again = DocBuf::new();
    let mut failed = None;
    let mut elements: Elements<'_> = doc::elements(data);
    for item in elements.by_ref() {
        assert_eq!(failed, None, "nothing comes after an error");
        match item {
            Ok(element) => {
                let head = element.raw.len() - element.value.len();
                assert_eq!(head, element.key.len() + 2);
                assert_eq!(element.raw[0], element.kind);
                assert_eq!(&element.raw[head..], element.value);
                let found = doc::find(data, element.key).expect("it is there");
                assert!(found.raw.as_ptr() <= element.raw.as_ptr());
                read(&element);
                again.append_raw(element.raw);
            }
            Err(error) => failed = Some(error),
        }
    }
    assert!(elements.next().is_none());
    assert_eq!(doc::check(data).err(), failed);
    let deep = doc::check_deep(data, 64);
    if failed.is_none() {
        assert_eq!(again.finish(), data);
    } else {
        assert!(deep.is_err());
    }
    // The other library is asked second, and only where depth is bounded.
    if !matches!(deep, Err(DocError::Depth(_))) && bson::Document::from_reader(data).is_ok() {
        let length = data.first_chunk().map(|b| i32::from_le_bytes(*b));
        if length.is_some_and(|length| length as usize == data.len()) {
            assert_eq!(deep, Ok(()), "another library reads {data:02x?}");
        }
    }
}

/// Reads a value as everything; only its own type may answer.
fn read(element: &doc::Element<'_>) {
    let answers = [
        element.as_str().is_some(),
        element.as_f64().is_some(),
        element.as_bool().is_some(),
        element.as_document().is_some(),
        element.as_array().is_some(),
        element.as_timestamp().is_some(),
        element.as_date().is_some(),
        element.as_object_id().is_some(),
        element.as_binary().is_some(),
        element.is_null(),
    ];
    assert!(answers.into_iter().filter(|answer| *answer).count() <= 1);
    assert!(element.as_i64().is_none() || element.as_f64().is_some());
    assert!(element.as_i32().is_none() || element.as_i64().is_some());
    let _ = element.is_truthy();
}

fn frame_of(op_code: i32, body: &[u8]) -> Frame {
    let header = Header {
        message_length: i32::try_from(HEADER_LEN + body.len()).expect("small"),
        request_id: 1,
        response_to: 2,
        op_code,
    };
    let bytes = [&header.encode()[..], body].concat();
    Frame::from_bytes(Bytes::from(bytes)).expect("one message")
}

#[cfg(test)]
mod tests;
