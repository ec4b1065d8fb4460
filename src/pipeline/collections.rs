//! What names mean to the server: collections, time series, views, with their options.
//!
//! One place for all writes: what one has learnt, the others needn't ask for. An answer is a fact whoever asked, so it is
//! shared among principals. It is worth as much as its [`Described::stamp`] and its age say: the stamp ends when
//! a definition in that database changes, through the proxy or seen by the watch; what is redefined unseen, only age ends.
//! How old an answer may be depends on what is done with it, so those who use it decide. (The cache asks for itself, since it
//! follows a view's definition, and in each principal's name.)

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::clock::Moment;
use super::fences::{Fences, Reads, Stamp};
use super::request::Request;
use super::stage::Next;
use crate::command::Namespace;
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// A collection's identity, new whenever a collection is made.
pub type CollectionId = [u8; 16];

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A collection, with documents of its own.
    Collection,
    /// A view, defined by a pipeline over other collections.
    View,
    /// A time series, and whatever else there may be.
    Other,
}

/// The server's description of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What it is.
    pub kind: NameKind,
    /// Its options, a raw document; `None` where the principal may not see them.
    pub options: Option<Box<[u8]>>,
    /// `info.uuid`.
    pub id: Option<CollectionId>,
}

/// A description, and how much it is worth.
#[derive(Debug)]
pub struct Described {
    /// What the server said.
    pub definition: Definition,
    /// Of the definitions in that database, before it was asked.
    pub stamp: Stamp,
    /// When it was asked.
    pub asked: Moment,
}

/// See the module. Shared by all parts of one proxy.
pub struct Collections {
    heard: Cache<Namespace, Heard>,
    asking: Mutex<HashSet<Namespace>>,
}

#[derive(Clone)]
enum Heard {
    Said(Arc<Described>),
    /// There was no such name, no right to ask, no answer: not again before this.
    Nothing {
        until: Moment,
        pause: Duration,
    },
}

impl Default for Collections {
    fn default() -> Collections {
        Collections {
            heard: Cache::new(CAPACITY),
            asking: Mutex::default(),
        }
    }
}

impl Collections {
    /// What was said of a name last, whatever it is worth now.
    #[must_use]
    pub fn known(&self, db: &str, collection: &str) -> Option<Arc<Described>> {
        match self.heard.get(&Name { db, collection })? {
            Heard::Said(described) => Some(described),
            Heard::Nothing { .. } => None,
        }
    }

    /// A place among those who ask in the background, for the request's collection: one for a name, few altogether, and
    /// none for a while after asking was in vain.
    pub fn may_ask(self: &Arc<Self>, request: &Request, now: Moment) -> Option<Asking> {
        let (db, collection) = (request.command.db(), request.command.collection()?);
        if let Some(Heard::Nothing { until, .. }) = self.heard.get(&Name { db, collection })
            && now < until
        {
            return None;
        }
        let name = Namespace::new(db, collection);
        let mut asking = self.asking.lock();
        if asking.len() >= AT_ONCE || !asking.insert(name.clone()) {
            return None;
        }
        Some(Asking {
            collections: Arc::clone(self),
            name,
        })
    }

    /// Asks the server for the request's collection, in its principal's name. Where the principal may not list
    /// collections, in the one form that it may always use, which shows no options. `None`: no such name, no
    /// right to know, no answer. `now`: not later than this call.
    pub async fn ask(
        &self,
        request: &Request,
        fences: &Fences,
        now: Moment,
        next: Next<'_>,
    ) -> Option<Definition> {
        let (db, collection) = (request.command.db(), request.command.collection()?);
        // (Before it is asked: what begins later than this ends it.)
        let stamp = fences.open(Reads::Definitions { db });
        let reply = send(request, next, &with_options(db, collection)).await?;
        let Some(definition) = answer(&reply) else {
            self.heard_nothing(db, collection, now);
            let reply = send(request, next, &name_only(db, collection)).await?;
            return answer(&reply);
        };
        match stamp.filter(|stamp| fences.unmet(stamp)) {
            Some(stamp) => {
                let described = Described {
                    definition: definition.clone(),
                    stamp,
                    asked: now,
                };
                let name = Namespace::new(db, collection);
                self.heard.insert(name, Heard::Said(Arc::new(described)));
            }
            None => self.heard_nothing(db, collection, now),
        }
        Some(definition)
    }

    /// The server has shown that what was said isn't so any more.
    pub fn forget(&self, db: &str, collection: &str) {
        self.heard.remove(&Name { db, collection });
    }

    /// Longer each time. What was said before goes on being worth what it is worth.
    fn heard_nothing(&self, db: &str, collection: &str, now: Moment) {
        let pause = match self.heard.get(&Name { db, collection }) {
            Some(Heard::Said(described)) if now.since(described.asked) < LONGEST_PAUSE => return,
            Some(Heard::Nothing { pause, .. }) => (pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        let until = now.after(pause);
        let name = Namespace::new(db, collection);
        self.heard.insert(name, Heard::Nothing { until, pause });
    }
}

/// The right to ask for a name in the background. Dropped, another may.
pub struct Asking {
    collections: Arc<Collections>,
    name: Namespace,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.collections.asking.lock().remove(&self.name);
    }
}

/// A [`Namespace`] to look up, borrowed.
struct Name<'a> {
    db: &'a str,
    collection: &'a str,
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the derived hash of a `Namespace`.
        self.db.hash(state);
        self.collection.hash(state);
    }
}

impl Equivalent<Namespace> for Name<'_> {
    fn equivalent(&self, namespace: &Namespace) -> bool {
        self.db == namespace.db && self.collection == namespace.collection
    }
}

async fn send(request: &Request, next: Next<'_>, question: &[u8]) -> Option<Vec<u8>> {
    let mut side = request.side(question)?;
    let reply = next.run(&mut side).await.ok()?;
    Some(reply.body().to_vec())
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

fn answer(reply: &[u8]) -> Option<Definition> {
    let cursor = doc::find(reply, "cursor")?.as_document()?;
    let batch = doc::find(cursor, "firstBatch")?.as_array()?;
    let only = doc::elements(batch).next()?.ok()?.as_document()?;
    let options = doc::find(only, "options").and_then(|o| o.as_document());
    let info = doc::find(only, "info").and_then(|i| i.as_document());
    let id = info.and_then(|info| doc::find(info, "uuid")?.as_binary());
    Some(Definition {
        kind: match doc::find(only, "type")?.as_str()? {
            "collection" => NameKind::Collection,
            "view" => NameKind::View,
            _ => NameKind::Other,
        },
        options: options.map(Box::from),
        id: id.and_then(|(subtype, id)| (subtype == UUID).then(|| id.try_into().ok())?),
    })
}

/// Subtype of a UUID.
const UUID: u8 = 4;

/// Names remembered.
const CAPACITY: usize = 10_000;

/// Names that are asked for in the background at once.
const AT_ONCE: usize = 4;

/// Before a name is asked for again of which there was nothing to hear: it may just be being made.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// At most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
