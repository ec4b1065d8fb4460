//! The dashboard at `/`: one page that asks for nothing outside, and what it lives on.
//!
//! The page holds no data, so it is served to anybody; everything it shows comes from `/api`,
//! with the token if there is one. Style and script are inlined and allowed by their hashes,
//! and nothing else is allowed at all.
//!
//! - `/api/events`: a snapshot a second by server-sent events, to a bounded number of viewers.
//! - `/api/snapshot`: one of these, for those who ask by themselves (`petiole top`).
//! - `/api/history`: the past (`admin/history.rs`).

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::Door;
use super::history::History;

const INDEX: &str = include_str!("index.html");
const STYLE: &str = include_str!("style.css");
/// One script in several files; the last one uses what the others define.
const SCRIPT: &str = concat!(
    include_str!("format.js"),
    include_str!("store.js"),
    include_str!("chart.js"),
    include_str!("live.js"),
    include_str!("panels.js"),
    include_str!("app.js"),
);

/// The page and the policy that it is served with.
struct Page {
    html: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = INDEX
        .replace("/*style.css*/", STYLE)
        .replace("/*app.js*/", SCRIPT);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    Page { html, policy }
});

/// Live viewers of one proxy.
pub(super) struct Viewers {
    history: Arc<History>,
    seats: Arc<Semaphore>,
}

impl Viewers {
    pub(super) fn new(history: Arc<History>) -> Arc<Viewers> {
        Arc::new(Viewers {
            history,
            seats: Arc::new(Semaphore::new(MOST_VIEWERS)),
        })
    }
}

pub(super) async fn page() -> Response {
    let headers: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, &PAGE.policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (headers, Html(PAGE.html.as_str())).into_response()
}

pub(super) async fn snapshot(State(door): State<Door>) -> Response {
    axum::Json(door.viewers.history.now(&door.shared)).into_response()
}

pub(super) async fn history(State(door): State<Door>) -> Response {
    axum::Json(door.viewers.history.json()).into_response()
}

/// Server-sent events until the viewer goes. A viewer that reads slowly misses some: only the
/// newest is kept.
pub(super) async fn events(State(door): State<Door>) -> Response {
    let Ok(seat) = Arc::clone(&door.viewers.seats).try_acquire_owned() else {
        let hint = format!("{MOST_VIEWERS} viewers are watching already; close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, hint).into_response();
    };
    let mut newest = door.viewers.history.events();
    // What is there may be old: viewers come and go.
    newest.mark_unchanged();
    let stream = futures_util::stream::unfold((newest, seat), async |(mut newest, seat)| {
        newest.changed().await.ok()?;
        let text = Arc::clone(&newest.borrow_and_update());
        let event = Event::default().data(&*text);
        Some((Ok::<_, Infallible>(event), (newest, seat)))
    });
    Sse::new(stream).into_response()
}

/// Enough for a team's walls and desks.
const MOST_VIEWERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_for_nothing_outside() {
        let html = &PAGE.html;
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        let outside = ["https://", "//cdn", "@import", "url(http", "src=\"http"];
        for link in outside {
            assert!(!html.contains(link), "{link}");
        }
        // (The namespace of SVG is a name and no request.)
        let http = html.matches("http://").count();
        assert_eq!(http, html.matches("http://www.w3.org/").count());
    }

    #[test]
    fn no_inline_handler_or_style_would_need_a_wider_policy() {
        for attribute in [" onclick=", " onload=", " style=\"", "javascript:"] {
            assert!(!PAGE.html.contains(attribute), "{attribute}");
        }
        assert!(!PAGE.policy.contains("unsafe"));
    }
}
