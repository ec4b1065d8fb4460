//! Authentication, relayed step by step over a link of its own (DESIGN §3).

use super::connection::{Close, Connection};
use super::handshake::adopt;
use crate::command::{ErrorReply, codes};
use crate::pipeline::{NO_PRINCIPAL, Reply, Request};
use crate::wire::doc;

/// Handles `saslStart`, `saslContinue`, `authenticate` or `logout`.
pub(super) async fn step(connection: &mut Connection, request: &Request) -> Result<(), Close> {
    let reply = match request.command.name() {
        "logout" => {
            // The link stays with its principal; it's this client that leaves it.
            connection.auth = None;
            connection.principal = NO_PRINCIPAL.clone();
            connection.seat.authenticated(&NO_PRINCIPAL);
            let mut done = crate::wire::build::DocBuf::new();
            done.append_f64("ok", 1.0);
            Ok(Reply::document(&request.frame, &done.finish()))
        }
        "saslStart" => start(connection, request).await,
        "saslContinue" => exchange(connection, request).await,
        _ => Err(ErrorReply::new(
            codes::AUTHENTICATION_FAILED,
            "X.509 authentication can't be relayed, because the client's certificate ends at the proxy; \
             use SCRAM, or connect this client to MongoDB directly",
        )),
    };
    let reply = reply.unwrap_or_else(|error| Reply::document(&request.frame, &error.document()));
    connection.write(&request.frame, &reply).await
}

async fn start(connection: &mut Connection, request: &Request) -> Result<Reply, ErrorReply> {
    let mechanism = doc::find(request.command.body(), "mechanism")
        .and_then(|m| m.as_str())
        .unwrap_or_default();
    if mechanism == "MONGODB-X509" {
        return Err(ErrorReply::new(
            codes::AUTHENTICATION_FAILED,
            "X.509 authentication can't be relayed",
        ));
    }
    let opened = connection
        .shared
        .upstream
        .open_auth(&[], mechanism.to_owned())
        .await;
    connection.auth = Some(opened.map_err(|failure| failure.reply(&request.command))?);
    exchange(connection, request).await
}

async fn exchange(connection: &mut Connection, request: &Request) -> Result<Reply, ErrorReply> {
    let Some(mut auth) = connection.auth.take() else {
        return Err(ErrorReply::new(
            codes::PROTOCOL_ERROR,
            "no SASL conversation is under way; begin with saslStart",
        ));
    };
    let frame = auth.exchange(&request.frame).await.map_err(|error| {
        ErrorReply::new(
            codes::HOST_UNREACHABLE,
            format!("the upstream connection was lost: {error}"),
        )
    })?;
    let reply = Reply::from_server(frame);
    let view = reply.view();
    match (view.ok, view.done) {
        (true, true) => adopt(connection, auth).await,
        (true, false) => connection.auth = Some(auth),
        // The conversation failed: its link is dropped, the client stays who it was.
        (false, _) => {}
    }
    Ok(reply)
}
