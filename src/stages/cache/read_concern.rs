//! The default read concern, as far as answers depend on it (docs/coherence.md, rules 10 and 14).
//!
//! Only answers of read concern `local` are kept. A read that states none has the deployment's default. The watch asks for
//! that all the time; where it can't, the cache asks in the name of the client whose read could be stored: at first, and again
//! behind a later read once the answer is `max_lag` old.

use std::sync::atomic::Ordering::SeqCst;

use super::Cache;
use crate::command::{Bypass, Command, default_reads_are_local};
use crate::pipeline::{DefaultReads, Fences, Moment, Next, Request};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// Whose read concern a read has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadLevel {
    /// Its own, which is local.
    Stated,
    /// The default, which is known to be local.
    Default,
    /// The default, which can't be known.
    Unknown,
}

impl ReadLevel {
    /// Whether it still is what it was. To be asked once the read's window is open.
    pub fn holds(self, fences: &Fences) -> bool {
        match self {
            ReadLevel::Stated => true,
            ReadLevel::Default => matches!(fences.default_reads(), Some(DefaultReads::Local(_))),
            ReadLevel::Unknown => {
                matches!(fences.default_reads(), Some(DefaultReads::Unknowable(_)))
            }
        }
    }
}

impl Cache {
    /// Whose read concern a read has; an error if that isn't local.
    pub(super) async fn read_level(
        &self,
        request: &Request,
        next: Next<'_>,
    ) -> Result<ReadLevel, Bypass> {
        if states_level(&request.command) {
            return Ok(ReadLevel::Stated);
        }
        let known = match self.fences.default_reads() {
            Some(known) => known,
            None => {
                ask(request.side(&question()), next, &self.fences, self.now()).await;
                self.fences.default_reads().ok_or(Bypass::ReadConcern)?
            }
        };
        if known.asked().after(self.config.max_lag) < self.now() {
            self.ask_again(request, next);
        }
        match known {
            DefaultReads::Local(_) => Ok(ReadLevel::Default),
            DefaultReads::Unknowable(_) => Ok(ReadLevel::Unknown),
            DefaultReads::Weaker(_) => Err(Bypass::ReadConcern),
        }
    }

    /// Asks in a task of its own, one at a time.
    fn ask_again(&self, request: &Request, next: Next<'_>) {
        let Some(cache) = self.me.upgrade() else {
            return;
        };
        if self.asks_default.swap(true, SeqCst) {
            return;
        }
        let (question, next) = (request.side(&question()), next.to_owned());
        tokio::spawn(async move {
            ask(question, next.borrow(), &cache.fences, cache.now()).await;
            cache.asks_default.store(false, SeqCst);
        });
    }
}

async fn ask(question: Option<Request>, next: Next<'_>, fences: &Fences, now: Moment) {
    let (Some(mut question), Some(stamp)) = (question, fences.open_default_reads()) else {
        return;
    };
    let Ok(reply) = next.run(&mut question).await else {
        return;
    };
    let found = match default_reads_are_local(reply.body()) {
        Some(true) => DefaultReads::Local(now),
        Some(false) => DefaultReads::Weaker(now),
        None => DefaultReads::Unknowable(now),
    };
    fences.note_default_reads(&stamp, found);
}

fn states_level(command: &Command) -> bool {
    let concern = doc::find(command.body(), "readConcern").and_then(|c| c.as_document());
    concern.is_some_and(|concern| doc::find(concern, "level").is_some())
}

fn question() -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("getDefaultRWConcern", 1);
    body.append_str("$db", "admin");
    body.finish()
}
