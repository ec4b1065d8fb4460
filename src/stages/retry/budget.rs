//! A token bucket: each retry takes a token, each request that is answered brings a part of one.
//!
//! However many requests fail, retries add no more than that part to the load of the upstream,
//! after the bucket is empty. A full bucket is enough for an election, where everything that is
//! under way fails once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See the module. Counts in thousandths of a token.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: AtomicU64,
    most: u64,
    share: u64,
}

impl Budget {
    /// A full bucket of `most` tokens. `share`: what an answered request brings.
    pub fn new(most: u32, share: f64) -> Budget {
        let most = u64::from(most) * THOUSAND;
        Budget {
            tokens: AtomicU64::new(most),
            most,
            share: (share.clamp(0.0, 1.0) * THOUSAND as f64) as u64,
        }
    }

    /// A request was answered.
    pub fn earn(&self) {
        // Nearly always the bucket is full, and nothing is written.
        if self.tokens.load(Relaxed) < self.most {
            self.give(self.share);
        }
    }

    /// Takes the token of a retry, if there is one.
    pub fn spend(&self) -> bool {
        let take = |tokens: u64| tokens.checked_sub(THOUSAND);
        self.tokens.fetch_update(Relaxed, Relaxed, take).is_ok()
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
}

const THOUSAND: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_bucket_allows_one_retry_for_every_ten_answers() {
        let budget = Budget::new(2, 0.1);
        assert!(budget.spend() && budget.spend() && !budget.spend());
        (0..9).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
    }

    #[test]
    fn a_full_bucket_stays_full() {
        let budget = Budget::new(1, 0.5);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(budget.left(), 1);
        assert!(budget.spend() && !budget.spend());
    }
}
