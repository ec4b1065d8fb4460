//! `GET /api/shapes` and `GET /api/slow`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::server::Shared;
use crate::stages::profile::{ShapeReport, SlowRequest};

/// Statistics by shape, those that took most time first.
pub fn shapes(shared: &Shared) -> Value {
    let Some(profile) = &shared.profile else {
        return json!({ "total": 0, "dropped": 0, "shapes": [] });
    };
    let shapes: Vec<Value> = profile.shapes().iter().map(shape).collect();
    json!({ "total": shapes.len(), "dropped": profile.dropped(), "shapes": shapes })
}

fn shape(shape: &ShapeReport) -> Value {
    let counts = &shape.counts;
    json!({
        "id": shape.id.to_string(),
        "namespace": namespace(&shape.namespace),
        "command": shape.command,
        "shape": shape.text,
        "count": counts.count,
        "errors": counts.errors,
        "per_second": shape.per_second,
        "total_ms": counts.micros as f64 / 1000.0,
        "latency_ms": {
            "p50": ms(shape.latency.p50),
            "p95": ms(shape.latency.p95),
            "p99": ms(shape.latency.p99),
            "max": ms(shape.latency.max),
        },
        "cache": {
            "hit": counts.hit,
            "miss": counts.miss,
            "joined": counts.joined,
            "bypass": counts.bypass,
        },
        "documents": counts.documents,
        "bytes": counts.bytes,
        "last_seen": time(shape.last_seen),
    })
}

/// Requests that took long, newest first.
pub fn slow(shared: &Shared) -> Value {
    let threshold = ms(shared.config.profile.slow_threshold);
    let last = shared.profile.as_ref().map(|p| p.slow().last());
    let slow: Vec<Value> = last.unwrap_or_default().iter().map(slow_request).collect();
    json!({ "threshold_ms": threshold, "slow": slow })
}

fn slow_request(slow: &SlowRequest) -> Value {
    json!({
        "at": time(slow.at),
        "namespace": namespace(&slow.namespace),
        "command": slow.command,
        "shape": slow.shape,
        "ms": ms(slow.took),
        "documents": slow.documents,
        "bytes": slow.bytes,
        "cache": slow.fate.as_str(),
        "client": slow.client.to_string(),
        "text": slow.text,
    })
}

/// A database and a collection, or a database alone.
fn namespace(namespace: &crate::command::Namespace) -> String {
    match namespace.collection.as_str() {
        "" => namespace.db.clone(),
        _ => namespace.to_string(),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// ISO 8601, UTC.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
