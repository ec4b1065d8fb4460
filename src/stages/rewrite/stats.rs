//! What is counted about rewrites.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::applied::Applied;
use crate::config::RewriteRule;

/// Counters of the stage. All only grow.
#[derive(Debug, Default)]
pub struct RewriteStats {
    rewritten: AtomicU64,
    denied: AtomicU64,
    by_rule: [AtomicU64; RewriteRule::COUNT],
}

impl RewriteStats {
    pub(super) fn rewritten_by(&self, rules: Applied) {
        self.rewritten.fetch_add(1, Relaxed);
        for rule in rules.iter() {
            if let Some(counter) = self.by_rule.get(rule as usize) {
                counter.fetch_add(1, Relaxed);
            }
        }
    }

    pub(super) fn deny(&self) {
        self.denied.fetch_add(1, Relaxed);
    }

    /// Commands sent on in another form.
    pub fn rewritten(&self) -> u64 {
        self.rewritten.load(Relaxed)
    }

    /// Commands refused by a rule of the configuration.
    pub fn denied(&self) -> u64 {
        self.denied.load(Relaxed)
    }

    /// In how many commands each rewrite had a part.
    pub fn by_rule(&self) -> impl Iterator<Item = (RewriteRule, u64)> + '_ {
        let counters = self.by_rule.iter().map(|n| n.load(Relaxed));
        RewriteRule::ALL.into_iter().zip(counters)
    }
}
