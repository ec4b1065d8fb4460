//! `/metrics` in the text formats of OpenMetrics and Prometheus. Labels are bounded: reasons, never names or addresses.

mod classic;
mod durations;
mod memory;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::server::{Complaint, Shared};
use crate::upstream::BreakerState;

/// All metrics, now, in the newer format if the scraper asks for it; and what that is called.
pub(super) fn answer(
    shared: &Arc<Shared>,
    accepts: &str,
) -> Result<(&'static str, String), std::fmt::Error> {
    let text = text(shared)?;
    if accepts.contains("application/openmetrics-text") {
        return Ok((CONTENT_TYPE, text));
    }
    Ok((classic::CONTENT_TYPE, classic::text(&text)))
}

fn text(shared: &Arc<Shared>) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("petiole");
    registry.register_collector(Box::new(Numbers(Arc::clone(shared))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

struct Numbers(Arc<Shared>);

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let shared = &self.0;
        let clients = &shared.clients;
        let pool = shared.upstream.pool();
        counter(
            &mut out,
            "requests",
            "Messages from clients.",
            clients.requests(),
        )?;
        counter(
            &mut out,
            "clients_accepted",
            "Connections accepted.",
            clients.accepted(),
        )?;
        counter(
            &mut out,
            "clients_refused",
            "Connections refused for server.max_clients.",
            clients.refused(),
        )?;
        counter(
            &mut out,
            "request_failures",
            "Requests answered with an error of the proxy's own.",
            clients.failures(),
        )?;
        counter(
            &mut out,
            "broken_frames",
            "Messages that could not be read: answered with an error, or the end of their connections.",
            clients.broken(),
        )?;
        gauge(
            &mut out,
            "clients",
            "Connections open.",
            clients.open() as u64,
        )?;
        gauge(
            &mut out,
            "pool_links",
            "Upstream links that exist.",
            pool.links as u64,
        )?;
        gauge(
            &mut out,
            "pool_idle_links",
            "Upstream links that are idle.",
            pool.idle as u64,
        )?;
        gauge(
            &mut out,
            "pool_waiting",
            "Requests that wait for a link.",
            pool.waiting as u64,
        )?;
        let logins = shared.upstream.logins();
        let help = "Logins under way, each with a link of its own.";
        gauge(&mut out, "pool_login_links", help, logins.links as u64)?;
        let help = "Logins that wait for their turn.";
        gauge(&mut out, "pool_logins_waiting", help, logins.waiting as u64)?;
        let help = "Logins ended because their clients did not continue.";
        counter(&mut out, "pool_logins_ended", help, logins.ended)?;
        gauge(
            &mut out,
            "pool_awaiting_links",
            "Upstream links beside these, for requests that wait at the server for something new.",
            pool.awaiting as u64,
        )?;
        gauge(
            &mut out,
            "fences_quarantined",
            "Writes of unknown outcome that keep their fence.",
            shared.pipeline.fences().quarantined() as u64,
        )?;
        gauge(
            &mut out,
            "open_transactions",
            "Transactions open.",
            shared.pipeline.open_transactions() as u64,
        )?;
        counter(
            &mut out,
            "cache_invalidations",
            "Writes that may have changed something.",
            shared.pipeline.fences().invalidations(),
        )?;
        if let Some(cache) = &shared.cache {
            let stats = cache.stats();
            counter(
                &mut out,
                "cache_hits",
                "Reads answered from memory.",
                stats.hits(),
            )?;
            counter(
                &mut out,
                "cache_misses",
                "Reads that could have been in memory and were not.",
                stats.misses(),
            )?;
            counter(
                &mut out,
                "cache_stores",
                "Answers put into memory.",
                stats.stores(),
            )?;
            counter(
                &mut out,
                "cache_joins",
                "Reads answered by another's read of the same.",
                stats.joins(),
            )?;
            counter(
                &mut out,
                "cache_pre_images_read",
                "Documents, alone or by the page, looked at so that writes to them end fewer answers.",
                stats.looks(),
            )?;
            counter(
                &mut out,
                "cache_pre_image_hits",
                "Answers served from memory that a write would have ended without such a look.",
                stats.brought_by_looks(),
            )?;
            counter(
                &mut out,
                "cache_shadow_compared",
                "Answers from memory compared with the server's own.",
                stats.compares(),
            )?;
            counter(
                &mut out,
                "cache_shadow_mismatches",
                "Of these, answers that the server wouldn't have given.",
                stats.mismatches(),
            )?;
            gauge(
                &mut out,
                "cache_entries",
                "Answers in memory.",
                cache.entries() as u64,
            )?;
            bytes(
                &mut out,
                "cache",
                "Memory held by answers and their keys.",
                cache.bytes(),
            )?;
            let help = "Reads not served from or not put into memory, by reason.";
            let mut family =
                out.encode_descriptor("cache_bypasses", help, None, MetricType::Counter)?;
            for (why, n) in stats.bypasses() {
                ConstCounter::new(n).encode(family.encode_family(&[("reason", why.as_str())])?)?;
            }
        }
        watch(&mut out, shared)?;
        batch(&mut out, shared)?;
        retry(&mut out, shared)?;
        rewrite(&mut out, shared)?;
        traces(&mut out, shared)?;
        durations::encode(&mut out, &shared.durations)?;
        memory::encode(&mut out, shared)
    }
}

fn retry(out: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), std::fmt::Error> {
    if let Some(retry) = &shared.retry {
        let stats = retry.stats();
        let help = "Requests sent again, by reason.";
        let mut family =
            out.encode_descriptor("retry_sent_again", help, None, MetricType::Counter)?;
        for (why, n) in [
            ("read", stats.reads()),
            ("write", stats.writes()),
            ("overload", stats.overloads()),
        ] {
            ConstCounter::new(n).encode(family.encode_family(&[("reason", why)])?)?;
        }
        let help = "Requests that failed for a passing reason and had no retry left.";
        counter(out, "retry_gave_up", help, stats.given_up())?;
        let help = "Writes given a txnNumber of the proxy's own.";
        counter(out, "retry_numbered_writes", help, stats.numbered())?;
        let help = "Retries that may be made now.";
        gauge(out, "retry_budget_tokens", help, retry.budget_tokens())?;
    }
    let admission = shared.upstream.admission();
    let help = "Requests that wait for their turn or for a link.";
    gauge(out, "admission_queued", help, admission.queued as u64)?;
    let help = "Requests refused for a limit.";
    counter(out, "admission_rejected", help, admission.rejected)?;
    let help = "Requests given up because their clients were gone: reads at any time, others before they were sent.";
    counter(out, "clients_given_up", help, shared.clients.given_up())?;
    let help = "Worker threads that stand still: their clients aren't served.";
    let stuck = shared.workers.stuck().len() as u64;
    gauge(out, "workers_stuck", help, stuck)?;
    let help = "What went wrong with clients, by kind.";
    let mut family = out.encode_descriptor("complaints", help, None, MetricType::Counter)?;
    for complaint in Complaint::ALL {
        let n = shared.complaints.count(complaint);
        ConstCounter::new(n).encode(family.encode_family(&[("kind", complaint.as_str())])?)?;
    }
    let help = "Servers by the state of their circuit breakers.";
    let mut family = out.encode_descriptor("upstream_breakers", help, None, MetricType::Gauge)?;
    let servers = shared.upstream.servers();
    for state in [
        BreakerState::Closed,
        BreakerState::Open,
        BreakerState::HalfOpen,
    ] {
        let n = servers.iter().filter(|s| s.breaker == state).count();
        let metric = ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
        metric.encode(family.encode_family(&[("state", state.as_str())])?)?;
    }
    Ok(())
}

fn watch(out: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), std::fmt::Error> {
    let counts = shared.horizon.counts();
    counter(
        out,
        "watch_events",
        "Events read from the change stream.",
        counts.events,
    )?;
    counter(
        out,
        "watch_reopenings",
        "Change streams opened after the first one.",
        counts.reopenings,
    )?;
    counter(
        out,
        "watch_flushes",
        "Times that writes may have been missed, so that the cache was flushed.",
        counts.flushes,
    )?;
    let help = "Collections that the watch leaves out, since nothing of them is kept.";
    let left_out = shared.horizon.left_out().len() as u64;
    gauge(out, "watch_left_out", help, left_out)?;
    let now = shared.horizon.state().as_str();
    let help = "What the watch of writes that go around the proxy does: 1 for its state.";
    let gauge_type = prometheus_client::metrics::MetricType::Gauge;
    let mut family = out.encode_descriptor("watch_state", help, None, gauge_type)?;
    for state in ["off", "starting", "watching", "blind"] {
        let is_now = ConstGauge::new(i64::from(state == now));
        is_now.encode(family.encode_family(&[("state", state)])?)?;
    }
    match shared.horizon.lag_ms() {
        Some(lag) => {
            let help = "At most so long ago all acknowledged writes had been seen.";
            seconds(out, "watch_lag", help, lag as f64 / 1e3)
        }
        None => Ok(()),
    }
}

fn rewrite(out: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), std::fmt::Error> {
    let stats = shared.rewrite.stats();
    let help = "Commands sent on in another form that means the same.";
    counter(out, "rewrite_rewritten", help, stats.rewritten())?;
    let help = "Commands refused by a rule of the configuration.";
    counter(out, "rewrite_denied", help, stats.denied())?;
    let help = "In how many commands each rewrite had a part.";
    let mut family = out.encode_descriptor("rewrite_by_rule", help, None, MetricType::Counter)?;
    for (rule, n) in stats.by_rule() {
        ConstCounter::new(n).encode(family.encode_family(&[("rule", rule.as_str())])?)?;
    }
    Ok(())
}

fn traces(out: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), std::fmt::Error> {
    let Some(traces) = &shared.traces else {
        return Ok(());
    };
    let counts = traces.counts();
    let help = "Spans of requests, by what became of them.";
    let mut family = out.encode_descriptor("traces_spans", help, None, MetricType::Counter)?;
    for (fate, n) in [
        ("sent", counts.sent),
        ("failed", counts.failed),
        ("dropped", counts.dropped),
    ] {
        ConstCounter::new(n).encode(family.encode_family(&[("fate", fate)])?)?;
    }
    let help = "Spans that wait for the collector.";
    gauge(out, "traces_waiting", help, counts.waiting)
}

fn batch(out: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), std::fmt::Error> {
    let Some(batch) = &shared.batch else {
        return Ok(());
    };
    let stats = batch.stats();
    let help = "Writes that could be batched, or were looked at for it, by kind.";
    let mut family =
        out.encode_descriptor("batch_client_writes", help, None, MetricType::Counter)?;
    for (kind, came, _) in stats.by_kind() {
        ConstCounter::new(came).encode(family.encode_family(&[("kind", kind.as_str())])?)?;
    }
    let help = "Of them, those that went together with others.";
    let mut family = out.encode_descriptor("batch_batched", help, None, MetricType::Counter)?;
    for (kind, _, batched) in stats.by_kind() {
        ConstCounter::new(batched).encode(family.encode_family(&[("kind", kind.as_str())])?)?;
    }
    let help = "Commands sent for them.";
    counter(
        out,
        "batch_upstream_commands",
        help,
        stats.upstream_commands(),
    )?;
    let help = "Batches sent once more to learn what each of their writes did.";
    counter(out, "batch_resent", help, stats.batches_resent())?;
    let help = "Commands for single writes of a batch that could not be answered as a whole.";
    counter(out, "batch_one_by_one", help, stats.sent_one_by_one())?;
    let help = "Retries answered from the journal.";
    counter(out, "batch_journal_answers", help, stats.journal_answers())?;
    let help = "Retryable writes in the journal.";
    gauge(
        out,
        "batch_journal_entries",
        help,
        batch.journal_entries() as u64,
    )?;
    gauge(
        out,
        "batch_waiting",
        "Writes that wait in queues.",
        batch.waiting() as u64,
    )?;
    let help = "Client writes per command, quantiles.";
    let mut family = out.encode_descriptor("batch_size", help, None, MetricType::Gauge)?;
    for (statistic, value) in stats.sizes().named() {
        let size = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        size.encode(family.encode_family(&[("statistic", statistic)])?)?;
    }
    let help = "Time in a queue, quantiles.";
    let unit = Some(&Unit::Seconds);
    let mut family = out.encode_descriptor("batch_wait", help, unit, MetricType::Gauge)?;
    for (statistic, value) in stats.waits_us().named() {
        let wait = ConstGauge::new(value as f64 / 1e6);
        wait.encode(family.encode_family(&[("statistic", statistic)])?)?;
    }
    let help = "Writes sent by themselves, by reason.";
    let mut family = out.encode_descriptor("batch_sent_alone", help, None, MetricType::Counter)?;
    for (why, n) in stats.sent_alone() {
        ConstCounter::new(n).encode(family.encode_family(&[("reason", why.as_str())])?)?;
    }
    Ok(())
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn seconds(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(value);
    metric.encode(out.encode_descriptor(name, help, Some(&Unit::Seconds), metric.metric_type())?)
}

fn bytes(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(out.encode_descriptor(name, help, Some(&Unit::Bytes), metric.metric_type())?)
}

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
