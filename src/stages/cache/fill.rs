//! From a read that missed to an entry of the cache.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::entry::{Entry, batch};
use super::facts::Seen;
use super::flight::Flight;
use super::read_concern::ReadLevel;
use super::rules::{self, Terms};
use super::worth::Shape;
use super::{Cache, Wish};
use crate::command::{
    Bypass, KEY_COMMAND, Kind, ReadPlan, ReplyView, ShapeId, check_read, returned, shape_id,
    without_cluster_time,
};
use crate::config::ExternalWrites;
use crate::memory;
use crate::pipeline::{Known, Moment, Next, Request, Tied};
use crate::wire::build;
use crate::wire::doc;

/// A read whose answer may be stored.
pub(super) struct Fill {
    pub key: Box<[u8]>,
    pub kind: Kind,
    pub principal: u64,
    pub flight: Arc<Flight>,
    pub shape: Arc<Shape>,
    pub purpose: Purpose,
    pub terms: Terms,
    /// The server may delete documents by itself, unseen.
    pub expires: bool,
    /// What its names mean isn't known for longer.
    pub until: Option<Moment>,
    pub asked: Moment,
    /// The command's shape, as it's told to people.
    pub id: ShapeId,
    /// The server had to be asked what the name means.
    pub asked_first: bool,
}

/// What an answer is stored for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be served again.
    Serving,
    /// To be concluded from, which no record of hits shows.
    Knowing,
}

impl Fill {
    /// The fill of another read, whose answer the answer to this one holds. Nobody may have joined.
    pub fn narrow(&mut self, read: &Request, key: Box<[u8]>) -> Option<()> {
        let plan = ReadPlan::of(key.get(KEY_COMMAND..)?)?;
        Arc::get_mut(&mut self.flight)?.window.narrow(plan);
        self.id = shape_id(&read.command, &read.msg);
        self.key = key;
        Some(())
    }
}

impl Cache {
    /// Whether the answer may be stored, and from when on.
    pub(super) async fn fill(
        &self,
        request: &Request,
        key: &[u8],
        wish: Wish,
        next: Next<'_>,
        purpose: Purpose,
    ) -> Result<Fill, Bypass> {
        if self.memory().pressure() == memory::Pressure::Critical {
            return Err(Bypass::Memory);
        }
        let command = &request.command;
        if key.len() > LONGEST {
            return Err(Bypass::TooLong);
        }
        let sources = check_read(command)?;
        let terms = rules::terms(&self.config, command)?;
        let db = command.db();
        let collection = command.collection().ok_or(Bypass::Namespace)?;
        let plan = ReadPlan::of(key.get(KEY_COMMAND..).unwrap_or_default());
        let shape = match purpose {
            Purpose::Serving => {
                let shape = plan.as_ref().map(ReadPlan::shape);
                let hash = FixedState::default().hash_one((db, collection, command.kind, shape));
                let shape = self.worth.shape(hash);
                if !shape.pays(self.store.is_full()) {
                    return Err(Bypass::NotWorthIt);
                }
                shape
            }
            Purpose::Knowing => Arc::default(),
        };
        let level = self.read_level(request, next).await?;
        let seen = self.seen();
        let facts = self.facts.of(request, sources, &self.fences, next, seen);
        let meaning = facts.await?;
        let reads = meaning.reads(db, plan.is_some());
        let window = self.fences.open_window(reads, plan).ok_or(Bypass::Fenced)?;
        if !meaning.holds(&self.fences) || !level.holds(&self.fences) {
            return Err(Bypass::Raced);
        }
        if !self.horizon.left_out().covers(reads) {
            return Err(Bypass::Unwatched);
        }
        // It may have missed what was acknowledged.
        let unknown = level == ReadLevel::Unknown;
        let unknown = unknown.then(|| self.now().after(self.config.max_lag));
        let live = self.memory().live(memory::Kind::Flights);
        Ok(Fill {
            key: key.into(),
            kind: command.kind,
            principal: request.principal.id,
            flight: Arc::new(Flight::new(
                window,
                wish.after.unwrap_or(0),
                request.waits.shared(),
                live,
            )),
            shape,
            purpose,
            terms,
            expires: meaning.expires,
            until: meaning.until(seen).into_iter().chain(unknown).min(),
            asked: self.now(),
            id: shape_id(command, &request.msg),
            asked_first: meaning.asked,
        })
    }

    /// An entry of an answer, if it can be one.
    pub(super) fn draft(&self, fill: &Fill, body: &[u8]) -> Result<Arc<Entry>, Bypass> {
        if body.len() > fill.terms.max_entry {
            return Err(Bypass::TooLarge);
        }
        let view = ReplyView::read(body);
        if !view.ok || view.partial || view.write_errors {
            return Err(Bypass::NotOk);
        }
        let documents = match (fill.kind, view.cursor_id) {
            (Kind::Count | Kind::Distinct, None) => 0,
            (Kind::Find | Kind::Aggregate, Some(0)) => {
                let batch = batch(body, "firstBatch").ok_or(Bypass::NotOk)?;
                doc::elements(batch).count()
            }
            (Kind::Find | Kind::Aggregate, Some(_)) => return Err(Bypass::OpenCursor),
            _ => return Err(Bypass::NotOk),
        };
        let kept = if view.has_cluster_time {
            without_cluster_time(body)
        } else {
            Bytes::copy_from_slice(body)
        };
        let known = Known {
            shape: fill.id,
            documents: returned(fill.kind, &kept),
        };
        Ok(Arc::new(Entry {
            key: fill.key.clone(),
            kind: fill.kind,
            known,
            reply: build::op_msg(0, 0, 0, &kept),
            documents,
            after: fill.flight.after,
            asked: fill.asked,
            expires: self.expiry(fill),
            tie: fill.flight.window.tie(),
            shape: Arc::clone(&fill.shape),
            hits: AtomicU32::new(0),
            weight: AtomicU32::new(0),
        }))
    }

    /// When an entry that is stored now ends by itself: by how writes around the proxy are handled,
    /// by how long a user's rights are believed, by what the server deletes by itself (TTL indexes
    /// promise `max_lag`, no more), by how long the meaning of its names is, and by its own rule.
    fn expiry(&self, fill: &Fill) -> Option<Moment> {
        let external = match self.config.external_writes {
            ExternalWrites::None => None,
            _ if self.watches() => None,
            _ => Some(self.config.ttl),
        };
        let rights = (fill.principal != 0).then_some(self.config.principal_ttl);
        let unseen = fill.expires.then_some(self.config.max_lag);
        let lives = [external, rights, unseen, fill.terms.ttl];
        let life = lives.into_iter().flatten().min();
        let ends = life.map(|life| fill.asked.after(life));
        ends.into_iter().chain(fill.until).min()
    }

    /// What of the others' doings is seen.
    fn seen(&self) -> Seen {
        let watched = self.watches();
        let definitions = match self.config.external_writes {
            ExternalWrites::None => None,
            _ if !watched => Some(self.config.ttl),
            _ => self
                .horizon
                .hides_definitions()
                .then_some(self.config.max_lag / 2),
        };
        Seen {
            now: self.now(),
            watched,
            definitions,
        }
    }

    /// Stores an entry, if nothing forbids it.
    pub(super) fn store(&self, entry: &Arc<Entry>, fill: &Fill) -> Result<(), Bypass> {
        let tied: Arc<dyn Tied> = entry.clone();
        if !fill.flight.window.admit(&tied) {
            return Err(Bypass::Raced);
        }
        if fill.purpose == Purpose::Knowing {
            // Before it is weighed: it costs what is kept for it.
            fill.flight.window.note_pre_image(&tied);
        }
        self.store.insert(entry);
        if !self.fences.holds(&entry.tie) {
            // It may have been ended before it was in the store.
            self.store.remove(&tied);
        }
        self.bury(SOME);
        Ok(())
    }

    /// Drops up to `most` of the entries that writes have ended.
    pub(super) fn bury(&self, most: usize) {
        let Some(mut ended) = self.ended.try_lock() else {
            return;
        };
        if ended.is_empty() {
            *ended = self.fences.take_ended();
        }
        let from = ended.len().saturating_sub(most);
        for dead in ended.drain(from..) {
            self.store.remove(&dead);
        }
    }
}

/// Longest command whose answer is stored, bytes: the work for one read stays bounded.
const LONGEST: usize = 1 << 20;

/// Ended entries dropped whenever one is stored.
const SOME: usize = 64;
