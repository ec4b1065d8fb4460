//! The shapes that are kept: a bounded number, whatever clients ask.
//!
//! While there is room, every shape is let in. Once it is full, a shape must be seen twice within
//! a short while; then it takes the place of the coldest of a few that are drawn. So shapes that
//! are asked once come and go without touching those that matter, and a shape that begins to
//! matter gets in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use super::record::{Record, ShapeReport};
use crate::command::ShapeId;
use crate::pipeline::{Observed, Request};

pub(super) struct Table {
    kept: Mutex<Kept>,
    max: usize,
    samples: bool,
    dropped: AtomicU64,
    /// Time spent upstream by shapes that have given way, microseconds.
    gone_micros: AtomicU64,
}

struct Kept {
    records: Vec<Arc<Record>>,
    places: HashMap<ShapeId, usize, FixedState>,
    /// Who has knocked lately, each at the place of its hash.
    door: Box<[u64]>,
    draw: u64,
}

impl Table {
    pub fn new(max: usize, samples: bool) -> Table {
        Table {
            kept: Mutex::new(Kept {
                records: Vec::new(),
                places: HashMap::default(),
                door: vec![0; DOOR].into(),
                draw: 1,
            }),
            max: max.max(1),
            samples,
            dropped: AtomicU64::new(0),
            gone_micros: AtomicU64::new(0),
        }
    }

    pub fn max_shapes(&self) -> usize {
        self.max
    }

    /// The record of a shape that is kept.
    pub fn known(&self, id: ShapeId) -> Option<Arc<Record>> {
        let kept = self.kept.lock();
        kept.places
            .get(&id)
            .and_then(|at| kept.records.get(*at))
            .cloned()
    }

    /// The record of a shape; `None` if it isn't let in.
    pub fn record(&self, id: ShapeId, request: &Request) -> Option<Arc<Record>> {
        let mut kept = self.kept.lock();
        if let Some(record) = kept.places.get(&id).and_then(|at| kept.records.get(*at)) {
            return Some(Arc::clone(record));
        }
        if kept.records.len() >= self.max && !kept.knocks_again(id) {
            self.dropped.fetch_add(1, Relaxed);
            return None;
        }
        let record = Arc::new(Record::new(id, request, self.samples));
        let at = match kept.records.len() >= self.max {
            true => {
                let at = kept.coldest();
                let old = std::mem::replace(kept.records.get_mut(at)?, Arc::clone(&record));
                kept.places.remove(&old.id);
                self.gone_micros.fetch_add(old.upstream_micros(), Relaxed);
                self.dropped.fetch_add(1, Relaxed);
                at
            }
            false => {
                kept.records.push(Arc::clone(&record));
                kept.records.len() - 1
            }
        };
        kept.places.insert(id, at);
        Some(record)
    }

    pub fn len(&self) -> usize {
        self.kept.lock().records.len()
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub fn tick(&self) {
        self.records().iter().for_each(|record| record.tick());
    }

    pub fn reports(&self) -> Vec<ShapeReport> {
        self.records().iter().map(|r| r.report()).collect()
    }

    pub fn observed(&self) -> Vec<Observed> {
        self.records().iter().map(|r| r.observed()).collect()
    }

    pub fn upstream_time(&self) -> Duration {
        let here: u64 = self.records().iter().map(|r| r.upstream_micros()).sum();
        Duration::from_micros(here + self.gone_micros.load(Relaxed))
    }

    fn records(&self) -> Vec<Arc<Record>> {
        self.kept.lock().records.clone()
    }
}

impl Kept {
    fn knocks_again(&mut self, id: ShapeId) -> bool {
        let place = (id.0 % DOOR as u64) as usize;
        let Some(place) = self.door.get_mut(place) else {
            return true;
        };
        std::mem::replace(place, id.0) == id.0
    }

    /// The coldest of a few that are drawn.
    fn coldest(&mut self) -> usize {
        let draws = (0..DRAWS).map(|_| {
            // Xorshift: any even spread will do.
            self.draw ^= self.draw << 13;
            self.draw ^= self.draw >> 7;
            self.draw ^= self.draw << 17;
            (self.draw % self.records.len().max(1) as u64) as usize
        });
        let draws: Vec<usize> = draws.collect();
        let heat = |at: &usize| self.records.get(*at).map(|r| r.heat.load(Relaxed));
        draws.into_iter().min_by_key(heat).unwrap_or(0)
    }
}

/// Hashes remembered at the door.
const DOOR: usize = 4096;

/// Records compared when one has to go.
const DRAWS: usize = 8;
