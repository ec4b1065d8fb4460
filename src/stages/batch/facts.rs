//! What the upstream can do, as it says itself: asked with a `hello` on the way that writes take,
//! now and then and never while a client waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::batch::SURELY_ANSWERED;
use crate::pipeline::{Next, Request};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// What a batch must know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// A replica set: a batch under a session of its own can be sent again.
    pub retryable: bool,
    /// It has `bulkWrite`, which answers for each operation.
    pub bulk: bool,
    /// `maxWriteBatchSize`.
    pub max_documents: usize,
    /// `maxMessageSizeBytes`, less what the command itself may take; less where a batch whose errors are too much
    /// for one reply can't be asked for again.
    pub max_size: usize,
}

/// The last answer.
#[derive(Default)]
pub(super) struct Facts {
    known: ArcSwapOption<Known>,
    asking: AtomicBool,
    /// Its `bulkWrite` doesn't take numbers of statements, so it can't be sent again.
    unnumbered: AtomicBool,
}

struct Known {
    /// `None`: batches can't be sent there.
    abilities: Option<Abilities>,
    asked: Instant,
}

impl Facts {
    /// What is known. If it isn't, or has become old, somebody is sent to ask.
    pub fn get(self: &Arc<Self>, request: &Request, next: Next<'_>) -> Option<Abilities> {
        let known = self.known.load();
        let fresh = known
            .as_ref()
            .is_some_and(|known| known.asked.elapsed() < LIFETIME);
        if !fresh && !self.asking.swap(true, Ordering::Relaxed) {
            self.ask(request, next);
        }
        known.as_ref()?.abilities
    }

    /// What was known last, however old.
    pub fn last(&self) -> Option<Abilities> {
        self.known.load().as_ref()?.abilities
    }

    /// The upstream has shown that it isn't what it was.
    pub fn forget(&self) {
        self.known.store(None);
        self.unnumbered.store(false, Ordering::Relaxed);
    }

    /// The upstream has refused numbers of statements in a `bulkWrite`.
    pub fn note_unnumbered(&self) {
        self.unnumbered.store(true, Ordering::Relaxed);
    }

    /// Whether a `bulkWrite` may be a retryable write. (SecantusDB 0.7 takes a `txnNumber` with it
    /// and doesn't heed it. It doesn't know `stmtIds`, and by that it is told.)
    pub fn is_bulk_numbered(&self) -> bool {
        !self.unnumbered.load(Ordering::Relaxed)
    }

    fn ask(self: &Arc<Self>, request: &Request, next: Next<'_>) {
        let (facts, next) = (Arc::clone(self), next.to_owned());
        let Some(mut hello) = request.side(&question()) else {
            return;
        };
        tokio::spawn(async move {
            let abilities = match next.borrow().run(&mut hello).await {
                Ok(reply) => read(reply.body()),
                Err(_) => None,
            };
            facts.known.store(Some(Arc::new(Known {
                abilities,
                asked: Instant::now(),
            })));
            facts.asking.store(false, Ordering::Relaxed);
        });
    }
}

fn question() -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("hello", 1);
    body.append_str("$db", "admin");
    body.finish()
}

fn read(hello: &[u8]) -> Option<Abilities> {
    let get = |key| doc::find(hello, key);
    let number = |key| get(key).and_then(|e| usize::try_from(e.as_i64()?).ok());
    // What a mongos does with a batch's statements hasn't been tried.
    let is_mongos = get("msg").is_some();
    if get("ok")?.as_f64()? != 1.0 || is_mongos || number("maxWireVersion")? < OLDEST {
        return None;
    }
    let sessions = get("logicalSessionTimeoutMinutes").is_some_and(|e| !e.is_null());
    let retryable = get("setName").is_some() && sessions;
    let max_size = number("maxMessageSizeBytes")?.saturating_sub(COMMAND);
    Some(Abilities {
        retryable,
        bulk: number("maxWireVersion")? >= BULK_WRITE,
        max_documents: number("maxWriteBatchSize")?,
        max_size: match retryable {
            true => max_size,
            false => max_size.min(SURELY_ANSWERED),
        },
    })
}

/// How long an answer is believed.
const LIFETIME: Duration = Duration::from_secs(10);
/// Wire version of MongoDB 4.4, the oldest whose replies drivers of today accept.
const OLDEST: usize = 9;
/// Wire version of MongoDB 8.0.
const BULK_WRITE: usize = 25;
/// What the server allows a command besides its documents.
const COMMAND: usize = 16 * 1024;
