//! How long to wait before the next try of what an overloaded server refused.

use std::time::Duration;

use tokio_retry2::strategy::{ExponentialBackoff, jitter_with_bounds};

/// Waits with full jitter, the first of at most `base` ("Client Backpressure":
/// `random() · min(10 s, base · 2^(i - 1))`).
pub(super) fn pauses(base: Duration) -> impl Iterator<Item = Duration> {
    let half = u64::try_from(base.as_millis() / 2).unwrap_or(u64::MAX);
    ExponentialBackoff::from_millis(2)
        .factor(half.max(1))
        .max_delay(LONGEST)
        .map(jitter_with_bounds(0.0, 1.0))
}

const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_anything_up_to_a_limit_that_doubles() {
        let mut sums = [Duration::ZERO; 3];
        for _ in 0..200 {
            let limits = [100, 200, 400].map(Duration::from_millis);
            for ((pause, limit), sum) in pauses(limits[0]).zip(limits).zip(&mut sums) {
                assert!(pause < limit);
                *sum += pause;
            }
        }
        for (sum, limit) in sums.into_iter().zip([100, 200, 400]) {
            let mean = sum.as_millis() / 200;
            assert!(
                (limit / 4..limit * 3 / 4).contains(&mean),
                "jitter is full: {mean} of {limit}"
            );
        }
    }

    #[test]
    fn no_pause_is_longer_than_ten_seconds() {
        assert!(
            pauses(Duration::from_millis(100))
                .take(40)
                .all(|p| p <= LONGEST)
        );
    }
}
