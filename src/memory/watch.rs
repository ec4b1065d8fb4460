//! The task that samples, decides and acts.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::leak::{POINTS, Series, Suspected, Verdict};
use super::pressure::Governor;
use super::report::Moment;
use super::trend::Point;
use super::{Kind, Levers, Memory, Parts, Pressure, system};

/// What the watch has found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub rss: Option<u64>,
    pub parts: Parts,
    pub cache_limit: Option<u64>,
    pub trend: Option<f64>,
    pub history: VecDeque<Moment>,
    /// By subject: what it is, when it began, and the growth of memory meanwhile.
    pub suspects: Vec<Suspect>,
    /// How often each state was entered.
    pub entered: [u64; Pressure::ALL.len()],
}

/// A suspected leak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Suspect {
    /// `None`: memory that no counted object accounts for.
    pub kind: Option<Kind>,
    pub since: SystemTime,
    pub noticed: SystemTime,
}

impl Memory {
    /// Begins to watch, as long as the proxy lives. `cache`: what the cache is configured to have.
    pub fn watch(self: &Arc<Self>, cache: u64, levers: impl Levers) {
        let watch = Watch::new(self, cache, levers);
        levers_at_start(&watch);
        tokio::spawn(watch.run());
    }

    fn sample(&self, levers: &dyn Levers) -> (Option<u64>, Parts) {
        let rss = system::rss();
        let cache = levers.cache();
        // (A large message is in a buffer, too, while it is collected: the larger number counts.)
        let buffers = self.buffers.bytes().max(self.budget.stats().used);
        let known = cache + buffers;
        let parts = Parts {
            cache,
            buffers,
            other: rss.unwrap_or(0).saturating_sub(known),
        };
        (rss, parts)
    }
}

fn levers_at_start<L: Levers>(watch: &Watch<L>) {
    watch.levers.limit_cache(watch.governor.cache());
}

struct Watch<L> {
    memory: Weak<Memory>,
    levers: L,
    governor: Governor,
    began: Instant,
    epoch: Instant,
    moment: Instant,
    kinds: Vec<(Kind, Series)>,
    other: Series,
    /// A moment of the history every so often, [`POINTS`] in a window.
    step: Duration,
}

impl<L: Levers> Watch<L> {
    fn new(memory: &Arc<Memory>, cache: u64, levers: L) -> Watch<L> {
        let now = Instant::now();
        Watch {
            memory: Arc::downgrade(memory),
            levers,
            governor: Governor::new(memory.limit.map(|(bytes, _)| bytes), cache),
            began: now,
            epoch: now,
            moment: now,
            kinds: Kind::ALL
                .into_iter()
                .map(|kind| {
                    let series = Series::new(memory.leak_window, LEAST_OBJECTS, LEAST_PERCENT);
                    (kind, series)
                })
                .collect(),
            other: Series::new(memory.leak_window, LEAST_BYTES, LEAST_PERCENT),
            step: memory.leak_window / u32::try_from(POINTS).unwrap_or(1),
        }
    }

    async fn run(mut self) {
        let mut ticks = interval(self.pause());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let Some(memory) = self.memory.upgrade() else {
                return;
            };
            self.tick(&memory);
        }
    }

    /// Time between two samples: a whole number of them between two moments, so that none of those
    /// has to wait for the sample after it.
    fn pause(&self) -> Duration {
        let samples = self.step.as_nanos().div_ceil(TICK.as_nanos()).max(1);
        // (Rounded up: a nanosecond too early is a sample too late.)
        self.step / u32::try_from(samples).unwrap_or(u32::MAX) + Duration::from_nanos(1)
    }

    fn tick(&mut self, memory: &Memory) {
        let (rss, parts) = memory.sample(&self.levers);
        self.govern(memory, rss, &parts);
        let now = Instant::now();
        if now - self.epoch >= EPOCH.min(self.step) {
            self.epoch = now;
            memory.objects.turn();
        }
        let mut findings = memory.findings.lock();
        findings.rss = rss;
        findings.parts = parts;
        findings.cache_limit = Some(self.governor.cache());
        drop(findings);
        if now - self.moment >= self.step {
            let due = self.moment + self.step;
            // The next one is on time even if this one wasn't, unless it was too late altogether.
            self.moment = if now < due + self.step { due } else { now };
            self.look_back(memory, rss, &parts);
        }
    }

    /// Pressure, and what is done about it.
    fn govern(&mut self, memory: &Memory, rss: Option<u64>, parts: &Parts) {
        let before = memory.pressure();
        let had = self.governor.cache();
        let Some(rss) = rss else {
            return;
        };
        let decision = self.governor.decide(rss, parts);
        let now = decision.pressure;
        memory
            .pressure
            .store(now as u8, std::sync::atomic::Ordering::Relaxed);
        memory.budget.resize(now);
        if decision.cache != had {
            self.levers.limit_cache(decision.cache);
        }
        if before != now {
            let entered = &mut memory.findings.lock().entered;
            if let Some(times) = entered.get_mut(now as usize) {
                *times += 1;
            }
            self.tell(memory, rss, parts, decision.cache);
        }
    }

    fn tell(&self, memory: &Memory, rss: u64, parts: &Parts, cache: u64) {
        let (limit, whose) = match memory.limit {
            Some((limit, whose)) => (limit, whose.as_str()),
            None => return,
        };
        let (rss, limit) = (mib(rss), mib(limit));
        let Parts {
            cache: cached,
            buffers,
            other,
        } = *parts;
        let held = format!(
            "cache {}, buffers {}, other {} MiB",
            mib(cached),
            mib(buffers),
            mib(other)
        );
        match memory.pressure() {
            Pressure::Calm => tracing::info!(target: "petiole::memory",
                "memory is calm again: {rss} of {limit} MiB ({whose}) in use ({held})"),
            Pressure::Tight => tracing::info!(target: "petiole::memory",
                "memory is tight: {rss} of {limit} MiB ({whose}) in use ({held}); the cache gets {} MiB", mib(cache)),
            Pressure::Critical => tracing::warn!(target: "petiole::memory",
                "memory is critical: {rss} of {limit} MiB ({whose}) in use ({held}); the cache gets {} MiB, nothing new \
                 is cached, and large requests wait or are refused", mib(cache)),
        }
    }

    /// Trends, leaks and history.
    fn look_back(&mut self, memory: &Memory, rss: Option<u64>, parts: &Parts) {
        let at = self.began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a trend")]
        let point = |value: u64| Point {
            at,
            value: value as f64,
        };
        let mut changes = Vec::new();
        for (kind, series) in &mut self.kinds {
            let old = memory.objects.count(*kind, memory.leak_window / 8).old;
            changes.push((Some(*kind), series.add(point(old as u64))));
        }
        let warm = at > memory.leak_window.as_secs_f64() / 2.0;
        if warm && rss.is_some() {
            changes.push((None, self.other.add(point(parts.other))));
        }
        let trend = self.other.slope();
        let mut findings = memory.findings.lock();
        findings.trend = trend;
        for (kind, verdict) in changes {
            match verdict {
                Verdict::Same => {}
                Verdict::Suspected(found) => {
                    let since = Duration::from_secs_f64((at - found.since).max(0.0));
                    let noticed = SystemTime::now();
                    findings.suspects.push(Suspect {
                        kind,
                        since: noticed - since,
                        noticed,
                    });
                    accuse(memory, kind, &found, at);
                }
                Verdict::Cleared => {
                    findings.suspects.retain(|s| s.kind != kind);
                    tracing::info!(target: "petiole::memory",
                        "{} are back to what they were: no leak", name(kind));
                }
            }
        }
        if findings.history.len() == HISTORY {
            findings.history.pop_front();
        }
        findings.history.push_back(Moment {
            at: SystemTime::now(),
            rss: rss.unwrap_or(0),
            cache: parts.cache,
            other: parts.other,
        });
    }
}

/// Logged once for each suspicion.
fn accuse(memory: &Memory, kind: Option<Kind>, found: &Suspected, at: f64) {
    let seconds = (at - found.since).round();
    let per_minute = found.slope * 60.0;
    match kind {
        Some(kind) => {
            let count = memory.count(kind);
            let oldest = count.oldest.map_or(0, |age| age.as_secs());
            tracing::warn!(target: "petiole::memory", kind = kind.as_str(),
                "suspected leak: {} grow steadily, by {per_minute:.1} a minute over the last {seconds} s; {} are alive, \
                 the oldest for {oldest} s", kind.as_str(), count.live);
        }
        None => tracing::warn!(target: "petiole::memory",
            "suspected leak: memory that is neither cache nor buffers grows steadily, by {:.1} MiB a minute over the \
             last {seconds} s, and no counted object accounts for it", per_minute / f64::from(1 << 20)),
    }
}

pub(super) fn name(kind: Option<Kind>) -> &'static str {
    kind.map_or("other", Kind::as_str)
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Time between two samples.
const TICK: Duration = Duration::from_millis(100);
/// Ages of objects are known to about this.
const EPOCH: Duration = Duration::from_secs(1);
/// Growth that isn't noise.
const LEAST_OBJECTS: f64 = 12.0;
const LEAST_BYTES: f64 = (8 << 20) as f64;
const LEAST_PERCENT: f64 = 10.0;
/// Moments kept.
const HISTORY: usize = 240;

#[cfg(test)]
mod tests;
