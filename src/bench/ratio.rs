//! Comparing two targets round by round.
//!
//! Both ran within the same round, seconds apart, so a ratio per round cancels what the machine did to both. The median
//! over rounds ignores the odd disturbed one; its noise is estimated from the rounds themselves.

use serde::{Deserialize, Serialize};

/// A ratio with its noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Median of the per-round ratios.
    pub median: f64,
    /// Lowest per-round ratio.
    pub low: f64,
    /// Highest per-round ratio.
    pub high: f64,
    /// Standard error of the median, as a fraction of it: 1.2533 · 1.4826 · MAD / √rounds / median.
    pub noise: f64,
}

impl Ratio {
    /// Compares two series of equal length, round by round. `None` when there's nothing to compare, or a divisor is 0.
    pub fn of(above: &[f64], below: &[f64]) -> Option<Ratio> {
        if above.len() != below.len() || above.is_empty() || below.contains(&0.0) {
            return None;
        }
        let ratios: Vec<f64> = above.iter().zip(below).map(|(a, b)| a / b).collect();
        let middle = median(&ratios)?;
        let deviations: Vec<f64> = ratios.iter().map(|r| (r - middle).abs()).collect();
        let spread = median(&deviations)?;
        let error = 1.2533 * 1.4826 * spread / (ratios.len() as f64).sqrt();
        Some(Ratio {
            median: middle,
            low: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            high: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            noise: if middle == 0.0 { 0.0 } else { error / middle },
        })
    }
}

/// The middle value, or the mean of the two in the middle. `None` for an empty slice.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_does_not_move_the_ratio() {
        let proxy = [200.0, 202.0, 20.0, 198.0, 204.0];
        let direct = [100.0, 101.0, 100.0, 99.0, 102.0];
        let ratio = Ratio::of(&proxy, &direct).unwrap();
        assert_eq!(ratio.median, 2.0);
        assert_eq!(ratio.low, 0.2);
        assert_eq!(ratio.noise, 0.0);
    }

    #[test]
    fn drift_that_hits_both_cancels() {
        let ratio = Ratio::of(&[30.0, 20.0, 10.0], &[60.0, 40.0, 20.0]).unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (0.5, 0.5, 0.5));
    }

    #[test]
    fn a_target_that_did_nothing_gives_no_ratio() {
        assert_eq!(Ratio::of(&[1.0], &[0.0]), None);
        assert_eq!(Ratio::of(&[], &[]), None);
        assert_eq!(Ratio::of(&[1.0, 2.0], &[1.0]), None);
    }

    #[test]
    fn median_of_an_even_count_is_the_mean_of_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
