use super::*;
use crate::wire::DocError;
use crate::wire::build::{self, DocBuf};
use crate::wire::golden;
use crate::wire::header::{Header, patch_ids};

fn doc(key: &str) -> Vec<u8> {
    let mut doc = DocBuf::new();
    doc.append_i32(key, 1);
    doc.finish()
}

/// A message with these raw sections.
fn message(flags: u32, sections: &[&[u8]]) -> Frame {
    let body = sections.concat();
    let header = Header {
        message_length: i32::try_from(20 + body.len()).unwrap(),
        op_code: OP_MSG,
        ..Header::default()
    };
    let mut out = header.encode().to_vec();
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&body);
    Frame::from_bytes(Bytes::from(out)).unwrap()
}

fn body(doc: &[u8]) -> Vec<u8> {
    [&[KIND_BODY], doc].concat()
}

fn sequence_of_size(size: i32, name: &[u8], docs: &[u8]) -> Vec<u8> {
    [&[KIND_SEQUENCE][..], &size.to_le_bytes(), name, b"\0", docs].concat()
}

fn sequence(name: &[u8], docs: &[u8]) -> Vec<u8> {
    let size = i32::try_from(5 + name.len() + docs.len()).unwrap();
    sequence_of_size(size, name, docs)
}

#[test]
fn a_body_is_a_slice_of_its_frame() {
    let frame = golden::frame(golden::PING);
    let msg = OpMsg::parse(&frame).unwrap();
    assert_eq!(msg.flags, 0);
    let body = msg.body.unwrap();
    assert_eq!(body, golden::PING[21..]);
    assert_eq!(body.as_ptr(), frame.bytes[21..].as_ptr());
    assert!(msg.sequences.is_empty() && msg.unknown.is_none() && msg.checksum.is_none());
}

#[test]
fn sections_are_accepted_in_any_order() {
    let after = OpMsg::parse(&golden::frame(golden::INSERT)).unwrap();
    let before = OpMsg::parse(&golden::frame(golden::INSERT_SEQUENCE_FIRST)).unwrap();
    assert!(after.more_to_come() && !before.more_to_come());
    assert_eq!(after.body, before.body);
    assert_eq!(after.sequences, before.sequences);
    let documents = after.sequence("documents").unwrap();
    assert_eq!(documents.identifier, "documents");
    let ids: Vec<_> = documents
        .iter()
        .map(|doc| crate::wire::doc::find(doc.unwrap(), "_id")?.as_i32())
        .collect();
    assert_eq!(ids, [Some(1), Some(2)]);
}

#[test]
fn every_order_of_three_sections_means_the_same() {
    let parts = [
        body(&doc("update")),
        sequence(b"updates", &doc("q")),
        sequence(b"more", &[doc("x"), doc("y")].concat()),
    ];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let sections = order.map(|i: usize| &parts[i][..]);
        let msg = OpMsg::parse(&message(0, &sections)).unwrap();
        assert_eq!(msg.body.as_deref(), Some(&doc("update")[..]));
        assert_eq!(msg.sequence("updates").unwrap().iter().count(), 1);
        assert_eq!(msg.sequence("more").unwrap().iter().count(), 2);
        assert!(msg.sequence("absent").is_none());
    }
}

#[test]
fn an_unknown_section_is_kept_raw_with_what_follows() {
    let rest = [&[2_u8][..], b"anything", &body(&doc("b"))].concat();
    let msg = OpMsg::parse(&message(0, &[&body(&doc("a")), &rest])).unwrap();
    assert_eq!(msg.body.as_deref(), Some(&doc("a")[..]));
    assert_eq!(msg.unknown.as_deref(), Some(&rest[..]));
}

#[test]
fn a_right_checksum_is_verified_and_is_no_section() {
    let msg = OpMsg::parse(&golden::frame(golden::PING_CHECKSUM)).unwrap();
    assert_eq!(msg.checksum, Some(0x0fb5_1b0b));
    assert_eq!(msg.body.as_deref(), Some(&golden::PING[21..]));
    assert!(msg.unknown.is_none());
}

#[test]
fn any_flipped_bit_breaks_the_checksum() {
    // Past the length and code: other errors come first there.
    for at in (4..12).chain(21..golden::PING_CHECKSUM.len()) {
        for bit in 0..8 {
            let mut bytes = golden::PING_CHECKSUM.to_vec();
            bytes[at] ^= 1 << bit;
            let frame = Frame::from_bytes(Bytes::from(bytes)).unwrap();
            let error = OpMsg::parse(&frame).unwrap_err();
            assert!(
                matches!(error, MsgError::Checksum { .. }),
                "{at}.{bit}: {error}"
            );
        }
    }
}

#[test]
fn a_message_without_room_for_its_checksum_is_refused() {
    for length in 0..4 {
        let frame = message(CHECKSUM_PRESENT, &[&vec![0; length]]);
        assert_eq!(OpMsg::parse(&frame), Err(MsgError::Truncated("checksum")));
    }
}

#[test]
fn unknown_required_flags_are_refused_and_optional_ones_pass() {
    for bit in 0..32 {
        let flags = 1 << bit;
        let frame = message(flags, &[&body(&doc("a"))]);
        let parsed = OpMsg::parse(&frame);
        match bit {
            0 => assert!(matches!(parsed, Err(MsgError::Checksum { .. }))),
            2..=15 => assert_eq!(parsed, Err(MsgError::RequiredFlags(flags))),
            _ => assert_eq!(parsed.unwrap().flags, flags),
        }
    }
    let msg = OpMsg::parse(&message(EXHAUST_ALLOWED, &[])).unwrap();
    assert!(msg.exhaust_allowed());
}

#[test]
fn two_bodies_are_refused() {
    let one = body(&doc("a"));
    let frame = message(0, &[&one, &sequence(b"s", b""), &one]);
    assert_eq!(OpMsg::parse(&frame), Err(MsgError::TwoBodies));
}

#[test]
fn a_message_without_a_body_is_for_mongod_to_judge() {
    assert_eq!(OpMsg::parse(&message(0, &[])).unwrap().body, None);
    let twice = sequence(b"s", &doc("a"));
    let msg = OpMsg::parse(&message(0, &[&twice, &twice])).unwrap();
    assert_eq!(msg.sequences.len(), 2);
}

#[test]
fn a_sequence_covers_whole_documents() {
    let docs = [doc("a"), doc("b")].concat();
    let right = i32::try_from(5 + 1 + docs.len()).unwrap();
    let tail = body(&doc("c"));
    let parse = |size| {
        let section = sequence_of_size(size, b"s", &docs);
        OpMsg::parse(&message(0, &[&section, &tail]))
    };
    assert!(parse(right).is_ok());
    for size in [right - 1, right + 1, right + 4] {
        assert_eq!(parse(size), Err(DocError::Truncated.into()), "{size}");
    }
    for size in [i32::MIN, -1, 0, 3] {
        assert_eq!(parse(size), Err(MsgError::SequenceSize(size)));
    }
    assert_eq!(parse(4), Err(MsgError::Section("identifier")));
    for size in [right + 100, i32::MAX] {
        assert_eq!(parse(size), Err(MsgError::Section("document sequence")));
    }
}

#[test]
fn broken_documents_are_refused() {
    let refused = |section: &[u8], error: MsgError| {
        assert_eq!(OpMsg::parse(&message(0, &[section])), Err(error));
    };
    refused(&[KIND_BODY], DocError::Truncated.into());
    refused(&body(&[4, 0, 0, 0]), DocError::Length(4).into());
    refused(&body(&[255; 5]), DocError::Length(-1).into());
    refused(&body(&[5, 0, 0, 0, 1]), DocError::Terminator.into());
    refused(&body(&[6, 0, 0, 0, 0]), DocError::Truncated.into());
    let mut unterminated = doc("a");
    *unterminated.last_mut().unwrap() = 1;
    refused(&sequence(b"s", &unterminated), DocError::Terminator.into());
    refused(
        &sequence(b"\xff", &doc("a")),
        MsgError::Utf8("sequence identifier"),
    );
}

#[test]
fn another_operation_code_is_refused() {
    assert_eq!(
        OpMsg::parse(&golden::frame(golden::HELLO)),
        Err(MsgError::OpCode {
            expected: 2013,
            actual: 2004
        })
    );
    let empty = Frame::from_bytes(Bytes::from_static(
        b"\x12\0\0\0\0\0\0\0\0\0\0\0\xdd\x07\0\0\0\0",
    ));
    assert_eq!(
        OpMsg::parse(&empty.unwrap()),
        Err(MsgError::Truncated("flags"))
    );
}

#[test]
fn golden_messages_are_written_byte_by_byte() {
    let ping = &golden::PING[21..];
    assert_eq!(build::op_msg(7, 0, 0, ping), golden::PING);
    assert_eq!(
        build::op_msg(7, 0, CHECKSUM_PRESENT, ping),
        golden::PING_CHECKSUM
    );
    let insert = OpMsg::parse(&golden::frame(golden::INSERT)).unwrap();
    assert_eq!(insert.encode(8, 0), golden::INSERT);
    assert_eq!(
        build::op_msg_with_sequences(
            8,
            0,
            MORE_TO_COME,
            &insert.body.unwrap(),
            &[("documents", &insert.sequences[0].documents)],
        ),
        golden::INSERT
    );
}

#[test]
fn unknown_sections_survive_being_written_anew() {
    let frame = message(1 << 20, &[&body(&doc("a")), b"\x09whatever"]);
    let msg = OpMsg::parse(&frame).unwrap();
    assert_eq!(msg.encode(0, 0), frame.bytes);
}

#[test]
fn patched_ids_keep_the_rest_and_the_checksum_right() {
    for golden in [golden::PING, golden::PING_CHECKSUM, golden::INSERT] {
        let mut bytes = golden.to_vec();
        assert!(patch_ids(&mut bytes, -3, 12));
        let frame = Frame::from_bytes(Bytes::from(bytes)).unwrap();
        assert_eq!(frame.header().request_id, -3);
        assert_eq!(frame.header().response_to, 12);
        let before = OpMsg::parse(&golden::frame(golden)).unwrap();
        let after = OpMsg::parse(&frame).unwrap();
        assert_eq!(after.body, before.body);
        assert_eq!(after.checksum.is_some(), before.checksum.is_some());
    }
}
