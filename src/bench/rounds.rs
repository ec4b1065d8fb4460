//! Several targets in turn, A B C A B C …
//!
//! Whatever slows the machine for a while then slows all of them, and ratios per round stay true. Each round starts with
//! another target, so that none always follows the same neighbour.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::contestant::HITS;
use super::load::{Fleet, LoadError, Measured, Plan, histogram};
use super::process::resident;
use super::ratio::{Ratio, median};
use super::workload::Source;

/// Running totals of whatever else is worth knowing, such as CPU microseconds of a process. Read before and after each
/// slice, always with the same names in the same order.
pub type Probe = Box<dyn FnMut() -> Totals>;

/// Names and totals.
pub type Totals = Vec<(String, f64)>;

/// One target with its open connections and its requests.
pub struct Lane {
    /// What tables call it.
    pub name: String,
    /// Its connections.
    pub fleet: Fleet,
    /// Its requests.
    pub source: Box<dyn Source>,
    /// What else is counted.
    pub probe: Probe,
    /// The server's process, if it's known.
    pub pid: Option<u32>,
}

/// What one lane did over all rounds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LaneResult {
    /// The lane's name.
    pub name: String,
    /// Good replies per second, per round.
    pub throughput: Vec<f64>,
    /// Median latency in microseconds, per round.
    pub p50_us: Vec<f64>,
    /// Latency quantiles in microseconds over all rounds.
    pub latency_us: Quantiles,
    /// The same in more points: quantile and microseconds.
    #[serde(default)]
    pub latency_curve: Vec<(f64, f64)>,
    /// Share of cache hits per round; empty for what has no cache.
    #[serde(default)]
    pub hit_ratio: Vec<f64>,
    /// Good replies over all rounds.
    pub completed: u64,
    /// Open loop: requests over all rounds that the target couldn't take in time.
    pub unsent: u64,
    /// Transactions begun over all rounds.
    #[serde(default)]
    pub transactions: u64,
    /// Of them, those that met another one and had to begin again.
    #[serde(default)]
    pub conflicts: u64,
    /// Other refusals over all rounds.
    pub errors: u64,
    /// The first refusal.
    pub first_error: Option<String>,
    /// The generator's own CPU time per request, in microseconds.
    pub generator_cpu_us: f64,
    /// What the lane's probe counted, per good reply, the warm-up's included.
    pub per_request: Vec<(String, f64)>,
    /// Resident memory of the server asked, at the end.
    pub resident_bytes: Option<u64>,
}

/// Latency quantiles in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Quantiles {
    /// Of a histogram of nanoseconds.
    pub fn of(latency: &Histogram<u64>) -> Quantiles {
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        Quantiles {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: latency.max() as f64 / 1e3,
        }
    }
}

/// The quantiles of a curve.
const CURVE: [f64; 13] = [
    0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999,
];

impl LaneResult {
    /// One of the probe's counts, per good reply.
    pub fn counted(&self, name: &str) -> Option<f64> {
        let found = self.per_request.iter().find(|(counted, _)| counted == name);
        found.map(|(_, value)| *value)
    }

    /// Median throughput over the rounds.
    pub fn typical_throughput(&self) -> f64 {
        median(&self.throughput).unwrap_or_default()
    }

    /// This lane's throughput as a multiple of another's.
    pub fn throughput_over(&self, other: &LaneResult) -> Option<Ratio> {
        Ratio::of(&self.throughput, &other.throughput)
    }

    /// This lane's median latency as a multiple of another's.
    pub fn p50_over(&self, other: &LaneResult) -> Option<Ratio> {
        Ratio::of(&self.p50_us, &other.p50_us)
    }
}

/// Runs all lanes `rounds` times. `done` is called after each slice.
pub fn interleave(
    lanes: &mut [Lane],
    rounds: usize,
    plan: &Plan,
    done: &mut dyn FnMut(&str),
) -> Result<Vec<LaneResult>, LoadError> {
    let mut sums: Vec<Sum> = lanes.iter().map(|_| Sum::default()).collect();
    for round in 0..rounds {
        for step in 0..lanes.len() {
            let index = (round + step) % lanes.len();
            if let (Some(lane), Some(sum)) = (lanes.get_mut(index), sums.get_mut(index)) {
                let before = (lane.probe)();
                let measured = lane.fleet.run(plan, lane.source.as_mut())?;
                let after = (lane.probe)();
                sum.add(&measured, before, &after);
                done(&lane.name);
            }
        }
    }
    Ok(lanes
        .iter()
        .zip(sums)
        .map(|(lane, sum)| sum.finish(lane))
        .collect())
}

struct Sum {
    throughput: Vec<f64>,
    p50_us: Vec<f64>,
    latency: Histogram<u64>,
    completed: u64,
    hit_ratio: Vec<f64>,
    unsent: u64,
    transactions: u64,
    conflicts: u64,
    errors: u64,
    first_error: Option<String>,
    generator_cpu_us: f64,
    counted: Vec<(String, f64)>,
    answered: f64,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum {
            throughput: Vec::new(),
            p50_us: Vec::new(),
            latency: histogram(),
            completed: 0,
            hit_ratio: Vec::new(),
            unsent: 0,
            transactions: 0,
            conflicts: 0,
            errors: 0,
            first_error: None,
            generator_cpu_us: 0.0,
            counted: Vec::new(),
            answered: 0.0,
        }
    }
}

impl Sum {
    fn add(&mut self, measured: &Measured, before: Totals, after: &Totals) {
        self.throughput.push(measured.throughput());
        self.p50_us
            .push(measured.latency.value_at_quantile(0.5) as f64 / 1e3);
        // Both have the same bounds.
        let _ = self.latency.add(&measured.latency);
        self.completed += measured.completed;
        self.unsent += measured.unsent;
        self.transactions += measured.transactions;
        self.conflicts += measured.conflicts;
        self.errors += measured.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&measured.first_error);
        }
        self.generator_cpu_us += measured.generator_cpu.as_secs_f64() * 1e6;
        for (index, (name, start)) in before.into_iter().enumerate() {
            let end = after.get(index).map_or(start, |(_, end)| *end);
            if name == HITS && measured.answered > 0 {
                self.hit_ratio
                    .push((end - start) / measured.answered as f64);
            }
            match self.counted.get_mut(index) {
                Some((_, sum)) => *sum += end - start,
                None => self.counted.push((name, end - start)),
            }
        }
        self.answered += measured.answered as f64;
    }

    fn finish(self, lane: &Lane) -> LaneResult {
        let per = |total: f64, requests: f64| {
            if requests > 0.0 {
                total / requests
            } else {
                0.0
            }
        };
        LaneResult {
            name: lane.name.clone(),
            latency_us: Quantiles::of(&self.latency),
            completed: self.completed,
            latency_curve: CURVE
                .map(|at| (at, self.latency.value_at_quantile(at) as f64 / 1e3))
                .to_vec(),
            hit_ratio: self.hit_ratio,
            unsent: self.unsent,
            transactions: self.transactions,
            conflicts: self.conflicts,
            errors: self.errors,
            resident_bytes: lane.pid.and_then(resident),
            first_error: self.first_error,
            generator_cpu_us: per(self.generator_cpu_us, self.completed as f64),
            per_request: (self.counted.into_iter())
                .map(|(name, total)| (name, per(total, self.answered)))
                .collect(),
            throughput: self.throughput,
            p50_us: self.p50_us,
        }
    }
}
