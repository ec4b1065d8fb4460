//! Group commit: what is under way in each group, and who waits for it.
//!
//! A group is what may share a batch (see [`super::key`]). While `batch.at_once` commands of it are
//! under way (at a distance more, see [`super::at_once`]), others queue in order of arrival; when one returns they leave together. A group that has
//! neither is gone, or rests if it had a crowd.
//!
//! So few clients wait for nobody: each would wait for another's write, then for its own, and twice the
//! time buys a batch of two or three.
//!
//! Many clients that write one document after the other come back together, a moment after they were
//! answered: a crowd. The first of them leave with whoever has come already. If each of the next left by itself, they would
//! be no crowd any more; if they waited for the first's return, a round would take two commands' time, and
//! where a command is slow rather than costly (a majority, a journal) that is slower than no batching.
//! So they wait until as many are there as left together the last time: these are the whole crowd,
//! and leave beside the first. When all of it is answered at once, nothing is under way for a moment: the group
//! rests, and is still a crowd if they come back soon.
//!
//! Fair by order of arrival: a client has one write in the queue at a time, and one that is a batch
//! in itself never comes here (`key`). Two operations on one document don't leave together: the
//! later one, and what comes after it for that document, stays for the next batch.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::at_once::{self, AtOnce};
use super::key::Write;
use super::member::{Member, Ticket};
use crate::command::ValueKey;

/// The groups that have something under way, and some that had a crowd.
#[derive(Default)]
pub(super) struct Groups {
    groups: DashMap<Arc<[u8]>, Group, RandomState>,
    at_once: AtOnce,
    /// What commands of any group took, on average, microseconds; for a group of which nothing is known yet.
    took_us: AtomicU64,
    /// Bytes of documents that wait in all of them.
    bytes: AtomicUsize,
    /// Groups of which nothing is under way, and a crowd is remembered.
    resting: AtomicUsize,
    /// Somebody sees to it that nobody waits for too long ([`super::late`]).
    is_watched: AtomicBool,
}

struct Group {
    queue: VecDeque<Member>,
    bytes: usize,
    /// Turns that somebody has (`commit`). None: it rests, and nobody waits.
    turns: usize,
    /// How many left together when many did, and one less for each time since that few did; 0 at first.
    crowd: usize,
    /// What its commands took, on average, microseconds; 0 = not known.
    took_us: u64,
    /// A crowd has left since the group rested.
    had_crowd: bool,
    /// When it last began to rest after a crowd.
    rests_since: Instant,
}

/// What becomes of a write that comes.
pub(super) enum Entered {
    /// It waits for nobody: little of its group is under way, now this too.
    First,
    /// It waits. `starts`: the caller has a turn to see to the queue.
    Queued { starts: bool },
    /// Too many wait already.
    Full,
}

impl Groups {
    /// None. `at_once`: so many commands of a group may be under way side by side.
    pub fn new(at_once: AtOnce) -> Groups {
        Groups {
            at_once,
            ..Groups::default()
        }
    }

    /// A write comes; `member` makes its place in the queue. `queue_first`: the first one waits too. `distance_us`: how far
    /// away the server is.
    pub fn enter(
        &self,
        write: Write,
        queue_first: bool,
        distance_us: u64,
        member: impl FnOnce(Write) -> Member,
    ) -> Entered {
        let mut entry = match self.groups.entry(Arc::clone(&write.key)) {
            Entry::Vacant(vacant) if queue_first => {
                let mut group = vacant.insert(self.with_a_turn());
                self.push(&mut group, member(write));
                return Entered::Queued { starts: true };
            }
            Entry::Vacant(vacant) => {
                vacant.insert(self.with_a_turn());
                return Entered::First;
            }
            Entry::Occupied(entry) => entry,
        };
        let group = entry.get_mut();
        if group.has_rested_for_long() {
            group.crowd = 0;
        }
        let allowed = self.at_once.allowed(distance_us, group.took_us);
        let is_far = self.at_once.is_far(allowed);
        if !queue_first && group.may_leave_by_itself(allowed, is_far) {
            self.begin_turn(group);
            return Entered::First;
        }
        let more = write.documents.len();
        if group.bytes + more > MOST_BYTES || self.bytes.load(Relaxed) + more > MOST_BYTES_IN_ALL {
            return Entered::Full;
        }
        self.push(group, member(write));
        let starts = group.turns == 0 || !queue_first && group.is_crowd_there(allowed);
        if starts {
            self.begin_turn(group);
        }
        Entered::Queued { starts }
    }

    fn with_a_turn(&self) -> Group {
        Group::with_a_turn(self.took_us.load(Relaxed))
    }

    fn begin_turn(&self, group: &mut Group) {
        if group.turns == 0 {
            self.resting.fetch_sub(1, Relaxed);
        }
        group.turns += 1;
    }

    fn push(&self, group: &mut Group, member: Member) {
        self.bytes.fetch_add(member.size(), Relaxed);
        group.bytes += member.size();
        group.queue.push_back(member);
    }

    /// Somebody's turn: those who leave now. Empty: nobody waits, and the turn is over, with the group
    /// if it was the last. `took`: how long the command was under way that this turn was for, where that was measured.
    pub fn next(
        &self,
        key: &[u8],
        mut took: Option<Duration>,
        max_documents: usize,
        max_size: usize,
    ) -> Vec<Member> {
        loop {
            let Some(mut group) = self.groups.get_mut(key) else {
                return Vec::new();
            };
            if let Some(took) = took.take() {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / 8);
                group.took_us = at_once::average(group.took_us, us);
                self.took_us.store(group.took_us, Relaxed);
            }
            let leaving = group.take(max_documents, max_size);
            if !leaving.is_empty() {
                let size: usize = leaving.iter().map(Member::size).sum();
                group.bytes -= size;
                self.bytes.fetch_sub(size, Relaxed);
                return leaving;
            }
            if group.turns > 1 {
                group.turns -= 1;
                return leaving;
            }
            if group.has_crowd() {
                group.rest();
                let resting = self.resting.fetch_add(1, Relaxed);
                drop(group);
                if resting >= MOST_RESTING {
                    self.forget_resting();
                }
                return leaving;
            }
            drop(group);
            // Somebody may have come since.
            let over = self
                .groups
                .remove_if(key, |_, g| g.queue.is_empty() && g.turns == 1);
            if over.is_some() {
                return leaving;
            }
        }
    }

    fn forget_resting(&self) {
        self.groups.retain(|_, group| {
            let rests = group.turns == 0;
            self.resting.fetch_sub(usize::from(rests), Relaxed);
            !rests
        });
    }

    /// A write doesn't want to wait any longer. `None`: it is under way.
    pub fn leave(&self, key: &[u8], ticket: &Arc<Ticket>) -> Option<Member> {
        let mut group = self.groups.get_mut(key)?;
        let at = group
            .queue
            .iter()
            .position(|m| Arc::ptr_eq(&m.ticket, ticket))?;
        let member = group.queue.remove(at)?;
        group.bytes -= member.size();
        self.bytes.fetch_sub(member.size(), Relaxed);
        Some(member)
    }

    /// Since when the first of all who wait has waited.
    pub fn oldest(&self) -> Option<Instant> {
        let firsts = self.groups.iter();
        firsts
            .filter_map(|group| group.queue.front().map(|m| m.since))
            .min()
    }

    /// Takes those who have waited since then, or for longer, out of their queues.
    pub fn take_late(&self, since: Instant) -> Vec<Member> {
        let mut late = Vec::new();
        for mut group in self.groups.iter_mut() {
            while group.queue.front().is_some_and(|m| m.since <= since) {
                let Some(member) = group.queue.pop_front() else {
                    break;
                };
                group.bytes -= member.size();
                self.bytes.fetch_sub(member.size(), Relaxed);
                late.push(member);
            }
        }
        late
    }

    /// For who has just queued: whether nobody sees to the queues, and now the caller does.
    //
    // (The locks of the queues order this: who ends a watch looks at them once more after `unwatch`.)
    pub fn wants_watch(&self) -> bool {
        !self.is_watched.load(Relaxed) && !self.is_watched.swap(true, Relaxed)
    }

    /// The caller doesn't any more.
    pub fn unwatch(&self) {
        self.is_watched.store(false, Relaxed);
    }

    /// Writes that wait in one group.
    pub fn waiting(&self, key: &[u8]) -> usize {
        self.groups.get(key).map_or(0, |group| group.queue.len())
    }

    /// Writes that wait.
    pub fn queued(&self) -> usize {
        self.groups.iter().map(|group| group.queue.len()).sum()
    }

    /// Groups with something under way.
    pub fn len(&self) -> usize {
        self.groups.iter().filter(|group| group.turns > 0).count()
    }
}

impl Group {
    fn with_a_turn(took_us: u64) -> Group {
        Group {
            took_us,
            queue: VecDeque::new(),
            bytes: 0,
            turns: 1,
            crowd: 0,
            had_crowd: false,
            rests_since: Instant::now(),
        }
    }

    /// The last turn is over, and nobody waits.
    fn rest(&mut self) {
        self.turns = 0;
        self.queue = VecDeque::new();
        if std::mem::take(&mut self.had_crowd) {
            self.rests_since = Instant::now();
        }
    }

    fn has_rested_for_long(&self) -> bool {
        self.turns == 0 && self.rests_since.elapsed() > REMEMBERED
    }

    /// Whether those who wait are all who may be expected.
    fn is_crowd_there(&self, at_once: usize) -> bool {
        self.turns < at_once && self.has_crowd() && self.queue.len() >= self.crowd
    }

    /// Whether a write that comes now needn't wait for those under way. (Far from the server a crowd that waits to be complete
    /// loses more than it gains.)
    fn may_leave_by_itself(&self, at_once: usize, is_far: bool) -> bool {
        self.turns < at_once && self.queue.is_empty() && (is_far || !self.has_crowd())
    }

    fn has_crowd(&self) -> bool {
        self.crowd >= LEAST_CROWD
    }

    /// The first in the queue, and all behind it that fit into a batch with it.
    fn take(&mut self, max_documents: usize, max_size: usize) -> Vec<Member> {
        let (mut documents, mut size) = (0, 0);
        let mut leaving = Vec::with_capacity(self.queue.len().min(max_documents));
        let mut stay: VecDeque<Member> = VecDeque::new();
        let mut selected: HashSet<ValueKey, RandomState> = HashSet::default();
        while let Some(member) = self.queue.front() {
            documents += member.write.count;
            size += member.size();
            let is_full = documents > max_documents || size > max_size;
            if is_full && !leaving.is_empty() {
                break;
            }
            let selects = member.write.selects.clone();
            let is_alone_there = selects.is_none_or(|document| selected.insert(document));
            if is_alone_there {
                leaving.extend(self.queue.pop_front());
            } else {
                documents -= member.write.count;
                size -= member.size();
                stay.extend(self.queue.pop_front());
            }
        }
        if !stay.is_empty() {
            stay.append(&mut self.queue);
            self.queue = stay;
        }
        match leaving.len() {
            0 => {}
            1..LEAST_CROWD => self.crowd = self.crowd.saturating_sub(1),
            many => {
                self.crowd = many;
                self.had_crowd = true;
            }
        }
        leaving
    }
}

/// Fewer aren't a crowd: they would leave in ever smaller batches.
const LEAST_CROWD: usize = 8;
/// A crowd that doesn't come back within this time has gone.
pub(super) const REMEMBERED: Duration = Duration::from_millis(100);
/// Crowds that rest: beyond that, all of them are forgotten.
const MOST_RESTING: usize = 256;
/// Bytes of documents that may wait in one group.
const MOST_BYTES: usize = 64 << 20;
/// Bytes of documents that may wait at all.
const MOST_BYTES_IN_ALL: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowds_that_never_come_back_are_forgotten() {
        let groups = Groups::new(AtOnce { near: 3, most: 3 });
        let rests = |n: usize| {
            let key: Arc<[u8]> = n.to_string().into_bytes().into();
            let mut group = Group::with_a_turn(0);
            group.crowd = LEAST_CROWD;
            groups.groups.insert(Arc::clone(&key), group);
            assert!(groups.next(&key, None, 1, 1).is_empty());
        };
        (0..MOST_RESTING).for_each(rests);
        assert_eq!(groups.groups.len(), MOST_RESTING);
        assert_eq!(groups.len(), 0);
        rests(MOST_RESTING);
        assert_eq!(groups.groups.len(), 0);
        rests(0);
        assert_eq!(groups.groups.len(), 1);
    }
}
