//! Which indexes are missing and which are too many: looked for again and again, in the background.
//!
//! No stage in the way of requests: it reads what the profile has observed ([`Workload`]), asks the
//! deployment ([`Probe`]) as much as its `budget` allows, and lets [`crate::advice`] conclude.
//! Every look works everything out anew, so advice that was followed, or that isn't warranted any
//! more, is withdrawn by not coming out again.
//!
//! - `look`: one look at the workload. `verdicts`: what explains have said of each shape.
//! - `collection`: what is remembered of a collection. `budget`: how much may be asked.

mod budget;
mod collection;
mod look;
mod verdicts;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use self::look::Memory;
use crate::advice::Words;
use crate::command::{Namespace, ShapeId};
use crate::config;
use crate::pipeline::{Probe, Workload};

/// A piece of advice that stands now.
#[derive(Clone, Debug)]
pub struct Advice {
    /// The same as long as it stands.
    pub id: String,
    /// The collection.
    pub namespace: Namespace,
    /// What to do, and why.
    pub words: Words,
    /// Documents examined by the call, on average over the calls that it is about.
    pub examined: f64,
    /// Documents returned by the call.
    pub returned: f64,
    /// Calls that it is about.
    pub calls: u64,
    /// What they have cost so far.
    pub time: Duration,
    /// Their shapes.
    pub shapes: Vec<ShapeId>,
    /// Since when it stands.
    pub since: SystemTime,
}

/// What the advisor has to say.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Advice that stands.
    pub advice: Vec<Advice>,
    /// Explains so far.
    pub explained: u64,
    /// Time that all its questions took, as a share of the time that clients' requests took.
    pub share: f64,
}

/// Looks for advice.
pub struct Advisor {
    workload: Arc<dyn Workload>,
    probe: Arc<dyn Probe>,
    config: config::Advice,
    report: Mutex<Report>,
}

impl Advisor {
    /// One that hasn't looked yet.
    #[must_use]
    pub fn new(
        config: &config::Advice,
        workload: Arc<dyn Workload>,
        probe: Arc<dyn Probe>,
    ) -> Advisor {
        Advisor {
            workload,
            probe,
            config: config.clone(),
            report: Mutex::default(),
        }
    }

    /// What stands now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.lock().clone()
    }

    /// Looks again and again, as long as somebody else holds the advisor.
    pub async fn run(self: Arc<Self>) {
        let mut memory = Memory::default();
        let advisor = Arc::downgrade(&self);
        let interval = self.config.interval;
        drop(self);
        loop {
            tokio::time::sleep(interval).await;
            let Some(advisor) = advisor.upgrade() else {
                return;
            };
            advisor.look(&mut memory).await;
        }
    }

    async fn look(&self, memory: &mut Memory) {
        let advice = look::look(&*self.workload, &*self.probe, &self.config, memory).await;
        self.publish(advice, memory);
    }

    /// Keeps what stood already, and tells what is new and what is gone.
    fn publish(&self, mut advice: Vec<Advice>, memory: &Memory) {
        let mut report = self.report.lock();
        for one in &mut advice {
            match report.advice.iter().find(|old| old.id == one.id) {
                Some(old) => one.since = old.since,
                None => {
                    tracing::info!(target: "petiole::advice", id = one.id, namespace = %one.namespace,
                        action = one.words.action.as_str(), command = one.words.command, why = one.words.why,
                        effect = one.words.effect, cost = one.words.cost, "advice");
                }
            }
        }
        let gone = |old: &&Advice| !advice.iter().any(|new| new.id == old.id);
        for old in report.advice.iter().filter(gone) {
            tracing::info!(target: "petiole::advice", id = old.id, namespace = %old.namespace,
                action = old.words.action.as_str(), command = old.words.command,
                "advice withdrawn: followed, or no longer warranted");
        }
        report.advice = advice;
        report.explained = memory.explained();
        report.share = memory.share(self.workload.upstream_time());
    }
}
