use proptest::prelude::*;

use super::*;
use crate::wire::build::{DocBuf, op_msg};
use crate::wire::golden;

const MAX: usize = 48_000_000;

/// All frames of a stream that arrives in these pieces, and how it ended.
fn collect(pieces: &[&[u8]], max: usize) -> (Vec<Bytes>, Option<FrameError>, Vec<u8>) {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    let mut failed = None;
    for piece in pieces {
        buf.extend_from_slice(piece);
        while failed.is_none() {
            match take_frame(&mut buf, max) {
                Ok(Some(frame)) => frames.push(frame.bytes),
                Ok(None) => break,
                Err(error) => failed = Some(error),
            }
        }
    }
    (frames, failed, buf.to_vec())
}

fn claim(length: i32) -> Vec<u8> {
    let mut message = golden::PING.to_vec();
    message[..4].copy_from_slice(&length.to_le_bytes());
    message
}

#[test]
fn golden_messages_are_cut_out_whole() {
    let stream = golden::ALL.concat();
    let (frames, failed, rest) = collect(&[&stream], MAX);
    assert_eq!(frames, golden::ALL);
    assert_eq!((failed, rest), (None, vec![]));
    let ping = golden::frame(golden::PING);
    assert_eq!(
        ping.header(),
        Header {
            message_length: 51,
            request_id: 7,
            response_to: 0,
            op_code: 2013
        }
    );
    assert_eq!(ping.body(), &golden::PING[16..]);
    assert_eq!((ping.op_code(), ping.request_id()), (2013, 7));
}

#[test]
fn every_single_split_gives_the_same_frames() {
    let stream = golden::ALL.concat();
    for at in 0..=stream.len() {
        let (head, tail) = stream.split_at(at);
        let (frames, failed, rest) = collect(&[head, tail], MAX);
        assert_eq!(frames, golden::ALL, "split at {at}");
        assert_eq!((failed, rest), (None, vec![]));
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_frames() {
    let stream = golden::ALL.concat();
    let pieces: Vec<_> = stream.chunks(1).collect();
    assert_eq!(collect(&pieces, MAX).0, golden::ALL);
}

#[test]
fn a_negative_length_is_refused() {
    for length in [-1, i32::MIN] {
        let mut buf = BytesMut::from(&claim(length)[..]);
        assert_eq!(take_frame(&mut buf, MAX), Err(FrameError::Negative(length)));
    }
}

#[test]
fn a_short_length_is_refused() {
    for length in [0, 1, 15] {
        let mut buf = BytesMut::from(&claim(length)[..]);
        assert_eq!(take_frame(&mut buf, MAX), Err(FrameError::TooShort(length)));
    }
}

#[test]
fn a_length_above_the_limit_is_refused_with_its_first_four_bytes() {
    for length in [48_000_001, i32::MAX] {
        let mut buf = BytesMut::from(&length.to_le_bytes()[..]);
        assert_eq!(
            take_frame(&mut buf, MAX),
            Err(FrameError::TooLong { length, max: MAX })
        );
        assert_eq!(buf.len(), 4);
    }
    let mut buf = BytesMut::from(&48_000_000_i32.to_le_bytes()[..]);
    assert_eq!(take_frame(&mut buf, MAX), Ok(None));
}

#[test]
fn a_header_alone_is_a_frame_with_an_empty_body() {
    let mut buf = BytesMut::from(&claim(16)[..16]);
    let frame = take_frame(&mut buf, MAX).unwrap().unwrap();
    assert!(frame.body().is_empty());
    assert!(buf.is_empty());
}

#[test]
fn memory_follows_what_was_received_not_what_was_claimed() {
    let mut buf = BytesMut::new();
    buf.extend_from_slice(&48_000_000_i32.to_le_bytes());
    assert_eq!(take_frame(&mut buf, MAX), Ok(None));
    assert!(buf.capacity() <= 4 + STEP + 64, "{}", buf.capacity());
    let piece = vec![0; 10_000];
    let mut largest = 0;
    for _ in 0..100 {
        buf.extend_from_slice(&piece);
        assert_eq!(take_frame(&mut buf, MAX), Ok(None));
        assert!(buf.capacity() <= 2 * buf.len() + 2 * STEP);
        largest = largest.max(buf.capacity());
    }
    assert!(largest < 3_000_000, "{largest}");
}

#[test]
fn a_frame_is_cut_without_copying() {
    let mut buf = BytesMut::from(golden::PING);
    let start = buf.as_ptr();
    let frame = take_frame(&mut buf, MAX).unwrap().unwrap();
    assert_eq!(frame.bytes.as_ptr(), start);
}

#[test]
fn bytes_that_are_not_exactly_one_message_make_no_frame() {
    for bytes in [&golden::PING[..50], &golden::PING[..3], &[]] {
        assert!(Frame::from_bytes(Bytes::copy_from_slice(bytes)).is_err());
    }
    let two = [golden::PING, golden::PING].concat();
    assert_eq!(
        Frame::from_bytes(Bytes::from(two)),
        Err(FrameError::Mismatch {
            claimed: 51,
            actual: 102
        })
    );
}

proptest! {
    #[test]
    fn any_split_of_any_stream_gives_the_same_frames(
        bodies in proptest::collection::vec(".{0,300}", 0..8),
        broken in proptest::option::of(any::<i32>()),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for (request_id, text) in (1..).zip(&bodies) {
            let mut doc = DocBuf::new();
            doc.append_str("text", text);
            stream.extend_from_slice(&op_msg(request_id, 0, 0, &doc.finish()));
        }
        if let Some(length) = broken {
            stream.extend_from_slice(&claim(length));
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([stream.len()]) {
            pieces.push(&stream[from..cut]);
            from = cut;
        }
        let whole = collect(&[&stream], 1000);
        prop_assert_eq!(collect(&pieces, 1000), whole);
    }
}
