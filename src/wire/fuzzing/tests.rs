//! A short smoke of every property: the golden messages, mutated.

use super::*;
use crate::wire::golden;

const CASES: u64 = 20_000;

/// SplitMix64: the same cases in every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(data.len());
    let length = rng.below(data.len() - at).min(32);
    match rng.below(8) {
        0 if !data.is_empty() => data[at] ^= 1 << rng.below(8),
        1 if !data.is_empty() => data[at] = rng.next() as u8,
        2 => data.insert(at, [0, 1, 2, 3, 0x10, 0x7f, 0xff][rng.below(7)]),
        3 => drop(data.drain(at..at + length)),
        4 => {
            let copy = data[at..at + length].to_vec();
            let to = rng.below(data.len());
            data.splice(to..to, copy);
        }
        5 => data.truncate(at),
        6 => {
            if let Some(to) = data.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
                let old = i32::from_le_bytes(*to);
                let new = match rng.below(6) {
                    0 => i32::MIN,
                    1 => -1,
                    2 => 0,
                    3 => i32::MAX,
                    4 => old.wrapping_add(1),
                    _ => old.wrapping_sub(1),
                };
                *to = new.to_le_bytes();
            }
        }
        _ => {
            let other = &seeds[rng.below(seeds.len())];
            data.truncate(at);
            data.extend_from_slice(&other[rng.below(other.len())..]);
        }
    }
}

fn smoke(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    for seed in seeds {
        target(seed);
    }
    let mut rng = Rng(42);
    for _ in 0..CASES {
        let mut data = seeds[rng.below(seeds.len())].clone();
        for _ in 0..=rng.below(4) {
            mutate(&mut data, seeds, &mut rng);
        }
        target(&data);
    }
}

/// What follows the header, for the messages with this operation code.
fn bodies(op_codes: &[i32]) -> Vec<Vec<u8>> {
    golden::ALL
        .into_iter()
        .map(golden::frame)
        .filter(|frame| op_codes.contains(&frame.op_code()))
        .map(|frame| frame.body().to_vec())
        .collect()
}

fn stream_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = golden::ALL
        .into_iter()
        .map(|message| [&[40, 7], message, message].concat())
        .collect();
    seeds.push([&[200, 3], &golden::ALL.concat()[..]].concat());
    seeds
}

fn compressed_seeds() -> Vec<Vec<u8>> {
    let text = "round and round ".repeat(40);
    let long = frame_of(OP_MSG, text.as_bytes());
    let mut seeds = bodies(&[OP_COMPRESSED]);
    for compressor in Compressor::ALL {
        let frame = compress(&long, compressor, DEFAULT_LEVEL).unwrap();
        seeds.push(frame.body().to_vec());
    }
    seeds
}

fn doc_seeds() -> Vec<Vec<u8>> {
    let every = bson::doc! {
        "double": 1.5,
        "string": "text",
        "doc": { "a": { "b": { "c": [1, [2, [{}]]] } } },
        "binary": bson::Binary {
            subtype: bson::spec::BinarySubtype::Uuid,
            bytes: vec![9; 16],
        },
        "oid": bson::oid::ObjectId::from_bytes([1; 12]),
        "bool": true,
        "date": bson::DateTime::from_millis(1),
        "null": null,
        "regex": bson::Bson::RegularExpression(bson::Regex {
            pattern: "^a".try_into().unwrap(),
            options: "i".try_into().unwrap(),
        }),
        "code": bson::JavaScriptCodeWithScope { code: "f".into(), scope: bson::doc! { "x": 1 } },
        "ts": bson::Timestamp { time: 1, increment: 2 },
        "long": 1_i64,
        "decimal": "1.5".parse::<bson::Decimal128>().unwrap(),
        "min": bson::Bson::MinKey,
        "max": bson::Bson::MaxKey,
    };
    let mut seeds = vec![every.to_vec().unwrap(), vec![5, 0, 0, 0, 0]];
    for (key, value) in every {
        seeds.push(bson::doc! { key: value }.to_vec().unwrap());
    }
    seeds
}

#[test]
fn frames_hold_for_mutated_messages() {
    smoke(frames, &stream_seeds());
}

#[test]
fn op_msg_holds_for_mutated_messages() {
    smoke(op_msg, &bodies(&[OP_MSG]));
}

#[test]
fn op_query_holds_for_mutated_messages() {
    smoke(op_query, &bodies(&[OP_QUERY, OP_REPLY]));
}

#[test]
fn op_compressed_holds_for_mutated_messages() {
    smoke(op_compressed, &compressed_seeds());
}

#[test]
fn doc_holds_for_mutated_documents() {
    smoke(doc, &doc_seeds());
}

#[test]
fn mutations_reach_both_right_and_wrong_messages() {
    let seeds = bodies(&[OP_MSG]);
    let mut rng = Rng(42);
    let mut right = 0;
    for _ in 0..1000 {
        let mut data = seeds[rng.below(seeds.len())].clone();
        mutate(&mut data, &seeds, &mut rng);
        right += u32::from(OpMsg::parse(&frame_of(OP_MSG, &data)).is_ok());
    }
    assert!((100..900).contains(&right), "{right}");
}

/// Not a test of anything: the way to give `cargo fuzz` its first inputs.
#[test]
#[ignore = "writes fuzz/corpus for cargo fuzz; see fuzz/README.md"]
fn seeds_for_cargo_fuzz_are_written() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, seeds) in [
        ("frames", stream_seeds()),
        ("op_msg", bodies(&[OP_MSG])),
        ("op_query", bodies(&[OP_QUERY, OP_REPLY])),
        ("op_compressed", compressed_seeds()),
        ("doc", doc_seeds()),
    ] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
}
