//! A clock that goes on while the machine is suspended.
//!
//! `Instant` stands still then on Linux (`CLOCK_MONOTONIC`). An answer that was a second old when a laptop or a virtual machine went
//! to sleep is still a second old by it an hour later, when it wakes; meanwhile others have written, users have lost their
//! rights, members have been elected. So whatever says how old something may be that is served from memory is measured by
//! this clock: how far behind the watch is, when entries and facts end, how long rights are believed.
//!
//! What must stand for a while to be safe is measured by `Instant`, on purpose: quarantines, and fences of transactions
//! that were left alone. If the server slept too (one machine), the writes that they stand for have come no further.
//!
//! Absent on purpose: a machine that is stopped from outside without a notice to its kernel (a hypervisor that pauses its guest, a
//! snapshot that is restored). No clock of the guest shows that at once: the guest goes on with what it knew, for `max_lag` at most.

use std::time::Duration;

/// See the module. (A value without size, unless tests can move it.)
#[derive(Debug, Default)]
pub struct Clock {
    #[cfg(any(test, feature = "test-hooks"))]
    slept: std::sync::atomic::AtomicU64,
}

/// A moment on a [`Clock`], in nanoseconds since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Clock {
    /// Now. Reads the kernel's clock without a system call.
    #[must_use]
    pub fn now(&self) -> Moment {
        let now = rustix::time::clock_gettime(CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        let now = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        #[cfg(any(test, feature = "test-hooks"))]
        let now = now.saturating_add(self.slept.load(std::sync::atomic::Ordering::SeqCst));
        Moment(now)
    }

    /// For tests: the machine was suspended for so long.
    #[cfg(any(test, feature = "test-hooks"))]
    pub fn sleep(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.slept
            .fetch_add(nanos, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Moment {
    /// How much later it is than another; nothing if it is earlier.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// So much later, or as late as there is.
    #[must_use]
    pub fn after(self, time: Duration) -> Moment {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(nanos))
    }

    /// Nanoseconds since the machine was started.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// The moment so many nanoseconds after the machine was started.
    #[must_use]
    pub fn at(nanos: u64) -> Moment {
        Moment(nanos)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// (On macOS it counts sleep as well.)
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_counts() {
        let clock = Clock::default();
        let before = clock.now();
        clock.sleep(Duration::from_secs(3600));
        let after = clock.now();
        assert!(after.since(before) >= Duration::from_secs(3600));
        assert_eq!(before.since(after), Duration::ZERO);
        assert!(before.after(Duration::from_secs(3600)) <= after);
        assert!(before.after(Duration::MAX) > after);
    }

    /// `/proc/uptime` counts sleep; `Instant` doesn't.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_clock_that_counts_sleep() {
        use rustix::time::{ClockId, clock_gettime};
        let kernel = || clock_gettime(ClockId::Boottime);
        let (before, now, after) = (kernel(), Clock::default().now(), kernel());
        let nanos = |t: rustix::time::Timespec| t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
        assert!((nanos(before)..=nanos(after)).contains(&now.nanos()));
    }
}
