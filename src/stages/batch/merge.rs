//! The commands that are sent for a batch.

use std::sync::Arc;

use bytes::Bytes;

use super::journal::Doubt;
use super::key::{self, Write};
use super::member::Member;
use super::{kinds, statement};
use crate::config::WriteKind;
use crate::pipeline::{Callers, CollectionId, Origin, OwnSession, Principal, Request};
use crate::wire::build::{self, DocBuf};
use crate::wire::doc;
use crate::wire::frame::Frame;
use crate::wire::op_msg::{CHECKSUM_PRESENT, OpMsg};

/// How a batch is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One command of the kind that the clients sent.
    Plain,
    /// A `bulkWrite`, which answers for each operation.
    Bulk,
}

/// Several clients' writes as one, with the session and the collection that it is for. `limit`: its
/// `maxTimeMS`, for the server only: it bounds how long a blocked document holds up the others, not
/// how long all wait for a link or a primary. `None` never happens: the first member's parts have been parsed before.
pub(super) fn merged<'a>(
    members: impl Iterator<Item = &'a Member> + Clone,
    (form, session, guard): (Form, Option<&OwnSession>, Option<&CollectionId>),
    limit: Option<u64>,
) -> Option<Request> {
    let first = members.clone().next()?;
    let command = first.request()?.command;
    let kind = first.write.kind;
    let mut body = DocBuf::with_capacity(512);
    match form {
        Form::Plain => body.append_str(kind.as_str(), command.collection()?),
        Form::Bulk => body.append_i32("bulkWrite", 1),
    };
    body.append_bool("ordered", false);
    body.append_raw(first.write.carried());
    if let Some(session) = session {
        session.append(&mut body);
    }
    if let Some(limit) = limit {
        body.append_i64("maxTimeMS", limit as i64);
    }
    if let (Form::Plain, Some(guard)) = (form, guard) {
        kinds::append_guard(&mut body, guard);
    }
    // The server's clock must pass whatever any of the clients has seen.
    let times = members
        .clone()
        .filter_map(|m| m.write.cluster_time.as_ref());
    if let Some((_, raw)) = times.max_by_key(|(at, _)| *at) {
        body.append_raw(raw);
    }
    if form == Form::Bulk {
        body.append_bool("errorsOnly", false);
        if session.is_some() {
            // They are what they would be without being said; but whoever doesn't know of them
            // refuses the command, instead of running it twice.
            append_ids(&mut body, 0, members.clone().count());
        }
    }
    body.append_str(
        "$db",
        if form == Form::Bulk {
            "admin"
        } else {
            command.db()
        },
    );
    let size = members.clone().map(|m| m.write.documents.len() + 64).sum();
    let mut documents = Vec::with_capacity(size);
    for member in members.clone() {
        match form {
            Form::Plain => documents.extend_from_slice(&member.write.documents),
            Form::Bulk => {
                documents.extend(statement::operation(kind, &member.write.documents));
            }
        }
    }
    let mut namespace = DocBuf::new();
    namespace.append_str("ns", &format!("{}.{}", command.db(), command.collection()?));
    if let Some(guard) = guard {
        kinds::append_guard(&mut namespace, guard);
    }
    let namespace = namespace.finish();
    let sequences: &[(&str, &[u8])] = match form {
        Form::Plain => &[(key::list(kind), &documents)],
        Form::Bulk => &[("ops", &documents), ("nsInfo", &namespace)],
    };
    let mut merged = request(
        first,
        build::op_msg_with_sequences(1, 0, 0, &body.finish(), sequences),
    )?;
    let origins = members.clone().filter_map(|m| m.origin.as_deref());
    merged.origin = Origin::of_all(origins).map(Arc::new);
    merged.callers = Callers::of_all(members.clone().map(|m| &m.callers));
    merged.listeners = members.flat_map(|m| m.listeners.clone()).collect();
    Some(merged)
}

/// What a `bulkWrite` has to say still.
pub(super) fn more_results(
    like: &Member,
    cursor: i64,
    collection: &str,
    session: Option<&OwnSession>,
) -> Option<Request> {
    let mut body = DocBuf::with_capacity(256);
    body.append_i64("getMore", cursor);
    body.append_str("collection", collection);
    // (A cursor is read in the API version that it was made in.)
    append_api(&mut body, like.request()?.command.body())?;
    if let Some(session) = session {
        session.append_id(&mut body);
    }
    body.append_str("$db", "admin");
    request(like, build::op_msg(1, 0, 0, &body.finish()))
}

fn append_ids(body: &mut DocBuf, first: usize, count: usize) {
    body.append_array("stmtIds", |ids| {
        for id in first..first + count {
            ids.push_i32(id as i32);
        }
    });
}

/// One client's write by itself, but as part of a batch that was sent before: its documents are
/// statements `first..` of it, and the server runs those only that it hasn't run.
pub(super) fn statement(
    original: &Request,
    write: &Write,
    session: &OwnSession,
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
    append_ids(&mut body, first, write.count);
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
    Some(Request {
        listeners: original.listeners.clone(),
        origin: original.origin.clone(),
        callers: original.callers.clone(),
        ..limited_by_server(bytes, &original.principal)?
    })
}

/// A write of the number after that of a batch, of the batch's kind and to its collection, which changes nothing.
pub(super) fn empty(like: &Request, doubt: &Doubt) -> Option<Request> {
    let (kind, db, collection) = key::place(&doubt.group)?;
    let session = OwnSession {
        number: doubt.session.number.checked_add(1)?,
        ..doubt.session
    };
    let nothing = |filter: &mut DocBuf| {
        filter.append_doc_with("_id", |id| {
            id.append_array("$in", |_| {});
        });
    };
    let mut body = DocBuf::with_capacity(256);
    body.append_str(kind.as_str(), collection);
    body.append_array(key::list(kind), |list| {
        list.push_doc_with(|statement| match kind {
            // The server refuses such an `_id`, as this document's own fault.
            WriteKind::Insert => {
                statement.append_array("_id", |_| {});
            }
            WriteKind::Update => {
                statement.append_doc_with("q", nothing);
                statement.append_doc_with("u", |update| {
                    update.append_doc_with("$set", |set| {
                        set.append_i32("v", 1);
                    });
                });
            }
            WriteKind::Delete => {
                statement.append_doc_with("q", nothing);
                statement.append_i32("limit", 1);
            }
        });
    });
    session.append(&mut body);
    append_api(&mut body, like.command.body())?;
    body.append_doc_with("writeConcern", |concern| {
        concern.append_i32("w", 1);
    });
    body.append_str("$db", db);
    limited_by_server(build::op_msg(1, 0, 0, &body.finish()), &like.principal)
}

/// The API version that a command names.
fn append_api(body: &mut DocBuf, of: &[u8]) -> Option<()> {
    for element in doc::elements(of) {
        let element = element.ok()?;
        if element.key.starts_with("api") {
            body.append_raw(element.raw);
        }
    }
    Some(())
}

fn request(like: &Member, bytes: Bytes) -> Option<Request> {
    limited_by_server(bytes, &like.principal)
}

/// A request without a deadline of its own: no client has set one.
fn limited_by_server(bytes: Bytes, principal: &Arc<Principal>) -> Option<Request> {
    let frame = Frame { bytes };
    let msg = OpMsg::parse(&frame).ok()?;
    let mut request = Request::new(frame, msg, Arc::clone(principal));
    request.command.max_time_ms = None;
    Some(request)
}
