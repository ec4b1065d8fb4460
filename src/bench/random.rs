//! Small, fast, seeded randomness: the same seed gives the same requests in each run and for each target.

/// SplitMix64: one multiply chain per draw, good enough to pick keys.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that always gives the same sequence for the same seed.
    pub fn seeded(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound` (0 when the bound is 0). The bias of the multiply-shift is below 2⁻³² for our bounds.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Uniform in `[0, 1)`.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Zipf: rank `k` (from 0) is drawn with a weight of `1 / (k + 1)^exponent`. A few users are very active, most aren't.
#[derive(Debug, Clone)]
pub struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// A table for `items` ranks (at least one).
    pub fn new(items: u32, exponent: f64) -> Zipf {
        let mut cumulative = Vec::with_capacity(items as usize);
        let mut total = 0.0;
        for rank in 1..=items.max(1) {
            total += f64::from(rank).powf(-exponent);
            cumulative.push(total);
        }
        for value in &mut cumulative {
            *value /= total;
        }
        Zipf { cumulative }
    }

    /// Draws a rank.
    pub fn draw(&self, random: &mut Random) -> u32 {
        let point = random.fraction();
        let rank = self.cumulative.partition_point(|&edge| edge <= point);
        rank.min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut random = Random::seeded(1);
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[random.below(7) as usize] += 1;
        }
        assert!(
            seen.iter().all(|&count| (800..1_200).contains(&count)),
            "{seen:?}"
        );
    }

    #[test]
    fn zipf_follows_its_weights() {
        let zipf = Zipf::new(100, 1.0);
        let mut random = Random::seeded(2);
        let mut seen = [0u32; 100];
        for _ in 0..100_000 {
            seen[zipf.draw(&mut random) as usize] += 1;
        }
        let harmonic: f64 = (1..=100).map(|k| 1.0 / f64::from(k)).sum();
        let first = f64::from(seen[0]) / 100_000.0;
        assert!((first - 1.0 / harmonic).abs() < 0.01, "{first}");
        assert!(seen[0] > seen[9] && seen[9] > seen[99], "{seen:?}");
    }
}
