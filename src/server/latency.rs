//! How long requests take, by where their answer came from: the dashboard's curves.
//!
//! Three lanes with buckets a quarter of a power of two wide, so that quantiles are right to about
//! 20 %. (`durations`, for `/metrics`, has many series with few buckets, as Prometheus wants them.)

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::shards::Shards;
use crate::pipeline::{Decision, Request};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// From memory.
    Hit,
    /// From a server, and it wrote nothing.
    Read,
    /// From a server, for what may write.
    Write,
}

impl Lane {
    fn of(request: &Request) -> Lane {
        let trail = &request.trail;
        match trail.has(Decision::Hit) {
            true => Lane::Hit,
            false if trail.has(Decision::Fenced) => Lane::Write,
            false => Lane::Read,
        }
    }
}

/// Latencies since the start.
#[derive(Debug)]
pub struct Latencies {
    shards: Shards<[[AtomicU64; BUCKETS]; 3]>,
}

/// Requests per bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

impl Latencies {
    pub(super) fn new(threads: usize) -> Latencies {
        let lane = || std::array::from_fn(|_| AtomicU64::new(0));
        Latencies {
            shards: Shards::new(threads, || std::array::from_fn(|_| lane())),
        }
    }

    pub(super) fn note(&self, request: &Request, took: Duration) {
        let at = Lane::of(request) as usize;
        if let Some(lanes) = self.shards.own()
            && let Some(bucket) = lanes.get(at).and_then(|lane| lane.get(bucket(took)))
        {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// All that was counted in a lane so far.
    pub fn histogram(&self, lane: Lane) -> Histogram {
        let mut sum = [0; BUCKETS];
        for lanes in self.shards.iter() {
            for (sum, counted) in sum.iter_mut().zip(&lanes[lane as usize]) {
                *sum += counted.load(Relaxed);
            }
        }
        Histogram(sum)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram([0; BUCKETS])
    }
}

impl Histogram {
    /// What was counted since an earlier look.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let pairs = self.0.iter().zip(&earlier.0);
        let mut left = [0; BUCKETS];
        for (left, (now, then)) in left.iter_mut().zip(pairs) {
            *left = now.saturating_sub(*then);
        }
        Histogram(left)
    }

    /// How many requests.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time within which this share of the requests was answered, in microseconds; `None` if
    /// there were none.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let all = self.count();
        let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        for (i, n) in self.0.iter().enumerate() {
            seen += n;
            if *n > 0 && seen >= wanted {
                return Some(middle_us(i));
            }
        }
        None
    }
}

/// A bucket's number: the position of the highest bit in eighths of a microsecond, and the two
/// bits below it.
fn bucket(took: Duration) -> usize {
    // (Not by `as_nanos`: to divide its 128 bits is a function of its own.)
    let eighths = took.as_secs().saturating_mul(8_000_000);
    let eighths = eighths.saturating_add(u64::from(took.subsec_nanos() / 125));
    let eighths = eighths.max(4);
    let octave = eighths.ilog2();
    let quarter = (eighths >> (octave - 2)) & 3;
    let at = (octave as usize - 2) * 4 + quarter as usize;
    at.min(BUCKETS - 1)
}

fn middle_us(bucket: usize) -> f64 {
    let scale = f64::from(1_u32 << (bucket / 4).min(31)) / 8.0;
    let lowest = (4 + bucket % 4) as f64;
    (lowest + 0.5) * scale
}

/// Up to a minute.
const BUCKETS: usize = 108;

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;
    use crate::pipeline::scripted::request;

    const TOOK: Duration = Duration::from_millis(1);

    #[test]
    fn quantiles_are_right_to_a_fifth() {
        for us in [1_u64, 3, 17, 250, 999, 40_000, 2_000_000] {
            let mut histogram = Histogram::default();
            histogram.0[bucket(Duration::from_micros(us))] += 1;
            let found = histogram.quantile_us(0.5).unwrap();
            assert!(
                (found / us as f64 - 1.0).abs() < 0.2,
                "{us} µs became {found}"
            );
        }
        assert_eq!(Histogram::default().quantile_us(0.5), None);
        assert!(bucket(Duration::from_secs(1 << 40)) < BUCKETS);
    }

    #[test]
    fn an_interval_counts_what_came_in_it() {
        let latencies = Latencies::new(2);
        let mut read = request(&doc! {"find": "c", "$db": "d"});
        latencies.note(&read, TOOK);
        let before = latencies.histogram(Lane::Read);
        latencies.note(&read, TOOK);
        read.trail.note(Decision::Hit);
        latencies.note(&read, TOOK);
        let since = latencies.histogram(Lane::Read).since(&before);
        assert_eq!((since.count(), before.count()), (1, 1));
        assert_eq!(latencies.histogram(Lane::Hit).count(), 1);
        assert_eq!(latencies.histogram(Lane::Write).count(), 0);
    }
}
