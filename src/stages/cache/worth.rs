//! Which reads are worth their place (docs/coherence.md, rule 13).
//!
//! Reads of one shape (a command with its values removed, in one collection) share a record of
//! what their entries bring: how often they are served, how many leave, how much time those that
//! left had saved, and how much room they took. A shape of which many more entries leave than are
//! ever served is stored only now and then, to see whether that has changed; and while the cache is full, so is
//! a shape that saves far less time by the byte than the cache does as a whole. While there is
//! room, being large costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use quick_cache::sync::Cache;

/// What reads of one shape have brought.
#[derive(Debug, Default)]
pub(super) struct Shape {
    record: Record,
    all: Arc<Record>,
    /// Hits of entries that are here and that were, fading as `record` does.
    used: AtomicU64,
    /// Smoothed time of the read itself, in microseconds.
    cost: AtomicU64,
    asked: AtomicU64,
}

/// Entries that have left: how many, the microseconds saved, and their bytes.
#[derive(Debug, Default)]
struct Record {
    left: AtomicU64,
    saved: AtomicU64,
    bytes: AtomicU64,
}

/// All shapes.
pub(super) struct Worth {
    shapes: Cache<u64, Arc<Shape>>,
    all: Arc<Record>,
}

impl Worth {
    pub fn new() -> Worth {
        Worth {
            shapes: Cache::new(SHAPES),
            all: Arc::default(),
        }
    }

    /// The shape with this hash.
    pub fn shape(&self, hash: u64) -> Arc<Shape> {
        if let Some(shape) = self.shapes.get(&hash) {
            return shape;
        }
        let shape = Arc::new(Shape {
            all: Arc::clone(&self.all),
            ..Shape::default()
        });
        self.shapes.insert(hash, Arc::clone(&shape));
        shape
    }
}

impl Shape {
    /// Whether another answer is worth storing now.
    pub fn pays(&self, cache_is_full: bool) -> bool {
        let trial = self.asked.fetch_add(1, Relaxed).is_multiple_of(TRIAL);
        trial || !(self.is_unused() || cache_is_full && self.is_poor())
    }

    /// A read of this shape took so long.
    pub fn took(&self, time: Duration) {
        let now = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let before = self.cost.load(Relaxed);
        let smoothed = if before == 0 {
            now
        } else {
            before / 8 * 7 + now / 8
        };
        self.cost.store(smoothed.max(1), Relaxed);
    }

    /// An entry was served.
    pub fn hit(&self) {
        self.used.fetch_add(1, Relaxed);
    }

    /// An entry has left after so many hits.
    pub fn left(&self, hits: u32, bytes: u32) {
        let saved = u64::from(hits) * self.cost.load(Relaxed);
        if self.record.add(saved, bytes) {
            self.used.store(self.used.load(Relaxed) / 2, Relaxed);
        }
        self.all.add(saved, bytes);
    }

    fn is_unused(&self) -> bool {
        let left = self.record.left.load(Relaxed);
        left >= ENOUGH && self.used.load(Relaxed) * UNUSED < left
    }

    /// Its entries save less by the byte than others do, by far.
    fn is_poor(&self) -> bool {
        self.record.left.load(Relaxed) >= ENOUGH
            && self.record.saved_by_byte() * FAR < self.all.saved_by_byte()
    }
}

impl Record {
    /// Whether the past counts half from now on.
    fn add(&self, saved: u64, bytes: u32) -> bool {
        self.saved.fetch_add(saved, Relaxed);
        self.bytes.fetch_add(u64::from(bytes), Relaxed);
        let fades = self.left.fetch_add(1, Relaxed) >= FADES;
        if fades {
            // Racing threads may halve twice: it is an estimate.
            for counter in [&self.left, &self.saved, &self.bytes] {
                counter.store(counter.load(Relaxed) / 2, Relaxed);
            }
        }
        fades
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn saved_by_byte(&self) -> f64 {
        self.saved.load(Relaxed) as f64 / self.bytes.load(Relaxed).max(1) as f64
    }
}

/// Shapes remembered.
const SHAPES: usize = 10_000;

/// Entries that must have left before a shape is judged.
const ENOUGH: u64 = 64;

/// Entries after which the past counts half.
const FADES: u64 = 1024;

/// Fewer hits than one in so many entries: it doesn't pay.
const UNUSED: u64 = 20;

/// So many times less by the byte than the rest: it doesn't pay in a full cache.
const FAR: f64 = 8.0;

/// One in so many is stored all the same.
const TRIAL: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(shape: &Shape, full: bool) -> usize {
        (0..160).filter(|_| shape.pays(full)).count()
    }

    #[test]
    fn a_shape_whose_entries_leave_unused_is_stored_now_and_then_until_it_pays_again() {
        let worth = Worth::new();
        let shape = worth.shape(1);
        assert_eq!(admitted(&shape, false), 160, "nothing is known yet");
        (0..100).for_each(|_| shape.left(0, 500));
        assert_eq!(admitted(&shape, false), 10);
        (0..20).for_each(|_| shape.hit());
        assert_eq!(admitted(&shape, false), 160);
        assert!(Arc::ptr_eq(&shape, &worth.shape(1)));
    }

    #[test]
    fn big_answers_that_save_little_stay_out_of_a_full_cache_only() {
        let worth = Worth::new();
        let (small, big) = (worth.shape(1), worth.shape(2));
        for shape in [&small, &big] {
            shape.took(Duration::from_micros(200));
        }
        for _ in 0..100 {
            (0..10).for_each(|_| small.hit());
            small.left(10, 500);
            big.hit();
            big.left(1, 500_000);
        }
        assert_eq!(admitted(&big, false), 160);
        assert_eq!(admitted(&big, true), 10);
        assert_eq!(admitted(&small, true), 160);
    }
}
