//! Bombs and broken streams in OP_COMPRESSED.

use super::{CLOSED, assert_grew_little, fate, ping, proxy};
use crate::parts::proxy::Proxy;
use crate::raw::{
    Compressor, HEADER_LEN, OP_COMPRESSED, OP_MSG, compressed_envelope, message, op_compressed,
};

#[tokio::test(flavor = "multi_thread")]
async fn decompression_bombs_do_not_go_off() {
    let (proxy, bystander) = proxy(&[]).await;
    let idle = proxy.rss();
    let zeros = vec![0; BOMB];
    let by = [Compressor::Snappy, Compressor::Zlib, Compressor::Zstd];
    let bombs = by.map(|by| op_compressed(&message(1, OP_MSG, &zeros), by));
    drop(zeros);
    let mut after = Vec::new();
    for _round in 0..3 {
        for (by, bomb) in by.into_iter().zip(&bombs) {
            let data = &bomb[HEADER_LEN + 9..];
            for claim in [-1, 0, 5, 1000, 40_000_000, 47_999_000, 48_000_001, i32::MAX] {
                let sent = compressed_envelope(1, OP_MSG, claim, by as u8, data);
                let answer = fate(&proxy, &sent).await;
                assert_eq!(answer, CLOSED, "{by:?}, claimed {claim}");
            }
        }
        after.push(proxy.rss());
    }
    // A message may lawfully inflate to `max_message_size`, and what the
    // allocator keeps of that is used again: the first round may cost that
    // much, the others nothing, and none what the bomb holds.
    let peak = peak_rss(&proxy).saturating_sub(idle);
    assert!(peak < (BOMB / 2) as u64, "a peak of {} KiB", peak >> 10);
    assert_grew_little(&proxy, after[0]);
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_compression_closes_the_connection() {
    let (proxy, bystander) = proxy(&[]).await;
    let content = &ping(1)[HEADER_LEN..];
    let size = content.len() as i32;
    let mut cases = vec![
        compressed_envelope(1, OP_MSG, size, 9, content),
        compressed_envelope(1, OP_MSG, size + 1, 0, content),
        compressed_envelope(1, OP_MSG, size - 1, 0, content),
        compressed_envelope(1, OP_COMPRESSED, size, 0, content),
        op_compressed(
            &op_compressed(&ping(1), Compressor::Snappy),
            Compressor::Snappy,
        ),
    ];
    for by in [Compressor::Snappy, Compressor::Zlib, Compressor::Zstd] {
        cases.push(compressed_envelope(
            1,
            OP_MSG,
            size,
            by as u8,
            b"no such stream",
        ));
        cases.push(compressed_envelope(1, OP_MSG, size, by as u8, b""));
        let mut cut = op_compressed(&ping(1), by)[HEADER_LEN + 9..].to_vec();
        cut.truncate(cut.len() / 2);
        cases.push(compressed_envelope(1, OP_MSG, size, by as u8, &cut));
    }
    for (number, case) in cases.into_iter().enumerate() {
        let answer = fate(&proxy, &[case, ping(2)].concat()).await;
        assert_eq!(answer, CLOSED, "case {number}");
    }
    bystander.was_undisturbed(&proxy).await;
}

/// The largest resident set size so far, bytes.
fn peak_rss(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}

/// What a bomb inflates to.
const BOMB: usize = 256 << 20;
