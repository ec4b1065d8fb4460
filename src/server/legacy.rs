//! OP_QUERY: hello in its oldest form, which drivers still open with. Anything else in
//! this form was removed from MongoDB 5.1 and is refused here for every version, in
//! mongod's own words (and so can't authenticate or write on a shared link).

use bytes::Bytes;

use super::connection::{Close, Connection};
use super::handshake;
use crate::command::{Command, ErrorReply, Kind};
use crate::pipeline::Reply;
use crate::wire::op_query::OpQuery;
use crate::wire::{Frame, WireError, build};

/// Answers an OP_QUERY.
pub(super) async fn op_query(connection: &mut Connection, frame: Frame) -> Result<(), Close> {
    let query = OpQuery::parse(&frame).map_err(WireError::from)?;
    let command = Command::parse_body(&query.query);
    let (flags, document) = match &command {
        Some(command) if query.is_command() && command.kind == Kind::Hello => (
            AWAIT_CAPABLE,
            Bytes::from(handshake::answer(connection, command).await),
        ),
        Some(command) if query.is_command() => {
            let text = format!(
                "Unsupported OP_QUERY command: {}. Use OP_MSG: the client driver may require an upgrade",
                command.name()
            );
            (AWAIT_CAPABLE, ErrorReply::new(UNSUPPORTED, text).document())
        }
        _ => return refuse(connection, &frame, "OP_QUERY").await,
    };
    reply(connection, &frame, flags, &document).await
}

/// Answers a legacy message with the error that MongoDB gives since 5.1, which removed its opcode.
pub(super) async fn refuse(
    connection: &mut Connection,
    frame: &Frame,
    op_code: &str,
) -> Result<(), Close> {
    let text = format!(
        "petiole: {op_code} is no longer supported. Use OP_MSG: the client driver may require an upgrade"
    );
    let mut document = build::DocBuf::new();
    document.append_str("$err", &text);
    document.append_i32("code", UNSUPPORTED.0);
    document.append_f64("ok", 0.0);
    let flags = AWAIT_CAPABLE | QUERY_FAILURE;
    reply(connection, frame, flags, &document.finish_bytes()).await
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

const AWAIT_CAPABLE: u32 = 8;
const QUERY_FAILURE: u32 = 2;
const UNSUPPORTED: (i32, &str) = (352, "UnsupportedOpQueryCommand");
