//! Authentication, relayed step by step over a link of its own.
//!
//! What fails is counted, and logged with the client's address at a bounded rate: the server's log has only the proxy's.

use super::complaints::Complaint;
use super::connection::{Close, Connection};
use super::gone;
use crate::command::{ErrorReply, codes};
use crate::pipeline::{Failure, NO_PRINCIPAL, Reply, Request};
use crate::upstream::{AuthLink, LoginError};
use crate::wire::doc;

/// Handles `saslStart`, `saslContinue`, `authenticate` or `logout`.
pub(super) async fn step(connection: &mut Connection, request: &Request) -> Result<(), Close> {
    let silent = request.msg.more_to_come();
    if silent && request.command.name() != "logout" {
        // (Passed on as it is, it would get no reply from the server either.)
        let why = "a login needs replies, and the message wants none (moreToCome)";
        connection.complain(Complaint::LoginRefused, "silent", why);
        return Ok(());
    }
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
        "saslStart" => start(connection, request).await?,
        "saslContinue" => exchange(connection, request).await,
        _ => {
            let why = "X.509 authentication can't be relayed, because the client's certificate ends at the proxy; \
                       use SCRAM, or connect this client to MongoDB directly";
            Err(refused(
                connection,
                "x509",
                codes::AUTHENTICATION_FAILED,
                why,
            ))
        }
    };
    if silent {
        return Ok(());
    }
    let reply = reply.unwrap_or_else(|error| Reply::document(&request.frame, &error.document()));
    connection.write(&request.frame, &reply).await
}

/// A link for a login, unless the client leaves while it waits for its turn.
pub(super) async fn open(
    connection: &Connection,
    extra: &[&[u8]],
    mechanism: String,
    may_wait: bool,
) -> Result<Result<AuthLink, Failure>, Close> {
    let address = connection.seat.address.map(|address| address.ip());
    let upstream = &connection.shared.upstream;
    tokio::select! {
        biased;
        opened = upstream.open_auth(extra, mechanism, address, may_wait) => Ok(opened),
        () = gone::gone(&connection.sock, None) => Err(Close::Ended),
    }
}

/// The server has accepted the client: from now on it is whom the server says.
pub(super) async fn adopt(connection: &mut Connection, auth: AuthLink) {
    match connection.shared.upstream.adopt(auth).await {
        Ok(principal) => {
            tracing::debug!(target: "petiole::server", client = connection.id, principal = principal.name, "authenticated");
            connection.seat.authenticated(&principal);
            connection.principal = principal;
        }
        Err(error) => {
            let reason = format_args!("the link was lost right after authentication: {error}");
            connection.complain(Complaint::LoginRefused, "link_lost", reason);
        }
    }
}

async fn start(
    connection: &mut Connection,
    request: &Request,
) -> Result<Result<Reply, ErrorReply>, Close> {
    // (One that was under way gives its turn back.)
    connection.auth = None;
    let mechanism = doc::find(request.command.body(), "mechanism")
        .and_then(|m| m.as_str())
        .unwrap_or_default();
    if mechanism == "MONGODB-X509" {
        let why = "X.509 authentication can't be relayed";
        let code = codes::AUTHENTICATION_FAILED;
        return Ok(Err(refused(connection, "x509", code, why)));
    }
    match open(connection, &[], mechanism.to_owned(), true).await? {
        Ok(auth) => connection.auth = Some(auth),
        Err(failure) => {
            connection.complain(Complaint::LoginRefused, failure.fault.as_str(), &failure);
            return Ok(Err(failure.reply(&request.command)));
        }
    }
    Ok(exchange(connection, request).await)
}

async fn exchange(connection: &mut Connection, request: &Request) -> Result<Reply, ErrorReply> {
    let Some(mut auth) = connection.auth.take() else {
        let why = "no SASL conversation is under way; begin with saslStart";
        return Err(refused(
            connection,
            "no_conversation",
            codes::PROTOCOL_ERROR,
            why,
        ));
    };
    let frame = match auth.exchange(&request.frame).await {
        Ok(frame) => frame,
        Err(error @ LoginError::Lost(_)) => {
            let code = codes::HOST_UNREACHABLE;
            return Err(refused(connection, "link_lost", code, &error.to_string()));
        }
        Err(error @ LoginError::TooSlow) => {
            let code = codes::PROTOCOL_ERROR;
            return Err(refused(connection, "slow", code, &error.to_string()));
        }
    };
    let reply = Reply::from_server(frame);
    let view = reply.view();
    match (view.ok, view.done) {
        (true, true) => adopt(connection, auth).await,
        (true, false) => connection.auth = Some(auth),
        // The conversation failed: its link is dropped, the client stays who it was.
        (false, _) => {
            let text = doc::find(reply.body(), "errmsg").and_then(|e| e.as_str());
            let (text, mechanism) = (text.unwrap_or_default(), &auth.mechanism);
            let db = request.command.db();
            let reason = format_args!("{text} (mechanism {mechanism}, database {db})");
            connection.complain(Complaint::LoginFailed, "server", reason);
        }
    }
    Ok(reply)
}

/// A login that the proxy itself refuses.
fn refused(
    connection: &Connection,
    what: &'static str,
    code: (i32, &'static str),
    why: &str,
) -> ErrorReply {
    connection.complain(Complaint::LoginRefused, what, why);
    ErrorReply::new(code, why)
}
