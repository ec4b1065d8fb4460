//! What ties a stored answer to the writes.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, OnceLock};

use super::group::Group;
use super::scopes::Stamp;

/// A stored answer, as the fences see it.
pub trait Tied: Send + Sync {
    /// What ties it to the writes.
    fn tie(&self) -> &Tie;
    /// Its key in the cache.
    fn key(&self) -> &[u8];
    /// The canonical command document that it answers.
    fn command(&self) -> &[u8];
    /// The documents of the answer, if it consists of documents of the collection.
    fn documents(&self) -> Option<Box<dyn Iterator<Item = &[u8]> + '_>>;
}

/// Whether a stored answer may be served: by the scopes it depends on, by what is known
/// of its group, and by what is known of itself. Dropped, it leaves its group.
#[derive(Debug)]
pub struct Tie {
    pub(super) stamp: Stamp,
    /// Writes in flight that may affect this answer; [`DEAD`] once one has.
    state: AtomicU32,
    /// Of the writes that its group was [spared](Group::spared) from, how many had been when it was last served.
    spared: AtomicU32,
    place: OnceLock<Place>,
    /// What is kept of the documents that the answer tells of, in bytes.
    kept: AtomicU32,
}

/// Where an answer is.
#[derive(Debug)]
struct Place {
    group: Arc<Group>,
    slot: u32,
    /// When its read was sent, in the collection's own counting.
    opened: u64,
}

impl Tie {
    /// A tie that can't be served yet.
    pub(super) fn new(stamp: Stamp) -> Tie {
        Tie {
            stamp,
            state: AtomicU32::new(DEAD),
            spared: AtomicU32::new(0),
            place: OnceLock::new(),
            kept: AtomicU32::new(0),
        }
    }

    /// The answer is stored and depends on whole scopes only.
    pub(super) fn bind_to_scopes(&self) {
        self.state.store(0, SeqCst);
    }

    /// The answer is stored at this place of a group; its read was sent at `opened`.
    pub(super) fn bind(&self, group: Arc<Group>, slot: u32, opened: u64) {
        self.spared.store(group.spared(), Relaxed);
        let place = Place {
            group,
            slot,
            opened,
        };
        if self.place.set(place).is_ok() {
            self.state.store(0, SeqCst);
        }
    }

    /// When its read was sent, in the collection's own counting.
    pub(super) fn opened(&self) -> u64 {
        self.place.get().map_or(0, |place| place.opened)
    }

    /// No write in flight meets the answer, and none has since it was stored, as far as
    /// its group and itself are concerned.
    pub(super) fn holds(&self) -> bool {
        self.state.load(SeqCst) == 0 && self.place.get().is_none_or(|p| p.group.holds())
    }

    /// The answer is served from memory. Whether a look at a document has brought this hit: a write has been, since the answer was
    /// last served, that would have ended it if nothing had been known of the written document.
    pub fn note_hit(&self) -> bool {
        let Some(Place { group, .. }) = self.place.get() else {
            return false;
        };
        let spared = group.spared();
        let brought =
            self.spared.load(Relaxed) != spared && self.spared.swap(spared, Relaxed) != spared;
        if brought {
            group.note_brought();
        }
        brought
    }

    /// So many bytes are kept of the documents that the answer tells of.
    pub(super) fn note_kept(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.kept.store(bytes, Relaxed);
    }

    pub(super) fn suspend(&self) {
        self.state.fetch_add(1, SeqCst);
    }

    pub(super) fn revive(&self) {
        self.state.fetch_sub(1, SeqCst);
    }

    pub(super) fn kill(&self) {
        if self.state.fetch_or(DEAD, SeqCst) & DEAD == 0 {
            self.leave();
        }
    }

    /// The [generation](super::Fences::generation) in which the answer was asked for.
    pub fn generation(&self) -> u64 {
        self.stamp.generation()
    }

    fn leave(&self) {
        if let Some(place) = self.place.get() {
            place.group.forget(place.slot);
        }
    }

    /// What the fences keep for this answer, in bytes.
    pub fn bytes(&self) -> usize {
        let place = self.place.get();
        let posted = place.map_or(0, |p| p.group.bytes_of(p.slot));
        posted + self.kept.load(Relaxed) as usize
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        // A dead one has left already.
        if *self.state.get_mut() & DEAD == 0 {
            self.leave();
        }
    }
}

const DEAD: u32 = 1 << 31;
