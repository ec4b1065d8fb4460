//! Some requests, told to a collector as OpenTelemetry spans (OTLP over HTTP). Off by default.
//!
//! Which requests is decided before anything else is done for one, so that the others cost a look at
//! a random number, and nothing at all when this is off. A span is made when its request is over, from
//! what is known then: nothing is carried through the pipeline but a list of exchanges.
//!
//! The SDK's batch processor sends from a thread of its own (`client`, over ureq, which the
//! command line has anyway). What it has not sent yet is bounded and counted (`queue`): a collector
//! that is down costs the spans, and nothing else.
//!
//! A leaf: what a span says of a request is in `server/traces.rs`.

mod client;
mod queue;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};

use self::client::Client;
use self::queue::{Counting, Queue};
use crate::config;

/// The export of one proxy's spans.
#[derive(Debug)]
pub struct Traces {
    share: f64,
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
}

/// Spans so far, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Taken by the collector.
    pub sent: u64,
    /// Not taken: it was down, slow or refused them.
    pub failed: u64,
    /// Not even tried: too many were waiting.
    pub dropped: u64,
    /// Waiting now.
    pub waiting: u64,
}

/// A span that is over, with those beneath it.
#[derive(Debug)]
pub struct Told {
    /// What was done, in few words.
    pub name: String,
    /// Which side of an exchange this process had.
    pub kind: SpanKind,
    /// When it began.
    pub began: SystemTime,
    /// Until when.
    pub took: Duration,
    /// What is known of it.
    pub attributes: Vec<KeyValue>,
    /// Whether it ended well.
    pub status: Status,
    /// What it consisted of.
    pub parts: Vec<Told>,
}

/// Why no spans can be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces: {0}; check the OTEL_EXPORTER_OTLP_ variables of the environment")]
pub struct TracesError(#[from] ExporterBuildError);

impl Traces {
    /// Gets ready to export; `None`: it is off. Nothing is connected before there is a span.
    pub fn start(config: &config::Traces) -> Result<Option<Traces>, TracesError> {
        let Some(endpoint) = &config.endpoint else {
            return Ok(None);
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(endpoint))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.at("/v1/traces"))
            .with_timeout(PATIENCE)
            .build()?;
        let queue = Arc::new(Queue::default());
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(queue::LONGEST)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(PAUSE)
            .build();
        let exporter = queue::counted(exporter, Arc::clone(&queue));
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource)
            .with_span_processor(Counting::new(processor, Arc::clone(&queue)))
            .build();
        tracing::info!(target: "petiole::traces", %endpoint, share = config.share, "requests are told as spans");
        Ok(Some(Traces {
            share: config.share,
            tracer: provider.tracer("petiole"),
            provider,
            queue,
        }))
    }

    /// Whether the next request is to be told.
    pub fn picks(&self) -> bool {
        fastrand::f64() < self.share
    }

    /// Hands a span and its parts to the exporter. Never waits.
    pub fn tell(&self, told: Told) {
        self.tell_in(&Context::new(), told);
    }

    fn tell_in(&self, context: &Context, told: Told) {
        let builder = SpanBuilder::from_name(told.name)
            .with_kind(told.kind)
            .with_start_time(told.began)
            .with_attributes(told.attributes);
        let mut span = self.tracer.build_with_context(builder, context);
        let own = context.with_remote_span_context(span.span_context().clone());
        for part in told.parts {
            self.tell_in(&own, part);
        }
        span.set_status(told.status);
        span.end_with_timestamp(told.began + told.took);
    }

    /// What became of the spans.
    pub fn counts(&self) -> TraceCounts {
        self.queue.counts()
    }

    /// Sends what is waiting, for a moment at most, and ends.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(target: "petiole::traces", %error, "the last spans may not have been sent");
        }
    }
}

/// Spans in one message to the collector.
const BATCH: usize = 512;
/// Time between two messages, unless there are more spans than that.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the collector may take for a message, retries included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the collector.
const FAREWELL: Duration = Duration::from_secs(3);
