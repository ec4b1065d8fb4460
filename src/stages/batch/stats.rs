//! What batching counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::config::WriteKind;

/// Why a write was sent by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// Little of its kind was under way: it waited for nobody.
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
    /// It is a batch in itself.
    Large,
    /// An update or delete with several statements, or of several documents.
    Several,
    /// An update or delete that isn't of one document by its `_id`.
    Filter,
    /// An update that must not be applied twice, and may be sent again (`batch.retryable_updates`).
    Retryable,
    /// A retryable write of a document without `_id`.
    NoId,
    /// A document or statement for which a server might refuse the whole command.
    Document,
    /// The upstream is a mongos, too old, or not known yet.
    Upstream,
    /// It isn't known, or not any more, what the collection is.
    Unknown,
    /// The collection is a time series, capped, a view, or has options that aren't known.
    Collection,
    /// An open transaction has written in its collection.
    Held,
    /// A retry of a write that went alone.
    Retry,
    /// An earlier write of its session, sent by itself, may still land.
    Stray,
    /// Too much was waiting.
    QueueFull,
    /// It had waited for `batch.max_wait`.
    WaitedLong,
    /// Its batch was refused before anything was executed.
    Refused,
    /// The server's profiler records every operation of the database.
    Profiler,
    /// Its client had gone before it was sent: it left its batch.
    Gone,
}

impl Alone {
    /// All of them, in order.
    pub const ALL: [Alone; 24] = [
        Alone::First,
        Alone::OnlyOne,
        Alone::Transaction,
        Alone::Fields,
        Alone::Namespace,
        Alone::MaxTime,
        Alone::Ordered,
        Alone::Large,
        Alone::Several,
        Alone::Filter,
        Alone::Retryable,
        Alone::NoId,
        Alone::Document,
        Alone::Upstream,
        Alone::Unknown,
        Alone::Collection,
        Alone::Held,
        Alone::Retry,
        Alone::Stray,
        Alone::QueueFull,
        Alone::WaitedLong,
        Alone::Refused,
        Alone::Profiler,
        Alone::Gone,
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
            Alone::Several => "several",
            Alone::Filter => "filter",
            Alone::Retryable => "retryable",
            Alone::NoId => "no_id",
            Alone::Document => "document",
            Alone::Upstream => "upstream",
            Alone::Unknown => "unknown_collection",
            Alone::Collection => "collection",
            Alone::Held => "held",
            Alone::Retry => "retry",
            Alone::Stray => "stray",
            Alone::QueueFull => "queue_full",
            Alone::WaitedLong => "waited_long",
            Alone::Refused => "refused",
            Alone::Profiler => "profiler",
            Alone::Gone => "gone",
        }
    }
}

/// Counters of batching. All only grow.
#[derive(Debug)]
pub struct BatchStats {
    client_writes: [AtomicU64; WriteKind::ALL.len()],
    /// Of them, those that went together with others.
    batched: [AtomicU64; WriteKind::ALL.len()],
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
            client_writes: Default::default(),
            batched: Default::default(),
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
    pub(super) fn client_write(&self, kind: WriteKind) {
        add(&self.client_writes, kind, 1);
    }

    /// A write is about to be sent by itself.
    pub(super) fn alone(&self, why: Alone) {
        if let Some(counter) = self.alone.get(why as usize) {
            counter.fetch_add(1, Relaxed);
        }
        self.command(1);
    }

    /// This many writes leave in one command.
    pub(super) fn batch(&self, kind: WriteKind, writes: usize) {
        add(&self.batched, kind, writes as u64);
        self.command(writes);
    }

    /// A command for this many writes is about to be sent.
    fn command(&self, writes: usize) {
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

    /// Writes that came.
    pub fn client_writes(&self) -> u64 {
        self.client_writes.iter().map(|n| n.load(Relaxed)).sum()
    }

    /// Writes that came, and those of them that went together with others, by kind.
    pub fn by_kind(&self) -> impl Iterator<Item = (WriteKind, u64, u64)> + '_ {
        let counts = self.client_writes.iter().zip(&self.batched);
        let of = |(kind, (came, batched)): (&WriteKind, (&AtomicU64, &AtomicU64))| {
            (*kind, came.load(Relaxed), batched.load(Relaxed))
        };
        WriteKind::ALL.iter().zip(counts).map(of)
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

    /// Writes sent by themselves, by reason.
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

fn add(counters: &[AtomicU64], kind: WriteKind, n: u64) {
    if let Some(counter) = counters.get(kind as usize) {
        counter.fetch_add(n, Relaxed);
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
