//! Counting what the SDK's batch processor does: it bounds its queue, and tells nobody what it drops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use super::TraceCounts;

/// The spans between the end of their request and the collector's answer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    pub fn counts(&self) -> TraceCounts {
        TraceCounts {
            sent: self.sent.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            waiting: self.waiting.load(Relaxed) as u64,
        }
    }

    /// Whether there is room for one more, which then waits.
    fn enter(&self) -> bool {
        if self.waiting.fetch_add(1, Relaxed) < LONGEST {
            return true;
        }
        self.waiting.fetch_sub(1, Relaxed);
        self.dropped.fetch_add(1, Relaxed);
        false
    }

    fn leave(&self, spans: usize, result: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Relaxed);
        let counter = match result {
            Ok(()) => &self.sent,
            Err(_) => &self.failed,
        };
        counter.fetch_add(spans as u64, Relaxed);
    }
}

/// The processor with its queue counted. (Never full itself: spans in its hands count, too.)
#[derive(Debug)]
pub(super) struct Counting<P> {
    processor: P,
    queue: Arc<Queue>,
}

impl<P> Counting<P> {
    pub fn new(processor: P, queue: Arc<Queue>) -> Counting<P> {
        Counting { processor, queue }
    }
}

impl<P: SpanProcessor> SpanProcessor for Counting<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter that says what became of its spans.
pub(super) fn counted<E: SpanExporter>(exporter: E, queue: Arc<Queue>) -> Counted<E> {
    Counted { exporter, queue }
}

#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    queue: Arc<Queue>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.queue.leave(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Spans that may wait: some 2 MiB.
pub(super) const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let queue = Queue::default();
        for _ in 0..LONGEST + 10 {
            queue.enter();
        }
        queue.leave(500, &Ok(()));
        queue.leave(100, &Err(OTelSdkError::InternalFailure("down".to_owned())));
        let expected = TraceCounts {
            sent: 500,
            failed: 100,
            dropped: 10,
            waiting: LONGEST as u64 - 600,
        };
        assert_eq!(queue.counts(), expected);
        assert!(queue.enter());
    }
}
