//! What explains have said of each shape.

use std::time::{Duration, Instant};

use bson::Document;

use super::budget::Budget;
use crate::advice::{Data, Explained, Query, WELL_SERVED, explainable, explained, queries};
use crate::command::Kind;
use crate::pipeline::{Explain, Observed, Probe};

/// What one call of a shape does, by the last explain.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub at: Instant,
    /// What was explained.
    pub sample: Document,
    pub examined: f64,
    pub returned: f64,
    pub plan: Explained,
    /// The collection's indexes have changed since.
    pub outdated: bool,
}

impl Verdict {
    /// Whether an index might do better.
    pub fn is_bad(&self) -> bool {
        self.examined > WELL_SERVED * self.returned.max(1.0) || self.plan.sorts
    }

    /// Whether it's time to look again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.outdated || now.duration_since(self.at) >= REFRESH
    }
}

/// Asks what the latest sample of a shape does. `None` if that can't be known now.
///
/// What scans the collection isn't carried out once more: what it examines is known. So only what
/// goes through an index is, and that is as quick as it is for clients.
pub(super) async fn judge(
    shape: &Observed,
    data: &Data,
    probe: &dyn Probe,
    budget: &mut Budget<'_>,
    limit: Duration,
    count: &mut u64,
) -> Option<Verdict> {
    let sample = shape.samples.last()?.clone();
    let command = explainable(&sample)?;
    let asked: Vec<Query> = queries(&sample)
        .into_iter()
        .map(|q| data.weigh(q))
        .collect();
    if asked.is_empty() {
        // No index could help.
        return None;
    }
    let db = &shape.namespace.db;
    let average = shape.upstream_documents as f64 / shape.upstream_calls.max(1) as f64;
    let calls = u32::try_from(shape.upstream_calls.max(1)).unwrap_or(u32::MAX);
    let usual = (shape.upstream_time / calls).min(limit);
    let first = command.clone();
    let planned = budget.ask(PLANNING, || probe.explain(db, first, Explain::Plan, limit));
    let planned = explained(&told(planned.await?, shape)?);
    *count += 1;
    let verdict = |plan: Explained, examined: f64, returned: f64| Verdict {
        at: Instant::now(),
        sample: sample.clone(),
        examined,
        returned,
        plan,
        outdated: false,
    };
    if planned.scans {
        let matched: f64 = asked
            .iter()
            .map(|query| query.share() * data.documents)
            .sum();
        let returned = match shape.kind {
            // Their replies don't say how many documents they found.
            Kind::Count | Kind::Aggregate => asked
                .first()
                .and_then(|q| q.limit)
                .map_or(matched, |limit| matched.min(limit as f64)),
            _ => average,
        };
        let stops = asked
            .iter()
            .find_map(|q| q.limit)
            .filter(|_| !planned.sorts);
        let examined = match stops {
            // On average it comes across the first ones after so many.
            Some(limit) => data.documents * (limit as f64 / (matched + 1.0)).min(1.0),
            None => data.documents,
        };
        return Some(verdict(planned, examined, returned));
    }
    let executed = budget.ask(usual, || {
        probe.explain(db, command, Explain::Execute, limit)
    });
    let executed = explained(&told(executed.await?, shape)?);
    *count += 1;
    let returned = match shape.kind {
        // The values, not the documents that have them.
        Kind::Distinct => average,
        _ => executed.returned?,
    };
    let examined = executed.examined?;
    Some(verdict(
        Explained {
            sorts: planned.sorts,
            ..executed
        },
        examined,
        returned,
    ))
}

fn told(
    answer: Result<Document, crate::pipeline::ProbeError>,
    shape: &Observed,
) -> Option<Document> {
    answer
        .inspect_err(|error| {
            tracing::debug!(target: "petiole::advice", namespace = %shape.namespace, shape = %shape.id,
                reason = %error, "a command can't be explained");
        })
        .ok()
}

/// A verdict is good for so long.
const REFRESH: Duration = Duration::from_secs(60);

/// What planning alone takes.
const PLANNING: Duration = Duration::from_millis(2);
