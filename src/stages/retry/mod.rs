//! Sending again what failed for a passing reason: the specifications "Retryable Reads",
//! "Retryable Writes" and "Client Backpressure", done once for all clients.
//!
//! Next to the backend, so that every request meets it once and whatever a stage above makes of a
//! request is sent again as it is. What may be repeated and which replies ask for it is in
//! `command/retryable.rs`; where it goes then is the backend's choice, which waits for a new
//! primary and avoids the server that failed.
//!
//! Retries here and those of drivers don't multiply: one retry (two of what an overloaded server
//! refused), a driver's own retry of what has failed here isn't retried again (`spent.rs`), and all
//! take from one budget (`budget.rs`). A try that failed elsewhere than the one before (another
//! server, another term, a restarted process) doesn't count: an election may cost several.
//!
//! A write that has no number gets one of the proxy's own (`numbered.rs`), so that sending it again
//! is exact; also for applications that have switched retries off.
//!
//! Absent on purpose: statements of transactions (only their driver can begin anew), getMore, and
//! writes of several documents, unless the server says that it has executed nothing.

mod backoff;
mod budget;
mod numbered;
mod spent;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::budget::Budget;
use self::spent::Spent;
pub use self::stats::Stats;
use self::stats::Why;
use crate::command::{Kind, Plea, Repeatable, commit_again, labels, plea, repeatable};
use crate::config;
use crate::pipeline::{
    Answer, Failure, Fault, Met, Next, Outcome, OwnSessions, Reply, Request, Stage, UpstreamFacts,
};
use crate::wire::doc;

/// See the module.
pub struct Retry {
    retries: u32,
    overload_retries: u32,
    base_backoff: Duration,
    numbers_writes: bool,
    facts: Arc<UpstreamFacts>,
    sessions: OwnSessions,
    budget: Budget,
    spent: Spent,
    stats: Stats,
}

impl Retry {
    /// The stage as configured. `facts`: what the upstream can do.
    pub fn new(config: &config::Retry, facts: Arc<UpstreamFacts>) -> Retry {
        Retry {
            retries: config.retries,
            overload_retries: config.overload_retries,
            base_backoff: config.base_backoff,
            numbers_writes: config.number_writes,
            facts,
            sessions: OwnSessions::default(),
            budget: Budget::new(config.budget, config.budget_share),
            spent: Spent::default(),
            stats: Stats::default(),
        }
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Retries that may be made now, whatever is answered.
    pub fn budget_tokens(&self) -> u64 {
        self.budget.left()
    }

    async fn run(&self, request: &mut Request, next: Next<'_>) -> Outcome {
        self.budget.earn();
        match self.takes_number(request) {
            true => self.run_numbered(request, next).await,
            false => {
                let is_drivers_retry = self.spent.take(request) || request.progress.spent;
                let mut tries = Tries::of(repeatable(&request.command));
                if is_drivers_retry {
                    tries.may_not_repeat();
                }
                let outcome = self.tries(request, &mut tries, next).await;
                if tries.retried > 0 && tries.failed {
                    self.spent.note(request);
                }
                outcome
            }
        }
    }

    /// Tries until there's an answer that stands, or no retry left.
    async fn tries(&self, request: &mut Request, tries: &mut Tries, next: Next<'_>) -> Outcome {
        loop {
            let outcome = next.run(request).await;
            let need = tries.need(&outcome);
            tries.failed = need != Need::Nothing;
            let pause = match need {
                Need::Nothing => return tries.conclude(outcome, request),
                Need::Again => Duration::ZERO,
                Need::Later { base } => {
                    let base = base.unwrap_or(self.base_backoff);
                    backoff::pauses(base)
                        .nth(tries.overloads as usize)
                        .unwrap_or_default()
                }
            };
            let is_write = tries.what == Repeatable::Numbered;
            if is_write && matches!(&outcome, Err(failure) if failure.sent) {
                request.note_in_doubt();
            }
            let why = match need {
                Need::Later { .. } => Why::Overload,
                _ if is_write => Why::Write,
                _ => Why::Read,
            };
            let again_at = Instant::now() + pause;
            let is_late = request.deadline().is_some_and(|end| end <= again_at);
            if !tries.allow(why, request.met, self) || is_late || !self.budget.spend() {
                self.stats.gave_up();
                return tries.conclude(outcome, request);
            }
            tracing::debug!(target: "petiole::retry", command = request.command.name(), ?why, pause_ms = pause.as_millis() as u64,
                "sent again");
            self.stats.retried(why);
            request.note_retried();
            tries.keep(outcome);
            if !pause.is_zero() {
                tokio::time::sleep_until(again_at).await;
            }
            if request.command.kind == Kind::Commit
                && let Some(again) = request.reworded(commit_again(
                    request.frame.request_id(),
                    &request.msg,
                    &request.command,
                ))
            {
                *request = again;
            }
        }
    }
}

impl Stage for Retry {
    fn name(&self) -> &'static str {
        "retry"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        Answer::later(self.run(request, next))
    }
}

/// What has become of a request so far.
struct Tries {
    what: Repeatable,
    /// Failures in a row at the same place.
    strikes: u32,
    met: Option<Met>,
    overloads: u32,
    retried: u32,
    /// The last try asked for another.
    failed: bool,
    /// A try was lost after it had been sent.
    was_sent: bool,
    /// The error before the last one.
    earlier: Option<Outcome>,
    may_repeat: bool,
}

/// What a try asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Again,
    /// `base`: what the server wants the first pause to be at most.
    Later {
        base: Option<Duration>,
    },
}

impl Tries {
    fn of(what: Repeatable) -> Tries {
        Tries {
            what,
            strikes: 0,
            met: None,
            overloads: 0,
            retried: 0,
            failed: false,
            was_sent: false,
            earlier: None,
            may_repeat: true,
        }
    }

    fn may_not_repeat(&mut self) {
        self.may_repeat = false;
    }

    fn need(&mut self, outcome: &Outcome) -> Need {
        match outcome {
            Ok(reply) if reply.is_mere_success() => Need::Nothing,
            Ok(reply) => match plea(self.what, reply.view()) {
                Plea::None => Need::Nothing,
                Plea::Again => Need::Again,
                Plea::Later => Need::Later {
                    base: asked_pause(reply),
                },
            },
            Err(failure) => {
                self.was_sent |= failure.sent;
                let is_lost = failure.sent && matches!(failure.fault, Fault::LinkLost(_));
                match self.what {
                    Repeatable::Read | Repeatable::Numbered if is_lost => Need::Again,
                    _ => Need::Nothing,
                }
            }
        }
    }

    /// Whether there is a retry left after a failure at `met`.
    fn allow(&mut self, why: Why, met: Option<Met>, retry: &Retry) -> bool {
        if why == Why::Overload {
            self.overloads += 1;
            return self.may_repeat && self.overloads <= retry.overload_retries;
        }
        self.strikes = match met == self.met {
            true => self.strikes + 1,
            false => 1,
        };
        self.met = met;
        self.may_repeat && self.strikes <= retry.retries && self.retried < MOST_RETRIES
    }

    fn keep(&mut self, outcome: Outcome) {
        self.retried += 1;
        self.earlier = Some(outcome);
    }

    /// The outcome that the client gets: the last one, unless it says less than the one before
    /// (nothing was sent, or nothing was written this time).
    fn conclude(&mut self, last: Outcome, request: &Request) -> Outcome {
        if let Err(failure) = &last
            && matches!(failure.fault, Fault::PrincipalGone)
            && self.earlier.as_ref().is_some_and(is_error)
        {
            // It tells the driver to authenticate anew: on another error its retry would take the
            // next connection of its pool, and get this one in the end.
            if self.was_sent {
                return Err(Failure {
                    fault: Fault::PrincipalGone,
                    sent: true,
                });
            }
            // What was sent has been answered, with an error: so is this, and nobody need wait for
            // what is still under way.
            let error = failure.reply(&request.command).document();
            return Ok(Reply::document(&request.frame, &error));
        }
        let says_less = |last: &Outcome| match last {
            Ok(reply) => {
                let view = reply.view();
                !view.ok && view.has_label(labels::NO_WRITES_PERFORMED)
            }
            Err(failure) => !failure.sent,
        };
        let mut outcome = match self.earlier.take() {
            Some(earlier) if says_less(&last) => earlier,
            _ => last,
        };
        if let Err(failure) = &mut outcome {
            failure.sent |= self.was_sent;
        }
        outcome
    }
}

/// `baseBackoffMS` of an overloaded server's error.
fn asked_pause(reply: &Reply) -> Option<Duration> {
    let ms = doc::find(reply.body(), "baseBackoffMS")?.as_f64()?;
    (ms > 0.0 && ms < LONGEST_BASE_MS).then(|| Duration::from_millis(ms as u64))
}

fn is_error(outcome: &Outcome) -> bool {
    match outcome {
        Ok(reply) => !reply.view().ok,
        Err(_) => true,
    }
}

/// Whether nothing was executed for sure.
fn was_never_sent(outcome: &Result<Reply, Failure>) -> bool {
    matches!(outcome, Err(failure) if !failure.sent)
}

/// However many servers a request meets.
const MOST_RETRIES: u32 = 4;
/// The longest pause of the specification.
const LONGEST_BASE_MS: f64 = 10_000.0;

#[cfg(test)]
mod tests;
