//! The differential suite: every operation of [`ops`], sent directly and
//! through the proxy, must be answered alike.
//!
//! The whole list runs three times against a database of the same name, which
//! is dropped in between: twice directly, then through the proxy. The second
//! direct run proves the masks: what differs there is the server's own
//! business and a fault of this suite, never of the proxy. Through the proxy
//! each read is sent [`REPEATS`] times in a row, over two connections, so that
//! answers from the cache are compared as well.

mod mask;
mod ops;

use std::collections::HashSet;

use bson::{Document, RawDocumentBuf, doc};

use self::ops::{Ctx, Database, Form, Op};
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::{
    self, CHECKSUM_PRESENT, ClientError, MORE_TO_COME, Message, OP_REPLY, RawClient, Section,
};

/// How many operations the suite promises.
const AT_LEAST: usize = 150;
/// How often a read is sent through the proxy.
const REPEATS: usize = 3;

/// Fewer answers than this from the cache would leave it uncompared.
const HITS_AT_LEAST: u64 = 100;

/// What came back, masked.
#[derive(Debug)]
enum Answer {
    Replies(Vec<Document>),
    Closed,
}

/// All answers to one operation, one for each time it was sent.
type Answers = Vec<(Op, Vec<Answer>)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_set_answers_alike_directly_and_through_the_proxy() {
    // (Others load this server: a watch may lag, and nothing be cached for a moment.)
    let sets = [("cache.external_writes", "\"none\"")];
    let upstream = shared::rs().await;
    let (address, uri) = (&upstream.addresses()[0], upstream.uri());
    every_operation_answers_alike(address, &uri, &sets, is_in_words_of_6_0_5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_answers_alike_directly_and_through_the_proxy() {
    let upstream = shared::standalone().await;
    let (address, uri) = (&upstream.addresses()[0], upstream.uri());
    every_operation_answers_alike(address, &uri, &[], is_in_words_of_6_0_5).await;
}

/// The proxy refuses it in the words of 6.0.5 (docs/limits.md): where `PETIOLE_MONGOD` chooses another release, its name of
/// the code may be another.
fn is_in_words_of_6_0_5(op: &Op) -> bool {
    std::env::var_os("PETIOLE_MONGOD").is_some() && op.name == "get_more_unknown_field"
}

#[tokio::test(flavor = "multi_thread")]
async fn secantusdb_answers_alike_directly_and_through_the_proxy() {
    let upstream = shared::secantus().await;
    // It knows some commands where mongod, and so the proxy, refuses them.
    // Wrong getMores of a cursor that the proxy keeps are refused in mongod's words. A reply that it streams has no
    // operationTime; the same reply to a getMore, which the proxy sends instead, has one.
    let skipped = |op: &Op| {
        op.by_the_proxy
            || matches!(
                op.name,
                "get_more_of_wrong_collection" | "get_more_unknown_field" | "exhaust_get_more"
            )
    };
    // It says that it's a replica set, and its change streams end by themselves.
    let sets = [("cache.external_writes", "ttl")];
    every_operation_answers_alike(upstream.address(), &upstream.uri(), &sets, skipped).await;
}

/// Runs the suite and panics with every difference that it found.
/// `direct` is the server's `host:port`.
async fn every_operation_answers_alike(
    direct: &str,
    uri: &str,
    sets: &[(&str, &str)],
    skipped: fn(&Op) -> bool,
) {
    let database = &shared::database("diff");
    clear(direct, database).await;
    let expected = run(direct, database, 1).await;
    clear(direct, database).await;
    let again = run(direct, database, REPEATS).await;
    let unstable = differences(&expected, &again, skipped);
    clear(direct, database).await;
    assert!(
        unstable.is_empty(),
        "{} differences between two direct runs, to be masked:\n{}",
        unstable.len(),
        unstable.join("\n")
    );
    let proxy = Proxy::start(uri, sets);
    let actual = run(proxy.address(), database, REPEATS).await;
    let found = differences(&expected, &actual, skipped);
    clear(direct, database).await;
    assert!(
        found.is_empty(),
        "{} differences, direct | through the proxy:\n{}",
        found.len(),
        found.join("\n")
    );
    assert!(expected.len() >= AT_LEAST);
    let hits = proxy.count("/cache/hits");
    assert!(
        hits >= HITS_AT_LEAST,
        "only {hits} answers from the cache: {}",
        proxy.status()
    );
}

/// Runs the list once, each read `repeats` times.
async fn run(address: &str, database: &str, repeats: usize) -> Answers {
    let mut connections = [greeted(address).await, greeted(address).await];
    let offered = connections[0].1.clone();
    let mut ctx = Ctx::new(database);
    let mut answers = Vec::new();
    for op in ops::all() {
        let times = if op.repeats { repeats } else { 1 };
        let mut received = Vec::with_capacity(times);
        for time in 0..times {
            let client = &mut connections[time % 2].0;
            let answer = match perform(client, &op, &mut ctx, &offered).await {
                Ok(replies) => Answer::Replies(learned(&op, &replies, &mut ctx)),
                Err(ClientError::Closed) => {
                    *client = greeted(address).await.0;
                    Answer::Closed
                }
                Err(error) => panic!("{} at {address}: {error}", op.name),
            };
            received.push(answer);
        }
        answers.push((op, received));
    }
    answers
}

/// Sends one operation and collects what answers it.
async fn perform(
    client: &mut RawClient,
    op: &Op,
    ctx: &mut Ctx,
    offered: &[String],
) -> raw::Result<Vec<RawDocumentBuf>> {
    let mut command = (op.build)(ctx);
    let database = match op.database {
        Database::Own => Some(ctx.database.clone()),
        Database::Other => Some(ctx.other.clone()),
        Database::Named(name) => Some(name.to_owned()),
        Database::Absent => None,
    };
    if op.form == Form::Query {
        let namespace = format!("{}.$cmd", database.unwrap_or_default());
        let reply = client.query(&namespace, &command).await?;
        assert_eq!(reply.op_code, OP_REPLY, "{}: opcode of the reply", op.name);
        return Ok(vec![reply.document()?]);
    }
    if let Some(database) = database {
        command.insert("$db", database);
    }
    if op.form == Form::Exhaust {
        let replies = client.exhaust(&command).await?;
        // (How many of them were asked for is the server's to choose.)
        return replies.iter().map(Message::document).collect();
    }
    let mut sections = vec![Section::Body(raw::encode(&command))];
    if let Some((identifier, documents)) = op.sequence {
        let documents = documents(ctx).iter().map(raw::encode).collect();
        sections.push(Section::Sequence(identifier, documents));
    }
    let reply = match op.form {
        Form::Unacknowledged => {
            client.send(MORE_TO_COME, &sections).await?;
            return Ok(Vec::new());
        }
        Form::Checksum => client.roundtrip(CHECKSUM_PRESENT, &sections).await?,
        Form::Compressed(by) if offered.iter().any(|name| name == by.name()) => {
            client.compressed(by, &sections).await?
        }
        Form::SequenceFirst => {
            sections.reverse();
            client.roundtrip(0, &sections).await?
        }
        Form::Msg | Form::Query | Form::Exhaust | Form::Compressed(_) => {
            client.roundtrip(0, &sections).await?
        }
    };
    Ok(vec![reply.document()?])
}

/// Lets the context learn from the replies, then masks them.
fn learned(op: &Op, replies: &[RawDocumentBuf], ctx: &mut Ctx) -> Vec<Document> {
    let decoded = |reply: &RawDocumentBuf| {
        Document::try_from(reply.as_ref()).unwrap_or_else(|e| panic!("{}: {e}", op.name))
    };
    let replies: Vec<Document> = replies.iter().map(decoded).collect();
    replies.iter().for_each(|reply| ctx.learn(op.name, reply));
    let masked = |reply| mask::masked(reply, op.masks, ctx.words());
    replies.iter().map(masked).collect()
}

/// Every difference between the first expected answer to an operation and
/// each of the actual ones.
fn differences(expected: &Answers, actual: &Answers, skipped: fn(&Op) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let pairs = expected.iter().zip(actual);
    for ((op, expected), (_, actual)) in pairs.filter(|((op, _), _)| !skipped(op)) {
        for (time, answer) in actual.iter().enumerate() {
            for difference in differs(&expected[0], answer) {
                found.push(format!("{} (time {}) {difference}", op.name, time + 1));
            }
        }
    }
    found
}

fn differs(expected: &Answer, actual: &Answer) -> Vec<String> {
    match (expected, actual) {
        (Answer::Closed, Answer::Closed) => Vec::new(),
        // A server that hangs up takes the proxy's link with it, not the client.
        (Answer::Closed, Answer::Replies(replies)) if lost_its_link(replies) => Vec::new(),
        (Answer::Replies(left), Answer::Replies(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right);
            pairs.flat_map(|(l, r)| mask::differences(l, r)).collect()
        }
        (Answer::Replies(left), Answer::Replies(right)) => {
            vec![format!("{} replies | {} replies", left.len(), right.len())]
        }
        (left, right) => vec![format!("{left:?} | {right:?}")],
    }
}

fn lost_its_link(replies: &[Document]) -> bool {
    const HOST_UNREACHABLE: i32 = 6;
    matches!(replies, [reply] if reply.get_i32("code").ok() == Some(HOST_UNREACHABLE))
}

/// A connection that has said hello, as every driver does first, and the
/// compressors that it was offered.
async fn greeted(address: &str) -> (RawClient, Vec<String>) {
    let mut client = RawClient::connect(address).await.expect("connects");
    let hello = doc! {
        "hello": 1, "helloOk": true, "compression": ["snappy", "zlib", "zstd"],
        "client": { "driver": { "name": "differential", "version": "1" },
            "os": { "type": "test" } },
        "$db": "admin",
    };
    let reply = client.command(&hello).await.expect("hello is answered");
    assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "{reply:?}");
    let reply = Document::try_from(reply.as_ref()).expect("a document");
    let offered = reply.get_array("compression").into_iter().flatten();
    let offered = offered.filter_map(|name| Some(name.as_str()?.to_owned()));
    let offered = offered.collect();
    (client, offered)
}

/// Removes what a run leaves behind.
async fn clear(address: &str, database: &str) {
    let (mut client, _) = greeted(address).await;
    let other = format!("{database}_other");
    for name in [database, &other, &database.to_uppercase()] {
        for what in [
            "dropAllUsersFromDatabase",
            "dropAllRolesFromDatabase",
            "dropDatabase",
        ] {
            let command = doc! { what: 1, "$db": name };
            // Not every server knows every one of them.
            client.command(&command).await.expect("an answer");
        }
    }
}

mod tests {
    use super::*;

    #[test]
    fn the_list_is_long_and_its_names_are_unique() {
        let names: Vec<&str> = ops::all().iter().map(|op| op.name).collect();
        let unique: HashSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len());
        assert!(unique.len() >= AT_LEAST, "{} operations", unique.len());
    }
}
