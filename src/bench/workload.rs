//! What is asked: streams of ready-made requests.
//!
//! A request is a prepared frame with a few bytes changed (key, session id), so that making one costs the generator a
//! copy of some 200 bytes. Requests carry an `lsid` as drivers send it, one per connection, and no `$clusterTime`.

use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, RawDocumentBuf, rawdoc};
use std::sync::atomic::{AtomicI64, Ordering};

use super::random::Random;
use super::reply::OP_MSG;

/// The database that all workloads use.
pub const DATABASE: &str = "petiole_bench";
/// Users in the read workloads' collection.
pub const USERS: i32 = 10_000;
/// Guilds, each with [`USERS`]` / `[`GUILDS`] members.
pub const GUILDS: i32 = 100;

/// A stream of requests.
pub trait Source: Send {
    /// Appends the next request of this connection to `out`, which is empty.
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>);

    /// How many distinct requests there are, for warming caches; `None` when each request is new.
    fn distinct(&self) -> Option<u32>;

    /// Appends the distinct request number `index`.
    fn fill_nth(&mut self, connection: usize, index: u32, out: &mut Vec<u8>);
}

/// The workloads that speak raw OP_MSG.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// One document by `_id`, uniformly drawn from 10,000.
    Point,
    /// The ten best of one of 100 guilds: equality, sort and limit, on an index that fits.
    Leaderboard,
    /// One new document of about 200 bytes per request.
    Insert,
}

impl Workload {
    /// The name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Point => "point",
            Workload::Leaderboard => "leaderboard",
            Workload::Insert => "insert",
        }
    }

    /// Its stream of requests.
    pub fn source(self) -> Box<dyn Source> {
        Box::new(match self {
            Workload::Point => Template::new(Key::Below(USERS), |key, lsid| {
                rawdoc! {
                    "find": "users", "filter": {"_id": key as i32}, "limit": 1, "singleBatch": true,
                    "lsid": lsid, "$db": DATABASE,
                }
            }),
            Workload::Leaderboard => Template::new(Key::Below(GUILDS), |key, lsid| {
                rawdoc! {
                    "find": "users", "filter": {"guild": key as i32}, "sort": {"score": -1}, "limit": 10,
                    "lsid": lsid, "$db": DATABASE,
                }
            }),
            Workload::Insert => Template::new(Key::Fresh, |key, lsid| {
                rawdoc! {
                    "insert": "events", "documents": [{
                        "_id": key, "user": 4_711, "kind": "transfer", "amount": 250_i64,
                        "note": "for the dragon egg, thanks again for carrying me through the dungeon",
                        "at": DateTime::from_millis(1_700_000_000_000), "tags": ["guild", "market"],
                    }],
                    "ordered": true, "lsid": lsid, "$db": DATABASE,
                }
            }),
        })
    }
}

/// The `users` collection's document number `id`.
pub fn user(id: i32) -> RawDocumentBuf {
    let mut random = Random::seeded(id as u64);
    rawdoc! {
        "_id": id,
        "name": format!("user{id:05}"),
        "guild": id % GUILDS,
        "balance": 1_000_i64,
        "score": random.below(1_000_000) as i32,
        "level": random.below(80) as i32,
        "joined": DateTime::from_millis(1_600_000_000_000 + i64::from(id) * 60_000),
        "inventory": [
            {"item": "sword", "count": random.below(9) as i32},
            {"item": "potion", "count": random.below(99) as i32},
            {"item": "shield", "count": random.below(9) as i32},
        ],
    }
}

/// A whole OP_MSG with one body section.
pub fn message(request_id: i32, body: &RawDocumentBuf) -> Vec<u8> {
    let body = body.as_bytes();
    let length = 16 + 4 + 1 + body.len();
    let mut bytes = Vec::with_capacity(length);
    for field in [length as i32, request_id, 0, OP_MSG, 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(body);
    bytes
}

/// Where keys come from.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// An int32 in `0..bound`.
    Below(i32),
    /// An int64 that no one used before.
    Fresh,
}

/// Unique across all sources of a process, and across runs: it starts at the clock's microseconds.
static FRESH: AtomicI64 = AtomicI64::new(0);

fn fresh_key() -> i64 {
    if FRESH.load(Ordering::Relaxed) == 0 {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let _ = FRESH.compare_exchange(
            0,
            now.as_micros() as i64,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
    FRESH.fetch_add(1, Ordering::Relaxed)
}

/// One frame in which the key and the session id are replaced per request.
struct Template {
    frame: Vec<u8>,
    key: Key,
    key_at: usize,
    session_at: usize,
}

impl Template {
    /// `build` makes the command for a key and an lsid. It's called once, with values that occur nowhere else, and
    /// their places are remembered.
    fn new(key: Key, build: impl Fn(i64, RawDocumentBuf) -> RawDocumentBuf) -> Template {
        const KEY_MARK: i64 = 0x5ced_c0de_5eed_c0de;
        const SESSION_MARK: [u8; 16] = *b"\xf0petiole-bench\xf1\xf2";
        let id = Binary {
            subtype: BinarySubtype::Uuid,
            bytes: SESSION_MARK.to_vec(),
        };
        let frame = message(0, &build(KEY_MARK, rawdoc! {"id": id}));
        let mark: &[u8] = match key {
            Key::Below(_) => &(KEY_MARK as i32).to_le_bytes(),
            Key::Fresh => &KEY_MARK.to_le_bytes(),
        };
        Template {
            key,
            key_at: position(&frame, mark),
            session_at: position(&frame, &SESSION_MARK),
            frame,
        }
    }

    fn put(&self, connection: usize, key: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.frame);
        let width = match self.key {
            Key::Below(_) => 4,
            Key::Fresh => 8,
        };
        out[self.key_at..self.key_at + width].copy_from_slice(&key.to_le_bytes()[..width]);
        out[self.session_at..self.session_at + 8]
            .copy_from_slice(&(connection as u64).to_le_bytes());
    }
}

/// The only place of `needle`, which our own frames always contain.
fn position(frame: &[u8], needle: &[u8]) -> usize {
    let mut places = frame
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| *window == needle);
    let found = places.next().map(|(at, _)| at);
    assert!(places.next().is_none(), "a mark occurs twice in a template");
    found.unwrap_or_else(|| unreachable!("a template without its mark"))
}

impl Source for Template {
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>) {
        let key = match self.key {
            Key::Below(bound) => i64::from(random.below(bound as u32)),
            Key::Fresh => fresh_key(),
        };
        self.put(connection, key, out);
    }

    fn distinct(&self) -> Option<u32> {
        match self.key {
            Key::Below(bound) => Some(bound as u32),
            Key::Fresh => None,
        }
    }

    fn fill_nth(&mut self, connection: usize, index: u32, out: &mut Vec<u8>) {
        self.put(connection, i64::from(index), out);
    }
}

/// `GET` of one of [`USERS`] keys.
pub struct RedisGet;

impl Source for RedisGet {
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>) {
        let index = random.below(USERS as u32);
        self.fill_nth(connection, index, out);
    }

    fn distinct(&self) -> Option<u32> {
        Some(USERS as u32)
    }

    fn fill_nth(&mut self, _connection: usize, index: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$9\r\nuser");
        out.extend_from_slice(&redis_digits(index));
        out.extend_from_slice(b"\r\n");
    }
}

/// The five digits of a Redis key, `user00042`.
pub fn redis_digits(index: u32) -> [u8; 5] {
    let mut digits = [b'0'; 5];
    let mut rest = index;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::reply::body;

    #[test]
    fn a_point_request_carries_its_key_and_its_connections_session() {
        let mut source = Workload::Point.source();
        let mut frame = Vec::new();
        source.fill_nth(3, 1_234, &mut frame);
        assert_eq!(
            frame.len(),
            i32::from_le_bytes(frame[..4].try_into().unwrap()) as usize
        );
        let command = bson::Document::try_from(body(&frame).unwrap()).unwrap();
        assert_eq!(
            command
                .get_document("filter")
                .unwrap()
                .get_i32("_id")
                .unwrap(),
            1_234
        );
        let bson::Bson::Binary(id) = &command.get_document("lsid").unwrap()["id"] else {
            unreachable!("an lsid holds a binary id");
        };
        assert_eq!(id.bytes[..8], 3u64.to_le_bytes());
        assert_eq!(command.keys().next().unwrap(), "find");
    }

    #[test]
    fn inserts_never_repeat_an_id() {
        let (mut one, mut two) = (Workload::Insert.source(), Workload::Insert.source());
        let mut random = Random::seeded(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            for source in [&mut one, &mut two] {
                let mut frame = Vec::new();
                source.fill(0, &mut random, &mut frame);
                let command = bson::Document::try_from(body(&frame).unwrap()).unwrap();
                let document = command.get_array("documents").unwrap()[0]
                    .as_document()
                    .unwrap()
                    .clone();
                assert!(seen.insert(document.get_i64("_id").unwrap()));
            }
        }
    }

    #[test]
    fn redis_keys_have_five_digits() {
        let mut out = Vec::new();
        RedisGet.fill_nth(0, 42, &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$9\r\nuser00042\r\n");
    }
}
