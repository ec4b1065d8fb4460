//! How tight memory is, and what the cache may have: one decision for each sample.
//!
//! Pure: no clock, no allocator. Between entering and leaving a state lies a gap, so that a process
//! at the edge doesn't go to and fro.

use super::Parts;

/// How tight memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is room.
    #[default]
    Calm,
    /// The cache shrinks, and idle connections keep no buffers.
    Tight,
    /// Nothing new is cached or shared, and new large work waits or is refused.
    Critical,
}

impl Pressure {
    /// All of them.
    pub const ALL: [Pressure; 3] = [Pressure::Calm, Pressure::Tight, Pressure::Critical];

    /// The word for it in metrics, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Pressure::Calm => "calm",
            Pressure::Tight => "tight",
            Pressure::Critical => "critical",
        }
    }
}

/// Decides, sample by sample.
#[derive(Debug)]
pub(super) struct Governor {
    limit: Option<u64>,
    /// What the cache may have when there is room.
    most_cache: u64,
    cache: u64,
    pressure: Pressure,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub pressure: Pressure,
    /// What the cache may have from now on.
    pub cache: u64,
}

impl Governor {
    /// `limit`: of resident memory. `cache`: what the cache is configured to have.
    pub fn new(limit: Option<u64>, cache: u64) -> Governor {
        let most_cache = limit.map_or(cache, |limit| cache.min(percent(limit, CACHE_SHARE)));
        Governor {
            limit,
            most_cache,
            cache: most_cache,
            pressure: Pressure::Calm,
        }
    }

    /// What the cache may have now.
    pub fn cache(&self) -> u64 {
        self.cache
    }

    pub fn decide(&mut self, rss: u64, parts: &Parts) -> Decision {
        let Some(limit) = self.limit else {
            return self.decision();
        };
        let above = |share| rss > percent(limit, share);
        self.pressure = match self.pressure {
            _ if above(CRITICAL) => Pressure::Critical,
            Pressure::Critical if above(CRITICAL - GAP) => Pressure::Critical,
            Pressure::Calm if !above(TIGHT) => Pressure::Calm,
            _ if above(TIGHT - GAP) => Pressure::Tight,
            _ => Pressure::Calm,
        };
        let held = self.cache.min(parts.cache);
        let half = self.most_cache / 2;
        self.cache = match self.pressure {
            // What the cache gives up the allocator may keep, and use again: to shrink on and on
            // would cost the hits and gain nothing.
            Pressure::Tight => percent(held, 95).max(half.min(self.cache)),
            Pressure::Critical => percent(held, 75),
            Pressure::Calm if above(TIGHT - 2 * GAP) => self.cache,
            Pressure::Calm => self.cache.saturating_add(self.most_cache / 50),
        }
        .clamp(percent(self.most_cache, LEAST_CACHE), self.most_cache);
        self.decision()
    }

    fn decision(&self) -> Decision {
        Decision {
            pressure: self.pressure,
            cache: self.cache,
        }
    }
}

fn percent(of: u64, share: u64) -> u64 {
    of / 100 * share
}

/// Shares of the limit, in percent: above them it is tight, or critical.
const TIGHT: u64 = 75;
const CRITICAL: u64 = 87;
/// So much less before it is over.
const GAP: u64 = 6;
/// What the cache may have of the limit.
const CACHE_SHARE: u64 = 45;
/// What is left to the cache in any case, of what it may have.
const LEAST_CACHE: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn parts(cache: u64) -> Parts {
        Parts {
            cache,
            ..Parts::default()
        }
    }

    fn governor() -> Governor {
        Governor::new(Some(200 * MIB), 1 << 30)
    }

    #[test]
    fn the_cache_gets_less_than_half_of_a_small_limit_and_all_it_wants_of_none() {
        assert!(governor().cache() <= 90 * MIB && governor().cache() > 89 * MIB);
        assert_eq!(Governor::new(None, 1 << 30).cache(), 1 << 30);
    }

    #[test]
    fn pressure_rises_at_once_and_falls_only_past_the_gap() {
        let mut g = governor();
        let mut at = |mib| g.decide(mib * MIB, &parts(50 * MIB)).pressure;
        assert_eq!(at(140), Pressure::Calm);
        assert_eq!(at(151), Pressure::Tight);
        assert_eq!(at(145), Pressure::Tight, "not yet");
        assert_eq!(at(137), Pressure::Calm);
        assert_eq!(at(180), Pressure::Critical);
        assert_eq!(at(170), Pressure::Critical, "not yet");
        assert_eq!(at(160), Pressure::Tight);
        assert_eq!(at(180), Pressure::Critical);
        assert_eq!(at(100), Pressure::Calm);
    }

    #[test]
    fn the_cache_shrinks_while_it_is_tight_and_grows_back_in_time() {
        let mut g = governor();
        let before = g.cache();
        for _ in 0..10 {
            g.decide(160 * MIB, &parts(g.cache()));
        }
        let tight = g.cache();
        assert!(tight < before * 7 / 10, "{tight} of {before}");
        for _ in 0..100 {
            g.decide(160 * MIB, &parts(g.cache()));
        }
        assert_eq!(g.cache(), before / 2, "to be tight costs half at most");
        for _ in 0..100 {
            g.decide(185 * MIB, &parts(g.cache()));
        }
        assert!(
            g.cache() >= before / 25 && g.cache() < before / 10,
            "something is left"
        );
        for _ in 0..200 {
            g.decide(100 * MIB, &parts(0));
        }
        assert_eq!(g.cache(), before);
    }

    #[test]
    fn without_a_limit_nothing_is_done() {
        let mut g = Governor::new(None, 1 << 30);
        let decision = g.decide(u64::MAX, &parts(1 << 30));
        assert_eq!(
            (decision.pressure, decision.cache),
            (Pressure::Calm, 1 << 30)
        );
    }
}
