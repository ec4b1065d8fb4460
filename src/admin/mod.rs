//! The admin side over HTTP: health, readiness, status, metrics, configuration, flush.
//!
//! Loopback by default; with a token set, every path but `/health` and `/ready` needs
//! `Authorization: Bearer TOKEN`. Nothing here allows another origin to read it, actions
//! are POST with a JSON content type (which no form of another site can send), and no
//! secret is ever in an answer.

mod advice;
mod console;
mod dashboard;
mod door;
mod history;
mod http;
mod memory;
mod metrics;
mod profile;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

pub use self::advice::advice;
pub use self::console::console;
use self::dashboard::Viewers;
use self::history::History;
pub use self::profile::{shapes, slow};
pub use self::status::status;
use crate::config::{HostPort, NamespacePattern, Token};
use crate::server::Shared;

/// The admin listener of a running proxy.
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

/// An admin side that can't be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.listen = {address:?}: {reason}; choose a free address of this machine, or \"\" for none"
)]
pub struct AdminError {
    address: String,
    reason: std::io::Error,
}

#[derive(Clone)]
struct Door {
    shared: Arc<Shared>,
    viewers: Arc<Viewers>,
    token: Option<Token>,
    /// The names by which this listener may be addressed (against DNS rebinding).
    loopback: bool,
}

impl Admin {
    /// Binds and serves on the runtime that calls.
    pub async fn start(
        at: &HostPort,
        token: Option<Token>,
        shared: Arc<Shared>,
    ) -> Result<Admin, AdminError> {
        let failed = |reason| AdminError {
            address: at.to_string(),
            reason,
        };
        let listener = TcpListener::bind((at.host.as_str(), at.port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let history = History::new();
        let door = Door {
            viewers: Viewers::new(Arc::clone(&history)),
            shared: Arc::clone(&shared),
            token,
            loopback: address.ip().is_loopback(),
        };
        let open = Router::new()
            .route("/", get(dashboard::page))
            .route("/health", get(health))
            .route("/ready", get(ready));
        let guarded = Router::new()
            .route("/metrics", get(metrics_text))
            .route("/api/status", get(api_status))
            .route("/api/memory", get(api_memory))
            .route("/api/config", get(api_config))
            .route("/api/events", get(dashboard::events))
            .route("/api/snapshot", get(dashboard::snapshot))
            .route("/api/history", get(dashboard::history))
            .route("/api/shapes", get(api_shapes))
            .route("/api/slow", get(api_slow))
            .route("/api/advice", get(api_advice))
            .route("/api/cache/flush", post(flush))
            .layer(middleware::from_fn_with_state(door.clone(), guard));
        let router = open
            .merge(guarded)
            .layer(middleware::map_response(seal))
            .with_state(door);
        let task = tokio::spawn(async move {
            tokio::select! {
                never = http::serve(listener, router) => match never {},
                () = history.keep(shared) => {}
            }
        });
        Ok(Admin { address, task })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let admitted = door::admits(
        request.method(),
        request.headers(),
        door.token.as_ref(),
        door.loopback,
    );
    match admitted {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn seal(mut response: Response) -> Response {
    door::seal(&mut response);
    response
}

/// Whether the process does its work: a worker that stands still serves none of its clients.
async fn health(State(door): State<Door>) -> (StatusCode, String) {
    let stuck = door.shared.workers.stuck();
    if stuck.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let lines = stuck.iter().map(|stuck| {
        let (worker, seconds) = (stuck.worker, stuck.since.as_secs());
        format!("worker {worker} has been stuck for {seconds} s\n")
    });
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}

async fn ready(State(door): State<Door>) -> (StatusCode, &'static str) {
    if door.shared.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let reachable = door
        .shared
        .upstream
        .servers()
        .iter()
        .any(|s| s.role.is_some());
    if reachable {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "no upstream server can be reached\n",
        )
    }
}

async fn metrics_text(State(door): State<Door>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    match metrics::answer(&door.shared, accepts.unwrap_or_default()) {
        Ok((kind, text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn api_status(State(door): State<Door>) -> Response {
    axum::Json(status(&door.shared)).into_response()
}

async fn api_shapes(State(door): State<Door>) -> Response {
    axum::Json(shapes(&door.shared)).into_response()
}

async fn api_slow(State(door): State<Door>) -> Response {
    axum::Json(slow(&door.shared)).into_response()
}

async fn api_advice(State(door): State<Door>) -> Response {
    axum::Json(advice(&door.shared)).into_response()
}

async fn api_memory(State(door): State<Door>) -> Response {
    axum::Json(memory::memory(&door.shared.memory.report())).into_response()
}

async fn api_config(State(door): State<Door>) -> Response {
    let text = door.shared.config.to_toml();
    match toml::from_str::<toml::Table>(&text) {
        Ok(table) => axum::Json(table).into_response(),
        Err(_) => text.into_response(),
    }
}

/// What to flush.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Flush {
    /// `db.collection` or `db.*`; absent: everything.
    namespace: Option<NamespacePattern>,
}

async fn flush(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    if !kind.starts_with("application/json") {
        return (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/json\n",
        )
            .into_response();
    }
    let wanted = match body.is_empty() {
        true => Ok(Flush::default()),
        false => serde_json::from_slice::<Flush>(&body),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => {
            let hint = format!("{error}; send {{}} or {{\"namespace\": \"db.collection\"}}\n");
            return (StatusCode::BAD_REQUEST, hint).into_response();
        }
    };
    let flushed = door.shared.cache.as_ref().map_or(0, |cache| {
        let entries = cache.entries();
        match &wanted.namespace {
            Some(namespace) => cache.flush_namespace(namespace),
            None => cache.flush(),
        }
        entries.saturating_sub(cache.entries())
    });
    let namespace = wanted.namespace.map(|n| n.to_string());
    tracing::info!(target: "petiole::admin", flushed, namespace, "cache flushed");
    axum::Json(serde_json::json!({ "flushed": flushed })).into_response()
}
