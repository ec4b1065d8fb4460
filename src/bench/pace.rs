//! When the load generator sends, and on which connection.

use std::time::{Duration, Instant};

use super::random::Random;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pacing {
    /// As soon as the previous reply of the same connection is here.
    Closed,
    /// At this rate per second over all connections.
    Open(f64),
}

/// Which connection may send, and when.
pub struct Pace {
    pacing: Pacing,
    idle: Vec<usize>,
    /// Requests without a reply so far.
    pub under_way: usize,
    retired: usize,
    connections: usize,
    next_due: Option<Instant>,
}

impl Pace {
    /// All connections are free.
    pub fn new(pacing: Pacing, connections: usize) -> Pace {
        Pace {
            pacing,
            idle: (0..connections).rev().collect(),
            under_way: 0,
            retired: 0,
            connections,
            next_due: None,
        }
    }

    /// A free connection and the moment from which its request's latency counts.
    pub fn next(
        &mut self,
        now: Instant,
        end: Instant,
        random: &mut Random,
    ) -> Option<(usize, Instant)> {
        if now >= end {
            return None;
        }
        let started = match self.pacing {
            Pacing::Closed => now,
            Pacing::Open(rate) => {
                let due = *self.next_due.get_or_insert(now);
                if due > now || self.idle.is_empty() {
                    return None;
                }
                let gap = -(1.0 - random.fraction()).ln() / rate.max(1e-3);
                self.next_due = Some(due + Duration::from_secs_f64(gap.min(3_600.0)));
                due
            }
        };
        let index = self.idle.pop()?;
        self.under_way += 1;
        Some((index, started))
    }

    /// After the end: a free connection that has something to finish.
    pub fn finish(
        &mut self,
        now: Instant,
        end: Instant,
        unfinished: impl Fn(usize) -> bool,
    ) -> Option<(usize, Instant)> {
        if now < end {
            return None;
        }
        let place = self.idle.iter().position(|&index| unfinished(index))?;
        self.under_way += 1;
        Some((self.idle.swap_remove(place), now))
    }

    /// The connection just freed, again: in a closed loop always, in an open one if it has something `unfinished`. (It
    /// would keep a transaction, and what that locks, until its next request falls due.)
    pub fn again(
        &mut self,
        now: Instant,
        end: Instant,
        unfinished: impl Fn(usize) -> bool,
    ) -> Option<(usize, Instant)> {
        let goes_on =
            self.pacing == Pacing::Closed || self.idle.last().is_some_and(|&i| unfinished(i));
        if !goes_on || now >= end {
            return None;
        }
        let index = self.idle.pop()?;
        self.under_way += 1;
        Some((index, now))
    }

    /// This connection's reply has come.
    pub fn free(&mut self, index: usize) {
        self.under_way -= 1;
        self.idle.push(index);
    }

    /// This connection has nothing more to ask.
    pub fn retire(&mut self, _index: usize) {
        self.under_way -= 1;
        self.retired += 1;
    }

    /// Whether no connection has anything more to ask.
    pub fn exhausted(&self) -> bool {
        self.retired == self.connections
    }

    /// How long polling may sleep. Polling counts in milliseconds, so the open loop spins when less than that is left.
    pub fn nap(&self, now: Instant, end: Instant) -> Duration {
        let idle = if now < end {
            end - now
        } else {
            Duration::from_secs(1)
        };
        match self.next_due {
            Some(due) if now < end && !self.idle.is_empty() => {
                let left = due.saturating_duration_since(now);
                Duration::from_millis(left.as_millis() as u64).min(idle)
            }
            _ => idle.max(Duration::from_millis(1)),
        }
    }

    /// The moment since when a request has been due and unsent, if the target couldn't keep up.
    pub fn unsent(&self, end: Instant) -> Option<(Pacing, Instant)> {
        self.next_due
            .filter(|&due| due < end)
            .map(|due| (self.pacing, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_open_loop_only_what_is_unfinished_goes_on_before_it_is_due() {
        let now = Instant::now();
        let end = now + Duration::from_secs(60);
        let mut random = Random::seeded(1);
        let mut pace = Pace::new(Pacing::Open(1e-3), 2);
        let (index, _) = pace.next(now, end, &mut random).unwrap();
        pace.free(index);
        assert!(pace.again(now, end, |_| false).is_none());
        let unfinished = |i| i == index;
        assert_eq!(pace.again(now, end, unfinished), Some((index, now)));
        assert!(pace.next(now, end, &mut random).is_none(), "none is due");
        pace.free(index);
        assert!(pace.again(end, end, unfinished).is_none());
        assert_eq!(pace.finish(end, end, unfinished), Some((index, end)));
    }
}
