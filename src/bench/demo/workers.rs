//! Workers that run the economy for a while, each one operation at a time, and what they measure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::economy::{Economy, Kind};
use crate::bench::load::histogram;
use crate::bench::random::Random;

/// Latencies by kind, in the order of [`Kind::MIX`], and failures.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Nanoseconds per operation, by kind.
    pub latency: Vec<Histogram<u64>>,
    /// Operations that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            latency: Kind::MIX.iter().map(|_| histogram()).collect(),
            errors: 0,
            first_error: None,
        }
    }
}

impl Tally {
    /// Adds another one's counts.
    pub fn add(&mut self, other: &Tally) {
        for (own, others) in self.latency.iter_mut().zip(&other.latency) {
            // Same bounds.
            let _ = own.add(others);
        }
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// All operations that succeeded.
    pub fn operations(&self) -> u64 {
        self.latency.iter().map(Histogram::len).sum()
    }

    /// Those that only read.
    pub fn reads(&self) -> u64 {
        let by_kind = self.latency.iter().zip(Kind::MIX);
        by_kind
            .filter(|(_, (kind, _))| kind.is_read())
            .map(|(latency, _)| latency.len())
            .sum()
    }

    fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.errors += 1;
        self.first_error
            .get_or_insert_with(|| format!("{what}: {error}"));
    }
}

/// Runs the economy with so many workers for so long. Each turn has its own random numbers, the same for all sides.
pub async fn run(economy: &Arc<Economy>, workers: u32, slice: Duration, turn: u32) -> Tally {
    let until = Instant::now() + slice;
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let seed = u64::from(turn) << 32 | u64::from(worker);
            tokio::spawn(work(Arc::clone(economy), until, seed))
        })
        .collect();
    let mut total = Tally::default();
    for task in tasks {
        match task.await {
            Ok(tally) => total.add(&tally),
            Err(panic) => total.failed("a worker", &panic),
        }
    }
    total
}

async fn work(economy: Arc<Economy>, until: Instant, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut random = Random::seeded(seed);
    let mut session = match economy.session().await {
        Ok(session) => session,
        Err(error) => {
            tally.failed("starting a session", &error);
            return tally;
        }
    };
    loop {
        let (index, kind) = Kind::draw(&mut random);
        let begin = Instant::now();
        if begin >= until {
            return tally;
        }
        match economy.run(kind, &mut session, &mut random).await {
            Ok(()) => {
                if let Some(latency) = tally.latency.get_mut(index) {
                    latency.saturating_record(begin.elapsed().as_nanos() as u64);
                }
            }
            Err(error) => tally.failed(kind.label(), &error),
        }
    }
}
