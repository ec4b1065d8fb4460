//! Looks at single documents, so that fewer answers end with each write to one of them.
//!
//! Where reads suffer from an update of which too little is known, the fences say which fields of which document would
//! tell (`pipeline/fences/pre_image.rs`). They are asked for in a task of its own, behind everybody's back; the answer
//! is an entry like any other.

use std::sync::Arc;

use super::fill::Purpose;
use super::{Cache, KEY};
use crate::command::{Bypass, canonical};
use crate::config::ExternalWrites;
use crate::pipeline::{Next, OwnedNext, Request, Tied, Wanted};
use crate::wire::build::DocBuf;

impl Cache {
    /// Asks, in the request's name, what is worth knowing of documents in its collection. Returns at once.
    pub(super) fn look_at_documents(&self, request: &Request, next: Next<'_>) {
        // What others may have written unseen, nobody knows.
        let seen = self.config.external_writes == ExternalWrites::None || self.watches();
        let Some(collection) = request.command.collection().filter(|_| seen) else {
            return;
        };
        let db = request.command.db();
        let wanted = self.fences.take_wanted(db, collection);
        if wanted.is_empty() {
            return;
        }
        let questions = wanted.iter().map(|wanted| question(db, collection, wanted));
        let questions: Vec<Request> = questions.filter_map(|q| request.side(&q)).collect();
        if let Some(cache) = self.me.upgrade() {
            tokio::spawn(ask_all(cache, questions, next.to_owned()));
        }
    }

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

async fn ask_all(cache: Arc<Cache>, questions: Vec<Request>, next: OwnedNext) {
    for mut question in questions {
        // An answer that can't be stored is as good as none.
        if let Err(why) = cache.look_at(&mut question, next.borrow()).await {
            tracing::debug!(why = why.as_str(), "a document could not be looked at");
        }
    }
}

/// The fields as the primary has them now.
fn question(db: &str, collection: &str, wanted: &Wanted) -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_str("find", collection);
    body.append_doc("filter", &wanted.filter);
    body.append_doc_with("projection", |projection| {
        for field in &wanted.fields {
            projection.append_i32(field, 1);
        }
    });
    body.append_doc_with("readConcern", |concern| {
        concern.append_str("level", "local");
    });
    body.append_str("$db", db);
    body.finish()
}
