//! A write under way, and what becomes of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::collection::{Collection, Held};
use super::{Fences, Weakened};
use crate::command::{Effect, Footprint};
use crate::memory::{Kind, Live};

/// A write under way. Dropped without [`Fence::settle`], its outcome is unknown and
/// the fence goes on standing in quarantine, whatever became of the client's task.
#[must_use = "a fence that is dropped counts as a write of unknown outcome"]
pub struct Fence {
    fences: Arc<Fences>,
    standing: Standing,
    /// What a weakened rule lets stand only once the reply has come.
    late: Vec<Footprint>,
}

/// What a fence stands on.
#[derive(Default)]
pub(super) struct Standing {
    /// Sorted.
    pub scopes: Vec<u32>,
    pub precise: Vec<(Arc<Collection>, Held)>,
    origin: Origin,
    /// The generation in which it began.
    pub generation: u64,
    /// The cluster time of the one change that the write has made, if that is proved.
    pub change: Option<u64>,
    _live: Option<Live>,
}

/// Whose write a fence stands for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// A command that is about to be sent.
    #[default]
    Command,
    /// The same, in a transaction: its documents stay locked until that ends.
    Transaction,
    /// An event: it has been carried out.
    Event,
}

/// A write of unknown outcome, fenced until then.
pub(super) struct Quarantined {
    pub until: Instant,
    pub standing: Standing,
}

impl Fence {
    pub(super) fn new(fences: &Arc<Fences>, origin: Origin) -> Fence {
        Fence {
            fences: Arc::clone(fences),
            standing: Standing {
                origin,
                generation: fences.generation(),
                _live: Some(fences.memory.live(Kind::Fences)),
                ..Standing::default()
            },
            late: Vec::new(),
        }
    }

    /// The write has made one change, at this cluster time: its event will be known.
    pub fn note_change(&mut self, cluster_time: u64) {
        self.standing.change = Some(cluster_time);
    }

    /// Ends the fence by what the write's reply proved.
    pub fn settle(mut self, effect: Effect) {
        if effect != Effect::Unknown {
            for footprint in std::mem::take(&mut self.late) {
                self.stand(&footprint);
            }
            let standing = std::mem::take(&mut self.standing);
            standing.release(&self.fences);
            self.fences.end(standing, effect);
        }
    }

    /// Widens the fence: a transaction writes somewhere else too.
    pub fn widen(&mut self, footprint: &Footprint) {
        if self.fences.weakening.is(Weakened::Suspension) {
            self.late.push(footprint.clone());
        } else {
            self.stand(footprint);
        }
    }

    fn stand(&mut self, footprint: &Footprint) {
        let mut scopes = self.fences.scopes.of(footprint);
        scopes.retain(|scope| self.standing.scopes.binary_search(scope).is_err());
        self.fences.scopes.raise(&scopes);
        if self.standing.origin == Origin::Transaction {
            self.fences.scopes.note_held(&scopes, true);
        }
        match self.standing.scopes.is_empty() {
            true => self.standing.scopes = scopes,
            false => {
                self.standing.scopes.extend(scopes);
                self.standing.scopes.sort_unstable();
            }
        }
        if let Footprint::Statements(ns, statements) = footprint {
            let collection = self.fences.collection_of(&ns.db, &ns.collection);
            let held = collection.begin(statements, self.standing.origin, &self.fences);
            // (Nearly always the only one, and large.)
            self.standing.precise.reserve_exact(1);
            self.standing.precise.push((collection, held));
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if !self.standing.scopes.is_empty() {
            let until = Instant::now() + self.fences.quarantine;
            let standing = std::mem::take(&mut self.standing);
            standing.release(&self.fences);
            let quarantined = Quarantined { until, standing };
            self.fences.quarantined.lock().push(quarantined);
        }
    }
}

impl Standing {
    /// What a transaction wrote isn't locked any more.
    fn release(&self, fences: &Fences) {
        if self.origin == Origin::Transaction {
            fences.scopes.note_held(&self.scopes, false);
        }
    }
}
