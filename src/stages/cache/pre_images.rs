//! Looks at single documents, so that fewer answers end with each write to one of them.
//!
//! Where reads suffer from an update of which too little is known, the fences say which fields of which document would
//! tell (`pipeline/fences/wanted.rs`; how often, `credit.rs`). They are asked for in a task of its own, behind everybody's back; the answer
//! is an entry like any other.

use std::sync::Arc;

use super::entry::batch;
use super::fill::Purpose;
use super::{Cache, KEY};
use crate::command::{Bypass, Command, Wish, canonical};
use crate::config::ExternalWrites;
use crate::pipeline::{Next, OwnedNext, Request, Wanted};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element, kind};

impl Cache {
    /// Asks, in the request's name, what is worth knowing of documents in its collection. Returns at once.
    pub(super) fn look_at_documents(&self, request: &Request, next: Next<'_>) {
        // What others may have written unseen, nobody knows.
        let seen = self.config.external_writes == ExternalWrites::None || self.watches();
        let allowed = seen && self.config.pre_images;
        let Some(collection) = request.command.collection().filter(|_| allowed) else {
            return;
        };
        let wanted = self.fences.take_wanted(request.command.db(), collection);
        if wanted.is_empty() {
            return;
        }
        let looks = wanted.into_iter().filter_map(|wanted| {
            let question = request.side(&question(&request.command, &wanted)?)?;
            Some((question, wanted))
        });
        let looks: Vec<(Request, Wanted)> = looks.collect();
        if let Some(cache) = self.me.upgrade() {
            tokio::spawn(ask_all(cache, looks, next.to_owned()));
        }
    }

    /// Stores the answer to `question`, for the fences to conclude from.
    async fn look_at(
        &self,
        question: &mut Request,
        wanted: &Wanted,
        next: Next<'_>,
    ) -> Result<(), Bypass> {
        let (key, wish) = key(question)?;
        let mut fill = self
            .fill(question, &key, wish, next, Purpose::Knowing)
            .await?;
        self.stats.looked_at();
        let reply = next.run(question).await.map_err(|_| Bypass::NotOk)?;
        if wanted.neighbours.is_some() {
            let page = page(question, wanted, reply.body()).ok_or(Bypass::NotOk)?;
            let (key, _) = self::key(&page)?;
            fill.narrow(&page, key).ok_or(Bypass::NotOk)?;
        }
        let entry = self.draft(&fill, reply.body())?;
        self.store(&entry, &fill)
    }
}

async fn ask_all(cache: Arc<Cache>, looks: Vec<(Request, Wanted)>, next: OwnedNext) {
    for (mut question, wanted) in looks {
        // An answer that can't be stored is as good as none.
        if let Err(why) = cache.look_at(&mut question, &wanted, next.borrow()).await {
            tracing::debug!(why = why.as_str(), "a document could not be looked at");
        }
    }
}

fn key(question: &Request) -> Result<(Box<[u8]>, Wish), Bypass> {
    KEY.with_borrow_mut(|key| {
        let wish = canonical(&question.command, question.principal.id, key)?;
        Ok((key.as_slice().into(), wish))
    })
}

/// The question for a document, or for as many as are wanted from there on.
fn question(command: &Command, wanted: &Wanted) -> Option<Vec<u8>> {
    let Some(neighbours) = wanted.neighbours else {
        return body(command, &wanted.filter, &wanted.fields, None);
    };
    let first = doc::find(&wanted.filter, "_id")?;
    let limit = i32::try_from(neighbours).ok()?;
    body(command, &range(&first, None), &wanted.fields, Some(limit))
}

/// The question for all documents between the first and the last of a page that was asked for. What came is the answer to that as
/// well: and one that no document beyond it, which may be inserted any time, will end.
fn page(question: &Request, wanted: &Wanted, reply: &[u8]) -> Option<Request> {
    let first = doc::find(&wanted.filter, "_id")?;
    let last = doc::elements(batch(reply, "firstBatch")?)
        .flatten()
        .last()?;
    let last = doc::find(last.as_document()?, "_id")?;
    // `$gte` and `$lte` select values of their own type only.
    let numbers = [kind::DOUBLE, kind::INT32, kind::INT64, kind::DECIMAL128];
    let is_number = |id: &Element<'_>| numbers.contains(&id.kind);
    let alike = first.kind == last.kind || is_number(&first) && is_number(&last);
    let filter = range(&first, Some(&last));
    let body = body(&question.command, &filter, &wanted.fields, None);
    question.side(&body.filter(|_| alike)?)
}

fn range(first: &Element<'_>, last: Option<&Element<'_>>) -> Vec<u8> {
    let mut filter = DocBuf::new();
    filter.append_doc_with("_id", |id| {
        id.append_value("$gte", first.kind, first.value);
        if let Some(last) = last {
            id.append_value("$lte", last.kind, last.value);
        }
    });
    filter.finish()
}

/// The fields as the primary has them now. The sort makes it an answer that outlives writes to other fields.
fn body(
    command: &Command,
    filter: &[u8],
    fields: &[String],
    limit: Option<i32>,
) -> Option<Vec<u8>> {
    let mut body = DocBuf::new();
    body.append_str("find", command.collection()?);
    body.append_doc("filter", filter);
    body.append_doc_with("projection", |projection| {
        for field in fields {
            projection.append_i32(field, 1);
        }
    });
    body.append_doc_with("sort", |sort| {
        sort.append_i32("_id", 1);
    });
    if let Some(limit) = limit {
        body.append_i32("limit", limit);
        body.append_bool("singleBatch", true);
    }
    body.append_i32("batchSize", 1_000);
    body.append_doc_with("readConcern", |concern| {
        concern.append_str("level", "local");
    });
    body.append_str("$db", command.db());
    Some(body.finish())
}
