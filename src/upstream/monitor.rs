//! Watches one server: hello over a link of its own, again whenever something changes
//! (awaitable hello), when somebody suspects it, and at the heartbeat. How long a round trip takes is
//! measured over a second link, since a hello that waits for changes doesn't tell
//! ("Server Monitoring" specification).

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::dial::{Dialer, body_of};
use super::hello::{Hello, awaitable, build_info, plain, release_in};
use super::link::Link;
use super::server::Server;
use super::topology::Topology;
use crate::wire::build;
use crate::wire::frame::Frame;

/// Runs until the server leaves the deployment or the proxy ends.
pub(super) async fn watch(
    topology: Weak<Topology>,
    server: Arc<Server>,
    dialer: Arc<Dialer>,
    heartbeat: Duration,
) {
    tokio::select! {
        () = sessions(topology, &server, &dialer, heartbeat) => {}
        () = round_trips(&server, &dialer, heartbeat) => {}
    }
}

/// Measures round trips, for ever.
async fn round_trips(server: &Arc<Server>, dialer: &Dialer, heartbeat: Duration) {
    let mut link = None;
    let mut measured = 0;
    loop {
        if link.is_none() && server.state().hello.is_some() {
            link = dialer.dial(server, usize::MAX, &[]).await.ok();
        }
        let Some((open, _)) = &mut link else {
            sleep(RETRY).await;
            continue;
        };
        let asked = Instant::now();
        match ask(open, &plain(), heartbeat + PATIENCE).await {
            Ok(_) => {
                server.took(asked.elapsed().as_micros() as u64);
                measured += 1;
            }
            // What that says of the server, its monitor will find out by itself.
            Err(_) => link = None,
        }
        if measured >= AT_FIRST || link.is_none() {
            sleep(heartbeat).await;
        }
    }
}

async fn sessions(
    topology: Weak<Topology>,
    server: &Arc<Server>,
    dialer: &Dialer,
    heartbeat: Duration,
) {
    loop {
        let wait = match session(&topology, server, dialer, heartbeat).await {
            End::Removed => return,
            End::Failed(reason) => {
                let Some(topology) = topology.upgrade() else {
                    return;
                };
                topology.failed(server, reason);
                RETRY
            }
            End::Silent(reason) => {
                let Some(topology) = topology.upgrade() else {
                    return;
                };
                topology.silent(server, reason);
                RETRY
            }
            End::Suspected => Duration::ZERO,
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = server.removed.notified() => return,
        }
    }
}

enum End {
    Removed,
    Failed(String),
    /// Neither an answer nor a refusal in time: a frozen process, or a network that drops everything.
    Silent(String),
    /// Somebody's link broke: look again, over a new link.
    Suspected,
}

/// One link's life.
async fn session(
    topology: &Weak<Topology>,
    server: &Arc<Server>,
    dialer: &Dialer,
    heartbeat: Duration,
) -> End {
    let began = Instant::now();
    let introduced = tokio::select! {
        introduced = introduce(server, dialer) => introduced,
        reason = too_late(server) => return End::Silent(reason),
        () = server.removed.notified() => return End::Removed,
    };
    let (mut link, mut document, release) = match introduced {
        Ok(introduced) => introduced,
        Err(end) => return end,
    };
    if server.round_trip_us() == 0 {
        // A dial takes a few round trips.
        server.guess(began.elapsed().as_micros() as u64 / 3);
    }
    loop {
        let Some(mut hello) = Hello::read(document) else {
            return End::Failed("it answers hello with an error".to_owned());
        };
        let version = hello.topology_version.clone();
        hello.release = release;
        {
            let Some(topology) = topology.upgrade() else {
                return End::Removed;
            };
            topology.answered(server, hello);
        }
        let question = match &version {
            Some(version) => awaitable(version, heartbeat),
            None => {
                tokio::select! {
                    () = sleep(heartbeat) => {}
                    () = server.suspected.notified() => {}
                    () = server.removed.notified() => return End::Removed,
                }
                plain()
            }
        };
        tokio::select! {
            answer = ask(&mut link, &question, heartbeat + PATIENCE) => match answer {
                Ok(answer) => document = answer,
                Err(end) => return end,
            },
            reason = too_late(server) => return End::Silent(reason),
            () = server.suspected.notified() => return End::Suspected,
            () = server.removed.notified() => return End::Removed,
        }
    }
}

/// A link, the hello that it began with, and the server's release, if the server says it.
async fn introduce(
    server: &Arc<Server>,
    dialer: &Dialer,
) -> Result<(Link, Bytes, Option<[u16; 3]>), End> {
    let began = Instant::now();
    let dialled = dialer.dial(server, usize::MAX, &[]).await;
    let (mut link, hello) =
        dialled.map_err(|failure| match began.elapsed() >= dialer.connect_timeout {
            true => End::Silent(failure.to_string()),
            false => End::Failed(failure.to_string()),
        })?;
    let build = ask(&mut link, &build_info(), dialer.connect_timeout).await?;
    Ok((link, hello, release_in(&build)))
}

/// Another member has been elected, and this one, which called itself primary, doesn't say anything.
async fn too_late(server: &Server) -> String {
    server.superseded().await;
    let round_trip = Duration::from_micros(server.round_trip_us());
    sleep(SUPERSEDED.max(round_trip * 8)).await;
    "another member was elected, and this one doesn't answer".to_owned()
}

async fn ask(link: &mut Link, question: &[u8], patience: Duration) -> Result<Bytes, End> {
    let frame = Frame {
        bytes: build::op_msg(3, 0, 0, question),
    };
    match timeout(patience, link.exchange(&frame, false)).await {
        Ok(Ok(reply)) => Ok(body_of(&reply)),
        Ok(Err(error)) => Err(End::Failed(error.to_string())),
        Err(_) => Err(End::Silent(format!(
            "no answer to its monitor within {} s",
            patience.as_secs()
        ))),
    }
}

/// Round trips measured one after the other at first: the shortest tells how far away the server is.
const AT_FIRST: u32 = 3;
/// Between attempts to reach a server that is down ("minHeartbeatFrequencyMS" is 500 ms).
const RETRY: Duration = Duration::from_millis(250);
/// How long a primary that has been replaced may take for saying so.
const SUPERSEDED: Duration = Duration::from_millis(500);
/// Beyond the time that an awaitable hello may take.
const PATIENCE: Duration = Duration::from_secs(5);
