//! How long a request waits for its turn: for its places and for a link, `upstream.wait_timeout` in
//! all, however often it has to choose another server meanwhile, and with all that is sent for it (`pipeline/waits.rs`). (How long it waits for a server to
//! choose is something else: `upstream.failover_wait`.)

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::pipeline::{Failure, Fault, will_wait};

/// See the module.
#[derive(Debug)]
pub(super) struct Patience {
    waited: Duration,
    limit: Duration,
    deadline: Option<Instant>,
}

impl Patience {
    /// `waited`: so far, for this request. `deadline`: of the request's own `maxTimeMS`.
    pub fn new(limit: Duration, waited: Duration, deadline: Option<Instant>) -> Patience {
        Patience {
            waited,
            limit,
            deadline,
        }
    }

    /// How long the request has waited in all.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Waits for a turn. `timed_out` says what failed, from the milliseconds that the request has
    /// waited in all.
    pub async fn wait<T>(
        &mut self,
        turn: impl Future<Output = T>,
        timed_out: impl FnOnce(u64) -> Fault,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let end = began + self.limit.saturating_sub(self.waited);
        let until = self.deadline.map_or(end, |deadline| deadline.min(end));
        will_wait();
        let turn = timeout_at(until, turn).await;
        self.waited += began.elapsed();
        turn.map_err(|_| match until < end {
            true => Failure::unsent(Fault::MaxTimeExpired),
            false => Failure::unsent(timed_out(self.waited.as_millis() as u64)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, sleep};

    use super::*;

    fn fault(waited_ms: u64) -> Fault {
        Fault::LinkLost(waited_ms.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_of_a_request_together_end_at_the_limit() {
        let mut patience = Patience::new(Duration::from_millis(100), Duration::ZERO, None);
        patience
            .wait(sleep(Duration::from_millis(70)), fault)
            .await
            .unwrap();
        // What it does in between isn't waiting.
        advance(Duration::from_secs(1)).await;
        let began = Instant::now();
        let late = patience.wait(pending::<()>(), fault).await.unwrap_err();
        assert!(began.elapsed() <= Duration::from_millis(35));
        assert!(matches!(late.fault, Fault::LinkLost(ms) if ms.parse::<u64>().unwrap() >= 100));
        // What is there needs no waiting.
        patience.wait(async {}, fault).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_as_long_as_it_may_waits_no_more() {
        let limit = Duration::from_millis(100);
        let mut patience = Patience::new(limit, limit, None);
        let began = Instant::now();
        let late = patience.wait(pending::<()>(), fault).await.unwrap_err();
        assert!(began.elapsed() <= Duration::from_millis(5));
        assert!(matches!(late.fault, Fault::LinkLost(ms) if ms.parse::<u64>().unwrap() >= 100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_that_ends_sooner_is_the_clients_own() {
        let deadline = Instant::now() + Duration::from_millis(10);
        let mut patience =
            Patience::new(Duration::from_millis(100), Duration::ZERO, Some(deadline));
        let late = patience.wait(pending::<()>(), fault).await.unwrap_err();
        assert!(matches!(late.fault, Fault::MaxTimeExpired));
    }
}
