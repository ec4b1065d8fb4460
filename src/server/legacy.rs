//! Opcodes other than OP_MSG. Nothing of them reaches a server: the proxy answers what it knows by itself, and refuses
//! or closes for the rest, as MongoDB does since 5.1, for every version behind it.
//!
//! OP_QUERY carries hello in its oldest form, which drivers still open with; other commands and queries in this form
//! are refused (and so can't authenticate or write past the pipeline). OP_GET_MORE is refused. The other legacy opcodes
//! have no reply, so that mongod closes the connection on them, as on opcodes that nobody has defined.

use bytes::Bytes;

use super::connection::{Close, Connection};
use super::handshake;
use crate::command::{Command, ErrorReply, Kind};
use crate::pipeline::Reply;
use crate::wire::op_code::{self, OP_GET_MORE, OP_QUERY};
use crate::wire::op_query::OpQuery;
use crate::wire::{Frame, WireError, build, doc};

/// Answers or closes.
pub(super) async fn message(connection: &mut Connection, frame: Frame) -> Result<(), Close> {
    match frame.op_code() {
        OP_QUERY => op_query(connection, frame).await,
        // (Without its fixed fields it isn't even one.)
        OP_GET_MORE if frame.body().len() > GET_MORE_FIELDS => {
            refuse(connection, &frame, "OP_GET_MORE").await
        }
        op_code => Err(Close::OpCode {
            op_code,
            name: op_code::name(op_code),
        }),
    }
}

async fn op_query(connection: &mut Connection, frame: Frame) -> Result<(), Close> {
    let query = OpQuery::parse(&frame).map_err(WireError::from)?;
    if !query.is_command() {
        return refuse(connection, &frame, "OP_QUERY").await;
    }
    let command = Command::parse_body(&unwrapped(&query.query));
    let document = match &command {
        Some(command) if command.kind == Kind::Hello => {
            Bytes::from(handshake::answer(connection, command).await?)
        }
        _ => {
            connection.shared.clients.failure();
            let name = command.as_ref().map_or("", Command::name);
            let text = format!("Unsupported OP_QUERY command: {name}. {UPGRADE}");
            ErrorReply::new(UNSUPPORTED_COMMAND, text).document()
        }
    };
    reply(connection, &frame, AWAIT_CAPABLE, &document).await
}

/// The command itself, where a driver has wrapped it to send a read preference along.
fn unwrapped(query: &Bytes) -> Bytes {
    let first = doc::elements(query).flatten().next();
    let wrapped = first.filter(|first| matches!(first.key, "$query" | "query"));
    match wrapped.and_then(|element| element.as_document()) {
        Some(command) => query.slice_ref(command),
        None => query.clone(),
    }
}

/// Answers a legacy message with the error that MongoDB gives since 5.1.
async fn refuse(connection: &mut Connection, frame: &Frame, name: &str) -> Result<(), Close> {
    connection.shared.clients.failure();
    let text = format!("petiole: {name} is no longer supported. {UPGRADE}");
    let mut document = build::DocBuf::new();
    document.append_str("$err", &text);
    document.append_i32("code", REMOVED);
    document.append_f64("ok", 0.0);
    reply(connection, frame, QUERY_FAILURE, &document.finish_bytes()).await
}

async fn reply(
    connection: &mut Connection,
    frame: &Frame,
    flags: u32,
    document: &[u8],
) -> Result<(), Close> {
    let id = frame.request_id();
    connection.next_id = connection.next_id.wrapping_add(1);
    let bytes = build::op_reply(connection.next_id, id, flags, document);
    let reply = Reply::from_server(Frame { bytes });
    connection.write(frame, &reply).await
}

const UPGRADE: &str = "Use OP_MSG: the client driver may require an upgrade";
const AWAIT_CAPABLE: u32 = 8;
const QUERY_FAILURE: u32 = 2;
const UNSUPPORTED_COMMAND: (i32, &str) = (352, "UnsupportedOpQueryCommand");
/// mongod's code for a removed opcode; it has no name.
const REMOVED: i32 = 5_739_101;
/// Reserved word, number of documents, cursor id.
const GET_MORE_FIELDS: usize = 16;
