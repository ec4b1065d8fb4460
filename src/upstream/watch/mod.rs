//! Watches the deployment for writes that go around the proxy (docs/coherence.md, rule 8).
//!
//! - `poll`: asks the primary for its last write, again and again.
//! - `stream`: the change stream; opens it, follows it, opens it anew.
//! - `default_concern`: asks what a read without a read concern means.
//! - `event`: what one event says was written. `fault`: what to do about an error.
//!
//! What is learnt goes to a [`Landed`] and into the [`Horizon`]; who listens isn't known here.
//!
//! Invariants: an event is handed on before the position passes it. A stream is reopened at the
//! position, so that events come twice rather than never; if that isn't possible any more, a new
//! one is opened at the present first, and everything is flushed then.
//!
//! Absent on purpose: sharded clusters. A mongos tells no last write of the deployment, so that
//! nobody could know how far behind the stream is.

mod default_concern;
mod event;
mod fault;
mod poll;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use super::client;
use crate::config::{self, ExternalWrites};
use crate::pipeline::{Horizon, Landed};

/// A running watch; dropping it ends it.
pub struct Watch(tokio::task::JoinHandle<()>);

impl Watch {
    /// Starts to watch, on the runtime that calls, if the configuration wants it. The horizon must
    /// have been made by [`horizon`] from the same configuration.
    pub fn start(
        upstream: &config::Upstream,
        cache: &config::Cache,
        horizon: Arc<Horizon>,
        landed: Arc<dyn Landed>,
    ) -> Option<Watch> {
        if !wanted(cache) {
            return None;
        }
        let asked_for = cache.external_writes == ExternalWrites::Watch;
        let run = run(upstream.clone(), horizon, landed, asked_for);
        Some(Watch(tokio::spawn(run)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The horizon that goes with a configuration.
pub fn horizon(cache: &config::Cache) -> Arc<Horizon> {
    match wanted(cache) {
        true => Horizon::starting(cache.max_lag),
        false => Horizon::off(),
    }
}

fn wanted(cache: &config::Cache) -> bool {
    cache.enabled && cache.external_writes.watches()
}

async fn run(
    upstream: config::Upstream,
    horizon: Arc<Horizon>,
    landed: Arc<dyn Landed>,
    asked_for: bool,
) {
    let mut told = String::new();
    loop {
        let reason = match client::connect(&upstream, "petiole-watch", LINKS).await {
            Ok(client) => {
                let beat = beat(horizon.max_lag());
                tokio::select! {
                    reason = stream::read(&client, &horizon, &*landed, beat) => reason,
                    () = poll::poll(&client, &horizon, &*landed, beat) => return,
                }
            }
            Err(reason) => Impossible::Fault(reason),
        };
        // Entries live for `cache.ttl` from here on; those stored so far would live for ever.
        horizon.turn_off();
        landed.flush();
        let text = reason.to_string();
        if told != text {
            if asked_for || matches!(reason, Impossible::Fault(_)) {
                tracing::warn!(target: "petiole::watch", reason = text,
                    "writes that go around the proxy can't be watched: entries live for cache.ttl");
            } else {
                tracing::info!(target: "petiole::watch", reason = text,
                    "writes that go around the proxy aren't watched: entries live for cache.ttl");
            }
            told = text;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why there can be no watch.
#[derive(Debug, thiserror::Error)]
enum Impossible {
    /// The deployment has no change streams, or none that could be relied on.
    #[error("{0}")]
    Deployment(&'static str),
    /// Rights, credentials, files.
    #[error("{0}")]
    Fault(String),
}

/// Time between two polls, and the longest time that the server waits for an event. Both together
/// make up the usual lag, so that it stays below half of what is allowed.
fn beat(max_lag: Duration) -> Duration {
    (max_lag / 5).clamp(Duration::from_millis(20), Duration::from_millis(250))
}

/// Time until it's tried again whether the deployment can be watched after all.
const AGAIN: Duration = Duration::from_secs(60);

/// One for the stream, one for polls, one for closing a cursor.
const LINKS: u32 = 3;
