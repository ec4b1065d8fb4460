//! Whether what is written to is a collection whose writes may be merged.
//!
//! A batch is exactly its members' writes only where `_id` is unique: then a client's retry after the proxy's death fails as
//! a duplicate instead of being written twice, and no document shares its fate with another's. A time series has no
//! unique `_id`, and puts documents into buckets that fail together; in a capped collection a document may be gone
//! before its retry; a view takes no writes; encrypted collections and options that aren't known are left alone.
//!
//! So the collection must be known. It is learnt in the background while writes go alone (`pipeline/collections.rs`), and
//! learnt again before the answer is too old.
//!
//! Between the answer and the batch another client may drop the collection and create one of that name, also around the
//! proxy. From 6.0 on a batch names the collection that it is for (`collectionUUID`), and the server refuses it if the name
//! stands for another; a `find` with a made-up UUID shows whether this server does so. Before 6.0.12 and 7.0.3
//! a time series takes inserts for any UUID (SERVER-79446). Where the server doesn't refuse, the answer counts while the
//! watch is up to date, which sees redefinitions within `cache.max_lag`, or for [`UNWATCHED`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::Knowledge;
use super::stats::Alone;
use crate::config::WriteKind;
use crate::pipeline::{
    CollectionId, Collections, Definition, Fences, Horizon, NameKind, Next, OwnedNext, Request,
    UpstreamFacts, Writer,
};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// See the module.
pub(super) struct Kinds {
    collections: Arc<Collections>,
    fences: Arc<Fences>,
    horizon: Arc<Horizon>,
    upstream: Arc<UpstreamFacts>,
    proof: ArcSwapOption<Proof>,
}

/// What a server does with the identity of another collection.
struct Proof {
    writer: Arc<Writer>,
    refuses: bool,
}

/// What is known of a collection, as far as it concerns a batch.
struct Judgement {
    may_merge: Result<Guard, Alone>,
    /// It is worth asking again.
    is_aging: bool,
}

/// What a batch may name, so that the server refuses it if the collection is another by then.
pub(super) type Guard = Option<CollectionId>;

impl Kinds {
    pub fn new(knowledge: &Knowledge) -> Kinds {
        Kinds {
            collections: Arc::clone(&knowledge.collections),
            fences: Arc::clone(&knowledge.fences),
            horizon: Arc::clone(&knowledge.horizon),
            upstream: Arc::clone(&knowledge.upstream),
            proof: ArcSwapOption::empty(),
        }
    }

    /// Whether writes of this kind to the request's collection may be merged now. What isn't known, or not for much
    /// longer, is learnt in the background.
    pub fn may_merge(
        self: &Arc<Self>,
        kind: WriteKind,
        request: &Request,
        next: Next<'_>,
    ) -> Result<Guard, Alone> {
        let judgement = self.judge(kind, request);
        if judgement.is_aging {
            self.learn(request, next);
        }
        judgement.may_merge
    }

    /// The same for a batch that is about to leave. If what was known has grown too old while its members queued (the
    /// server stood still, for example), it is asked first: one round trip costs less than a command for each member.
    pub async fn learn_before_merging(
        self: &Arc<Self>,
        kind: WriteKind,
        request: &Request,
        next: &OwnedNext,
    ) -> Result<Guard, Alone> {
        let may_merge = self.may_merge(kind, request, next.borrow());
        if may_merge != Err(Alone::Unknown) {
            return may_merge;
        }
        if let Some(question) = side(request) {
            self.ask(&question, next).await;
        }
        self.judge(kind, request).may_merge
    }

    fn judge(&self, kind: WriteKind, request: &Request) -> Judgement {
        // (Before the stamp is looked at: a redefinition that the watch has seen has ended the stamp.)
        let now = self.horizon.clock().now();
        let is_watched = self.horizon.fresh(now);
        let (db, collection) = (request.command.db(), request.command.collection());
        let known = self.collections.known(db, collection.unwrap_or_default());
        let Some(known) = known.filter(|known| self.fences.valid(&known.stamp)) else {
            return Judgement {
                may_merge: Err(Alone::Unknown),
                is_aging: true,
            };
        };
        let age = now.since(known.asked);
        let guard = self.guard(&known.definition);
        let limit = match is_watched || guard.is_some() && self.is_refused(kind) {
            true => LONGEST,
            false => UNWATCHED,
        };
        Judgement {
            may_merge: match is_ordinary(&known.definition) {
                false => Err(Alone::Collection),
                true if age > limit => Err(Alone::Unknown),
                true => Ok(guard),
            },
            is_aging: age > limit / 2,
        }
    }

    /// Whether enough is known of the request's collection and server to judge by.
    #[cfg(test)]
    pub fn is_known(&self, request: &Request) -> bool {
        let collection = request.command.collection().unwrap_or_default();
        let known = self.collections.known(request.command.db(), collection);
        known.is_some() && self.proof.load().is_some()
    }

    /// The server has shown that the request's collection is another.
    pub fn forget(&self, request: &Request) {
        let collection = request.command.collection().unwrap_or_default();
        self.collections.forget(request.command.db(), collection);
    }

    fn guard(&self, definition: &Definition) -> Guard {
        let proof = self.proof.load();
        let proof = proof.as_ref()?;
        let holds = proof.refuses && self.upstream.get().writer.as_ref() == Some(&proof.writer);
        definition.id.filter(|_| holds)
    }

    /// Whether a guarded write is refused by whatever another collection of that name may be.
    fn is_refused(&self, kind: WriteKind) -> bool {
        let facts = self.upstream.get();
        let writer = facts.writer.as_deref();
        kind != WriteKind::Insert || writer.is_some_and(time_series_refuse)
    }

    fn learn(self: &Arc<Self>, request: &Request, next: Next<'_>) {
        let Some(asking) = self
            .collections
            .may_ask(request, self.horizon.clock().now())
        else {
            return;
        };
        let question = side(request);
        let (kinds, next) = (Arc::clone(self), next.to_owned());
        tokio::spawn(async move {
            if let Some(request) = question {
                kinds.ask(&request, &next).await;
            }
            drop(asking);
        });
    }

    async fn ask(&self, request: &Request, next: &OwnedNext) {
        let now = self.horizon.clock().now();
        let asked = self
            .collections
            .ask(request, &self.fences, now, next.borrow());
        let is_known = asked
            .await
            .is_some_and(|definition| definition.id.is_some());
        let writer = self.upstream.get().writer.clone();
        let Some(writer) = writer.filter(|_| is_known) else {
            return;
        };
        let is_proved = |proof: &Proof| proof.writer == writer;
        if !self.proof.load().as_deref().is_some_and(is_proved)
            && writer.wire_version >= NAMES_COLLECTIONS
            && let Some(refuses) = refuses(request, next.borrow()).await
        {
            let proof = Proof { writer, refuses };
            self.proof.store(Some(Arc::new(proof)));
        }
    }
}

/// A request to ask others like, which holds nothing of the client's documents.
fn side(request: &Request) -> Option<Request> {
    let mut body = DocBuf::new();
    body.append_str("find", request.command.collection()?);
    body.append_str("$db", request.command.db());
    request.side(&body.finish())
}

/// Whether documents of it have a unique `_id` and nothing in common.
fn is_ordinary(definition: &Definition) -> bool {
    let is_known = |options: &[u8]| {
        doc::elements(options).all(|option| option.is_ok_and(|o| HARMLESS.contains(&o.key)))
    };
    definition.kind == NameKind::Collection && definition.options.as_deref().is_some_and(is_known)
}

/// Options that leave each document to itself.
const HARMLESS: [&str; 10] = [
    "changeStreamPreAndPostImages",
    "clusteredIndex",
    "collation",
    "expireAfterSeconds",
    "indexOptionDefaults",
    "recordPreImages",
    "storageEngine",
    "validationAction",
    "validationLevel",
    "validator",
];

/// Whether the server refuses a command for a collection that isn't the one of its name. `None`: it can't be known.
async fn refuses(request: &Request, next: Next<'_>) -> Option<bool> {
    let mut body = DocBuf::new();
    body.append_str("find", request.command.collection()?);
    body.append_doc_with("filter", |filter| {
        filter.append_i32("_id", 0);
    });
    body.append_i64("limit", 1);
    body.append_bool("singleBatch", true);
    append_guard(&mut body, &bson::Uuid::new().bytes());
    body.append_str("$db", request.command.db());
    let mut question = request.side(&body.finish())?;
    let reply = next.run(&mut question).await.ok()?;
    match (reply.view().ok, reply.view().code) {
        (true, _) => Some(false),
        (false, Some(COLLECTION_UUID_MISMATCH)) => Some(true),
        _ => None,
    }
}

/// Names the collection that a command is for.
pub(super) fn append_guard(body: &mut DocBuf, id: &CollectionId) {
    body.append_binary("collectionUUID", 4, id);
}

/// Whether a time series refuses an insert for another collection.
fn time_series_refuse(writer: &Writer) -> bool {
    match writer.release {
        Some([6, 0, patch]) => patch >= 12,
        Some([7, 0, patch]) => patch >= 3,
        Some([major, minor, _]) => (major, minor) >= (7, 2),
        None => writer.wire_version >= OF_7_2,
    }
}

/// The server's answer to what is for another collection.
pub(super) const COLLECTION_UUID_MISMATCH: i32 = 361;

/// How old an answer may be where redefinitions are refused or seen. (It is asked again earlier, for what has become ordinary.)
const LONGEST: Duration = Duration::from_secs(30);
/// And where they are not.
const UNWATCHED: Duration = Duration::from_secs(1);
/// Wire version of MongoDB 6.0, the first that takes `collectionUUID`.
const NAMES_COLLECTIONS: i32 = 17;
/// Wire version of MongoDB 7.2.
const OF_7_2: i32 = 23;
