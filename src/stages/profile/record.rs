//! A shape that is kept, and the sums of its requests.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::sample;
use super::tally::Counts;
use crate::command::{Kind, Namespace, ShapeId, shape_collection, shape_text};
use crate::pipeline::{Observed, Request};

/// A shape with its sums.
pub(super) struct Record {
    pub id: ShapeId,
    pub namespace: Namespace,
    pub kind: Kind,
    pub command: String,
    pub text: String,
    sums: Mutex<Sums>,
    /// Microseconds it took lately: what decides who gives way.
    pub heat: AtomicU64,
    samples: Mutex<Vec<Box<[u8]>>>,
    /// The second from which on another sample is wanted; never if `u32::MAX`.
    next_sample: AtomicU32,
}

struct Sums {
    counts: Counts,
    times: Histogram<u32>,
    /// Requests since the last tick, and by the second lately.
    since_tick: u64,
    per_second: f64,
    last_seen: SystemTime,
}

/// What is known of one shape.
#[derive(Clone, Debug)]
pub struct ShapeReport {
    /// Its hash.
    pub id: ShapeId,
    /// Database and collection; the database alone for commands about none.
    pub namespace: Namespace,
    /// The command's name.
    pub command: String,
    /// The shape, with `?` for values.
    pub text: String,
    /// Sums since it was first seen.
    pub counts: Counts,
    /// Requests a second, lately.
    pub per_second: f64,
    /// Time from request to reply.
    pub latency: Latency,
    /// When it was asked last, to the second.
    pub last_seen: SystemTime,
}

/// Quantiles of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half are at most this.
    pub p50: Duration,
    /// 95 of 100.
    pub p95: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// All.
    pub max: Duration,
}

impl Record {
    pub fn new(id: ShapeId, request: &Request, samples: bool) -> Record {
        let command = &request.command;
        let collection = shape_collection(command).unwrap_or_default();
        let wanted = samples && sample::is_wanted(command);
        Record {
            id,
            namespace: Namespace::new(cut(command.db()), cut(collection)),
            kind: command.kind,
            command: cut(command.name()).to_owned(),
            text: shape_text(command, &request.msg),
            sums: Mutex::new(Sums {
                counts: Counts::default(),
                times: histogram(),
                since_tick: 0,
                per_second: 0.0,
                last_seen: SystemTime::now(),
            }),
            heat: AtomicU64::new(0),
            samples: Mutex::default(),
            next_sample: AtomicU32::new(if wanted { 0 } else { u32::MAX }),
        }
    }

    pub fn add(&self, counts: &Counts, times: &[(u64, u32)]) {
        let mut sums = self.sums.lock();
        sums.counts.merge(counts);
        sums.since_tick += counts.count;
        sums.last_seen = SystemTime::now();
        for (micros, weight) in times {
            let micros = (*micros).clamp(1, LARGEST);
            // Within the bounds, so it can't fail.
            let _ = sums.times.record_n(micros, *weight);
        }
        drop(sums);
        self.heat.fetch_add(counts.micros + counts.count, Relaxed);
    }

    /// A second has passed; all that was counted in it is here.
    pub fn tick(&self) {
        let heat = self.heat.load(Relaxed);
        self.heat.fetch_sub(heat / COOLING, Relaxed);
        let mut sums = self.sums.lock();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = std::mem::take(&mut sums.since_tick) as f64;
        sums.per_second += (rate - sums.per_second) * SMOOTHING;
    }

    pub fn wants_sample(&self, second: u32) -> bool {
        second >= self.next_sample.load(Relaxed)
    }

    pub fn sample(&self, request: &Request, second: u32) {
        self.next_sample
            .store(second.saturating_add(sample::EVERY), Relaxed);
        if let Some(sample) = sample::take(&request.command, &request.msg) {
            let mut samples = self.samples.lock();
            let large = |sample: &[u8]| sample.len() > sample::SMALL;
            if large(&sample) {
                samples.clear();
            } else if samples.len() >= sample::MOST || samples.iter().any(|s| large(s)) {
                samples.remove(0);
            }
            samples.push(sample);
        }
    }

    pub fn report(&self) -> ShapeReport {
        let sums = self.sums.lock();
        let at = |q| Duration::from_micros(sums.times.value_at_quantile(q));
        let latency = match sums.times.is_empty() {
            true => Latency::default(),
            false => Latency {
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                max: Duration::from_micros(sums.times.max()),
            },
        };
        ShapeReport {
            id: self.id,
            namespace: self.namespace.clone(),
            command: self.command.clone(),
            text: self.text.clone(),
            counts: sums.counts,
            per_second: sums.per_second,
            latency,
            last_seen: sums.last_seen,
        }
    }

    pub fn observed(&self) -> Observed {
        let (counts, per_second) = {
            let sums = self.sums.lock();
            (sums.counts, sums.per_second)
        };
        let samples = self.samples.lock();
        let read = |bytes: &[u8]| bson::Document::from_reader(bytes).ok();
        Observed {
            id: self.id,
            namespace: self.namespace.clone(),
            kind: self.kind,
            calls: counts.count,
            upstream_calls: counts.upstream,
            upstream_time: Duration::from_micros(counts.upstream_micros),
            upstream_documents: counts.upstream_documents,
            per_second,
            samples: samples.iter().filter_map(|bytes| read(bytes)).collect(),
        }
    }

    pub fn upstream_micros(&self) -> u64 {
        self.sums.lock().counts.upstream_micros
    }
}

/// Two significant digits, from a microsecond to [`LARGEST`]; it grows with what it holds.
fn histogram() -> Histogram<u32> {
    #[expect(clippy::unwrap_used, reason = "the bounds are constants and valid")]
    let mut histogram = Histogram::new_with_bounds(1, 2, 2).unwrap();
    histogram.auto(true);
    histogram
}

/// A name as long as the server allows, at most.
pub(super) fn cut(name: &str) -> &str {
    let end = name.len().min(LONGEST_NAME);
    let end = (0..=end).rev().find(|&at| name.is_char_boundary(at));
    name.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// An hour in microseconds; whatever is more counts as this.
const LARGEST: u64 = 3_600_000_000;

/// A shape's heat halves in about 45 seconds.
const COOLING: u64 = 64;

/// How much of a rate is its last second.
const SMOOTHING: f64 = 0.2;

/// Longest name kept, bytes: the server allows 255 for a namespace.
const LONGEST_NAME: usize = 255;
