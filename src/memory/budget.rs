//! A budget of bytes for large messages, in order of arrival.
//!
//! Whoever is about to collect a large message asks first, for all of it, and waits while others
//! have what it needs; meanwhile its peer's bytes stay in the peer's socket. Under pressure the
//! budget is smaller, so that fewer are collected at a time, and in the end one that can't be
//! collected in time is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::objects::{Live, Objects};
use super::{Kind, Pressure};

/// The right to collect a large message. Held until the message has been passed on.
#[derive(Debug)]
pub struct Permit {
    _units: OwnedSemaphorePermit,
    _live: Live,
}

/// A large message can't be collected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no memory for a message of {bytes} bytes: after {} ms all of the {budget} bytes for large messages were in use \
     (memory is {}); ask for less at a time, or give the proxy a higher memory limit",
    .waited.as_millis(), .pressure.as_str()
)]
pub struct NoRoom {
    /// Its size.
    pub bytes: usize,
    /// How long it waited.
    pub waited: Duration,
    /// What there is for all large messages now, bytes.
    pub budget: u64,
    /// How tight memory was.
    pub pressure: Pressure,
}

/// What has been given out and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStats {
    /// Bytes that may be given out.
    pub total: u64,
    /// Bytes given out now.
    pub used: u64,
    /// Large messages that had to wait, so far.
    pub waited: u64,
    /// Large messages refused, so far.
    pub refused: u64,
}

#[derive(Debug)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    /// Units when it is calm.
    most: u32,
    /// Units in all, now.
    total: AtomicU32,
    /// Only one resizes at a time.
    resizing: Mutex<()>,
    patience: Duration,
    waited: AtomicU64,
    refused: AtomicU64,
}

impl Budget {
    /// `bytes`: when it is calm. `patience`: the longest time that anybody waits.
    pub fn new(bytes: u64, patience: Duration) -> Budget {
        let most = units(bytes).max(1);
        Budget {
            free: Arc::new(Semaphore::new(most as usize)),
            most,
            total: AtomicU32::new(most),
            resizing: Mutex::new(()),
            patience,
            waited: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Waits for `bytes`. A message larger than the whole budget waits for all of it.
    pub async fn take(
        &self,
        bytes: usize,
        pressure: impl Fn() -> Pressure,
        objects: &Objects,
    ) -> Result<Permit, NoRoom> {
        let wanted = units(bytes as u64).min(self.most);
        let permit = |units| Permit {
            _units: units,
            _live: objects.enter(Kind::Permits),
        };
        if let Ok(units) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            return Ok(permit(units));
        }
        self.waited.fetch_add(1, Relaxed);
        let began = Instant::now();
        let waiting = Arc::clone(&self.free).acquire_many_owned(wanted);
        match timeout(self.patience, waiting).await {
            Ok(Ok(units)) => Ok(permit(units)),
            _ => {
                self.refused.fetch_add(1, Relaxed);
                Err(NoRoom {
                    bytes,
                    waited: began.elapsed(),
                    budget: u64::from(self.total.load(Relaxed)) * UNIT,
                    pressure: pressure(),
                })
            }
        }
    }

    /// Makes it as large as it should be; what is given out comes back first.
    pub fn resize(&self, pressure: Pressure) {
        let _one = self.resizing.lock();
        let wanted = match pressure {
            Pressure::Calm => self.most,
            Pressure::Tight => self.most / 2,
            Pressure::Critical => self.most / 8,
        };
        let total = self.total.load(Relaxed);
        let total = if wanted >= total {
            self.free.add_permits((wanted - total) as usize);
            wanted
        } else {
            let taken = self.free.forget_permits((total - wanted) as usize);
            total - u32::try_from(taken).unwrap_or(total)
        };
        self.total.store(total, Relaxed);
    }

    pub fn stats(&self) -> BudgetStats {
        let total = u64::from(self.total.load(Relaxed)) * UNIT;
        BudgetStats {
            total,
            used: total.saturating_sub(self.free.available_permits() as u64 * UNIT),
            waited: self.waited.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT))
        .unwrap_or(u32::MAX >> 4)
        .min(u32::MAX >> 4)
}

/// Bytes are counted in these.
const UNIT: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn budget(mib: u64) -> (Budget, Objects) {
        (
            Budget::new(mib << 20, Duration::from_secs(5)),
            Objects::new(),
        )
    }

    async fn take(of: &(Budget, Objects), bytes: usize) -> Result<Permit, NoRoom> {
        of.0.take(bytes, || Pressure::Calm, &of.1).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_in_turn_and_is_refused_in_the_end() {
        let of = budget(10);
        let first = take(&of, 8 * MIB).await.expect("there is room");
        let refused = take(&of, 4 * MIB).await.expect_err("there is none");
        assert_eq!(refused.waited, Duration::from_secs(5));
        assert!(refused.to_string().contains("4194304 bytes"), "{refused}");
        let (second, ()) = tokio::join!(take(&of, 4 * MIB), async { drop(first) });
        assert!(second.is_ok());
        let stats = of.0.stats();
        assert_eq!((stats.waited, stats.refused), (2, 1));
        assert_eq!(stats.used, 4 << 20);
        drop(second);
        assert_eq!(of.0.stats().used, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_budget_has_it_to_itself() {
        let of = budget(10);
        let all = take(&of, 48 * MIB).await.expect("nobody else is there");
        assert!(take(&of, MIB).await.is_err());
        drop(all);
        assert!(take(&of, MIB).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pressure_makes_it_smaller_as_permits_come_back_and_calm_restores_it() {
        let of = budget(16);
        let held = take(&of, 15 * MIB).await.expect("there is room");
        of.0.resize(Pressure::Critical);
        assert_eq!(of.0.stats().used, 15 << 20);
        drop(held);
        of.0.resize(Pressure::Critical);
        assert_eq!(of.0.stats().total, 2 << 20);
        assert!(take(&of, MIB).await.is_ok());
        assert!(take(&of, 3 * MIB).await.is_err());
        of.0.resize(Pressure::Calm);
        assert!(take(&of, 16 * MIB).await.is_ok());
    }
}
