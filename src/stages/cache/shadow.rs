//! Shadow verification: a share of the hits is also asked of the server, and compared.
//!
//! The client of such a hit gets the server's answer, at once. What differs counts as a mismatch
//! only if the entry outlived the comparison: a write that changed the answer meanwhile has ended
//! it, once the watch (if there is one) has passed the moment of the server's answer. Until then
//! it's a suspect. `agree.rs` says which differences are lawful. It is told what the collection is; and where a limit leaves the choice
//! to the server, the documents that were kept are asked for once more, by their `_id`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::agree::{self, Grounds, Verdict};
use super::entry::{Entry, batch};
use super::{Cache, Wish};
use crate::command::{Kind, ReplyView};
use crate::config::NamespacePattern;
use crate::pipeline::{Decision, Next, Outcome, Request, Tied};
use crate::wire::build::DocBuf;
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
        let differs = differs(request, next, entry, reply.body()).await;
        if let Some(answered) = differs
            && self.fences.holds(&entry.tie)
        {
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

/// Whether an entry differs from the server's answer in what can't differ: the operation time of the answer that shows it, if
/// the server says one.
async fn differs(
    request: &Request,
    next: Next<'_>,
    entry: &Entry,
    fresh: &[u8],
) -> Option<Option<u64>> {
    let time = |reply: &[u8]| doc::find(reply, "operationTime").and_then(|t| t.as_timestamp());
    if entry.body() == fresh || entry.batch() == batch(fresh, "firstBatch").unwrap_or(b"?") {
        return None;
    }
    let grounds = match entry.kind {
        Kind::Find | Kind::Aggregate => ask_grounds(request, next).await,
        _ => Grounds::default(),
    };
    match agree::judge(entry.command(), entry.kind, entry.body(), fresh, &grounds) {
        Verdict::Agree => None,
        Verdict::Differ => Some(time(fresh)),
        Verdict::Open if entry.kind == Kind::Find && grounds.plain => {
            let mut side = request.side(&by_id(entry)?)?;
            let reply = next.run(&mut side).await.ok()?;
            let view = reply.view();
            let whole = view.ok && !view.partial && view.cursor_id == Some(0);
            (whole && !agree::holds_all(entry.body(), reply.body())).then(|| time(reply.body()))
        }
        Verdict::Open => None,
    }
}

/// What the server says of the collection. Where it says nothing, nothing is known.
async fn ask_grounds(request: &Request, next: Next<'_>) -> Grounds {
    let (db, Some(collection)) = (request.command.db(), request.command.collection()) else {
        return Grounds::default();
    };
    let ask = async |question: &[u8]| {
        let mut side = request.side(question)?;
        let reply = next.run(&mut side).await.ok()?;
        ReplyView::read(reply.body()).ok.then_some(reply)
    };
    let mut question = DocBuf::new();
    question.append_i32("listCollections", 1);
    question.append_doc_with("filter", |filter| {
        filter.append_str("name", collection);
    });
    question.append_str("$db", db);
    let definition = ask(&question.finish()).await;
    let mut question = DocBuf::new();
    question.append_str("listIndexes", collection);
    question.append_str("$db", db);
    let indexes = ask(&question.finish()).await;
    let body = |reply: &Option<crate::pipeline::Reply>| reply.as_ref().map(|r| r.body().to_vec());
    agree::grounds(body(&definition).as_deref(), body(&indexes).as_deref())
}

/// The read that says whether the documents of an entry are still what it says; `None` where it can't be asked.
fn by_id(entry: &Entry) -> Option<Vec<u8>> {
    let ids = agree::ids(entry.body())?;
    let mut question = DocBuf::new();
    let no_filter = DocBuf::new().finish();
    let mut filter: &[u8] = &no_filter;
    for field in doc::elements(entry.command()).flatten() {
        match field.key {
            "filter" => filter = field.as_document()?,
            "find" | "projection" | "collation" | "let" | "$db" => {
                question.append_raw(field.raw);
            }
            "min" | "max" | "showRecordId" => return None,
            _ => {}
        }
    }
    question.append_doc_with("filter", |both| {
        both.append_array("$and", |both| {
            both.push_doc(filter);
            let mut wanted = DocBuf::new();
            wanted.append_doc_with("_id", |id| {
                id.append_array("$in", |list| {
                    for id in &ids {
                        list.push_value(id.kind, id.value);
                    }
                });
            });
            both.push_doc(&wanted.finish());
        });
    });
    question.append_i64("batchSize", i64::try_from(ids.len()).ok()? + 1);
    Some(question.finish())
}

/// How long a suspect waits for the watch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Suspects at a time.
const MOST: usize = 256;
