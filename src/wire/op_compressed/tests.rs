use std::io::Write;

use super::*;
use crate::wire::build::{DocBuf, op_msg};
use crate::wire::golden;

const MAX: usize = 48_000_000;

/// An OP_COMPRESSED with these fields.
fn compressed(op_code: i32, size: i32, compressor: u8, data: &[u8]) -> Frame {
    let header = Header {
        message_length: i32::try_from(25 + data.len()).unwrap(),
        request_id: 7,
        response_to: 3,
        op_code: OP_COMPRESSED,
    };
    let mut out = header.encode().to_vec();
    out.put_i32_le(op_code);
    out.put_i32_le(size);
    out.put_u8(compressor);
    out.extend_from_slice(data);
    Frame::from_bytes(Bytes::from(out)).unwrap()
}

/// What each real compressor makes of `inner`.
fn data(compressor: Compressor, inner: &[u8]) -> Vec<u8> {
    match compressor {
        Compressor::Noop => inner.to_vec(),
        Compressor::Snappy => snap::raw::Encoder::new().compress_vec(inner).unwrap(),
        Compressor::Zlib => deflate(inner, 9).unwrap(),
        Compressor::Zstd => zstd::bulk::compress(inner, 3).unwrap(),
    }
}

fn size(length: usize) -> i32 {
    i32::try_from(length).unwrap()
}

#[test]
fn golden_messages_inflate_to_the_ping() {
    for message in [golden::NOOP, golden::SNAPPY, golden::ZLIB, golden::ZSTD] {
        let frame = decompress(&golden::frame(message), MAX).unwrap();
        assert_eq!(frame.bytes, golden::PING);
    }
}

#[test]
fn what_is_compressed_inflates_to_the_same() {
    let mut doc = DocBuf::new();
    doc.append_str("text", &"round and round ".repeat(20_000));
    let frame = Frame::from_bytes(op_msg(5, 6, 0, &doc.finish())).unwrap();
    for compressor in Compressor::ALL {
        for level in [DEFAULT_LEVEL, 0, 1, 9, 99] {
            let Some(small) = compress(&frame, compressor, level) else {
                // Level 0 of zlib stores.
                assert_eq!((compressor, level), (Compressor::Zlib, 0));
                continue;
            };
            assert_eq!(small.op_code(), OP_COMPRESSED);
            assert_eq!(small.request_id(), 5);
            assert_eq!(Frame::from_bytes(small.bytes.clone()).unwrap(), small);
            assert!(compressor == Compressor::Noop || small.len() < frame.len() / 4);
            assert_eq!(decompress(&small, MAX).unwrap(), frame);
            assert_eq!(compress(&small, compressor, level), None);
        }
    }
}

#[test]
fn a_message_that_would_not_shrink_is_left_alone() {
    let ping = golden::frame(golden::PING);
    assert_eq!(compress(&ping, Compressor::Snappy, DEFAULT_LEVEL), None);
    assert_eq!(compress(&ping, Compressor::Zstd, DEFAULT_LEVEL), None);
    assert!(compress(&ping, Compressor::Noop, DEFAULT_LEVEL).is_some());
}

#[test]
fn data_that_inflate_to_more_than_claimed_are_refused() {
    let inner = vec![b'a'; 5_000_000];
    for compressor in Compressor::ALL {
        let bomb = data(compressor, &inner);
        for claimed in [0, 1, 1000, inner.len() - 1, inner.len() + 1] {
            let frame = compressed(2013, size(claimed), compressor.id(), &bomb);
            let error = decompress(&frame, MAX).unwrap_err();
            assert!(
                matches!(error, CompressedError::Size { .. }),
                "{compressor:?} {claimed}: {error}"
            );
        }
        let right = compressed(2013, size(inner.len()), compressor.id(), &bomb);
        let frame = decompress(&right, MAX).unwrap();
        assert_eq!(frame.body(), inner);
        assert_eq!(frame.header().response_to, 3);
    }
}

#[test]
fn a_claim_above_the_limit_is_refused_before_inflating() {
    for compressor in Compressor::ALL {
        for (claimed, max) in [(i32::MAX, MAX), (1000, 1015), (1000, 0), (0, 15)] {
            let frame = compressed(2013, claimed, compressor.id(), b"");
            assert_eq!(
                decompress(&frame, max),
                Err(CompressedError::TooLong { size: claimed, max })
            );
        }
        let frame = compressed(2013, -1, compressor.id(), b"");
        assert_eq!(decompress(&frame, MAX), Err(CompressedError::Negative(-1)));
        let inner = vec![0; 1000];
        let frame = compressed(2013, 1000, compressor.id(), &data(compressor, &inner));
        assert!(decompress(&frame, 1016).is_ok());
    }
}

#[test]
fn a_bomb_takes_no_more_memory_than_was_claimed() {
    let inner = vec![0; 20_000_000];
    for compressor in [Compressor::Snappy, Compressor::Zlib, Compressor::Zstd] {
        let bomb = data(compressor, &inner);
        let mut out = Output::open(Header::default(), 1000);
        let result = match compressor {
            Compressor::Snappy => out.snappy(&bomb),
            Compressor::Zlib => out.zlib(&bomb),
            _ => out.zstd(&bomb),
        };
        assert_eq!(result, Err(CompressedError::Size { claimed: 1000 }));
        assert!(out.buf.capacity() < 3000, "{compressor:?}");
    }
}

#[test]
fn a_huge_claim_with_little_data_allocates_little() {
    let claimed = 47_000_000;
    let inner = vec![b'x'; 100_000];
    for compressor in [Compressor::Snappy, Compressor::Zlib, Compressor::Zstd] {
        let little = data(compressor, &inner);
        let mut out = Output::open(Header::default(), claimed);
        let result = match compressor {
            Compressor::Snappy => out.snappy(&little),
            Compressor::Zlib => out.zlib(&little),
            _ => out.zstd(&little),
        };
        assert!(result.is_err() || out.buf.len() < claimed);
        assert!(out.buf.capacity() < 500_000, "{compressor:?}");
        assert!(out.close().is_err());
    }
}

#[test]
fn a_snappy_prefix_beyond_what_its_data_can_make_allocates_nothing() {
    // The varint for 47,000,000, then a literal of one byte.
    let lie = [0xc0, 0xd3, 0xb4, 0x16, 0, b'a'];
    assert_eq!(snap::raw::decompress_len(&lie), Ok(47_000_000));
    let mut out = Output::open(Header::default(), 47_000_000);
    assert!(out.snappy(&lie).is_err());
    assert!(out.buf.capacity() < 100_000);
    // The densest snappy there is stays below the ratio that is allowed.
    let dense = data(Compressor::Snappy, &vec![0; 1 << 20]);
    assert!((1 << 20) < dense.len() * SNAPPY_MAX_RATIO);
}

#[test]
fn broken_data_are_refused_wherever_they_are_cut() {
    let inner: Vec<u8> = (0..3000_u32).flat_map(u32::to_le_bytes).collect();
    for compressor in Compressor::ALL {
        let whole = data(compressor, &inner);
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            let frame = compressed(2013, size(inner.len()), compressor.id(), &whole[..length]);
            assert!(decompress(&frame, MAX).is_err(), "{compressor:?} {length}");
        }
    }
}

#[test]
fn a_zlib_checksum_is_verified() {
    let mut data = data(Compressor::Zlib, b"some text, some text");
    *data.last_mut().unwrap() ^= 1;
    assert_eq!(
        decompress(&compressed(2013, 20, 2, &data), MAX),
        Err(CompressedError::Corrupt("zlib"))
    );
}

#[test]
fn zstd_without_a_content_size_inflates() {
    let inner = b"streamed ".repeat(30_000);
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(&inner).unwrap();
    let data = encoder.finish().unwrap();
    let frame = compressed(2013, size(inner.len()), 3, &data);
    assert_eq!(decompress(&frame, MAX).unwrap().body(), inner);
}

#[test]
fn a_zstd_window_that_the_claim_cannot_need_is_refused() {
    // A frame header that asks for a window of 128 MiB and has one raw block.
    let data = [0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 0x09, 0, 0, b'a'];
    assert_eq!(
        decompress(&compressed(2013, 1, 3, &data), MAX),
        Err(CompressedError::Corrupt("zstd"))
    );
    let data = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 0x09, 0, 0, b'a'];
    let frame = decompress(&compressed(2013, 1, 3, &data), MAX).unwrap();
    assert_eq!(frame.body(), b"a");
}

#[test]
fn nesting_and_unknown_compressors_are_refused() {
    assert_eq!(
        decompress(&compressed(OP_COMPRESSED, 1, 0, b"a"), MAX),
        Err(CompressedError::Nested)
    );
    assert_eq!(
        decompress(&compressed(2013, 1, 4, b"a"), MAX),
        Err(CompressedError::Compressor(4))
    );
    assert_eq!(
        decompress(&golden::frame(golden::PING), MAX),
        Err(CompressedError::OpCode(2013))
    );
    for length in 0..FIXED_LEN {
        let mut bytes = golden::NOOP[..16 + length].to_vec();
        bytes[0] = u8::try_from(bytes.len()).unwrap();
        let frame = Frame::from_bytes(Bytes::from(bytes)).unwrap();
        assert_eq!(decompress(&frame, MAX), Err(CompressedError::Truncated));
    }
}

#[test]
fn ids_and_names_go_both_ways() {
    for (id, compressor) in (0..).zip(Compressor::ALL) {
        assert_eq!(compressor.id(), id);
        assert_eq!(Compressor::from_id(id), Some(compressor));
        assert_eq!(Compressor::from_name(compressor.name()), Some(compressor));
    }
    assert_eq!(Compressor::from_id(4), None);
    assert_eq!(Compressor::from_name("brotli"), None);
}
