//! What is known of writes that go around the proxy (docs/coherence.md, rules 8, 9 and 14).
//!
//! A change stream reads every write of the deployment and hands it to a [`Landed`]; how far it has
//! come stands in the [`Horizon`], which the cache asks when it serves and when it stores.
//!
//! Invariants:
//! - *Position.* Every write with a cluster time up to and including [`Horizon::position`] has been
//!   handed to the [`Landed`], or that was flushed. Several events may share one cluster time (a
//!   transaction), so an event alone moves the position only to just before its own time.
//! - *Verified.* At moment p a poll was sent to the primary, it answered that its last write is T,
//!   and the position has reached T. So all writes acknowledged before p have been handled, and what
//!   is served is at most `now - p` behind. A stream that is silent because the majority point
//!   stalls, or because it broke, proves nothing by its silence: T runs ahead of it.
//! - *Left out.* Of collections of which nothing is kept, the watch needn't be told ([`LeftOut`]). What is said of
//!   every write, here and below, is said of all others.
//! - No timer turns the horizon stale: it's a comparison with the clock at the moment of serving.
//!
//! Absent on purpose: where the events come from (`upstream::watch`), and what they do to the cache.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{Clock, Moment};
use super::left_out::LeftOut;
use super::{DefaultReads, Fences, Stamp};
use crate::command::{Footprint, Namespace};

/// Takes writes that have landed, whoever sent them. Called before the position passes them.
pub trait Landed: Send + Sync {
    /// What may have changed. `cluster_time`: of the write, so that one's own can be told.
    fn landed(&self, footprint: &Footprint, cluster_time: u64);
    /// Events may have been missed: all that is cached is void.
    fn flush(&self);
    /// Another member was elected: what its predecessor wrote may be gone, without an event.
    fn term_changed(&self);
    /// Whether answers that read single documents of a collection are kept, or about to be. (Not more than a
    /// hint: whatever is kept ends when the collection is left out.)
    fn keeps(&self, collection: &Namespace) -> bool;
    /// To be called before the default read concern is asked. `None`: it may be changing, or isn't of interest.
    fn open_default_reads(&self) -> Option<Stamp> {
        None
    }
    /// What the default read concern is, by a question that was asked at the stamp.
    fn note_default_reads(&self, _stamp: &Stamp, _found: DefaultReads) {}
}

impl Landed for Arc<Fences> {
    fn landed(&self, footprint: &Footprint, cluster_time: u64) {
        Fences::landed(self, footprint, cluster_time);
    }

    fn flush(&self) {
        // Writes of unknown outcome may still land.
        Fences::flush(self, false);
    }

    fn term_changed(&self) {
        Fences::flush(self, false);
    }

    fn keeps(&self, collection: &Namespace) -> bool {
        Fences::keeps(self, collection)
    }

    fn open_default_reads(&self) -> Option<Stamp> {
        Fences::open_default_reads(self)
    }

    fn note_default_reads(&self, stamp: &Stamp, found: DefaultReads) {
        Fences::note_default_reads(self, stamp, found);
    }
}

/// How far the watch has come. One for each proxy, shared.
#[derive(Debug)]
pub struct Horizon {
    max_lag: Duration,
    clock: Clock,
    on: AtomicBool,
    position: AtomicU64,
    /// A [`Moment`]'s nanoseconds; 0 = never.
    verified: AtomicU64,
    /// Polls whose answer the position hasn't reached, oldest first.
    polls: Mutex<VecDeque<Poll>>,
    /// The `electionId` of the primary that was polled last.
    election: Mutex<Option<[u8; 12]>>,
    events: AtomicU64,
    reopenings: AtomicU64,
    flushes: AtomicU64,
    left_out: LeftOut,
    /// The stream doesn't report new definitions.
    hides_definitions: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Poll {
    sent: Moment,
    last_write: u64,
}

/// What the watch is doing, for status and for choosing how entries live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// Not asked for, or not possible here: entries live for `cache.ttl`, or as
    /// `external_writes = "none"` says.
    Off,
    /// It hasn't caught up for the first time.
    Starting,
    /// It has seen all writes up to at most `max_lag` ago.
    Watching,
    /// It is down or lags more than `max_lag`: nothing may be served.
    Blind,
}

impl WatchState {
    /// The word for status.
    pub fn as_str(self) -> &'static str {
        match self {
            WatchState::Off => "off",
            WatchState::Starting => "starting",
            WatchState::Watching => "watching",
            WatchState::Blind => "blind",
        }
    }
}

/// What the watch has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Events handled.
    pub events: u64,
    /// Streams opened after the first one.
    pub reopenings: u64,
    /// Times that events may have been missed, so that the cache was flushed.
    pub flushes: u64,
}

impl Horizon {
    /// For a watch that is going to start.
    pub fn starting(max_lag: Duration) -> Arc<Horizon> {
        Arc::new(Horizon {
            max_lag,
            clock: Clock::default(),
            on: AtomicBool::new(true),
            position: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            polls: Mutex::new(VecDeque::new()),
            election: Mutex::new(None),
            events: AtomicU64::new(0),
            reopenings: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            left_out: LeftOut::default(),
            hides_definitions: AtomicBool::new(false),
        })
    }

    /// For a proxy without a watch.
    pub fn off() -> Arc<Horizon> {
        let horizon = Horizon::starting(Duration::ZERO);
        horizon.on.store(false, SeqCst);
        horizon
    }

    /// Whether the deployment is watched.
    pub fn is_on(&self) -> bool {
        self.on.load(SeqCst)
    }

    /// By which clock all of this is meant: one that goes on while the machine is suspended.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether every write acknowledged more than `max_lag` before `now` has been handled. To be
    /// asked *before* it's looked up whether the entry is still valid: what this has seen, that
    /// sees too.
    pub fn fresh(&self, now: Moment) -> bool {
        let fresh = self.age(now).is_some_and(|age| age <= self.max_lag);
        fresh && self.on.load(SeqCst)
    }

    /// Whether every write up to and including cluster time `t` has been handled. (The time of
    /// the stream's last event must be strictly later than `t` for that.)
    pub fn passed(&self, t: u64) -> bool {
        self.on.load(SeqCst) && self.position() >= t
    }

    /// The cluster time up to which every write has been handled; 0 before the first stream.
    pub fn position(&self) -> u64 {
        self.position.load(SeqCst)
    }

    /// What the watch is doing now.
    pub fn state(&self) -> WatchState {
        let age = self.age(self.clock.now());
        match age {
            _ if !self.on.load(SeqCst) => WatchState::Off,
            None => WatchState::Starting,
            Some(age) if age <= self.max_lag => WatchState::Watching,
            Some(_) => WatchState::Blind,
        }
    }

    /// Waits until the watch has caught up for the first time, or turned out to be impossible.
    pub async fn begins(&self) {
        while self.state() == WatchState::Starting {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// At most so many milliseconds ago every acknowledged write had been handled; `None` before
    /// that was known for the first time, and while the watch is off.
    pub fn lag_ms(&self) -> Option<u64> {
        let age = self.age(self.clock.now())?;
        let on = self.on.load(SeqCst);
        on.then_some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    /// What has been counted.
    pub fn counts(&self) -> WatchCounts {
        WatchCounts {
            events: self.events.load(SeqCst),
            reopenings: self.reopenings.load(SeqCst),
            flushes: self.flushes.load(SeqCst),
        }
    }

    /// Collections whose documents' writes it isn't told of: what is said of all writes here isn't said of
    /// theirs.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Whether the stream doesn't report everything about names: new definitions of views, new collections, and what is
    /// written to time series. (Servers before MongoDB 6.0.)
    pub fn hides_definitions(&self) -> bool {
        self.hides_definitions.load(SeqCst)
    }

    /// For the watch: the server's streams don't report definitions.
    pub fn note_hidden_definitions(&self) {
        self.hides_definitions.store(true, SeqCst);
    }

    /// How long a write may stay unseen while entries are served.
    pub fn max_lag(&self) -> Duration {
        self.max_lag
    }

    /// For the watch: the deployment can't be watched, until it has [begun](Horizon::begun) again.
    pub fn turn_off(&self) {
        self.on.store(false, SeqCst);
        self.polls.lock().clear();
        self.verified.store(0, SeqCst);
        self.left_out.clear();
    }

    /// For the watch: a stream was opened that shows every write later than `position`, and all
    /// that was cached before it was opened has been flushed.
    pub fn begun(&self, position: u64) {
        self.flushes.fetch_add(1, SeqCst);
        let mut polls = self.polls.lock();
        // An earlier position may be of a history that is gone; so may what was polled.
        polls.clear();
        self.position.store(position, SeqCst);
        drop(polls);
        self.on.store(true, SeqCst);
    }

    /// For the watch: every write up to and including `position` has been handed on.
    pub fn advance(&self, position: u64) {
        if position <= self.position() {
            return;
        }
        let mut polls = self.polls.lock();
        self.position.store(position, SeqCst);
        let mut verified = None;
        while let Some(poll) = polls.front().filter(|poll| poll.last_write <= position) {
            verified = Some(poll.sent);
            polls.pop_front();
        }
        drop(polls);
        if let Some(sent) = verified {
            self.verify(sent);
        }
    }

    /// For the watch: a poll that was sent to the primary at `sent` has answered that its last
    /// write has cluster time `last_write`.
    pub fn polled(&self, sent: Moment, last_write: u64) {
        let mut polls = self.polls.lock();
        if last_write <= self.position() {
            drop(polls);
            return self.verify(sent);
        }
        let poll = Poll { sent, last_write };
        // When there are too many, the newest gives way: the oldest will be reached first.
        if polls.len() >= POLLS {
            polls.pop_back();
        }
        polls.push_back(poll);
    }

    /// For the watch: a primary of this election is going to be polled. Whether the last one was of another.
    pub fn enters_term(&self, election: [u8; 12]) -> bool {
        let before = self.election.lock().replace(election);
        before.is_some_and(|before| before != election)
    }

    /// For the watch: an event was handed on.
    pub fn count_event(&self) {
        self.events.fetch_add(1, SeqCst);
    }

    /// For the watch: a stream was opened in place of another.
    pub fn count_reopening(&self) {
        self.reopenings.fetch_add(1, SeqCst);
    }

    fn verify(&self, sent: Moment) {
        self.verified.fetch_max(sent.nanos(), SeqCst);
    }

    /// How long ago everything acknowledged until then was known to be handled.
    fn age(&self, now: Moment) -> Option<Duration> {
        let verified = self.verified.load(SeqCst);
        (verified > 0).then(|| now.since(Moment::at(verified)))
    }
}

/// Polls remembered at most.
const POLLS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_poll_counts_from_when_it_was_sent_and_only_once_the_stream_has_reached_its_answer() {
        let h = Horizon::starting(MAX_LAG);
        h.begun(9);
        let sent = h.clock().now();
        h.polled(sent, 12);
        assert!(!h.fresh(sent), "the stream is at 9");
        h.advance(11);
        assert!(!h.fresh(sent) && h.state() == WatchState::Starting);
        h.advance(12);
        assert!(h.fresh(sent.after(MAX_LAG)));
        assert!(!h.fresh(sent.after(MAX_LAG + ms(1))));
    }

    #[test]
    fn a_stream_that_stalls_goes_stale_although_polls_go_on() {
        let h = Horizon::starting(MAX_LAG);
        h.begun(9);
        let first = h.clock().now();
        h.polled(first, 9);
        for beat in 1..100 {
            h.polled(first.after(ms(200 * beat)), 9 + beat);
        }
        assert!(h.fresh(first.after(ms(1000))) && !h.fresh(first.after(ms(1001))));
        h.advance(11);
        assert!(h.fresh(first.after(ms(1400))) && !h.fresh(first.after(ms(1401))));
        h.advance(9 + 99);
        assert!(
            h.fresh(first.after(ms(200 * 99 + 1000))),
            "the newest poll was kept"
        );
    }

    #[test]
    fn an_idle_deployment_stays_fresh_as_long_as_the_primary_answers() {
        let h = Horizon::starting(MAX_LAG);
        h.begun(9);
        let now = h.clock().now();
        h.polled(now.after(ms(5000)), 9);
        assert!(h.fresh(now.after(ms(5900))) && !h.fresh(now.after(ms(6100))));
        h.polled(now.after(ms(3000)), 8);
        assert!(
            h.fresh(now.after(ms(5900))),
            "an older poll takes nothing away"
        );
    }

    #[test]
    fn polls_of_a_history_that_is_gone_verify_nothing() {
        let h = Horizon::starting(MAX_LAG);
        h.begun(100);
        let now = h.clock().now();
        h.polled(now, 120);
        h.begun(50);
        assert_eq!(h.position(), 50);
        h.advance(130);
        assert!(!h.fresh(now));
        h.polled(now, 130);
        assert!(h.fresh(now));
    }

    #[test]
    fn without_a_watch_nothing_is_fresh_and_nothing_has_passed() {
        let h = Horizon::off();
        assert_eq!(h.state(), WatchState::Off);
        assert!(!h.fresh(h.clock().now()) && !h.passed(0));
        let h = Horizon::starting(MAX_LAG);
        h.begun(9);
        h.polled(h.clock().now(), 9);
        assert!(h.passed(9) && !h.passed(10));
        h.turn_off();
        h.polled(h.clock().now(), 9);
        assert!(!h.passed(9) && !h.fresh(h.clock().now()) && h.lag_ms().is_none());
        assert_eq!(h.state(), WatchState::Off);
        h.begun(9);
        h.polled(h.clock().now(), 9);
        assert_eq!(h.state(), WatchState::Watching);
    }

    #[test]
    fn a_watch_that_slept_is_as_old_as_the_time_says() {
        let h = Horizon::starting(MAX_LAG);
        h.begun(9);
        let asked = h.clock().now();
        h.polled(asked, 9);
        assert_eq!(h.state(), WatchState::Watching);
        h.clock().sleep(ms(1001));
        assert!(!h.fresh(h.clock().now()) && h.state() == WatchState::Blind);
        h.polled(asked, 9);
        assert!(
            !h.fresh(h.clock().now()),
            "the answer came before the sleep"
        );
        h.polled(h.clock().now(), 9);
        assert!(h.fresh(h.clock().now()));
    }

    #[test]
    fn a_primary_of_another_election_begins_a_term() {
        let h = Horizon::starting(MAX_LAG);
        let terms = [[1; 12], [1; 12], [2; 12], [2; 12]].map(|election| h.enters_term(election));
        assert_eq!(terms, [false, false, true, false]);
    }
}
