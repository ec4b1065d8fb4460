//! Looks at single documents, so that fewer answers end with each write to one of them.
//!
//! Where reads suffer from an update of which too little is known, the fences say which fields of which document would
//! tell (`pipeline/fences/pre_image.rs`). They are asked for in a task of its own, behind everybody's back; the answer
//! is an entry like any other.

use std::sync::Arc;

use super::entry::batch;
use super::fill::Purpose;
use super::{Cache, KEY};
use crate::command::{Bypass, canonical};
use crate::config::ExternalWrites;
use crate::pipeline::{Next, OwnedNext, Request, Tied, Wanted};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

impl Cache {
    /// Asks, in the request's name, what is worth knowing of documents in its collection. Returns at once.
    pub(super) fn look_at_documents(&self, request: &Request, next: Next<'_>) {
        // What others may have written unseen, nobody knows.
        let seen = self.config.external_writes == ExternalWrites::None || self.watches();
        let allowed = seen && self.config.pre_images;
        let Some(collection) = request.command.collection().filter(|_| allowed) else {
            return;
        };
        let db = request.command.db();
        let wanted = self.fences.take_wanted(db, collection);
        if wanted.is_empty() {
            return;
        }
        let looks = wanted.into_iter().filter_map(|wanted| {
            let question = question(db, collection, &wanted.filter, &wanted.fields);
            Some((request.side(&question)?, wanted))
        });
        let looks: Vec<(Request, Wanted)> = looks.collect();
        if let Some(cache) = self.me.upgrade() {
            tokio::spawn(ask_all(cache, looks, next.to_owned()));
        }
    }

    /// Stores the answer to `question`, for the fences to conclude from.
    async fn look_at(&self, question: &mut Request, next: Next<'_>) -> Result<(), Bypass> {
        let (key, wish) = KEY.with_borrow_mut(|key| {
            let wish = canonical(&question.command, question.principal.id, key)?;
            Ok((Box::<[u8]>::from(key.as_slice()), wish))
        })?;
        let fill = self
            .fill(question, &key, wish, next, Purpose::Knowing)
            .await?;
        self.stats.looked_at();
        let reply = next.run(question).await.map_err(|_| Bypass::NotOk)?;
        let entry = self.draft(&fill, reply.body())?;
        self.store(&entry, &fill)?;
        let tied: Arc<dyn Tied> = entry;
        fill.flight.window.note_pre_image(&tied);
        Ok(())
    }
}

async fn ask_all(cache: Arc<Cache>, looks: Vec<(Request, Wanted)>, next: OwnedNext) {
    for (mut question, wanted) in looks {
        if let Some(page) = page(&question, &wanted, next.borrow()).await {
            question = page;
        }
        // An answer that can't be stored is as good as none.
        if let Err(why) = cache.look_at(&mut question, next.borrow()).await {
            tracing::debug!(why = why.as_str(), "a document could not be looked at");
        }
    }
}

/// The question for a document and its neighbours, from the one for the document alone. `None`: there aren't as many.
async fn page(question: &Request, wanted: &Wanted, next: Next<'_>) -> Option<Request> {
    let (db, collection) = (question.command.db(), question.command.collection()?);
    let first = doc::find(&wanted.filter, "_id")?;
    let bounds = |last: Option<&Element<'_>>| {
        let mut filter = DocBuf::new();
        filter.append_doc_with("_id", |id| {
            id.append_value("$gte", first.kind, first.value);
            if let Some(last) = last {
                id.append_value("$lte", last.kind, last.value);
            }
        });
        filter.finish()
    };
    let mut probe = DocBuf::new();
    probe.append_str("find", collection);
    probe.append_doc("filter", &bounds(None));
    for field in ["projection", "sort"] {
        probe.append_doc_with(field, |by| {
            by.append_i32("_id", 1);
        });
    }
    probe.append_i32("skip", i32::try_from(wanted.neighbours?).ok()? - 1);
    probe.append_i32("limit", 1);
    probe.append_str("$db", db);
    let mut probe = question.side(&probe.finish())?;
    let reply = next.run(&mut probe).await.ok()?;
    let last = doc::elements(batch(reply.body(), "firstBatch")?)
        .next()?
        .ok()?;
    let last = doc::find(last.as_document()?, "_id")?;
    question.side(&self::question(
        db,
        collection,
        &bounds(Some(&last)),
        &wanted.fields,
    ))
}

/// The fields as the primary has them now. The sort makes it one that outlives writes to other fields.
fn question(db: &str, collection: &str, filter: &[u8], fields: &[String]) -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_str("find", collection);
    body.append_doc("filter", filter);
    body.append_doc_with("projection", |projection| {
        for field in fields {
            projection.append_i32(field, 1);
        }
    });
    body.append_doc_with("sort", |sort| {
        sort.append_i32("_id", 1);
    });
    body.append_i32("batchSize", 1_000);
    body.append_doc_with("readConcern", |concern| {
        concern.append_str("level", "local");
    });
    body.append_str("$db", db);
    body.finish()
}
