//! What a name means: a collection, or a view that depends on others.
//!
//! Asked of the server once per name, in the principal's own name: with its options, or, where
//! the principal may not list collections, in the one form that it may always use. An answer
//! lives until a definition in that database changes through the proxy, and at most
//! [`LIFETIME`]: a name that is redefined around the proxy is noticed within that time.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::entry::batch;
use crate::command::Bypass;
use crate::pipeline::{Fences, Moment, Next, Reads, Request, Stamp};
use crate::wire::build::DocBuf;
use crate::wire::doc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CollectionKind {
    /// Documents of its own, in no collation, and not capped: a write to one document leaves
    /// the others alone.
    Plain,
    /// Documents of its own.
    Special,
    /// Defined by a pipeline over other collections of the database.
    View,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub kind: CollectionKind,
    /// The server may delete documents by itself (a TTL index), as far as is known.
    pub expires: bool,
}

struct Fact {
    known: Known,
    stamp: Stamp,
    expires: Moment,
}

pub(super) struct Facts {
    known: Cache<Vec<u8>, Arc<Fact>>,
}

impl Facts {
    pub fn new() -> Facts {
        Facts {
            known: Cache::new(CAPACITY),
        }
    }

    /// What is known of the request's collection already.
    pub fn known(&self, request: &Request, fences: &Fences, now: Moment) -> Option<Known> {
        let fact = self.known.get(&key(request)?)?;
        (fact.expires > now && fences.valid(&fact.stamp)).then_some(fact.known)
    }

    /// What the request's collection is, by the server.
    /// An error: no such collection, a kind that can't be relied on, no right to know, or a write
    /// under way.
    /// `watched`: what the server deletes by itself is seen anyway.
    pub async fn ask(
        &self,
        request: &Request,
        fences: &Fences,
        now: Moment,
        next: Next<'_>,
        watched: bool,
    ) -> Result<Known, Bypass> {
        let unknown = Bypass::UnknownCollection;
        let db = request.command.db();
        let collection = request.command.collection().ok_or(unknown)?;
        let stamp = fences.open(Reads::Documents { db, collection });
        let stamp = stamp.ok_or(Bypass::Fenced)?;
        let asked = ask(request, next, &with_options(db, collection)).await;
        let kind = match asked.ok_or(unknown)? {
            Some(kind) => kind,
            None => {
                let asked = ask(request, next, &name_only(db, collection)).await;
                asked.flatten().ok_or(unknown)?
            }
        };
        let expires =
            !watched && kind != CollectionKind::View && may_expire(request, next, collection).await;
        let known = Known { kind, expires };
        if !fences.unmet(&stamp) {
            return Err(Bypass::Raced);
        }
        let expires = now.after(LIFETIME);
        self.known.insert(
            key(request).ok_or(unknown)?,
            Arc::new(Fact {
                known,
                stamp,
                expires,
            }),
        );
        Ok(known)
    }
}

/// Whether an index of the collection is a TTL index, or that can't be known.
async fn may_expire(request: &Request, next: Next<'_>, collection: &str) -> bool {
    let mut question = DocBuf::new();
    question.append_str("listIndexes", collection);
    question.append_str("$db", request.command.db());
    let Some(mut side) = request.side(&question.finish()) else {
        return true;
    };
    let Ok(reply) = next.run(&mut side).await else {
        return true;
    };
    let Some(indexes) = batch(reply.body(), "firstBatch") else {
        return true;
    };
    doc::elements(indexes).any(|index| {
        let index = index.ok().and_then(|i| i.as_document());
        index.is_none_or(|index| doc::find(index, "expireAfterSeconds").is_some())
    })
}

fn key(request: &Request) -> Option<Vec<u8>> {
    let (db, collection) = (request.command.db(), request.command.collection()?);
    let principal = request.principal.id.to_le_bytes();
    Some([&principal, db.as_bytes(), b"\0", collection.as_bytes()].concat())
}

/// `None`: no answer at all. `Some(None)`: an error, or no such collection.
async fn ask(request: &Request, next: Next<'_>, question: &[u8]) -> Option<Option<CollectionKind>> {
    let mut side = request.side(question)?;
    let reply = next.run(&mut side).await.ok()?;
    Some(answer(reply.body()))
}

fn with_options(db: &str, collection: &str) -> Vec<u8> {
    question(db, collection, |_| {})
}

fn name_only(db: &str, collection: &str) -> Vec<u8> {
    question(db, collection, |body| {
        body.append_bool("nameOnly", true);
        body.append_bool("authorizedCollections", true);
    })
}

fn question(db: &str, collection: &str, more: impl FnOnce(&mut DocBuf)) -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("listCollections", 1);
    body.append_doc_with("filter", |filter| {
        filter.append_str("name", collection);
    });
    more(&mut body);
    body.append_str("$db", db);
    body.finish()
}

fn answer(reply: &[u8]) -> Option<CollectionKind> {
    let cursor = doc::find(reply, "cursor")?.as_document()?;
    let batch = doc::find(cursor, "firstBatch")?.as_array()?;
    let only = doc::elements(batch).next()?.ok()?.as_document()?;
    let options = doc::find(only, "options").and_then(|o| o.as_document());
    let is_plain = |options: &[u8]| {
        doc::elements(options)
            .all(|o| o.is_ok_and(|o| !matches!(o.key, "capped" | "collation" | "timeseries")))
    };
    match doc::find(only, "type")?.as_str()? {
        "collection" if options.is_some_and(is_plain) => Some(CollectionKind::Plain),
        "collection" => Some(CollectionKind::Special),
        "view" => Some(CollectionKind::View),
        _ => None,
    }
}

/// How long an answer is believed, at most.
const LIFETIME: Duration = Duration::from_secs(30);

/// Names remembered.
const CAPACITY: usize = 10_000;
