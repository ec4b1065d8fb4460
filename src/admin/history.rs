//! What the dashboard draws: the last ten minutes by the second and the last two hours by ten
//! seconds, kept here so that a page that is opened or reloaded has its past at once.
//!
//! A [`Sample`] is taken once a second out of the same document that `/api/status` answers with: a
//! number that isn't there (a stage that is switched off) is a gap and not an error. Memory is bounded:
//! two rings of [`SERIES`] numbers each, about 150 KiB.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::status::status;
use crate::server::{Histogram, Lane, Shared};

/// A number over time, and where it is found in the status.
struct Series {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// A counter, as so many a second.
    Rate(&'static str),
    /// A size or state, as it is.
    Level(&'static str),
    /// A quantile of a lane's latency within the interval, in microseconds.
    Latency(Lane, f64),
    /// Requests of a lane a second.
    Lane(Lane),
}

/// Everything that is drawn. Names are the outside contract of `/api/history` and `/api/events`.
const SERIES: &[Series] = &[
    rate("requests", "/clients/requests"),
    lane("hits", Lane::Hit),
    lane("reads", Lane::Read),
    lane("writes", Lane::Write),
    latency("hit_p50_us", Lane::Hit, 0.5),
    latency("hit_p99_us", Lane::Hit, 0.99),
    latency("read_p50_us", Lane::Read, 0.5),
    latency("read_p99_us", Lane::Read, 0.99),
    latency("write_p50_us", Lane::Write, 0.5),
    latency("write_p99_us", Lane::Write, 0.99),
    rate("cache_hits", "/cache/hits"),
    rate("cache_misses", "/cache/misses"),
    rate("cache_joins", "/cache/joins"),
    rate("cache_bypasses", "/cache/bypasses"),
    rate("invalidations", "/cache/invalidations"),
    level("entries", "/cache/entries"),
    rate("batched_writes", "/batch/client_writes"),
    rate("batch_commands", "/batch/upstream_commands"),
    level("batch_waiting", "/batch/waiting"),
    level("clients", "/clients/open"),
    level("links", "/pool/links"),
    level("idle_links", "/pool/idle"),
    level("waiting", "/pool/waiting"),
    rate("failures", "/clients/failures"),
    rate("read_retries", "/retry/read_retries"),
    rate("write_retries", "/retry/write_retries"),
    rate("overload_retries", "/retry/overload_retries"),
    rate("gave_up", "/retry/gave_up"),
    level("queued", "/admission/queued"),
    rate("rejected", "/admission/rejected"),
    level("lag_ms", "/watch/lag_ms"),
    rate("watch_events", "/watch/events"),
    level("rss", "/memory/rss"),
    level("cache_bytes", "/cache/bytes"),
    level("other_bytes", "/memory/other"),
];

const fn rate(name: &'static str, pointer: &'static str) -> Series {
    Series {
        name,
        kind: Kind::Rate(pointer),
    }
}

const fn level(name: &'static str, pointer: &'static str) -> Series {
    Series {
        name,
        kind: Kind::Level(pointer),
    }
}

const fn latency(name: &'static str, lane: Lane, share: f64) -> Series {
    Series {
        name,
        kind: Kind::Latency(lane, share),
    }
}

const fn lane(name: &'static str, lane: Lane) -> Series {
    Series {
        name,
        kind: Kind::Lane(lane),
    }
}

/// The numbers of one interval, in the order of [`SERIES`]; NaN is a gap.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Its end, in milliseconds since 1970.
    at: u64,
    values: Box<[f32]>,
}

impl Sample {
    fn json(&self) -> Value {
        let values = SERIES.iter().zip(&self.values);
        let values: Map<String, Value> = values
            .map(|(series, value)| (series.name.to_owned(), json!(value)))
            .collect();
        Value::Object(values)
    }

    /// Several intervals as one: rates as their mean; states and latencies as their highest, so that
    /// no peak is lost.
    fn merged(samples: &[Sample]) -> Option<Sample> {
        let at = samples.last()?.at;
        let value = |(i, series): (usize, &Series)| {
            let known = samples.iter().filter_map(|s| s.values.get(i));
            let known: Vec<f32> = known.copied().filter(|v| !v.is_nan()).collect();
            match series.kind {
                _ if known.is_empty() => f32::NAN,
                Kind::Rate(_) | Kind::Lane(_) => known.iter().sum::<f32>() / known.len() as f32,
                Kind::Level(_) | Kind::Latency(..) => {
                    known.iter().copied().fold(f32::MIN, f32::max)
                }
            }
        };
        let values = SERIES.iter().enumerate().map(value).collect();
        Some(Sample { at, values })
    }
}

/// Counters as they were a moment ago, to tell rates.
#[derive(Default)]
struct Before {
    at: Option<Instant>,
    status: Value,
    lanes: [Histogram; 3],
}

impl Before {
    /// The sample between then and now. The first one has no rates.
    fn sample(&mut self, now: Instant, status: &Value, lanes: [Histogram; 3]) -> Sample {
        let seconds = self.at.map(|at| now.duration_since(at).as_secs_f64());
        let number = |of: &Value, pointer| of.pointer(pointer).and_then(Value::as_f64);
        let since = |lane: Lane| {
            let at = lane as usize;
            lanes[at].since(&self.lanes[at])
        };
        let value = |series: &Series| -> Option<f64> {
            match series.kind {
                Kind::Level(pointer) => number(status, pointer),
                Kind::Rate(pointer) => {
                    let grown = number(status, pointer)? - number(&self.status, pointer)?;
                    Some(grown.max(0.0) / seconds?)
                }
                Kind::Lane(lane) => Some(since(lane).count() as f64 / seconds?),
                Kind::Latency(lane, share) => {
                    seconds?;
                    since(lane).quantile_us(share)
                }
            }
        };
        let values = SERIES
            .iter()
            .map(|series| value(series).map_or(f32::NAN, rounded))
            .collect();
        *self = Before {
            at: Some(now),
            status: status.clone(),
            lanes,
        };
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Sample {
            at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            values,
        }
    }
}

/// Two digits behind the point are more than anybody sees, and keep answers short.
fn rounded(value: f64) -> f32 {
    ((value * 100.0).round() / 100.0) as f32
}

/// The past of one proxy.
pub(super) struct History {
    rings: Mutex<Rings>,
    /// The newest event for live viewers, as text.
    events: watch::Sender<Arc<str>>,
}

#[derive(Default)]
struct Rings {
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
    /// What isn't yet in `coarse`.
    gathering: Vec<Sample>,
}

impl Rings {
    fn push(&mut self, sample: Sample) {
        self.gathering.push(sample.clone());
        if self.gathering.len() >= COARSE_STEP {
            let merged = Sample::merged(&self.gathering);
            self.gathering.clear();
            self.coarse.extend(merged);
        }
        self.fine.push_back(sample);
        while self.fine.len() > FINE {
            self.fine.pop_front();
        }
        while self.coarse.len() > COARSE {
            self.coarse.pop_front();
        }
    }
}

impl History {
    pub(super) fn new() -> Arc<History> {
        Arc::new(History {
            rings: Mutex::default(),
            events: watch::Sender::new(Arc::from("")),
        })
    }

    /// Takes a sample a second, for ever.
    pub(super) async fn keep(self: Arc<Self>, shared: Arc<Shared>) {
        let mut before = Before::default();
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let status = status(&shared);
            let lanes =
                [Lane::Hit, Lane::Read, Lane::Write].map(|lane| shared.latencies.histogram(lane));
            let sample = before.sample(Instant::now(), &status, lanes);
            if self.events.receiver_count() > 0 {
                let event = event(&sample, status).to_string();
                self.events.send_replace(Arc::from(event));
            }
            self.rings.lock().push(sample);
        }
    }

    /// Events from now on: text of JSON, one a second.
    pub(super) fn events(&self) -> watch::Receiver<Arc<str>> {
        self.events.subscribe()
    }

    /// What a live viewer would be told now.
    pub(super) fn now(&self, shared: &Shared) -> Value {
        let newest = self.rings.lock().fine.back().cloned();
        match newest {
            Some(sample) => event(&sample, status(shared)),
            None => json!({ "at": null, "sample": {}, "status": status(shared) }),
        }
    }

    /// Both rings, each series as a column.
    pub(super) fn json(&self) -> Value {
        let rings = self.rings.lock();
        let step = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
        json!({
            "fine": columns(&rings.fine, step),
            "coarse": columns(&rings.coarse, step * COARSE_STEP as u64),
        })
    }
}

fn event(sample: &Sample, status: Value) -> Value {
    json!({ "at": sample.at, "sample": sample.json(), "status": status })
}

fn columns(ring: &VecDeque<Sample>, step_ms: u64) -> Value {
    let column = |i: usize| -> Vec<Option<f32>> {
        let values = ring.iter().map(|sample| sample.values.get(i).copied());
        values.map(|v| v.filter(|v| !v.is_nan())).collect()
    };
    let series: Map<String, Value> = SERIES
        .iter()
        .enumerate()
        .map(|(i, series)| (series.name.to_owned(), json!(column(i))))
        .collect();
    let at: Vec<u64> = ring.iter().map(|sample| sample.at).collect();
    json!({ "step_ms": step_ms, "at": at, "series": series })
}

const STEP: Duration = Duration::from_secs(1);
/// Ten minutes.
const FINE: usize = 600;
/// Two hours.
const COARSE: usize = 720;
/// Samples of the fine ring in one of the coarse ring.
const COARSE_STEP: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(series: &str) -> usize {
        SERIES.iter().position(|s| s.name == series).unwrap()
    }

    fn status(requests: u64, links: u64) -> Value {
        json!({ "clients": { "requests": requests }, "pool": { "links": links } })
    }

    #[test]
    fn counters_become_rates_and_what_is_missing_a_gap() {
        let mut before = Before::default();
        let start = Instant::now();
        let first = before.sample(start, &status(100, 3), Default::default());
        assert!(
            first.values[at("requests")].is_nan(),
            "nothing to compare with"
        );
        assert_eq!(first.values[at("links")], 3.0);
        let later = start + Duration::from_secs(2);
        let second = before.sample(later, &status(150, 4), Default::default());
        assert_eq!(second.values[at("requests")], 25.0);
        assert!(second.values[at("lag_ms")].is_nan());
        assert_eq!(second.json()["lag_ms"], Value::Null);
    }

    #[test]
    fn both_rings_are_bounded_and_no_peak_is_lost() {
        let mut rings = Rings::default();
        for i in 0..10_000_u32 {
            let mut values = vec![f32::NAN; SERIES.len()];
            values[at("requests")] = (i % 10) as f32;
            values[at("waiting")] = (i % 10) as f32;
            let values = values.into_boxed_slice();
            rings.push(Sample {
                at: u64::from(i),
                values,
            });
        }
        assert_eq!((rings.fine.len(), rings.coarse.len()), (FINE, COARSE));
        let newest = rings.coarse.back().unwrap();
        assert_eq!(newest.values[at("requests")], 4.5);
        assert_eq!(newest.values[at("waiting")], 9.0);
        assert!(newest.values[at("rss")].is_nan());
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = SERIES.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), SERIES.len());
    }
}
