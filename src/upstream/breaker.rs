//! A circuit breaker for one server: after several failures in a row nothing is sent to it for a
//! while, then one request, and all again once that one has been answered. It chooses between
//! servers: the only one that fits is used whatever its breaker says, while its hello answers.
//!
//! Failures are lost links, failed dials and replies that never came. (Of the links that a server closes
//! while it answers hello, one a second counts, see `Server::was_refuted`: the request may be to blame.) A slow answer is an answer:
//! to cut off the only primary for being slow would turn slowness into an outage. (What is slow is
//! kept from taking all links, see `admission.rs`.)

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What a breaker does, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open,
    /// One request has passed, and its outcome decides.
    HalfOpen,
}

impl BreakerState {
    /// The word for it in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// There were failures since the last answer: the lock need not be taken otherwise.
    has_failed: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    /// `pause`: how long this time.
    Open {
        until: Instant,
        pause: Duration,
    },
    HalfOpen {
        since: Instant,
        pause: Duration,
    },
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            state: Mutex::new(State::Closed { failures: 0 }),
            has_failed: AtomicBool::new(false),
        }
    }
}

impl Breaker {
    /// Whether a request may pass now.
    pub fn may_pass(&self, now: Instant) -> bool {
        if !self.has_failed.load(SeqCst) {
            return true;
        }
        match *self.state.lock() {
            State::Closed { .. } => true,
            State::Open { until, .. } => until <= now,
            // A probe that was never answered for doesn't keep the breaker half open for ever.
            State::HalfOpen { since, pause } => since + pause <= now,
        }
    }

    /// A request passes. If the breaker was open, it is the probe.
    pub fn pass(&self, now: Instant) {
        if !self.has_failed.load(SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        if let State::Open { pause, .. } | State::HalfOpen { pause, .. } = *state {
            *state = State::HalfOpen { since: now, pause };
        }
    }

    /// An answer came.
    pub fn answered(&self) {
        if !self.has_failed.load(SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        *state = State::Closed { failures: 0 };
        self.has_failed.store(false, SeqCst);
    }

    /// No answer came. `limit`: so many in a row open the breaker; 0 = never.
    pub fn failed(&self, now: Instant, limit: u32) {
        let mut state = self.state.lock();
        self.has_failed.store(true, SeqCst);
        *state = match *state {
            State::Closed { failures } if limit == 0 || failures + 1 < limit => State::Closed {
                failures: failures.saturating_add(1),
            },
            State::Closed { .. } => State::Open {
                until: now + FIRST_PAUSE,
                pause: FIRST_PAUSE,
            },
            State::HalfOpen { pause, .. } => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                State::Open {
                    until: now + pause,
                    pause,
                }
            }
            // What was sent before it opened.
            open @ State::Open { .. } => open,
        };
    }

    pub fn state(&self) -> BreakerState {
        match *self.state.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_answer_begins_the_count_anew() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(now, 3);
        breaker.failed(now, 3);
        breaker.answered();
        breaker.failed(now, 3);
        breaker.failed(now, 3);
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failed(now, 3);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.may_pass(now));
    }

    #[test]
    fn after_its_pause_one_probe_passes_and_decides() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(now, 1);
        let later = now + FIRST_PAUSE;
        assert!(breaker.may_pass(later));
        breaker.pass(later);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.may_pass(later), "one probe at a time");
        breaker.failed(later, 1);
        assert!(!breaker.may_pass(later + FIRST_PAUSE), "the pause doubles");
        let again = later + FIRST_PAUSE * 2;
        breaker.pass(again);
        breaker.answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_vanished_makes_room_for_another() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(now, 1);
        breaker.pass(now + FIRST_PAUSE);
        assert!(breaker.may_pass(now + FIRST_PAUSE * 2));
    }

    #[test]
    fn with_a_limit_of_zero_it_never_opens() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        (0..100).for_each(|_| breaker.failed(now, 0));
        assert!(breaker.may_pass(now));
    }
}
