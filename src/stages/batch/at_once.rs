//! How many commands of a group may be under way side by side.
//!
//! A write that waits for others gains something only if they wait for the server, or its journal. Near MongoDB that is
//! where nearly all of a command's time passes, and `batch.at_once` is the limit. At a distance most of it passes on the
//! network, where one more command holds nobody up: so many more may be on their way that `batch.at_once` of them are at
//! the server. What a command takes there is measured (`took`), and grows when the server is busy: then fewer leave, and
//! each with more.

/// The limits of all groups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AtOnce {
    /// `batch.at_once`: near MongoDB, and at the server.
    pub near: usize,
    /// At any distance. So many return so often that waiting for one costs little, and links are left to others.
    pub most: usize,
}

impl AtOnce {
    /// With the server `distance_us` away, and commands of the group taking `took_us` (0: not known yet), microseconds. One
    /// at a time stays one at any distance.
    pub fn allowed(self, distance_us: u64, took_us: u64) -> usize {
        if distance_us == 0 || took_us == 0 || self.near <= 1 {
            return self.near;
        }
        let at_server = took_us.saturating_sub(distance_us).max(LEAST_US);
        let on_the_way = (self.near as u64).saturating_mul(distance_us) / at_server;
        let on_the_way = usize::try_from(on_the_way).unwrap_or(usize::MAX);
        self.near
            .saturating_add(on_the_way)
            .min(self.most.max(self.near))
    }

    /// Whether commands spend more time on the network than at the server.
    pub fn is_far(self, allowed: usize) -> bool {
        allowed >= 2 * self.near.max(1)
    }
}

/// What commands took, as a moving average that weighs the last one by an eighth.
pub(super) fn average(before_us: u64, took_us: u64) -> u64 {
    match before_us {
        0 => took_us,
        before => (before * 7 + took_us) / 8,
    }
}

/// No write is done in less at the server.
const LEAST_US: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AtOnce = AtOnce { near: 3, most: 24 };

    #[test]
    fn near_mongodb_the_limit_is_the_setting() {
        assert_eq!(LIMITS.allowed(0, 0), 3);
        assert_eq!(LIMITS.allowed(0, 50_000), 3);
        assert!(!LIMITS.is_far(3));
    }

    #[test]
    fn at_a_distance_as_many_are_at_the_server() {
        // 4 ms on the network, 1 ms at the server: one in five is there.
        assert_eq!(LIMITS.allowed(4_000, 5_000), 15);
        // A busy server: nearly all are there.
        assert_eq!(LIMITS.allowed(4_000, 64_000), 3);
        assert!(LIMITS.is_far(15));
    }

    #[test]
    fn the_limit_is_bounded_and_never_below_the_setting() {
        assert_eq!(LIMITS.allowed(u64::MAX, 1), 24);
        assert_eq!(AtOnce { near: 5, most: 1 }.allowed(4_000, 4_100), 5);
        assert_eq!(LIMITS.allowed(4_000, 0), 3, "before anything was measured");
        let one = AtOnce { near: 1, most: 24 };
        assert_eq!(one.allowed(4_000, 4_100), 1, "one after the other");
    }
}
