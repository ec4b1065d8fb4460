//! `GET /api/memory`: where the process's memory is, what is alive, and whether something leaks.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::memory::{Leak, Moment, Object, Report};

/// Sizes are bytes, times ISO 8601 in UTC.
pub(super) fn memory(report: &Report) -> Value {
    let parts = report.parts;
    json!({
        "rss": report.rss,
        "limit": report.limit.map(|(bytes, _)| bytes),
        "limit_source": report.limit.map(|(_, whose)| whose.as_str()),
        "pressure": report.pressure.as_str(),
        "parts": {
            "cache": parts.cache,
            "buffers": parts.buffers,
            // Not known of glibc's: it is in `other`.
            "allocator_free": null,
            "other": parts.other,
        },
        "cache_limit": report.cache_limit,
        "large_messages": {
            "budget": report.budget.total,
            "used": report.budget.used,
            "waited": report.budget.waited,
            "refused": report.budget.refused,
        },
        "objects": report.objects.iter().map(object).collect::<Vec<Value>>(),
        "trend_bytes_per_min": report.trend,
        "leak": report.leaks.first().map(|leak| suspected(leak, report.trend)),
        "history": report.history.iter().map(moment).collect::<Vec<Value>>(),
    })
}

fn object(object: &Object) -> Value {
    json!({
        "kind": object.kind.as_str(),
        "live": object.live,
        "oldest_ms": object.oldest.map(milliseconds),
    })
}

/// The oldest of several counts.
fn suspected(leak: &Leak, bytes_per_min: Option<f64>) -> Value {
    json!({
        "kind": leak.kind,
        "since": time(leak.since),
        "noticed": time(leak.noticed),
        "bytes_per_min": bytes_per_min,
    })
}

fn moment(moment: &Moment) -> Value {
    json!({
        "at": time(moment.at),
        "rss": moment.rss,
        "cache": moment.cache,
        "other": moment.other,
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
