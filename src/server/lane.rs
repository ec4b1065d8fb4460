//! Lanes: what doesn't fit one request and one reply has a link to itself for a while.

use super::connection::{Close, Connection};
use super::legacy;
use crate::command::{Effect, effect};
use crate::pipeline::{Failure, Reply, Request};
use crate::wire::op_msg::MORE_TO_COME;
use crate::wire::{Frame, build, op_code};

/// An exhaust cursor: one request, replies until one comes without `moreToCome`.
pub(super) async fn exhaust(
    connection: &mut Connection,
    mut request: Request,
) -> Result<(), Close> {
    let fence = connection.shared.pipeline.fence_lane(&mut request);
    match stream(connection, &mut request).await {
        Ok(last) => {
            if let Some(fence) = fence {
                fence.settle(effect(&request.command, last.view(), true));
            }
            Ok(())
        }
        Err(Broken::Client(close)) => Err(close),
        Err(Broken::Upstream(failure, begun)) => {
            if let Some(fence) = fence
                && !failure.sent
            {
                fence.settle(Effect::Unchanged);
            }
            connection.shared.clients.failure();
            let error = failure.reply(&request.command).document();
            let mut reply = Reply::document(&request.frame, &error);
            if let Some(previous) = begun {
                // In the middle of a stream, a reply answers the one before it.
                let id = previous.frame().request_id();
                reply = Reply::message(build::op_msg(id.wrapping_add(1), id, 0, &error));
            }
            connection.write(&request.frame, &reply).await
        }
    }
}

enum Broken {
    Client(Close),
    Upstream(Failure, Option<Reply>),
}

async fn stream(connection: &mut Connection, request: &mut Request) -> Result<Reply, Broken> {
    let shared = std::sync::Arc::clone(&connection.shared);
    let upstream = &shared.upstream;
    let mut lease = upstream
        .open_lane(request)
        .await
        .map_err(|f| Broken::Upstream(f, None))?;
    let lost = |e: &dyn std::fmt::Display| Failure::lost(e);
    let Some(link) = lease.link() else {
        return Err(Broken::Upstream(lost(&"closed"), None));
    };
    link.send(&request.frame, true)
        .await
        .map_err(|e| Broken::Upstream(lost(&e), None))?;
    let mut previous: Option<Reply> = None;
    loop {
        let Some(link) = lease.link() else {
            return Err(Broken::Upstream(lost(&"closed"), previous));
        };
        let frame = match link.receive().await {
            Ok(frame) => frame,
            Err(error) => return Err(Broken::Upstream(lost(&error), previous)),
        };
        let reply = Reply::from_server(frame);
        connection
            .write(&request.frame, &reply)
            .await
            .map_err(Broken::Client)?;
        let flags = reply
            .frame()
            .body()
            .first_chunk::<4>()
            .map_or(0, |b| u32::from_le_bytes(*b));
        if flags & MORE_TO_COME == 0 {
            let server = link.server();
            lease.done();
            upstream.note_cursor(request, &server, &reply);
            return Ok(reply);
        }
        previous = Some(reply);
    }
}

/// A message with an opcode that is neither OP_MSG, OP_COMPRESSED nor OP_QUERY. MongoDB removed the legacy
/// opcodes in 5.1: it answers OP_GET_MORE with an error and closes on the others, which have no reply. Petiole does
/// the same for every version, so that nothing reaches a server outside the pipeline (rules, admission, fences).
pub(super) async fn unknown_opcode(connection: &mut Connection, frame: Frame) -> Result<(), Close> {
    connection.shared.clients.failure();
    tracing::debug!(target: "petiole::server", client = connection.id, op_code = frame.op_code(),
        "unsupported opcode: the connection is closed");
    if frame.op_code() == op_code::OP_GET_MORE {
        legacy::refuse(connection, &frame, "OP_GET_MORE").await?;
    }
    Err(Close::Ended)
}
