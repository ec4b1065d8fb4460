//! Telling a leak from a cache that fills, a load that grows and a burst that ends.
//!
//! A subject (a kind of object, or the memory that is neither cache nor buffers) is suspected if
//! over three quarters of the window its least value rose from each third to the next, about as
//! fast at the end as at the beginning, and by more than noise. A step rises once, a burst
//! comes back, and what warms up slows down. Of objects only those count that have lived for an
//! eighth of the window, for under load there are many young ones.
//!
//! So what begins to grow, and grows steadily, is suspected when seven eighths of the window have
//! passed, at the next look: within its window. Thirds are times, not numbers of points: a look
//! that comes late, or not at all, delays nothing.

use std::collections::VecDeque;
use std::time::Duration;

use super::trend::{self, Point};

/// The history of one subject.
#[derive(Debug)]
pub(super) struct Series {
    /// Seconds.
    window: f64,
    /// Those of the last window, oldest first.
    points: VecDeque<Point>,
    /// Growth that isn't noise: so much, and so many percent.
    least: f64,
    least_percent: f64,
    /// What it was when the suspicion arose.
    suspected: Option<Suspected>,
}

/// A suspicion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Suspected {
    /// Where the stretch begins that was judged; seconds like [`Point::at`].
    pub since: f64,
    /// What it was then.
    pub from: f64,
    /// Growth per second when it was noticed.
    pub slope: f64,
}

/// What a new point changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Same,
    /// From now on it is suspected.
    Suspected(Suspected),
    /// It has come back to what it was.
    Cleared,
}

impl Series {
    pub fn new(window: Duration, least: f64, least_percent: f64) -> Series {
        Series {
            window: window.as_secs_f64(),
            points: VecDeque::with_capacity(POINTS + 1),
            least,
            least_percent,
            suspected: None,
        }
    }

    /// Adds a point, later than those before. There should be [`POINTS`] in a window.
    pub fn add(&mut self, point: Point) -> Verdict {
        let oldest = point.at - self.window;
        while self.points.front().is_some_and(|p| p.at < oldest) {
            self.points.pop_front();
        }
        self.points.push_back(point);
        match self.suspected {
            None => match self.grows() {
                Some(found) => {
                    self.suspected = Some(found);
                    Verdict::Suspected(found)
                }
                None => Verdict::Same,
            },
            Some(found) if point.value <= found.from => {
                self.suspected = None;
                Verdict::Cleared
            }
            Some(_) => Verdict::Same,
        }
    }

    /// Change per second over the window.
    pub fn slope(&self) -> Option<f64> {
        trend::slope(self.points.iter().copied())
    }

    fn grows(&self) -> Option<Suspected> {
        let now = self.points.back()?.at;
        let since = now - self.window * SPAN;
        // (Half a point: times are added up.)
        let point = self.window / POINTS as f64;
        if self.points.front()?.at > since + point / 2.0 {
            return None;
        }
        let judged = self.points.iter().copied().skip_while(|p| p.at < since);
        let [first, second, third] = [0.0, 1.0, 2.0].map(|nth| {
            let begin = since + nth * self.window * SPAN / 3.0;
            let end = begin + self.window * SPAN / 3.0;
            let points = judged.clone().skip_while(|p| p.at < begin);
            least(points.take_while(|p| p.at < end + point / 2.0))
        });
        let (first, second, third) = (first?, second?, third?);
        let growth = third - first;
        let is_noise = growth < self.least || growth < first * self.least_percent / 100.0;
        let is_even = second - first >= growth * 0.25 && third - second >= growth * 0.4;
        if is_noise || !is_even {
            return None;
        }
        let slope = trend::slope(judged)?;
        (slope > 0.0).then_some(Suspected {
            since,
            from: first,
            slope,
        })
    }
}

/// The least value, if there are points enough.
fn least(points: impl Iterator<Item = Point>) -> Option<f64> {
    let (count, least) = points.fold((0, f64::INFINITY), |(n, least), p| {
        (n + 1, least.min(p.value))
    });
    (count >= FEWEST).then_some(least)
}

/// Points in a window.
pub(super) const POINTS: usize = 96;
/// How much of the window is judged.
const SPAN: f64 = 0.75;
/// Points of a third that say enough: a quarter of what there should be.
const FEWEST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// A point a second.
    fn series() -> Series {
        Series::new(Duration::from_secs(POINTS as u64), 12.0, 10.0)
    }

    /// When a course of values is suspected, if ever.
    fn suspected(values: impl IntoIterator<Item = f64>) -> Option<usize> {
        let mut series = series();
        values.into_iter().enumerate().find_map(|(i, value)| {
            let at = i as f64;
            matches!(series.add(Point { at, value }), Verdict::Suspected(_)).then_some(i)
        })
    }

    fn noise(i: usize) -> f64 {
        ((i * 7919) % 13) as f64
    }

    #[test]
    fn steady_growth_is_suspected_within_a_window_once() {
        let leak = (0..1000).map(|i| 50.0 + noise(i) + i as f64);
        assert!(suspected(leak).is_some_and(|at| at < POINTS));
        let mut series = series();
        let verdicts = (0..1000).map(|i| {
            series.add(Point {
                at: i as f64,
                value: i as f64,
            })
        });
        let told = verdicts.filter(|v| *v != Verdict::Same).count();
        assert_eq!(told, 1);
    }

    #[test]
    fn a_leak_that_begins_late_is_named_within_a_window_of_its_beginning() {
        let values = (0..2000).map(|i: usize| 20.0 + noise(i) + i.saturating_sub(700) as f64);
        assert!(suspected(values).is_some_and(|at| (700..700 + POINTS).contains(&at)));
    }

    #[test]
    fn looks_that_come_late_or_not_at_all_delay_nothing() {
        let mut series = series();
        let mut at = 0.0;
        let named = (0..200_usize).find_map(|i| {
            // Up to three seconds apart, and once ten.
            at += 0.6 + noise(i * 17) / 5.0 + if i == 20 { 10.0 } else { 0.0 };
            let verdict = series.add(Point { at, value: at });
            matches!(verdict, Verdict::Suspected(_)).then_some(at)
        });
        assert!(named.is_some_and(|at| at < POINTS as f64), "{named:?}");
    }

    #[test]
    fn what_fills_and_stays_full_is_not() {
        let fills = (0..2000).map(|i| 1000.0 * (1.0 - (-(i as f64) / 20.0).exp()) + noise(i));
        assert_eq!(suspected(fills), None);
        let fast = (0..2000).map(|i: usize| (i as f64 * 50.0).min(1000.0));
        assert_eq!(suspected(fast), None);
    }

    #[test]
    fn a_burst_that_ends_is_not() {
        for length in [1, 10, 30, 60] {
            let burst = (0..1000).map(|i| {
                if (300..300 + length).contains(&i) {
                    900.0
                } else {
                    10.0
                }
            });
            assert_eq!(suspected(burst), None, "{length}");
        }
    }

    #[test]
    fn a_step_to_more_load_is_not() {
        let steps = (0..1000).map(|i| if i < 400 { 10.0 } else { 500.0 } + noise(i));
        assert_eq!(suspected(steps), None);
    }

    #[test]
    fn noise_is_not() {
        assert_eq!(suspected((0..3000).map(|i| 100.0 + noise(i * 31))), None);
    }

    #[test]
    fn what_comes_back_is_cleared() {
        let mut series = series();
        let values = (0..100).chain(std::iter::once(0));
        let verdicts = values.enumerate().map(|(i, v)| {
            series.add(Point {
                at: i as f64,
                value: f64::from(v),
            })
        });
        assert_eq!(verdicts.last(), Some(Verdict::Cleared));
    }
}
