//! Shadow verification: a share of the hits is also asked of the server, and compared.
//!
//! The client of such a hit gets the server's answer, at once. What differs counts as a mismatch
//! only if the entry outlived the comparison: a write that changed the answer meanwhile has ended
//! it, once the watch (if there is one) has passed the moment of the server's answer. Until then
//! it's a suspect. Answers may lawfully
//! differ in the order of what isn't sorted, and in which documents a limit leaves over; so only
//! what can't differ is compared.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::entry::{Entry, batch};
use super::{Cache, Wish};
use crate::command::Kind;
use crate::config::NamespacePattern;
use crate::pipeline::{Decision, Next, Outcome, Request, Tied};
use crate::wire::doc;

/// Picks the hits to be compared.
pub(super) struct Shadow {
    /// One in so many; 0: none.
    one_in: u64,
    hits: AtomicU64,
    suspects: Mutex<Vec<Suspect>>,
}

/// An entry that differs from an answer of a time that the watch hasn't passed.
struct Suspect {
    entry: Arc<Entry>,
    answered: u64,
    since: Instant,
}

impl Shadow {
    /// `share`: from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a whole number of hits"
    )]
    pub fn new(share: f64) -> Shadow {
        let one_in = if share > 0.0 {
            (1.0 / share).round().max(1.0) as u64
        } else {
            0
        };
        Shadow {
            one_in,
            hits: AtomicU64::new(0),
            suspects: Mutex::default(),
        }
    }

    pub fn is_due(&self) -> bool {
        self.one_in > 0 && (self.hits.fetch_add(1, Relaxed) + 1).is_multiple_of(self.one_in)
    }
}

impl Cache {
    /// Answers a hit by the server, and compares.
    pub(super) async fn compare(
        &self,
        request: &mut Request,
        next: Next<'_>,
        entry: &Arc<Entry>,
        wish: Wish,
    ) -> Outcome {
        let Ok(reply) = next.run(request).await else {
            return Ok(self.reply(request, entry, wish));
        };
        let view = reply.view();
        if !view.ok || view.partial || view.cursor_id.is_some_and(|id| id != 0) {
            return Ok(reply);
        }
        self.stats.compared();
        if !agree(entry, reply.body()) && self.fences.holds(&entry.tie) {
            let answered = doc::find(reply.body(), "operationTime").and_then(|t| t.as_timestamp());
            if !self.watches() {
                request.trail.note(Decision::Mismatch);
                self.mismatch(entry);
            } else if let Some(answered) = answered {
                let mut suspects = self.shadow.suspects.lock();
                if suspects.len() < MOST {
                    suspects.push(Suspect {
                        entry: Arc::clone(entry),
                        answered,
                        since: Instant::now(),
                    });
                }
            }
        }
        Ok(reply)
    }

    /// Decides on the suspects whose time the watch has passed.
    pub(super) fn judge(&self) {
        let mut guilty = Vec::new();
        self.shadow.suspects.lock().retain(|suspect| {
            // In this order: what the watch has passed has ended what it changed.
            let passed = self.horizon.passed(suspect.answered);
            let holds = self.fences.holds(&suspect.entry.tie);
            if passed && holds {
                guilty.push(Arc::clone(&suspect.entry));
            }
            !passed && holds && suspect.since.elapsed() < PATIENCE
        });
        for entry in guilty {
            self.mismatch(&entry);
        }
    }

    /// Counts, tells, and flushes the namespace.
    fn mismatch(&self, entry: &Entry) {
        self.stats.mismatch();
        let fields = |key: &str| {
            let values = doc::find(entry.command(), key).and_then(|f| f.as_document());
            let fields = values.into_iter().flat_map(doc::elements).flatten();
            fields.map(|f| f.key).collect::<Vec<_>>().join(",")
        };
        let asked = doc::elements(entry.command()).next().and_then(Result::ok);
        let (command, collection) = asked.map_or(("", ""), |c| (c.key, c.as_str().unwrap_or("")));
        let db = doc::find(entry.command(), "$db").and_then(|db| db.as_str());
        let db = db.unwrap_or_default();
        tracing::error!(
            target: "petiole::cache",
            namespace = format!("{db}.{collection}"),
            command,
            filter = fields("filter") + &fields("query"),
            sort = fields("sort"),
            age_ms = u64::try_from(self.now().since(entry.asked).as_millis()).unwrap_or(u64::MAX),
            external_writes = ?self.config.external_writes,
            "a cached answer differs from the server's: its namespace is flushed (with external_writes ttl or none, another writer may be the cause; otherwise please report it)"
        );
        self.flush_namespace(&NamespacePattern {
            database: db.to_owned(),
            collection: Some(collection.to_owned()),
        });
    }
}

/// Whether two answers may be answers to the same read of the same data.
fn agree(entry: &Entry, fresh: &[u8]) -> bool {
    let kept = entry.body();
    match entry.kind {
        Kind::Count => value(kept, "n") == value(fresh, "n"),
        Kind::Distinct => same_values(array(kept, "values"), array(fresh, "values")),
        _ => {
            let (kept, fresh) = (batch(kept, "firstBatch"), batch(fresh, "firstBatch"));
            let picks = ["limit", "skip"]
                .iter()
                .any(|key| doc::find(entry.command(), key).is_some());
            let pipeline = doc::find(entry.command(), "pipeline").and_then(|p| p.as_array());
            let stages = pipeline.into_iter().flat_map(doc::elements).flatten();
            let sums = stages
                .filter_map(|s| doc::elements(s.as_document()?).next()?.ok())
                .any(|s| !matches!(s.key, "$match" | "$project" | "$unwind" | "$sort"));
            let count = |batch: Option<&[u8]>| batch.map(|b| doc::elements(b).count());
            if picks || sums {
                count(kept) == count(fresh)
            } else {
                same_values(kept, fresh)
            }
        }
    }
}

fn value<'a>(reply: &'a [u8], key: &'a str) -> Option<&'a [u8]> {
    Some(doc::find(reply, key)?.value)
}

fn array<'a>(reply: &'a [u8], key: &'a str) -> Option<&'a [u8]> {
    doc::find(reply, key)?.as_array()
}

/// The same values, each as often, in any order.
fn same_values(kept: Option<&[u8]>, fresh: Option<&[u8]>) -> bool {
    let (Some(kept), Some(fresh)) = (kept, fresh) else {
        return false;
    };
    let mut counts: HashMap<(u8, &[u8]), i64> = HashMap::new();
    for element in doc::elements(kept).flatten() {
        *counts.entry((element.kind, element.value)).or_default() += 1;
    }
    for element in doc::elements(fresh).flatten() {
        *counts.entry((element.kind, element.value)).or_default() -= 1;
    }
    counts.values().all(|&n| n == 0)
}

/// How long a suspect waits for the watch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Suspects at a time.
const MOST: usize = 256;
