//! How long commands take, by what they are and where their answer came from: the histograms of
//! `/metrics`.
//!
//! The labels are bounded: the commands of the table below, and the outcomes. A request costs two
//! additions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::shards::Shards;
use crate::command::Kind;
use crate::pipeline::{Decision, Trail};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From memory.
    Hit,
    /// From the server: it could have been in memory and wasn't.
    Miss,
    /// Shared with another who asked the same.
    Joined,
    /// From the server: a read that isn't cached.
    Bypass,
    /// From the server: no read that could be.
    Pass,
    /// There was none, but an error of the proxy's own.
    Error,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 6] = [
        Outcome::Hit,
        Outcome::Miss,
        Outcome::Joined,
        Outcome::Bypass,
        Outcome::Pass,
        Outcome::Error,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Miss => "miss",
            Outcome::Joined => "joined",
            Outcome::Bypass => "bypass",
            Outcome::Pass => "pass",
            Outcome::Error => "error",
        }
    }

    /// What the first decision about a cached kind of read says.
    pub(super) fn of(trail: &Trail, failed: bool) -> Outcome {
        if failed {
            return Outcome::Error;
        }
        let told = trail.iter().find_map(|decision| match decision {
            Decision::Hit => Some(Outcome::Hit),
            Decision::Joined => Some(Outcome::Joined),
            Decision::Miss => Some(Outcome::Miss),
            Decision::Bypassed(_) => Some(Outcome::Bypass),
            _ => None,
        });
        // Whoever joined a flight may have missed before that.
        match told {
            Some(Outcome::Miss) if trail.has(Decision::Joined) => Outcome::Joined,
            Some(outcome) => outcome,
            None => Outcome::Pass,
        }
    }
}

/// The names of commands that have a series of their own; all others share the last.
pub const COMMANDS: [&str; 13] = [
    "find",
    "aggregate",
    "count",
    "distinct",
    "getMore",
    "killCursors",
    "insert",
    "update",
    "delete",
    "findAndModify",
    "bulkWrite",
    "commitTransaction",
    "other",
];

/// Upper bounds of the buckets, in microseconds. What takes longer is in one more.
pub const BOUNDS_US: [u64; 17] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Since the start.
#[derive(Debug)]
pub struct Durations {
    shards: Shards<[[Histogram; Outcome::ALL.len()]; COMMANDS.len()]>,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    /// Microseconds.
    sum: AtomicU64,
}

/// The sum of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Requests by bucket, not added up.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// All their time, in microseconds.
    pub sum_us: u64,
}

impl Durations {
    /// For so many threads; more may count, too.
    pub(super) fn new(threads: usize) -> Durations {
        let outcomes = || std::array::from_fn(|_| Histogram::default());
        Durations {
            shards: Shards::new(threads, || std::array::from_fn(|_| outcomes())),
        }
    }

    /// Counts a request that is done.
    pub(super) fn add(&self, kind: Kind, trail: &Trail, failed: bool, took: Duration) {
        let outcome = Outcome::of(trail, failed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|&bound| bound < us);
        let commands = self.shards.own();
        let histogram = commands
            .and_then(|commands| commands.get(number(kind)))
            .and_then(|outcomes| outcomes.get(outcome as usize));
        if let Some(histogram) = histogram
            && let Some(bucket) = histogram.buckets.get(bucket)
        {
            bucket.fetch_add(1, Relaxed);
            histogram.sum.fetch_add(us, Relaxed);
        }
    }

    /// Every series in which something was counted.
    pub fn series(&self) -> impl Iterator<Item = (&'static str, Outcome, Series)> + '_ {
        let of = |(number, command): (usize, &'static str)| {
            Outcome::ALL.map(|outcome| (command, outcome, self.sum(number, outcome)))
        };
        let all = COMMANDS.into_iter().enumerate().flat_map(of);
        all.filter(|(_, _, series)| series.count() > 0)
    }

    fn sum(&self, command: usize, outcome: Outcome) -> Series {
        let mut sum = Series::default();
        for commands in self.shards.iter() {
            let series = commands.get(command).and_then(|o| o.get(outcome as usize));
            let Some(series) = series else { continue };
            for (all, one) in sum.buckets.iter_mut().zip(&series.buckets) {
                *all += one.load(Relaxed);
            }
            sum.sum_us += series.sum.load(Relaxed);
        }
        sum
    }
}

impl Series {
    /// How many requests.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// A command's place in [`COMMANDS`].
fn number(kind: Kind) -> usize {
    match kind {
        Kind::Find => 0,
        Kind::Aggregate => 1,
        Kind::Count => 2,
        Kind::Distinct => 3,
        Kind::GetMore => 4,
        Kind::KillCursors => 5,
        Kind::Insert => 6,
        Kind::Update => 7,
        Kind::Delete => 8,
        Kind::FindAndModify => 9,
        Kind::BulkWrite => 10,
        Kind::Commit => 11,
        _ => COMMANDS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Bypass;

    fn trail(decisions: &[Decision]) -> Trail {
        let mut trail = Trail::default();
        decisions.iter().for_each(|d| trail.note(*d));
        trail
    }

    #[test]
    fn a_request_is_counted_by_command_outcome_and_time() {
        let durations = Durations::new(2);
        let hit = trail(&[Decision::Hit]);
        durations.add(Kind::Find, &hit, false, Duration::from_micros(60));
        durations.add(Kind::Find, &hit, false, Duration::from_micros(100));
        durations.add(Kind::Rename, &trail(&[]), false, Duration::from_secs(60));
        let all: Vec<_> = durations.series().collect();
        let [(find, of_find, hits), (other, of_other, slow)] = all.as_slice() else {
            panic!("two series: {all:?}");
        };
        assert_eq!((*find, *of_find), ("find", Outcome::Hit));
        assert_eq!((hits.count(), hits.buckets[2], hits.sum_us), (2, 2, 160));
        assert_eq!((*other, *of_other), ("other", Outcome::Pass));
        assert_eq!(slow.buckets[BOUNDS_US.len()], 1);
    }

    #[test]
    fn the_outcome_is_where_the_answer_came_from() {
        let of = |decisions: &[Decision], failed| Outcome::of(&trail(decisions), failed);
        assert_eq!(
            of(&[Decision::Miss, Decision::Stored], false),
            Outcome::Miss
        );
        assert_eq!(of(&[Decision::Joined], false), Outcome::Joined);
        let bypassed = Decision::Bypassed(Bypass::UnknownField);
        assert_eq!(of(&[bypassed], false), Outcome::Bypass);
        assert_eq!(of(&[Decision::Miss, bypassed], false), Outcome::Miss);
        assert_eq!(of(&[Decision::Fenced], false), Outcome::Pass);
        assert_eq!(of(&[Decision::Miss], true), Outcome::Error);
    }
}
