//! `hello`, answered by the proxy from the upstream's own hello.
//!
//! Everything that names a server is taken out or replaced, so that no driver walks
//! around the proxy. Fields that Petiole doesn't know pass in both directions.

use super::auth_relay;
use super::complaints::Complaint;
use super::connection::{Close, Connection};
use crate::command::Command;
use crate::config::Posture;
use crate::pipeline::{Failure, Reply, Request};
use crate::upstream::{Deployment, Hello};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// Answers a hello that came as OP_MSG.
pub(super) async fn hello(connection: &mut Connection, request: &Request) -> Result<(), Close> {
    let document = answer(connection, &request.command).await?;
    if request.msg.more_to_come() {
        return Ok(());
    }
    let reply = Reply::document(&request.frame, &document);
    connection.write(&request.frame, &reply).await
}

/// The reply document to a hello of any form.
pub(super) async fn answer(
    connection: &mut Connection,
    command: &Command,
) -> Result<Vec<u8>, Close> {
    let (face, deployment) = match connection.shared.upstream.face().await {
        Ok(face) => face,
        Err(failure) => return Ok(error(command, &failure)),
    };
    connection.seat.introduced(command);
    connection.set_origin();
    let relayed = match relay_authentication(connection, command).await? {
        Ok(relayed) => relayed,
        Err(failure) => return Ok(error(command, &failure)),
    };
    let posture = posture(connection.shared.config.server.posture, deployment);
    let mut reply = build(connection, command, &face, posture);
    if let Some(document) = relayed {
        for key in ["saslSupportedMechs", "speculativeAuthenticate"] {
            if let Some(element) = doc::find(&document, key) {
                reply.append_raw(element.raw);
            }
        }
    }
    reply.append_f64("ok", 1.0);
    Ok(reply.finish())
}

fn error(command: &Command, failure: &Failure) -> Vec<u8> {
    failure.reply(command).document().to_vec()
}

/// `auto` is what lets drivers use everything the deployment can do without naming its set.
fn posture(configured: Posture, deployment: Deployment) -> Posture {
    match (configured, deployment) {
        (Posture::Auto, Deployment::Single | Deployment::Unknown) => Posture::Standalone,
        (Posture::Auto, Deployment::ReplicaSet | Deployment::Sharded) => Posture::Mongos,
        (chosen, _) => chosen,
    }
}

fn build(connection: &Connection, command: &Command, face: &Hello, posture: Posture) -> DocBuf {
    let config = &connection.shared.config.server;
    let advertised = connection.advertised();
    let mut reply = DocBuf::with_capacity(512);
    let modern = command.name() == "hello";
    let asks_hello_ok = doc::find(command.body(), "helloOk").is_some_and(|e| e.is_truthy());
    if asks_hello_ok {
        reply.append_bool("helloOk", true);
    }
    match posture {
        Posture::Mongos => {
            reply.append_bool(
                if modern {
                    "isWritablePrimary"
                } else {
                    "ismaster"
                },
                true,
            );
            reply.append_str("msg", "isdbgrid");
        }
        Posture::ReplicaSet => {
            let hosts = [&advertised];
            reply.append_strs("hosts", hosts);
            if let Some(name) = &face.set_name {
                reply.append_str("setName", name);
            }
            for key in ["setVersion", "electionId"] {
                if let Some(element) = doc::find(&face.document, key) {
                    reply.append_raw(element.raw);
                }
            }
            reply.append_bool(
                if modern {
                    "isWritablePrimary"
                } else {
                    "ismaster"
                },
                true,
            );
            reply.append_bool("secondary", false);
            reply.append_str("primary", &advertised);
            reply.append_str("me", &advertised);
            if let Some(element) = doc::find(&face.document, "lastWrite") {
                reply.append_raw(element.raw);
            }
        }
        Posture::Standalone | Posture::Auto => {
            reply.append_bool(
                if modern {
                    "isWritablePrimary"
                } else {
                    "ismaster"
                },
                true,
            );
        }
    }
    let max_message = i32::try_from(config.max_message_size.as_u64()).unwrap_or(i32::MAX);
    for element in doc::elements(&face.document).flatten() {
        match element.key {
            key if OURS.contains(&key) => {}
            "maxMessageSizeBytes" => {
                let theirs = element.as_i32().unwrap_or(max_message);
                reply.append_i32("maxMessageSizeBytes", theirs.min(max_message));
            }
            "maxWireVersion" => {
                let theirs = element.as_i32().unwrap_or(MAX_WIRE_VERSION);
                reply.append_i32("maxWireVersion", theirs.min(MAX_WIRE_VERSION));
            }
            _ => {
                reply.append_raw(element.raw);
            }
        }
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    reply.append_date(
        "localTime",
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
    );
    reply.append_i32(
        "connectionId",
        i32::try_from(connection.id & 0x7fff_ffff).unwrap_or(i32::MAX),
    );
    let asked = doc::find(command.body(), "compression").and_then(|e| e.as_array());
    let asked: Vec<&str> = asked
        .into_iter()
        .flat_map(doc::elements)
        .flatten()
        .filter_map(|e| e.as_str())
        .collect();
    let accepted: Vec<&str> = asked
        .into_iter()
        .filter(|name| config.compressors.iter().any(|c| c.name() == *name))
        .collect();
    if !accepted.is_empty() {
        reply.append_strs("compression", &accepted);
    }
    reply
}

/// Relays `speculativeAuthenticate` and `saslSupportedMechs` over a fresh link, and keeps
/// that link for the rest of the conversation. Returns that link's hello reply. If it
/// can't be done the client authenticates in the ordinary way, and is told why there; but a client that wants to know a
/// user's mechanisms and isn't told would try one that the user may not have, so that its hello fails.
async fn relay_authentication(
    connection: &mut Connection,
    command: &Command,
) -> Result<Result<Option<bytes::Bytes>, Failure>, Close> {
    let speculative = doc::find(command.body(), "speculativeAuthenticate");
    let mechanisms = doc::find(command.body(), "saslSupportedMechs");
    let first_step = speculative.and_then(|e| e.as_document());
    let mechanism = first_step
        .filter(|step| doc::find(step, "saslStart").is_some())
        .and_then(|step| doc::find(step, "mechanism"))
        .and_then(|m| m.as_str())
        .map(str::to_owned);
    let mut extra: Vec<&[u8]> = Vec::new();
    if let (Some(element), Some(_)) = (speculative, &mechanism) {
        extra.push(element.raw);
    }
    if let Some(element) = mechanisms {
        extra.push(element.raw);
    }
    if extra.is_empty() {
        return Ok(Ok(None));
    }
    let may_wait = mechanisms.is_some();
    let name = mechanism.clone().unwrap_or_default();
    let auth = match auth_relay::open(connection, &extra, name, may_wait).await? {
        Ok(auth) => auth,
        Err(_) if !may_wait => return Ok(Ok(None)),
        Err(failure) => {
            connection.complain(Complaint::LoginRefused, failure.fault.as_str(), &failure);
            return Ok(Err(failure));
        }
    };
    let document = auth.hello.clone();
    let answer = doc::find(&document, "speculativeAuthenticate").and_then(|e| e.as_document());
    if let (Some(answer), Some(_)) = (answer, mechanism) {
        let done = doc::find(answer, "done").is_some_and(|d| d.is_truthy());
        if done {
            auth_relay::adopt(connection, auth).await;
        } else {
            connection.auth = Some(auth);
        }
    }
    Ok(Ok(Some(document)))
}

/// Fields that the proxy sets itself, or that never reach a client.
const OURS: [&str; 29] = [
    "helloOk",
    "ismaster",
    "isWritablePrimary",
    "secondary",
    "msg",
    "hosts",
    "passives",
    "arbiters",
    "primary",
    "me",
    "setName",
    "setVersion",
    "electionId",
    "topologyVersion",
    "lastWrite",
    "tags",
    "hidden",
    "passive",
    "arbiterOnly",
    "isreplicaset",
    "localTime",
    "connectionId",
    "compression",
    "saslSupportedMechs",
    "speculativeAuthenticate",
    "serviceId",
    "ok",
    "$clusterTime",
    "operationTime",
];

/// The newest wire version that this proxy was written for (MongoDB 8.2).
const MAX_WIRE_VERSION: i32 = 27;
