//! What the server is asked about a name, and what its answer says.

use super::super::entry::batch;
use super::{CollectionKind, Known};
use crate::command::{Bypass, check_definition};
use crate::pipeline::{Next, Request};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// What a name means now, in the request's database and in its principal's name: by its options, or, where the principal
/// may not list collections, by its type alone.
/// `None`: no answer, no right to know, or a kind that nothing is known of.
pub(super) async fn ask(
    request: &Request,
    next: Next<'_>,
    name: &str,
    watched: bool,
) -> Option<Known> {
    let db = request.command.db();
    let mut known = match put(request, next, &with_options(db, name)).await? {
        Answer::Known(known) => known,
        Answer::Nothing => return Some(Known::of(CollectionKind::Missing)),
        Answer::Error => match put(request, next, &name_only(db, name)).await? {
            Answer::Known(known) => known,
            // (It may be hidden.)
            Answer::Nothing | Answer::Error => return None,
        },
    };
    let has_indexes = matches!(
        known.kind,
        CollectionKind::Plain | CollectionKind::Special | CollectionKind::TimeSeries
    );
    if has_indexes && !known.expires {
        // While it is watched, what the server deletes is seen, and nobody needs to know.
        known.expires = watched || may_expire(request, next, name).await;
    }
    Some(known)
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

enum Answer {
    Known(Known),
    /// There is no such name.
    Nothing,
    Error,
}

/// `None`: no answer at all.
async fn put(request: &Request, next: Next<'_>, question: &[u8]) -> Option<Answer> {
    let mut side = request.side(question)?;
    let reply = next.run(&mut side).await.ok()?;
    Some(answer(reply.body()).unwrap_or(Answer::Error))
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

fn answer(reply: &[u8]) -> Option<Answer> {
    let cursor = doc::find(reply, "cursor")?.as_document()?;
    let batch = doc::find(cursor, "firstBatch")?.as_array()?;
    let Some(only) = doc::elements(batch).next() else {
        // (A cursor that isn't at its end may have more to say.)
        let ended = doc::find(cursor, "id")?.as_i64() == Some(0);
        return ended.then_some(Answer::Nothing);
    };
    let only = only.ok()?.as_document()?;
    let options = doc::find(only, "options").and_then(|o| o.as_document());
    let expires = |options| doc::find(options, "expireAfterSeconds").is_some();
    let kind = match doc::find(only, "type")?.as_str()? {
        "collection" if options.is_some_and(is_plain) => CollectionKind::Plain,
        "collection" => CollectionKind::Special,
        "view" => CollectionKind::View(options.ok_or(UNKNOWN).and_then(definition)),
        "timeseries" => CollectionKind::TimeSeries,
        _ => return None,
    };
    // Without its options nothing is known of what expires either.
    let expires = options.is_none_or(expires) && !matches!(kind, CollectionKind::View(_));
    Some(Answer::Known(Known { kind, expires }))
}

fn is_plain(options: &[u8]) -> bool {
    doc::elements(options)
        .all(|o| o.is_ok_and(|o| !matches!(o.key, "capped" | "collation" | "timeseries")))
}

/// The names that a view's definition reads.
fn definition(options: &[u8]) -> Result<Vec<String>, Bypass> {
    let on = doc::find(options, "viewOn").and_then(|on| on.as_str());
    let pipeline = doc::find(options, "pipeline").ok_or(UNKNOWN)?;
    check_definition(on.ok_or(UNKNOWN)?, &pipeline)
}

const UNKNOWN: Bypass = Bypass::UnknownCollection;
