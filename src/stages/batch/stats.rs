//! What batching counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Why an insert was sent by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// Nothing of its kind was under way.
    First,
    /// Nobody else had come when its turn came.
    OnlyOne,
    /// It is part of a transaction.
    Transaction,
    /// A field that isn't known, or not of its usual type.
    Fields,
    /// A system collection, or one that `batch.bypass_namespaces` names.
    Namespace,
    /// It has a `maxTimeMS`.
    MaxTime,
    /// Several documents, in order: the rest of them depends on the first error.
    Ordered,
    /// Its documents are larger than `batch.max_size`, or more than `batch.max_documents`.
    Large,
    /// A retryable write of a document without `_id`.
    NoId,
    /// The upstream is a mongos, too old, or not known yet.
    Upstream,
    /// An open transaction has written in its collection.
    Held,
    /// A retry of a write that went alone.
    Retry,
    /// Too much was waiting.
    QueueFull,
    /// It had waited for `batch.max_wait`.
    WaitedLong,
    /// Its batch was refused before anything was executed.
    Refused,
}

impl Alone {
    /// All of them, in order.
    pub const ALL: [Alone; 15] = [
        Alone::First,
        Alone::OnlyOne,
        Alone::Transaction,
        Alone::Fields,
        Alone::Namespace,
        Alone::MaxTime,
        Alone::Ordered,
        Alone::Large,
        Alone::NoId,
        Alone::Upstream,
        Alone::Held,
        Alone::Retry,
        Alone::QueueFull,
        Alone::WaitedLong,
        Alone::Refused,
    ];

    /// The word in metrics and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Alone::First => "first",
            Alone::OnlyOne => "only_one",
            Alone::Transaction => "transaction",
            Alone::Fields => "fields",
            Alone::Namespace => "namespace",
            Alone::MaxTime => "max_time",
            Alone::Ordered => "ordered",
            Alone::Large => "large",
            Alone::NoId => "no_id",
            Alone::Upstream => "upstream",
            Alone::Held => "held",
            Alone::Retry => "retry",
            Alone::QueueFull => "queue_full",
            Alone::WaitedLong => "waited_long",
            Alone::Refused => "refused",
        }
    }
}

/// Counters of batching. All only grow.
#[derive(Debug)]
pub struct BatchStats {
    client_writes: AtomicU64,
    upstream_commands: AtomicU64,
    alone: [AtomicU64; Alone::ALL.len()],
    journal_answers: AtomicU64,
    resent: AtomicU64,
    one_by_one: AtomicU64,
    /// Client writes per upstream command, and microseconds spent in a queue.
    sizes: Mutex<Histogram<u64>>,
    waits: Mutex<Histogram<u64>>,
}

/// Quantiles of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50: u64,
    /// 95 of 100.
    pub p95: u64,
    /// 99 of 100.
    pub p99: u64,
    /// All.
    pub max: u64,
}

impl Quantiles {
    /// Each with its quantile, as Prometheus writes it.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("0.5", self.p50),
            ("0.95", self.p95),
            ("0.99", self.p99),
            ("1", self.max),
        ]
    }
}

impl Default for BatchStats {
    fn default() -> Self {
        BatchStats {
            client_writes: AtomicU64::new(0),
            upstream_commands: AtomicU64::new(0),
            alone: Default::default(),
            journal_answers: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            one_by_one: AtomicU64::new(0),
            sizes: Mutex::new(histogram()),
            waits: Mutex::new(histogram()),
        }
    }
}

impl BatchStats {
    pub(super) fn client_write(&self) {
        self.client_writes.fetch_add(1, Relaxed);
    }

    /// A write is about to be sent by itself.
    pub(super) fn alone(&self, why: Alone) {
        if let Some(counter) = self.alone.get(why as usize) {
            counter.fetch_add(1, Relaxed);
        }
        self.command(1);
    }

    /// A command for this many writes is about to be sent.
    pub(super) fn command(&self, writes: usize) {
        self.upstream_commands.fetch_add(1, Relaxed);
        self.sizes.lock().saturating_record(writes as u64);
    }

    /// These times were spent in a queue.
    pub(super) fn waited(&self, times: impl Iterator<Item = Duration>) {
        let mut waits = self.waits.lock();
        for time in times {
            waits.saturating_record(time.as_micros() as u64);
        }
    }

    /// A batch is sent once more.
    pub(super) fn resent(&self) {
        self.resent.fetch_add(1, Relaxed);
        self.upstream_commands.fetch_add(1, Relaxed);
    }

    /// A write of a batch is asked for by itself.
    pub(super) fn one_by_one(&self) {
        self.one_by_one.fetch_add(1, Relaxed);
        self.upstream_commands.fetch_add(1, Relaxed);
    }

    pub(super) fn journal_answer(&self) {
        self.journal_answers.fetch_add(1, Relaxed);
    }

    /// Inserts that came.
    pub fn client_writes(&self) -> u64 {
        self.client_writes.load(Relaxed)
    }

    /// Commands that were sent for them.
    pub fn upstream_commands(&self) -> u64 {
        self.upstream_commands.load(Relaxed)
    }

    /// Retries that were answered from the journal.
    pub fn journal_answers(&self) -> u64 {
        self.journal_answers.load(Relaxed)
    }

    /// Batches that were sent once more.
    pub fn batches_resent(&self) -> u64 {
        self.resent.load(Relaxed)
    }

    /// Commands for single writes of a batch that couldn't be answered as a whole.
    pub fn sent_one_by_one(&self) -> u64 {
        self.one_by_one.load(Relaxed)
    }

    /// Inserts sent by themselves, by reason.
    pub fn sent_alone(&self) -> impl Iterator<Item = (Alone, u64)> + '_ {
        Alone::ALL
            .iter()
            .zip(&self.alone)
            .map(|(&why, n)| (why, n.load(Relaxed)))
    }

    /// Client writes per upstream command.
    pub fn sizes(&self) -> Quantiles {
        quantiles(&self.sizes.lock())
    }

    /// Microseconds that writes spent in a queue.
    pub fn waits_us(&self) -> Quantiles {
        quantiles(&self.waits.lock())
    }
}

fn histogram() -> Histogram<u64> {
    #[expect(clippy::unwrap_used, reason = "the bounds are constants and valid")]
    Histogram::new_with_bounds(1, LARGEST, 2).unwrap()
}

/// An hour in microseconds; whatever is more counts as this.
const LARGEST: u64 = 3_600_000_000;

fn quantiles(of: &Histogram<u64>) -> Quantiles {
    if of.is_empty() {
        return Quantiles::default();
    }
    Quantiles {
        p50: of.value_at_quantile(0.5),
        p95: of.value_at_quantile(0.95),
        p99: of.value_at_quantile(0.99),
        max: of.max(),
    }
}
