//! Headers, lengths, opcodes, checksums, and no sense at all.

use bson::{Document, doc};

use super::{Answer, CLOSED, assert_grew_little, fate, fate_at, ping, ping_document, proxy};
use crate::parts::shared;
use crate::raw::{
    CHECKSUM_PRESENT, Compressor, HEADER_LEN, OP_COMPRESSED, OP_MSG, RawClient, Section, encode,
    header, message, op_compressed, op_msg, op_query,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_cannot_be_closes_the_connection() {
    let (proxy, bystander) = proxy(&[]).await;
    for length in [-1, i32::MIN, 0, 1, 15, 48_000_001, i32::MAX] {
        for op_code in [OP_MSG, OP_COMPRESSED, 2004, 0] {
            let head = header(length, 1, 0, op_code);
            let answer = fate(&proxy, &[&head[..], &ping(2)].concat()).await;
            assert_eq!(answer, CLOSED, "length {length}, opcode {op_code}");
        }
    }
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_short_for_its_opcode_closes_the_connection() {
    let (proxy, bystander) = proxy(&[]).await;
    let compressed = op_compressed(&ping(1), Compressor::Zlib);
    let whole = [
        ping(1),
        op_query(1, "admin.$cmd", &ping_document()),
        compressed,
    ];
    for whole in &whole {
        let op_code = i32::from_le_bytes(whole[12..16].try_into().unwrap());
        for cut in HEADER_LEN..whole.len() {
            let short = message(1, op_code, &whole[HEADER_LEN..cut]);
            let answer = fate(&proxy, &[short, ping(2)].concat()).await;
            assert!(
                !answer.contains(&Answer::Ok(1)),
                "cut at {cut}, opcode {op_code}"
            );
        }
    }
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_closes_the_connection_and_executes_nothing() {
    let (proxy, bystander) = proxy(&[]).await;
    let database = shared::database("checksums");
    let insert = doc! { "insert": "c", "documents": [{ "_id": 1 }], "$db": database.as_str() };
    let good = op_msg(1, CHECKSUM_PRESENT, &[Section::Body(encode(&insert))]);
    for at in [good.len() - 1, good.len() - 4, HEADER_LEN + 10, 4] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let answer = fate(&proxy, &[bad, ping(2)].concat()).await;
        assert_eq!(answer, CLOSED, "byte {at} flipped");
    }
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let count = doc! { "count": "c", "$db": database.as_str() };
    let reply = client.command(&count).await.unwrap();
    assert_eq!(reply.get_i32("n").unwrap(), 0);
    assert_eq!(fate(&proxy, &good).await, [Answer::Ok(1)]);
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_opcodes_harm_nobody() {
    let (proxy, bystander) = proxy(&[]).await;
    let codes = [
        i32::MIN,
        -1,
        0,
        1,
        2,
        1000,
        2001,
        2002,
        2003,
        2005,
        2006,
        2007,
        2010,
        2011,
        2014,
        i32::MAX,
    ];
    let bodies = [
        Vec::new(),
        vec![0; 4],
        ping(1)[HEADER_LEN..].to_vec(),
        vec![0xff; 300],
    ];
    for op_code in codes {
        for body in &bodies {
            let sent = [message(1, op_code, body), ping(2)].concat();
            let answer = fate(&proxy, &sent).await;
            assert!(
                !answer.contains(&Answer::Ok(1)),
                "opcode {op_code}: {answer:?}"
            );
        }
    }
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_messages_meet_the_fate_that_mongod_gives_them() {
    let (proxy, bystander) = proxy(&[]).await;
    let mongod = &shared::standalone().await.addresses()[0];
    let legacy = |op_code: i32, rest: &[u8]| {
        message(1, op_code, &[&[0; 4], &b"some.c\0"[..], rest].concat())
    };
    let x = encode(&doc! { "x": 1 });
    let query = |collection: &str, command: Document| op_query(1, collection, &encode(&command));
    let cases = [
        ("OP_GET_MORE", legacy(2005, &[1; 12])),
        ("OP_GET_MORE without its fields", message(1, 2005, &[0; 3])),
        ("OP_INSERT", legacy(2002, &x)),
        (
            "OP_UPDATE",
            legacy(2001, &[&[0; 4], &x[..], &x[..]].concat()),
        ),
        ("OP_DELETE", legacy(2006, &[&[0; 4], &x[..]].concat())),
        (
            "OP_KILL_CURSORS",
            message(1, 2007, &[&[0; 4], &[1, 0, 0, 0][..], &[9; 8]].concat()),
        ),
        ("OP_REPLY", message(1, 1, &[0; 20])),
        ("OP_COMMAND", legacy(2010, &x)),
        ("an opcode that there never was", message(1, 2014, &[0; 20])),
        ("a query", query("some.c", doc! { "x": 1 })),
        ("a query without a collection", query("", doc! { "x": 1 })),
        (
            "a find as OP_QUERY",
            query("some.$cmd", doc! { "find": "c" }),
        ),
        (
            "an unknown command as OP_QUERY",
            query("admin.$cmd", doc! { "nothing": 1 }),
        ),
        ("no command as OP_QUERY", query("admin.$cmd", doc! {})),
        (
            "hello as OP_QUERY",
            query("admin.$cmd", doc! { "hello": 1 }),
        ),
        (
            "hello with a read preference",
            query(
                "admin.$cmd",
                doc! {
                "$query": { "isMaster": 1 }, "$readPreference": { "mode": "secondary" } },
            ),
        ),
        ("half an OP_QUERY", message(1, 2004, b"\0\0\0\0adm")),
    ];
    for (what, sent) in cases {
        let sent = [sent, ping(2)].concat();
        // `fate` reads until the end: a connection that is passed on to MongoDB would answer the ping.
        let direct = fate_at(mongod, &sent).await;
        assert_eq!(fate(&proxy, &sent).await, direct, "{what}");
    }
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_any_kind_ends_with_a_closed_connection() {
    let (proxy, bystander) = proxy(&[]).await;
    let before = proxy.rss();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..600 {
        let length = random.below(3000);
        let noise: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let sent = match round % 4 {
            0 => noise,
            1 => message(1, OP_MSG, &noise),
            2 => message(1, OP_MSG, &[&[0; 5], &noise[..]].concat()),
            _ => {
                let mut frame = op_msg(1, 0, &[Section::Body(ping_document())]);
                let at = HEADER_LEN + random.below(frame.len() - HEADER_LEN);
                frame[at] ^= 1 << random.below(8);
                frame
            }
        };
        fate(&proxy, &sent).await;
    }
    assert_grew_little(&proxy, before);
    bystander.was_undisturbed(&proxy).await;
}

/// A small generator, so that every run sends the same garbage.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
