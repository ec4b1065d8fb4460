//! Connections of the admin side: a bounded number, each with time limits, so that requests which are begun and not ended
//! cost the proxy a bounded number of descriptors and leave room for those that are.
//!
//! A browser's or an attacker's connection without a request under way gives way to a new one; one with a request, or
//! with a viewer's events, doesn't.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::upstream::keep_alive;

/// Serves until it is dropped, which ends its connections.
pub(super) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let mut tasks = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(_) => {
                // Out of descriptors, which the client side logs.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|one| !one.task.is_finished());
        if open.len() >= MOST_CONNECTIONS {
            let Some(idle) = open.iter().position(|one| one.is_idle.load(Relaxed)) else {
                refuse(&socket);
                continue;
            };
            open.remove(idle).task.abort();
        }
        let is_idle = Arc::new(AtomicBool::new(true));
        let connection = connection(socket, router.clone(), Arc::clone(&is_idle));
        let task = tasks.spawn(connection);
        open.push(Open { task, is_idle });
    }
}

/// A connection.
struct Open {
    task: AbortHandle,
    /// No request of it is under way.
    is_idle: Arc<AtomicBool>,
}

async fn connection(socket: TcpStream, router: Router, is_idle: Arc<AtomicBool>) {
    let ready = socket.set_nodelay(true).and_then(|()| keep_alive(&socket));
    if ready.is_err() {
        return;
    }
    let service = service_fn(|request| answer(&router, &is_idle, request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN);
    // What fails here is the other side's.
    let _ = http.serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(
    router: &Router,
    is_idle: &AtomicBool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    is_idle.store(false, Relaxed);
    let service = TowerToHyperService::new(router.clone());
    // A request's body is read within this time, too.
    let response = match timeout(ANSWER_WITHIN, service.call(request)).await {
        Ok(Ok(response)) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    };
    is_idle.store(!is_stream(&response), Relaxed);
    Ok(response)
}

/// Whether its body goes on until the viewer leaves.
fn is_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Tells one too many, as far as its socket takes it at once.
fn refuse(socket: &TcpStream) {
    const TEXT: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 21\r\n\r\ntoo many connections\n";
    let told: io::Result<usize> = socket.try_write(TEXT);
    drop(told);
}

/// Twice the viewers that the dashboard may have.
const MOST_CONNECTIONS: usize = 64;
/// From a connection's beginning, or from the answer before.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
