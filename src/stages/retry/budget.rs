//! A token bucket: each retry takes a token, each request that is sent to the upstream brings a part
//! of one. (An answer from memory brings none, and a batch of many clients' writes as much as one.)
//!
//! So however many requests fail, retries add no more than that part to the load of the upstream
//! (besides what is in the bucket, and one in a second, so that what is asked now and then is
//! retried too). The bucket begins nearly empty and fills by requests: where enough is under way for
//! an election to fail much at once, enough has been asked before to retry it all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// See the module. Counts in thousandths of a token.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: AtomicU64,
    most: u64,
    share: u64,
    began: Instant,
    /// Milliseconds after `began` when an empty bucket granted a retry.
    granted: AtomicU64,
}

impl Budget {
    /// A bucket of at most `most` tokens. `share`: what a request brings.
    pub fn new(most: u32, share: f64) -> Budget {
        let most = u64::from(most) * THOUSAND;
        Budget {
            tokens: AtomicU64::new(most.min(AT_FIRST)),
            most,
            share: (share.clamp(0.0, 1.0) * THOUSAND as f64) as u64,
            began: Instant::now(),
            granted: AtomicU64::new(0),
        }
    }

    /// A request is about to be sent, for the first time.
    pub fn earn(&self) {
        // Nearly always the bucket is full, and nothing is written.
        if self.tokens.load(Relaxed) < self.most {
            self.give(self.share);
        }
    }

    /// Takes the token of a retry, if there is one.
    pub fn spend(&self) -> bool {
        let take = |tokens: u64| tokens.checked_sub(THOUSAND);
        self.tokens.fetch_update(Relaxed, Relaxed, take).is_ok() || self.grant()
    }

    /// Whole tokens left.
    pub fn left(&self) -> u64 {
        self.tokens.load(Relaxed) / THOUSAND
    }

    fn give(&self, thousandths: u64) {
        let give = |tokens: u64| Some(tokens.saturating_add(thousandths).min(self.most));
        // The closure never refuses.
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, give);
    }

    /// One retry in a second, though the bucket is empty. (Without a bucket there is none.)
    fn grant(&self) -> bool {
        let now = self.began.elapsed().as_millis() as u64;
        let every = DRIP.as_millis() as u64;
        let due = |last: u64| (now >= last.saturating_add(every)).then_some(now);
        self.most > 0 && self.granted.fetch_update(Relaxed, Relaxed, due).is_ok()
    }
}

const THOUSAND: u64 = 1000;
/// Thousandths of a token in a new bucket.
const AT_FIRST: u64 = 20 * THOUSAND;
const DRIP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_empty_bucket_allows_one_retry_for_every_ten_requests_and_one_a_second() {
        let budget = Budget::new(2, 0.1);
        assert!(budget.spend() && budget.spend() && !budget.spend());
        (0..9).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
        tokio::time::advance(DRIP * 5).await;
        assert!(budget.spend() && !budget.spend(), "they aren't saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_stays_full() {
        let budget = Budget::new(1, 0.5);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(budget.left(), 1);
        assert!(budget.spend() && !budget.spend());
    }

    #[tokio::test(start_paused = true)]
    async fn from_its_first_moment_a_bucket_holds_retries_to_a_fifth_of_what_was_sent() {
        let budget = Budget::new(100, 0.1);
        let mut retries = 0;
        // Every request fails, ten in a second.
        for sent in 1..=2_000_u32 {
            budget.earn();
            retries += u32::from(budget.spend());
            tokio::time::advance(Duration::from_millis(100)).await;
            assert!(retries <= 20 + sent / 5, "{retries} of {sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_holds_nothing_allows_nothing() {
        let budget = Budget::new(0, 1.0);
        budget.earn();
        tokio::time::advance(DRIP * 2).await;
        assert!(!budget.spend());
    }
}
