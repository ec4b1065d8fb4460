//! How much may be asked: a share of the time that clients' requests take upstream.

use std::time::{Duration, Instant};

use crate::pipeline::{ProbeError, Probed};

/// The time that was spent on questions.
#[derive(Debug, Default)]
pub(super) struct Spent {
    time: Duration,
}

/// What may be spent in one look.
pub(super) struct Budget<'a> {
    spent: &'a mut Spent,
    /// Most that may have been spent in all.
    limit: Duration,
}

impl Spent {
    pub fn time(&self) -> Duration {
        self.time
    }

    pub fn budget(&mut self, upstream: Duration, share: f64) -> Budget<'_> {
        Budget {
            limit: upstream.mul_f64(share.clamp(0.0, 1.0)),
            spent: self,
        }
    }
}

impl Budget<'_> {
    /// Asks, if a question that takes about `expected` may be asked.
    pub async fn ask<'a, T>(
        &mut self,
        expected: Duration,
        question: impl FnOnce() -> Probed<'a, T>,
    ) -> Option<Result<T, ProbeError>> {
        if self.spent.time + expected > self.limit {
            return None;
        }
        let begin = Instant::now();
        let answer = question().await;
        self.spent.time += begin.elapsed();
        Some(answer)
    }
}
