//! Whole messages with broken sections or documents in them.

use bson::doc;

use super::{Answer, fate, fate_at, ping, ping_document, proxy};
use crate::parts::shared;
use crate::raw::{Section, encode, op_msg};

const MORE_TO_COME: u32 = 2;
/// "BSON field is an unknown field".
const UNKNOWN_FIELD: i32 = 40415;

#[tokio::test(flavor = "multi_thread")]
async fn broken_sections_meet_the_fate_that_mongod_gives_them() {
    let (proxy, bystander) = proxy(&[]).await;
    let mongod = &shared::standalone().await.addresses()[0];
    let raw = |bytes: &[u8]| Section::Raw(bytes.to_vec());
    let body = || Section::Body(ping_document());
    let sequence = |size: i32, rest: &[u8]| {
        let size = size.to_le_bytes();
        Section::Raw([&[1], &size[..], rest].concat())
    };
    let document = &[5, 0, 0, 0, 0];
    let cases: Vec<(&str, u32, Vec<Section>)> = vec![
        ("no section", 0, vec![]),
        (
            "only a sequence",
            0,
            vec![Section::Sequence("documents", vec![])],
        ),
        ("two bodies", 0, vec![body(), body()]),
        (
            "a second body that is broken",
            0,
            vec![body(), raw(&[0, 9, 0, 0, 0, 1])],
        ),
        ("a kind alone", 0, vec![body(), raw(&[1])]),
        ("a sequence of size 0", 0, vec![body(), sequence(0, b"")]),
        (
            "a sequence of negative size",
            0,
            vec![body(), sequence(-5, b"a\0")],
        ),
        (
            "a sequence that claims too much",
            0,
            vec![body(), sequence(i32::MAX, b"a\0")],
        ),
        (
            "a sequence without a name's end",
            0,
            vec![body(), sequence(6, b"aa")],
        ),
        (
            "a sequence that cuts a document",
            0,
            vec![body(), sequence(9, b"a\0\x05\0\0")],
        ),
        (
            "a document longer than its sequence",
            0,
            vec![
                body(),
                sequence(11, &[b"a\0", &[9, 0, 0, 0, 0][..]].concat()),
            ],
        ),
        (
            "a document of negative length",
            0,
            vec![
                body(),
                sequence(11, &[b"a\0", &[255, 255, 255, 255, 0][..]].concat()),
            ],
        ),
        (
            "bytes after a sequence's documents",
            0,
            vec![
                body(),
                sequence(13, &[b"a\0", &document[..], b"\x01\x02"].concat()),
            ],
        ),
        (
            "two bodies and no reply wanted",
            MORE_TO_COME,
            vec![body(), body()],
        ),
        ("an unknown required flag", 1 << 5, vec![body()]),
        (
            "a checksum flag without room",
            0,
            vec![raw(&[0]), raw(document)],
        ),
    ];
    for (what, flags, sections) in cases {
        let sent = [op_msg(1, flags, &sections), ping(2)].concat();
        let direct = fate_at(mongod, &sent).await;
        assert!(!direct.contains(&Answer::Ok(1)), "{what}: {direct:?}");
        assert_eq!(fate(&proxy, &sent).await, direct, "{what}");
    }
    // (mongod takes it for a field like others; a name that isn't text can't be a field that is known.)
    let nameless = sequence(11, &[b"\xff\0", &document[..]].concat());
    let sent = [op_msg(1, 0, &[body(), nameless]), ping(2)].concat();
    let fate = fate(&proxy, &sent).await;
    assert_eq!(fate, [Answer::Error(1, UNKNOWN_FIELD), Answer::Ok(2)]);
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_documents_meet_the_fate_that_mongod_gives_them() {
    let (proxy, bystander) = proxy(&[]).await;
    let mongod = &shared::standalone().await.addresses()[0];
    let good = encode(&doc! {
        "insert": "b", "documents": [{ "_id": 1, "text": "abc", "deep": { "list": [1, "x"] } }],
        "$db": shared::database("broken"),
    });
    // Every length, type and value overwritten with what it cannot be. Some
    // damage only makes another valid command.
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for at in 4..good.len() - 4 {
        for claim in [-1, 0, 3, i32::MAX] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&i32::to_le_bytes(claim));
            damaged.push(bad);
        }
    }
    for kind in [0x14, 0x55, 0x80, 0xfe] {
        let mut bad = good.clone();
        bad[4] = kind;
        damaged.push(bad);
    }
    for bad in damaged {
        let sent = op_msg(1, 0, &[Section::Body(bad)]);
        let sent = [sent, ping(2)].concat();
        let direct = fate_at(mongod, &sent).await;
        assert_eq!(fate(&proxy, &sent).await, direct, "{sent:?}");
    }
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_as_long_as_it_says_is_answered_with_an_error() {
    let (proxy, bystander) = proxy(&[]).await;
    let mongod = &shared::standalone().await.addresses()[0];
    let good = ping_document();
    let length = good.len() as i32;
    let mut damaged = vec![Vec::new(), good[..4].to_vec()];
    for claim in [-1, 0, 4, 5, length - 1, length + 1, i32::MAX] {
        let mut bad = good.clone();
        bad[..4].copy_from_slice(&claim.to_le_bytes());
        damaged.push(bad);
    }
    let mut open_ended = good.clone();
    open_ended[good.len() - 1] = 1;
    damaged.push(open_ended);
    for bad in damaged {
        let sent = op_msg(1, 0, &[Section::Body(bad)]);
        let sent = [sent, ping(2)].concat();
        // (Where what is left over looks like a second body, mongod has found fault with the first before.)
        for answer in [fate(&proxy, &sent).await, fate_at(mongod, &sent).await] {
            let refused = matches!(answer[..], [Answer::Error(1, 22 | 40430), Answer::Ok(2)]);
            assert!(refused, "{answer:?}");
        }
    }
    bystander.was_undisturbed(&proxy).await;
}
