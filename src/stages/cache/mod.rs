//! Repeated `find`s answered from memory (DESIGN §4).
//!
//! An entry is served only while its stamp is valid: nothing it depends on is being
//! written, and nothing has changed since it was asked for. It is stored only if
//! nothing met it while it was read. The fences are the pipeline's; this stage only asks.
//!
//! Absent on purpose here: precision finer than a namespace, single flight,
//! `aggregate` / `count` / `distinct`, results of several batches.

mod facts;
mod stats;
mod store;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::facts::{CollectionKind, Facts};
pub use self::stats::CacheStats;
use self::store::{Entry, Store};
use crate::command::{
    Bypass, Kind, ReplyView, canonical_find, check_find, read_by_id, without_cluster_time,
};
use crate::config;
use crate::pipeline::{
    BoxFuture, Decision, Fences, Next, Outcome, Reads, Reply, Request, Stage, Stamp,
};
use crate::wire::build;
use crate::wire::frame::Frame;

/// The read cache.
pub struct Cache {
    store: Store,
    facts: Facts,
    fences: Arc<Fences>,
    stats: CacheStats,
    max_entry: usize,
    bypass_namespaces: Vec<config::NamespacePattern>,
    /// The longest that an entry may live, by how writes around the proxy are handled.
    ttl: Option<Duration>,
    principal_ttl: Duration,
}

impl Cache {
    /// An empty cache under `fences`.
    pub fn new(config: &config::Cache, fences: Arc<Fences>) -> Cache {
        Cache {
            store: Store::new(config.max_size.as_u64()),
            facts: Facts::new(),
            fences,
            stats: CacheStats::default(),
            max_entry: usize::try_from(config.max_entry.as_u64()).unwrap_or(usize::MAX),
            bypass_namespaces: config.bypass_namespaces.clone(),
            ttl: match config.external_writes {
                config::ExternalWrites::Ttl => Some(config.ttl),
                config::ExternalWrites::None => None,
            },
            principal_ttl: config.principal_ttl,
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> &CacheStats {
        &self.stats
    }

    /// Entries held now, void ones that haven't been replaced yet included.
    pub fn entries(&self) -> usize {
        self.store.len()
    }

    /// Bytes held now: keys, replies and index.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Drops every entry and voids what is being read.
    pub fn flush(&self) {
        self.fences.flush(false);
        self.store.clear();
    }

    /// Serves a request from memory, or says what to do with the answer.
    fn look_up(&self, request: &mut Request) -> Lookup {
        if !request.msg.sequences.is_empty() || request.msg.unknown.is_some() {
            // They are part of the command, and the key doesn't know them.
            return Lookup::Pass(Bypass::UnknownField);
        }
        KEY.with_borrow_mut(|key| {
            if let Err(why) = canonical_find(&request.command, request.principal.id, key) {
                return Lookup::Pass(why);
            }
            let Some(entry) = self.store.get(key) else {
                return Lookup::Miss(key.as_slice().into());
            };
            if entry.expires.is_some_and(|at| at <= Instant::now())
                || !self.fences.valid(&entry.stamp)
            {
                return Lookup::Miss(key.as_slice().into());
            }
            Lookup::Hit(Reply::replayed(Frame {
                bytes: entry.reply.clone(),
            }))
        })
    }

    /// Whether the answer may be stored, and what it then depends on.
    async fn stamp(&self, request: &Request, next: Next<'_>) -> Result<Stamp, Bypass> {
        check_find(&request.command)?;
        let db = request.command.db();
        let collection = request.command.collection().ok_or(Bypass::Namespace)?;
        if self
            .bypass_namespaces
            .iter()
            .any(|p| p.matches(db, collection))
        {
            return Err(Bypass::Namespace);
        }
        let id = read_by_id(&request.command);
        let reads = match self.facts.kind_of(request, &self.fences, next).await {
            Some(CollectionKind::Plain) => match &id {
                Some(id) => Reads::Document { db, collection, id },
                None => Reads::Collection { db, collection },
            },
            Some(CollectionKind::Special) => Reads::Collection { db, collection },
            Some(CollectionKind::View) => Reads::View { db },
            None => return Err(Bypass::UnknownCollection),
        };
        self.fences.open(reads).ok_or(Bypass::Fenced)
    }

    /// Stores an answer, if nothing forbids it.
    fn store(
        &self,
        key: Box<[u8]>,
        stamp: Stamp,
        request: &Request,
        reply: &Reply,
    ) -> Result<(), Bypass> {
        let body = reply.body();
        if body.len() > self.max_entry {
            return Err(Bypass::TooLarge);
        }
        let view = ReplyView::read(body);
        match view.cursor_id {
            Some(0) if view.ok && !view.partial && !view.write_errors => {}
            Some(id) if id != 0 => return Err(Bypass::OpenCursor),
            _ => return Err(Bypass::NotOk),
        }
        let kept = if view.has_cluster_time {
            without_cluster_time(body)
        } else {
            body.to_vec().into()
        };
        let bytes = build::op_msg(0, 0, 0, &kept);
        let now = Instant::now();
        let mut lives = self.ttl;
        if request.principal.id != 0 {
            lives = Some(lives.map_or(self.principal_ttl, |ttl| ttl.min(self.principal_ttl)));
        }
        let entry = Entry {
            reply: bytes,
            stamp,
            expires: lives.and_then(|ttl| now.checked_add(ttl)),
        };
        // Last, so that a write which began in between is seen either here or, by the
        // stamp, whenever the entry is looked at.
        if !self.fences.unmet(&stamp) {
            return Err(Bypass::Raced);
        }
        self.store.insert(key, entry);
        Ok(())
    }

    async fn read(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        let key = match self.look_up(request) {
            Lookup::Hit(reply) => {
                self.stats.hit();
                request.trail.note(Decision::Hit);
                return Ok(reply);
            }
            Lookup::Pass(why) => {
                self.bypass(request, why);
                return next.run(request).await;
            }
            Lookup::Miss(key) => key,
        };
        self.stats.miss();
        request.trail.note(Decision::Miss);
        let stamp = self.stamp(request, next).await;
        let reply = next.run(request).await?;
        match stamp.and_then(|stamp| self.store(key, stamp, request, &reply)) {
            Ok(()) => {
                self.stats.stored();
                request.trail.note(Decision::Stored);
            }
            Err(why) => self.bypass(request, why),
        }
        Ok(reply)
    }

    fn bypass(&self, request: &mut Request, why: Bypass) {
        self.stats.bypass(why);
        request.trail.note(Decision::Bypassed(why));
    }
}

impl Stage for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        if request.command.kind != Kind::Find {
            return next.run(request);
        }
        Box::pin(self.read(request, next))
    }
}

enum Lookup {
    Hit(Reply),
    Miss(Box<[u8]>),
    Pass(Bypass),
}

thread_local! {
    /// Where keys are built, so that a hit allocates nothing for its key.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
