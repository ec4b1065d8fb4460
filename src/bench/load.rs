//! The load generator: one thread, one epoll, many connections to one target.
//!
//! *Closed loop:* each connection sends its next request when its reply has come. *Open loop:* requests fall due at
//! random (Poisson) times whatever the target does, and latency counts from when a request was due, so a target that
//! stalls can't hide it (no coordinated omission).
//!
//! One thread on epoll, because it's cheap: against the echo server it used 9 µs of CPU per request at 16 and 64
//! connections, where a blocking thread per connection used 12 to 24 µs and so took time from the server under test; a
//! tokio current-thread runtime came close at 8 to 11 µs. Nearly all of it is the kernel's socket work. The generator's
//! own CPU time is part of each result. Replies are checked one by one; a refused one is counted, a broken one ends the
//! run.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::connection::{Connection, ConnectionError};
use super::pace::Pace;
pub use super::pace::Pacing;
use super::process::thread_cpu;
use super::random::Random;
use super::reply::{Protocol, ReplyError};
use super::workload::Source;

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: std::net::SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Run first, not recorded.
    pub warm_up: Duration,
    /// Recorded.
    pub duration: Duration,
    /// When requests are sent.
    pub pacing: Pacing,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Nanoseconds per request.
    pub latency: Histogram<u64>,
    /// Good replies within the recorded time.
    pub completed: u64,
    /// All good replies, those of the warm-up and after the end included.
    pub answered: u64,
    /// Transactions begun, in all.
    pub transactions: u64,
    /// Of them, those that met another one and have to begin again, as MongoDB tells drivers.
    pub conflicts: u64,
    /// Other refusals within the recorded time.
    pub errors: u64,
    /// The first refusal.
    pub first_error: Option<String>,
    /// Open loop: requests that were due and found no free connection until the end. They count in `latency` with the
    /// time they had waited so far.
    pub unsent: u64,
    /// The recorded time.
    pub elapsed: Duration,
    /// CPU time of the generator's thread, within the recorded time.
    pub generator_cpu: Duration,
}

impl Measured {
    /// Good replies per second.
    pub fn throughput(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64()
    }
}

/// Why a measurement ended early.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A connection couldn't be made or broke.
    #[error("{address}: {source}")]
    Connection {
        /// The target.
        address: std::net::SocketAddr,
        /// What happened.
        source: ConnectionError,
    },
    /// Polling failed.
    #[error("polling: {0}")]
    Poll(#[from] std::io::Error),
    /// No reply came for too long.
    #[error("{address}: {waiting} requests without a reply for {GRACE:?}")]
    Stalled {
        /// The target.
        address: std::net::SocketAddr,
        /// Requests under way.
        waiting: usize,
    },
}

/// How long the last replies may take after the end.
const GRACE: Duration = Duration::from_secs(20);
/// The longest latency that a histogram holds.
const LONGEST: u64 = 120_000_000_000;

/// A histogram of nanoseconds up to two minutes, exact to three digits.
pub fn histogram() -> Histogram<u64> {
    #[expect(clippy::unwrap_used, reason = "the bounds are constants and valid")]
    Histogram::new_with_bounds(1, LONGEST, 3).unwrap()
}

/// Open connections to one target. They stay open between measurements.
#[derive(Debug)]
pub struct Fleet {
    target: Target,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    random: Random,
}

impl Fleet {
    /// Opens `count` connections. Fleets with the same seed ask the same questions.
    pub fn open(target: Target, count: usize, seed: u64) -> Result<Fleet, LoadError> {
        let poll = Poll::new()?;
        let connections = (0..count)
            .map(|index| {
                Connection::open(
                    target.address,
                    target.protocol,
                    poll.registry(),
                    Token(index),
                )
            })
            .collect::<Result<_, _>>()
            .map_err(|source| LoadError::Connection {
                address: target.address,
                source,
            })?;
        Ok(Fleet {
            target,
            poll,
            events: Events::with_capacity(count.max(16)),
            connections,
            random: Random::seeded(seed),
        })
    }

    /// Asks each distinct question once, so that caches are as warm as they will be. Nothing to do where each request
    /// is new.
    pub fn warm(&mut self, source: &mut dyn Source) -> Result<(), LoadError> {
        let Some(distinct) = source.distinct() else {
            return Ok(());
        };
        let mut ask = Warming {
            source,
            next: 0,
            distinct,
        };
        let begin = Instant::now();
        let window = Window {
            record_from: begin,
            end: begin + Duration::from_secs(300),
        };
        self.drive(window, Pacing::Closed, &mut ask).map(drop)
    }

    /// Measures.
    pub fn run(&mut self, plan: &Plan, source: &mut dyn Source) -> Result<Measured, LoadError> {
        let record_from = Instant::now() + plan.warm_up;
        let window = Window {
            record_from,
            end: record_from + plan.duration,
        };
        let before = source.transactions();
        let mut ask = Measuring {
            source: &mut *source,
        };
        let mut measured = self.drive(window, plan.pacing, &mut ask)?;
        measured.transactions = source.transactions() - before;
        measured.elapsed = plan.duration;
        Ok(measured)
    }

    fn drive(
        &mut self,
        window: Window,
        pacing: Pacing,
        asks: &mut dyn Asks,
    ) -> Result<Measured, LoadError> {
        let address = self.target.address;
        let broken = |source| LoadError::Connection { address, source };
        let Fleet {
            poll,
            events,
            connections,
            random,
            ..
        } = self;
        let mut tally = Tally::new(window);
        let mut pace = Pace::new(pacing, connections.len());
        let mut now = Instant::now();
        let mut last_progress = now;
        loop {
            while let Some((index, started)) = (pace.next(now, window.end, random))
                .or_else(|| pace.finish(now, window.end, |index| asks.unfinished(index)))
            {
                let Some(connection) = connections.get_mut(index) else {
                    break;
                };
                let mut asked = false;
                let fill = |out: &mut Vec<u8>| asked = asks.ask(index, random, out);
                connection
                    .send(poll.registry(), started, fill)
                    .map_err(broken)?;
                if !asked {
                    pace.retire(index);
                }
            }
            if pace.under_way == 0 && (now >= window.end || pace.exhausted()) {
                break;
            }
            if now.duration_since(last_progress) > GRACE {
                return Err(LoadError::Stalled {
                    address,
                    waiting: pace.under_way,
                });
            }
            match poll.poll(events, Some(pace.nap(now, window.end))) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in events.iter() {
                let Token(index) = event.token();
                let Some(connection) = connections.get_mut(index) else {
                    continue;
                };
                if connection.is_flushing() && event.is_writable() {
                    connection.flush(poll.registry()).map_err(broken)?;
                }
                let Some(length) = connection.receive().map_err(broken)? else {
                    continue;
                };
                now = Instant::now();
                last_progress = now;
                match connection.judge(length) {
                    Ok(()) => tally.good(connection.started, now),
                    Err(ReplyError::Refused(reason)) => {
                        asks.refused(index);
                        tally.refused(now, reason);
                    }
                    Err(other) => return Err(broken(other.into())),
                }
                pace.free(index);
                // At once, rather than after the whole batch of events.
                let next = pace.again(now, window.end, |index| asks.unfinished(index));
                if let Some((index, started)) = next {
                    let mut asked = false;
                    let fill = |out: &mut Vec<u8>| asked = asks.ask(index, random, out);
                    connection
                        .send(poll.registry(), started, fill)
                        .map_err(broken)?;
                    if !asked {
                        pace.retire(index);
                    }
                }
            }
            now = Instant::now();
            tally.tick(now);
        }
        Ok(tally.finish(pace.unsent(window.end)))
    }
}

/// Where the requests of one drive come from.
trait Asks {
    /// Writes the next request of a connection; false (and nothing written) when there's none left.
    fn ask(&mut self, index: usize, random: &mut Random, out: &mut Vec<u8>) -> bool;

    /// The last request of a connection was refused.
    fn refused(&mut self, index: usize);

    /// Whether a connection has something open that must be ended.
    fn unfinished(&self, index: usize) -> bool;
}

/// Each distinct request once.
struct Warming<'a> {
    source: &'a mut dyn Source,
    next: u32,
    distinct: u32,
}

impl Asks for Warming<'_> {
    fn ask(&mut self, index: usize, _random: &mut Random, out: &mut Vec<u8>) -> bool {
        if self.next == self.distinct {
            return false;
        }
        self.source.fill_nth(index, self.next, out);
        self.next += 1;
        true
    }

    fn refused(&mut self, _index: usize) {}

    fn unfinished(&self, _index: usize) -> bool {
        false
    }
}

/// Whatever the source says, for ever.
struct Measuring<'a> {
    source: &'a mut dyn Source,
}

impl Asks for Measuring<'_> {
    fn ask(&mut self, index: usize, random: &mut Random, out: &mut Vec<u8>) -> bool {
        self.source.fill(index, random, out);
        !out.is_empty()
    }

    fn refused(&mut self, index: usize) {
        self.source.refused(index);
    }

    fn unfinished(&self, index: usize) -> bool {
        self.source.unfinished(index)
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    record_from: Instant,
    end: Instant,
}

/// Counts what falls into the recorded window.
struct Tally {
    window: Window,
    measured: Measured,
    cpu_at_start: Option<Duration>,
    cpu_at_end: Option<Duration>,
}

impl Tally {
    fn new(window: Window) -> Tally {
        let measured = Measured {
            latency: histogram(),
            completed: 0,
            answered: 0,
            transactions: 0,
            conflicts: 0,
            errors: 0,
            first_error: None,
            unsent: 0,
            elapsed: Duration::ZERO,
            generator_cpu: Duration::ZERO,
        };
        Tally {
            window,
            measured,
            cpu_at_start: None,
            cpu_at_end: None,
        }
    }

    fn recording(&self, now: Instant) -> bool {
        now >= self.window.record_from && now < self.window.end
    }

    fn good(&mut self, started: Instant, now: Instant) {
        self.measured.answered += 1;
        if self.recording(now) {
            self.measured.completed += 1;
            self.measured
                .latency
                .saturating_record(now.duration_since(started).as_nanos() as u64);
        }
    }

    fn refused(&mut self, now: Instant, reason: String) {
        if reason.contains("TransientTransactionError") {
            self.measured.conflicts += 1;
            return;
        }
        self.measured.errors += u64::from(self.recording(now));
        self.measured.first_error.get_or_insert(reason);
    }

    fn tick(&mut self, now: Instant) {
        if now >= self.window.record_from && self.cpu_at_start.is_none() {
            self.cpu_at_start = Some(thread_cpu());
        }
        if now >= self.window.end && self.cpu_at_end.is_none() {
            self.cpu_at_end = Some(thread_cpu());
        }
    }

    fn finish(mut self, unsent: Option<(Pacing, Instant)>) -> Measured {
        let end = self.cpu_at_end.unwrap_or_else(thread_cpu);
        self.measured.generator_cpu = end.saturating_sub(self.cpu_at_start.unwrap_or(end));
        if let Some((Pacing::Open(rate), due)) = unsent {
            // The backlog in one go: requests due evenly between then and the end, each having waited until the end.
            let waited = self.window.end.duration_since(due).as_secs_f64();
            let count = (waited * rate) as u64;
            self.measured.unsent = count;
            for index in 0..count {
                let wait = waited * (1.0 - index as f64 / count as f64);
                self.measured.latency.saturating_record((wait * 1e9) as u64);
            }
        }
        self.measured
    }
}
