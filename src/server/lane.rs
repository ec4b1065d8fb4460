//! Lanes: what doesn't fit one request and one reply has a link to itself for a while.

use tokio::io::copy_bidirectional;

use super::connection::{Close, Connection};
use crate::command::{Effect, effect};
use crate::pipeline::{Failure, Reply, Request};
use crate::wire::op_msg::MORE_TO_COME;
use crate::wire::{Frame, build};

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

/// An opcode that Petiole doesn't know is between the client and mongod: a fresh,
/// unauthenticated link of its own, bytes both ways until one side closes. It may write
/// anything, so everything is fenced meanwhile.
pub(super) async fn unknown_opcode(connection: &mut Connection, frame: Frame) -> Result<(), Close> {
    tracing::info!(target: "petiole::server", client = connection.id, op_code = frame.op_code(),
        "unknown opcode: relayed over a link of its own");
    let shared = std::sync::Arc::clone(&connection.shared);
    // Without a link there's no reply that would mean anything for this opcode.
    let Ok(auth) = shared.upstream.open_auth(&[], String::new()).await else {
        return Err(Close::Ended);
    };
    let fence = shared
        .pipeline
        .fences()
        .begin(&crate::command::Footprint::Everything);
    let mut raw = auth.into_sock();
    let relayed = async {
        tokio::io::AsyncWriteExt::write_all(&mut raw, &frame.bytes).await?;
        copy_bidirectional(&mut connection.sock, &mut raw).await
    };
    tokio::select! {
        _ = relayed => {}
        () = shared.drain.wait() => {}
    }
    fence.settle(Effect::Changed);
    Err(Close::Ended)
}
