//! What a proxy on an open port has to live with: broken, hostile and slow
//! writers. None of them may crash it, grow its memory or disturb others, so
//! each test has a [`Bystander`] whose every ping must be answered.
//!
//! A broken message is followed by a good ping and the end of the stream; what
//! comes back until the proxy closes is its whole [`fate`]. So nothing here
//! waits for a time to pass, but for `server.frame_timeout` where that is the
//! point.

mod compression;
mod content;
mod framing;
mod writers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::{doc, rawdoc};
use tokio::task::JoinHandle;

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::{RawClient, Section, op_msg};

/// What came back for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// `ok: 1` to the request of this id.
    Ok(i32),
    /// An error with this code, to the request of this id.
    Error(i32, i32),
}

/// For an answer, before the client says that it sends no more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Closed without a word.
const CLOSED: [Answer; 0] = [];

/// Sends `bytes` on a new connection, says that this was all once the last whole message of them is answered, and
/// returns every answer until the proxy closes. (A write whose client has said so before isn't sent.)
async fn fate(proxy: &Proxy, bytes: &[u8]) -> Vec<Answer> {
    fate_at(proxy.address(), bytes).await
}

/// As [`fate`], but the client says at once that this was all.
async fn fate_half_closed(proxy: &Proxy, bytes: &[u8]) -> Vec<Answer> {
    fate_of(proxy.address(), bytes, None).await
}

/// As [`fate`], at any server.
async fn fate_at(address: &str, bytes: &[u8]) -> Vec<Answer> {
    fate_of(address, bytes, last_request(bytes)).await
}

/// The id of the last message, if the bytes are whole messages and it wants an answer.
fn last_request(bytes: &[u8]) -> Option<i32> {
    let number = |at: usize| Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (mut at, mut last) = (0, None);
    while at < bytes.len() {
        let length = usize::try_from(number(at)?).ok().filter(|&l| l >= 20)?;
        let wants_none = number(at + 12)? == 2013 && number(at + 16)? & 2 != 0;
        last = (!wants_none).then_some(number(at + 4)?);
        at += length;
    }
    last.filter(|_| at == bytes.len())
}

/// `behind`: the request after whose answer the client says that this was all; `None`: at once.
async fn fate_of(address: &str, bytes: &[u8], mut behind: Option<i32>) -> Vec<Answer> {
    let mut client = RawClient::connect(address).await.unwrap();
    // A server that has seen enough may close while this is still being sent.
    let sent = client.send_bytes(bytes).await;
    if sent.is_ok() && behind.is_none() {
        let _ = client.half_close().await;
    }
    let mut answers = Vec::new();
    loop {
        let received = match behind {
            None => client.receive().await,
            Some(_) => match tokio::time::timeout(PATIENCE, client.receive()).await {
                Ok(received) => received,
                Err(_) => {
                    // The server waits for more.
                    behind = None;
                    let _ = client.half_close().await;
                    continue;
                }
            },
        };
        let Ok(reply) = received else { break };
        if behind == Some(reply.response_to) {
            behind = None;
            let _ = client.half_close().await;
        }
        let document = reply.document().unwrap();
        let ok = document.get_f64("ok").is_ok_and(|ok| ok == 1.0);
        let code = document.get_i32("code").unwrap_or(0);
        answers.push(match ok {
            true => Answer::Ok(reply.response_to),
            false => Answer::Error(reply.response_to, code),
        });
    }
    answers
}

/// A client that minds its own business while others misbehave.
struct Bystander {
    stop: Arc<AtomicBool>,
    pings: JoinHandle<(u64, Duration)>,
}

impl Bystander {
    async fn start(proxy: &Proxy) -> Bystander {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pings = tokio::spawn(async move {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let reply = client.command(&doc! { "ping": 1, "$db": "admin" }).await;
                let reply = reply.expect("a bystander's ping is answered");
                assert_eq!(reply.get_f64("ok").unwrap(), 1.0);
                longest = longest.max(begun.elapsed());
                count += 1;
            }
            (count, longest)
        });
        Bystander { stop, pings }
    }

    /// Ends the pings: all were answered, none had to wait, and the proxy
    /// still takes new clients.
    async fn was_undisturbed(self, proxy: &Proxy) {
        assert_eq!(
            fate(proxy, &ping(1)).await,
            [Answer::Ok(1)],
            "{}",
            proxy.log()
        );
        self.stop.store(true, Ordering::Relaxed);
        let (count, longest) = self.pings.await.expect("every ping succeeded");
        assert!(count > 0);
        assert!(longest < Duration::from_secs(10), "a ping took {longest:?}");
        let log = proxy.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

async fn proxy(overrides: &[(&str, &str)]) -> (Proxy, Bystander) {
    let upstream = shared::standalone().await;
    let proxy = Proxy::start(&upstream.uri(), overrides);
    let bystander = Bystander::start(&proxy).await;
    (proxy, bystander)
}

/// Debug builds and 200 sockets included.
fn assert_grew_little(proxy: &Proxy, before: u64) {
    let grown = proxy.rss().saturating_sub(before);
    assert!(grown <= 32 << 20, "the proxy grew by {} KiB", grown >> 10);
}

fn ping_document() -> Vec<u8> {
    rawdoc! { "ping": 1, "$db": "admin" }.into_bytes()
}

fn ping(id: i32) -> Vec<u8> {
    op_msg(id, 0, &[Section::Body(ping_document())])
}
