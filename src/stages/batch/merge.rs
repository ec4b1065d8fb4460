//! The commands that are sent for a batch.

use bytes::Bytes;

use super::key::Insert;
use super::queue::Member;
use super::sessions::Session;
use crate::pipeline::Request;
use crate::wire::build::{self, DocBuf};
use crate::wire::doc;
use crate::wire::frame::Frame;
use crate::wire::op_msg::{CHECKSUM_PRESENT, OpMsg};

/// Several clients' inserts as one. `session`: what makes sending it again exact. `limit`: its
/// `maxTimeMS`. `None` never happens: the first member's parts have been parsed before.
pub(super) fn merged(
    members: &[Member],
    session: Option<&Session>,
    limit: Option<u64>,
) -> Option<Request> {
    let first = members.first()?;
    let command = first.request()?.command;
    let mut body = DocBuf::with_capacity(512);
    body.append_str("insert", command.collection()?);
    body.append_bool("ordered", false);
    body.append_raw(first.insert.carried());
    if let Some(session) = session {
        session.append(&mut body);
    }
    if let Some(limit) = limit {
        body.append_i64("maxTimeMS", limit as i64);
    }
    // The server's clock must pass whatever any of the clients has seen.
    let times = members
        .iter()
        .filter_map(|m| m.insert.cluster_time.as_ref());
    if let Some((_, raw)) = times.max_by_key(|(at, _)| *at) {
        body.append_raw(raw);
    }
    body.append_str("$db", command.db());
    let size = members.iter().map(|m| m.insert.documents.len()).sum();
    let mut documents = Vec::with_capacity(size);
    for member in members {
        documents.extend_from_slice(&member.insert.documents);
    }
    let sequences: [(&str, &[u8]); 1] = [("documents", &documents)];
    request(
        first,
        build::op_msg_with_sequences(1, 0, 0, &body.finish(), &sequences),
    )
}

/// One client's insert by itself, but as part of a batch that was sent before: its documents are
/// statements `first..` of it, and the server runs those only that it hasn't run.
pub(super) fn statement(
    original: &Request,
    insert: &Insert,
    session: &Session,
    first: usize,
    limit: Option<u64>,
) -> Option<Request> {
    let mut body = DocBuf::with_capacity(original.command.body().len() + 64);
    for element in doc::elements(original.command.body()) {
        let element = element.ok()?;
        if !matches!(element.key, "lsid" | "txnNumber" | "maxTimeMS") {
            body.append_raw(element.raw);
        }
    }
    session.append(&mut body);
    body.append_array("stmtIds", |ids| {
        for id in first..first + insert.count {
            ids.push_i32(id as i32);
        }
    });
    if let Some(limit) = limit {
        body.append_i64("maxTimeMS", limit as i64);
    }
    let sequences: Vec<(&str, &[u8])> = original
        .msg
        .sequences
        .iter()
        .map(|s| (s.identifier.as_str(), s.documents.as_ref()))
        .collect();
    let flags = original.msg.flags & !CHECKSUM_PRESENT;
    let bytes = build::op_msg_with_sequences(1, 0, flags, &body.finish(), &sequences);
    let frame = Frame { bytes };
    let msg = OpMsg::parse(&frame).ok()?;
    Some(Request::new(frame, msg, original.principal.clone()))
}

fn request(like: &Member, bytes: Bytes) -> Option<Request> {
    let frame = Frame { bytes };
    let msg = OpMsg::parse(&frame).ok()?;
    Some(Request::new(frame, msg, like.principal.clone()))
}
