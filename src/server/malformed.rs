//! An OP_MSG that is framed as it should be and can't be read: the sender is told what is wrong with it, with mongod's
//! codes, and the connection goes on with the next one.
//!
//! Absent on purpose: an answer where a receiver can't know what the rest of the message means (an unknown required
//! flag, compressed data that doesn't inflate), or can't believe it (a checksum that doesn't match). Those end the connection, in
//! mongod too. And so does here an OP_QUERY that can't be read, which was to be a hello.

use super::complaints::Complaint;
use super::connection::{Close, Connection};
use crate::command::ErrorReply;
use crate::pipeline::Reply;
use crate::wire::op_msg::{MORE_TO_COME, flags};
use crate::wire::{Frame, MsgError, WireError};

/// Answers a message that isn't one, or closes.
pub(super) async fn answer(
    connection: &mut Connection,
    frame: &Frame,
    error: MsgError,
) -> Result<(), Close> {
    let Some(code) = code(&error) else {
        return Err(WireError::from(error).into());
    };
    let clients = &connection.shared.clients;
    clients.failure();
    clients.broken_message();
    connection.complain(Complaint::BrokenMessage, "answered", &error);
    if flags(&frame.bytes) & MORE_TO_COME != 0 {
        return Ok(());
    }
    let what = format!("the message can't be read, and nothing of it was executed: {error}");
    let document = ErrorReply::new(code, what).document();
    let reply = Reply::document(frame, &document);
    connection.write(frame, &reply).await
}

/// What mongod says of it. `None`: it closes.
fn code(error: &MsgError) -> Option<(i32, &'static str)> {
    match error {
        MsgError::Doc(_) => Some((22, "InvalidBSON")),
        MsgError::Section(_) | MsgError::SequenceSize(_) => Some((15, "Overflow")),
        MsgError::TwoBodies => Some((40430, "Location40430")),
        MsgError::Utf8(_) => Some((40415, "Location40415")),
        MsgError::OpCode { .. }
        | MsgError::Truncated(_)
        | MsgError::RequiredFlags(_)
        | MsgError::Checksum { .. }
        | MsgError::Trailing(_)
        | MsgError::Count { .. } => None,
    }
}
