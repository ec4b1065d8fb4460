//! What is told of memory: one consistent view, for the admin side and `petiole top`.

use std::time::{Duration, SystemTime};

use super::watch::{Suspect, name};
use super::{BudgetStats, Kind, LimitSource, Memory, Parts, Pressure, system};

/// All that is known now.
#[derive(Clone, Debug)]
pub struct Report {
    /// Resident set size, bytes.
    pub rss: Option<u64>,
    /// The limit, bytes, and whose it is.
    pub limit: Option<(u64, LimitSource)>,
    /// How tight it is.
    pub pressure: Pressure,
    /// How often each state of [`Pressure::ALL`] was entered.
    pub entered: [u64; Pressure::ALL.len()],
    /// Where it is.
    pub parts: Parts,
    /// What the cache may have now, bytes; `None` before the first sample.
    pub cache_limit: Option<u64>,
    /// Large messages.
    pub budget: BudgetStats,
    /// What is alive, by kind.
    pub objects: Vec<Object>,
    /// Growth of what is neither cache nor buffers, bytes per minute.
    pub trend: Option<f64>,
    /// Suspected leaks, oldest first.
    pub leaks: Vec<Leak>,
    /// The past, oldest first.
    pub history: Vec<Moment>,
}

/// Live objects of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// The kind.
    pub kind: Kind,
    /// How many.
    pub live: usize,
    /// The age of the oldest.
    pub oldest: Option<Duration>,
}

/// A suspected leak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leak {
    /// The word for the kind that grows; `other` if no counted object does.
    pub kind: &'static str,
    /// Where the stretch begins over which it has grown: about when it began, or later.
    pub since: SystemTime,
    /// When that was noticed.
    pub noticed: SystemTime,
}

impl Report {
    /// The words for everything that may leak.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        Kind::ALL.into_iter().map(Some).chain([None]).map(name)
    }
}

/// A moment of the past; bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: SystemTime,
    /// Resident set size.
    pub rss: u64,
    /// In the cache.
    pub cache: u64,
    /// Neither cache nor buffers.
    pub other: u64,
}

impl Memory {
    /// All that is known now.
    pub fn report(&self) -> Report {
        let objects = Kind::ALL.map(|kind| {
            let count = self.count(kind);
            Object {
                kind,
                live: count.live,
                oldest: count.oldest,
            }
        });
        let findings = self.findings.lock();
        let leak = |suspect: &Suspect| Leak {
            kind: name(suspect.kind),
            since: suspect.since,
            noticed: suspect.noticed,
        };
        let trend = findings.trend.map(|per_second| per_second * 60.0);
        Report {
            rss: findings.rss.or_else(system::rss),
            limit: self.limit,
            pressure: self.pressure(),
            entered: findings.entered,
            parts: findings.parts,
            cache_limit: findings.cache_limit,
            budget: self.budget(),
            objects: objects.to_vec(),
            trend,
            leaks: findings.suspects.iter().map(leak).collect(),
            history: findings.history.iter().copied().collect(),
        }
    }
}
