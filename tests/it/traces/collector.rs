//! A collector of a test's own: takes spans over OTLP/HTTP, and keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;

/// A running collector.
pub struct Collector {
    address: String,
    taken: Arc<Taken>,
}

/// What has come so far.
#[derive(Default)]
struct Taken {
    connections: AtomicUsize,
    /// Messages as they came.
    raw: Mutex<Vec<Bytes>>,
}

/// What a collector does with what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Never answers.
    Hangs,
}

impl Collector {
    pub async fn start(manner: Manner) -> Collector {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let taken = Arc::new(Taken::default());
        let counted = Arc::clone(&taken);
        let listener = listener.tap_io(move |_| {
            counted.connections.fetch_add(1, Relaxed);
        });
        let take = move |State(taken): State<Arc<Taken>>, body: Bytes| async move {
            if manner == Manner::Hangs {
                std::future::pending::<()>().await;
            }
            taken.raw.lock().push(body);
            StatusCode::OK
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&taken));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Collector { address, taken }
    }

    /// The setting that sends spans here.
    pub fn endpoint(&self) -> String {
        format!("\"http://{}\"", self.address)
    }

    pub fn connections(&self) -> usize {
        self.taken.connections.load(Relaxed)
    }

    /// Whether these bytes are anywhere in what came.
    pub fn has_seen(&self, bytes: &[u8]) -> bool {
        let raw = self.taken.raw.lock();
        raw.iter()
            .any(|message| message.windows(bytes.len()).any(|window| window == bytes))
    }

    fn messages(&self) -> Vec<ExportTraceServiceRequest> {
        let raw = self.taken.raw.lock();
        raw.iter()
            .map(|message| ExportTraceServiceRequest::decode(message.clone()).expect("OTLP"))
            .collect()
    }

    /// Every span that came.
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.messages().into_iter().flat_map(|m| m.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Attributes of the process that the spans are from.
    pub fn resource(&self) -> Vec<KeyValue> {
        let resources = self.messages().into_iter().flat_map(|m| m.resource_spans);
        resources
            .filter_map(|spans| spans.resource)
            .flat_map(|resource| resource.attributes)
            .collect()
    }
}

/// An attribute as text; a list with spaces between.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(text(found.value.as_ref()?.value.as_ref()?))
}

fn text(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(n) => n.to_string(),
        Value::DoubleValue(n) => n.to_string(),
        Value::ArrayValue(list) => {
            let values = list.values.iter().filter_map(|v| v.value.as_ref());
            values.map(text).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}
