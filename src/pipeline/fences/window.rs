//! The time between a read's being sent and its answer's being stored.

use std::sync::Arc;

use super::collection::Collection;
use super::tie::{Tie, Tied};
use super::{Fences, Stamp, Weakened};
use crate::command::ReadPlan;

/// A read under way, for which the fences remember what is written meanwhile.
pub struct Window {
    fences: Arc<Fences>,
    stamp: Stamp,
    precise: Option<Precise>,
}

struct Precise {
    collection: Arc<Collection>,
    plan: ReadPlan,
    opened: u64,
}

/// When another reader joined, in the collection's own counting.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Window {
    pub(super) fn new(
        fences: Arc<Fences>,
        stamp: Stamp,
        precise: Option<(Arc<Collection>, ReadPlan)>,
    ) -> Window {
        let precise = precise.map(|(collection, plan)| Precise {
            opened: collection.open(),
            collection,
            plan,
        });
        Window {
            fences,
            stamp,
            precise,
        }
    }

    /// What will tie the answer to the writes.
    pub fn tie(&self) -> Tie {
        Tie::new(self.stamp)
    }

    /// Ties an answer, if it outlives all that was in flight at any moment since. Only then may
    /// it be served.
    pub fn admit(&self, answer: &Arc<dyn Tied>) -> bool {
        // A write of whole scopes that begins after this line is seen by the stamp, whenever the
        // answer is looked at.
        let weakened = self.fences.weakening.is(Weakened::Fills);
        if !weakened && !self.fences.unmet(&self.stamp) {
            return false;
        }
        match &self.precise {
            Some(p) => {
                let opened = (!weakened).then_some(p.opened);
                p.collection.admit(answer, &p.plan, opened, &self.fences)
            }
            None => {
                answer.tie().bind_to_scopes();
                true
            }
        }
    }

    /// The answer, which is tied, tells fields of its documents as they are now: writes to them are judged by it.
    pub fn note_pre_image(&self, answer: &Arc<dyn Tied>) {
        if let Some(p) = &self.precise {
            p.collection.note_pre_image(answer);
        }
    }

    /// From now on the window is that of another read, whose answer the answer to this one holds: what was written since
    /// the window opened counts for both alike.
    pub fn narrow(&mut self, plan: ReadPlan) {
        if let Some(p) = &mut self.precise {
            p.plan = plan;
        }
    }

    /// Joins a reader who has just come: `None` if a write that the read meets in any case was in
    /// flight since the window opened.
    pub fn join(&self) -> Option<Mark> {
        if self.fences.weakening.is(Weakened::Flights) {
            return Some(Mark(0));
        }
        if !self.fences.unmet(&self.stamp) {
            return None;
        }
        match &self.precise {
            Some(p) => p
                .collection
                .mark(p.opened, p.plan.shape(), &self.fences)
                .map(Mark),
            None => Some(Mark(0)),
        }
    }

    /// Whether the answer is right for a reader who joined at `mark`.
    pub fn serves(&self, answer: &dyn Tied, mark: Mark) -> bool {
        match &self.precise {
            Some(_) if self.fences.weakening.is(Weakened::Flights) => true,
            Some(p) => {
                let since = (p.opened, mark.0);
                p.collection.serves(answer, &p.plan, since, &self.fences)
            }
            None => true,
        }
    }

    /// The plan of the read, where it can be reasoned about.
    pub fn plan(&self) -> Option<&ReadPlan> {
        self.precise.as_ref().map(|p| &p.plan)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(p) = &self.precise {
            p.collection.close();
        }
    }
}
