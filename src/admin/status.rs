//! `GET /api/status`: the numbers of a running proxy.

use serde_json::{Map, Value, json};

use crate::observe::traces::{TraceCounts, Traces};
use crate::server::{Complaint, Shared};
use crate::upstream::{Deployment, Role};

/// Everything that is counted, as one JSON document. Counters only grow; sizes are bytes.
pub fn status(shared: &Shared) -> Value {
    let pool = shared.upstream.pool();
    let logins = shared.upstream.logins();
    let fences = shared.pipeline.fences();
    let memory = shared.memory.report();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "draining": shared.is_draining(),
        "cache": cache(shared),
        "fences": {
            "quarantined": fences.quarantined(),
            "open_transactions": shared.pipeline.open_transactions(),
        },
        "batch": batch(shared),
        "rewrite": rewrite(shared),
        "pool": {
            "links": pool.links,
            "idle": pool.idle,
            "waiting": pool.waiting,
            "awaiting": pool.awaiting,
            "max_links": shared.config.upstream.max_links,
            "login_links": logins.links,
            "logins_waiting": logins.waiting,
            "clients": shared.clients.open(),
        },
        "clients": {
            "open": shared.clients.open(),
            "limit": shared.client_limit.clients,
            "accepted": shared.clients.accepted(),
            "refused": shared.clients.refused(),
            "requests": shared.clients.requests(),
            "failures": shared.clients.failures(),
            "broken_frames": shared.clients.broken(),
            "given_up": shared.clients.given_up(),
            "complaints": Complaint::ALL.iter()
                .map(|&complaint| (complaint.as_str().to_owned(), json!(shared.complaints.count(complaint))))
                .collect::<Map<_, _>>(),
        },
        "workers": {
            "count": shared.workers.count(),
            "stuck": shared.workers.stuck().iter()
                .map(|stuck| json!({"worker": stuck.worker, "seconds": stuck.since.as_secs()}))
                .collect::<Vec<_>>(),
        },
        "retry": retry(shared),
        "admission": admission(shared),
        "watch": watch(shared),
        "profile": profile(shared),
        "traces": traces(shared),
        "advice": {
            "open": shared.advisor.as_ref().map_or(0, |advisor| advisor.report().advice.len()),
        },
        "memory": {
            "rss": memory.rss,
            "limit": memory.limit.map(|(bytes, _)| bytes),
            "pressure": memory.pressure.as_str(),
            "other": memory.parts.other,
        },
        "upstream": {
            "deployment": match shared.upstream.deployment() {
                Deployment::Unknown => "unknown",
                Deployment::Single => "single",
                Deployment::ReplicaSet => "replica-set",
                Deployment::Sharded => "sharded",
            },
            "servers": servers(shared),
            "cursors": shared.upstream.pinned_cursors(),
        },
    })
}

fn cache(shared: &Shared) -> Value {
    let invalidations = shared.pipeline.fences().invalidations();
    let Some(cache) = &shared.cache else {
        return json!({
            "enabled": false, "hits": 0, "misses": 0, "bypasses": 0, "bypass_reasons": {},
            "entries": 0, "bytes": 0, "invalidations": invalidations,
        });
    };
    let stats = cache.stats();
    let reasons: Map<String, Value> = stats
        .bypasses()
        .map(|(why, n)| (why.as_str().to_owned(), json!(n)))
        .collect();
    json!({
        "enabled": true,
        "hits": stats.hits(),
        "misses": stats.misses(),
        "stores": stats.stores(),
        "joins": stats.joins(),
        "pre_images_read": stats.looks(),
        "pre_image_hits": stats.brought_by_looks(),
        "flights": cache.flights(),
        "cursors": cache.cursors(),
        "shadow": { "compared": stats.compares(), "mismatches": stats.mismatches() },
        "bypasses": stats.bypasses().map(|(_, n)| n).sum::<u64>(),
        "bypass_reasons": reasons,
        "entries": cache.entries(),
        "bytes": cache.bytes(),
        "max_bytes": shared.config.cache.max_size.as_u64(),
        "invalidations": invalidations,
    })
}

fn profile(shared: &Shared) -> Value {
    let (shapes, dropped, slow) = match &shared.profile {
        Some(profile) => (profile.len(), profile.dropped(), profile.slow().seen()),
        None => (0, 0, 0),
    };
    json!({ "shapes": shapes, "dropped": dropped, "slow": slow })
}

fn traces(shared: &Shared) -> Value {
    let counts = shared.traces.as_ref().map(Traces::counts);
    let TraceCounts {
        sent,
        failed,
        dropped,
        waiting,
    } = counts.unwrap_or_default();
    json!({
        "enabled": shared.traces.is_some(),
        "sent": sent, "failed": failed, "dropped": dropped, "waiting": waiting,
    })
}

fn watch(shared: &Shared) -> Value {
    let counts = shared.horizon.counts();
    json!({
        "state": shared.horizon.state().as_str(),
        "lag_ms": shared.horizon.lag_ms(),
        "events": counts.events,
        "reopenings": counts.reopenings,
        "flushes": counts.flushes,
        "left_out": shared.horizon.left_out().len(),
    })
}

fn batch(shared: &Shared) -> Value {
    let Some(batch) = &shared.batch else {
        return json!({ "enabled": false, "client_writes": 0, "upstream_commands": 0 });
    };
    let stats = batch.stats();
    let alone: Map<String, Value> = stats
        .sent_alone()
        .map(|(why, n)| (why.as_str().to_owned(), json!(n)))
        .collect();
    let kinds: Map<String, Value> = stats
        .by_kind()
        .map(|(kind, came, batched)| {
            let counts = json!({ "client_writes": came, "batched": batched });
            (kind.as_str().to_owned(), counts)
        })
        .collect();
    let (sizes, waits) = (stats.sizes(), stats.waits_us());
    json!({
        "enabled": true,
        "client_writes": stats.client_writes(),
        "upstream_commands": stats.upstream_commands(),
        "size": { "p50": sizes.p50, "p95": sizes.p95, "p99": sizes.p99, "max": sizes.max },
        "wait_us": { "p50": waits.p50, "p95": waits.p95, "p99": waits.p99, "max": waits.max },
        "waiting": batch.waiting(),
        "groups": batch.groups(),
        "kinds": kinds,
        "sent_alone": alone,
        "batches_resent": stats.batches_resent(),
        "sent_one_by_one": stats.sent_one_by_one(),
        "journal_entries": batch.journal_entries(),
        "journal_answers": stats.journal_answers(),
    })
}

fn retry(shared: &Shared) -> Value {
    let Some(retry) = &shared.retry else {
        return json!({
            "enabled": false, "read_retries": 0, "write_retries": 0, "overload_retries": 0,
            "gave_up": 0, "numbered_writes": 0, "budget_tokens": 0,
        });
    };
    let stats = retry.stats();
    json!({
        "enabled": true,
        "read_retries": stats.reads(),
        "write_retries": stats.writes(),
        "overload_retries": stats.overloads(),
        "gave_up": stats.given_up(),
        "numbered_writes": stats.numbered(),
        "budget_tokens": retry.budget_tokens(),
    })
}

fn admission(shared: &Shared) -> Value {
    let stats = shared.upstream.admission();
    json!({ "queued": stats.queued, "rejected": stats.rejected, "limit": stats.limit })
}

fn rewrite(shared: &Shared) -> Value {
    let stats = shared.rewrite.stats();
    let by_rule: Map<String, Value> = stats
        .by_rule()
        .map(|(rule, n)| (rule.as_str().to_owned(), json!(n)))
        .collect();
    let rules: Map<String, Value> = shared
        .rewrite
        .user_rules()
        .map(|(name, n)| (name.to_owned(), json!(n)))
        .collect();
    json!({
        "enabled": shared.config.rewrite.enabled,
        "rewritten": stats.rewritten(),
        "by_rule": by_rule,
        "denied": stats.denied(),
        "rules": rules,
    })
}

fn servers(shared: &Shared) -> Vec<Value> {
    let describe = |server: crate::upstream::ServerStatus| {
        json!({
            "address": server.address,
            "role": server.role.map(|role| match role {
                Role::Standalone => "standalone",
                Role::Primary => "primary",
                Role::Secondary => "secondary",
                Role::Mongos => "mongos",
                Role::Other => "other",
            }),
            "rtt_us": server.rtt_us,
            "error": server.error,
            "breaker": server.breaker.as_str(),
        })
    };
    shared
        .upstream
        .servers()
        .into_iter()
        .map(describe)
        .collect()
}
