//! Where one thread counts.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use super::record::Record;
use super::table::Table;
use super::tally::{Counts, Seen};
use crate::command::ShapeId;
use crate::pipeline::Request;

/// The counters of one thread. The lock is its own: others take it once a second, to gather.
/// (Aligned so that two threads' locks don't share a cache line.)
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Shard(Mutex<HashMap<ShapeId, Tally, FixedState>>);

/// What this thread has counted of a shape since it was last gathered.
struct Tally {
    record: Arc<Record>,
    counts: Counts,
    /// Microseconds, and how many requests took that long.
    times: Vec<(u64, u32)>,
}

impl Shard {
    /// Counts a request; its record, if its shape is kept.
    pub fn add(
        &self,
        id: ShapeId,
        seen: &Seen,
        second: u32,
        request: &Request,
        table: &Table,
    ) -> Option<Arc<Record>> {
        let mut tallies = self.0.lock();
        if let Some(tally) = tallies.get_mut(&id) {
            return tally.add(seen, second, request);
        }
        let record = match seen.continues {
            true => table.known(id)?,
            false => table.record(id, request)?,
        };
        if tallies.len() >= table.max_shapes() {
            // Shapes that the table has given up meanwhile.
            gather(&mut tallies);
            tallies.clear();
        }
        let tally = tallies.entry(id).or_insert_with(|| Tally {
            record,
            counts: Counts::default(),
            times: Vec::new(),
        });
        tally.add(seen, second, request)
    }

    /// Adds what was counted to the records.
    pub fn gather(&self) {
        gather(&mut self.0.lock());
    }
}

fn gather(tallies: &mut HashMap<ShapeId, Tally, FixedState>) {
    tallies.retain(|_, tally| {
        // (Only further batches, perhaps.)
        let used = tally.counts != Counts::default();
        if used {
            tally.gather();
        }
        used
    });
}

impl Tally {
    /// Counts a request; its record, if the slow log may ask for it.
    fn add(&mut self, seen: &Seen, second: u32, request: &Request) -> Option<Arc<Record>> {
        self.counts.add(seen);
        if !seen.continues {
            self.times.push((seen.micros(), seen.weight));
        }
        if self.times.len() >= TIMES {
            self.gather();
        }
        if !seen.continues && self.record.wants_sample(second) {
            self.record.sample(request, second);
        }
        let slow_may_ask = seen.took >= SLOWEST_FAST;
        slow_may_ask.then(|| Arc::clone(&self.record))
    }

    fn gather(&mut self) {
        self.record.add(&self.counts, &self.times);
        self.counts = Counts::default();
        self.times.clear();
    }
}

/// Times kept until they are gathered.
const TIMES: usize = 128;

/// What takes less is never slow (the least `profile.slow_threshold`).
const SLOWEST_FAST: std::time::Duration = std::time::Duration::from_millis(1);
