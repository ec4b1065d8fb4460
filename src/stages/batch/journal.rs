//! What became of clients' retryable writes.
//!
//! A client's retry carries the `lsid` and `txnNumber` of its first try. The server knows them
//! only if the write went alone; a batch runs under numbers of the proxy's own. So each write that
//! might have been batched is noted here *before* it is sent: a retry is then answered from here,
//! joins the first try, is asked of the server under the batch's numbers, or goes alone as the
//! first try did.
//!
//! A session's writes land in the session's order, whoever gave up on one of them. Directly the server sees to that: it runs
//! one number of a session at a time, and refuses it once it knows a higher one. A batch has a number of the proxy's own, so:
//! - A number that went by itself and was given up or lost may still land. Tries of every kind, and transactions, are
//!   counted until they are over, and what comes behind one that isn't goes by itself: then the server knows.
//! - Whatever comes behind a number that is in a batch waits until that is over ([`Ahead::InBatch`]). Behind one whose batch got no
//!   answer the batch's own number is ended at the server first ([`Ahead::MayLand`]).
//! - What comes behind a later number that went in a batch is refused, as the server would.
//!
//! A session's writes come one after the other, so its newest one is enough. Bounded: two
//! generations, and when the young one is full the old one is dropped; an entry outlives at least
//! `capacity` writes of other sessions. What is dropped, or lost with the process, can't be
//! answered: the retry runs as a new write, and by its `_id` fails as a duplicate if the first try
//! had landed.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::key::WriteId;
use super::member::Ticket;
use crate::pipeline::{OwnSession, Reply};

/// The newest write of each session.
pub(super) struct Journal {
    generations: Mutex<Generations>,
    capacity: usize,
}

#[derive(Default)]
struct Generations {
    young: Entries,
    old: Entries,
}

type Entries = HashMap<(u64, [u8; 16]), Entry, RandomState>;

struct Entry {
    number: i64,
    state: State,
    stray: Option<Stray>,
}

/// Tries of a session's write, sent by itself, of which it isn't known that they are over: they may land later.
#[derive(Clone, Copy)]
struct Stray {
    /// The newest such write.
    number: i64,
    tries: u32,
}

/// What is known of a write.
#[derive(Clone)]
pub(super) enum State {
    /// It was sent by itself, under its own numbers: the server knows.
    Alone,
    /// It waits for a batch, or is in one, or that isn't decided yet.
    Queued(Arc<Ticket>),
    /// It was answered.
    Done(Reply),
    /// It was sent in a batch that got no answer.
    Doubt(Doubt),
}

/// Where a write of unknown outcome was.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    /// The key of its group, which names the collection.
    pub group: Arc<[u8]>,
    /// The batch.
    pub session: OwnSession,
    /// Its first statement there.
    pub first: usize,
    /// How many statements.
    pub count: usize,
    /// The proxy has already sent it again.
    pub retried: bool,
    /// The server may carry it out later: a try got no answer, and nothing has ended the batch's number since.
    pub may_land: bool,
}

/// An earlier write of a session, which must not land after the one at hand.
pub(super) enum Ahead {
    /// It waits for a batch, or is in one: its ticket is told when that is over.
    InBatch(Arc<Ticket>),
    /// It was in a batch that got no answer.
    MayLand(WriteId, Doubt),
}

/// What the journal says of a write that has just come.
pub(super) enum Found {
    /// Not seen before. Retries that come from now on wait for its ticket.
    New,
    /// The same, but an earlier write of its session, sent by itself, may still land. Only a later number of the session's
    /// own makes the server refuse that one, so this write must go by itself too.
    BehindStray,
    /// Seen before.
    Known(State),
    /// A later write of its session was seen.
    Outdated(i64),
    /// Nothing was noted: an earlier write of its session must be over first.
    Behind(Ahead),
}

/// What the journal says of a write that is about to be sent by itself.
pub(super) enum Begun {
    /// It is noted as under way.
    Noted,
    /// A later write of its session went in a batch, so that the server doesn't know of it.
    Outdated(i64),
    /// Nothing was noted: an earlier write of its session must be over first.
    Behind(Ahead),
}

impl Journal {
    /// Remembers the newest writes of at least `capacity` sessions.
    pub fn new(capacity: usize) -> Journal {
        Journal {
            generations: Mutex::default(),
            capacity: capacity.max(1),
        }
    }

    /// Looks a write up. A new one is noted in the same step, or two tries that come at once would
    /// go different ways.
    pub fn open(&self, write: &WriteId, ticket: &Arc<Ticket>) -> Found {
        let mut generations = self.generations.lock();
        match generations.get(write) {
            Some(entry) if entry.number == write.number => {
                let state = entry.state.clone();
                if let State::Doubt(_) = state {
                    // The caller asks, and whoever comes meanwhile waits for that.
                    let asking = State::Queued(Arc::clone(ticket));
                    generations.put(write, asking, self.capacity);
                }
                Found::Known(state)
            }
            Some(entry) if entry.number > write.number => Found::Outdated(entry.number),
            Some(entry) if let Some(ahead) = entry.ahead(write) => Found::Behind(ahead),
            _ => {
                let queued = State::Queued(Arc::clone(ticket));
                generations.put(write, queued, self.capacity);
                let is_new = |entry: &Entry| entry.stray.is_none();
                match generations.get(write).is_none_or(is_new) {
                    true => Found::New,
                    false => Found::BehindStray,
                }
            }
        }
    }

    /// Notes what became of a write, unless a later one of its session has come.
    pub fn set(&self, write: Option<&WriteId>, state: State) {
        let Some(write) = write else { return };
        let mut generations = self.generations.lock();
        if generations
            .get(write)
            .is_none_or(|entry| entry.number <= write.number)
        {
            generations.put(write, state, self.capacity);
        }
    }

    /// A try of a write is about to be sent by itself. `in_transaction`: a statement of a transaction, which is one try until
    /// it is over.
    pub fn begin_try(&self, write: &WriteId, in_transaction: bool) -> Begun {
        let mut generations = self.generations.lock();
        match generations.get(write) {
            Some(entry) if entry.number > write.number => {
                // (Of what went by itself the server knows.)
                if !matches!(entry.state, State::Alone) {
                    return Begun::Outdated(entry.number);
                }
            }
            Some(entry) if entry.number == write.number => {}
            Some(entry) if let Some(ahead) = entry.ahead(write) => return Begun::Behind(ahead),
            _ => generations.put(write, State::Alone, self.capacity),
        }
        generations.with_stray(write, |stray| match stray {
            Some(of) if of.number > write.number => {}
            Some(of) if of.number == write.number && in_transaction => {}
            Some(of) if of.number == write.number => of.tries += 1,
            _ => {
                *stray = Some(Stray {
                    number: write.number,
                    tries: 1,
                });
            }
        });
        Begun::Noted
    }

    /// The number of a write's batch was ended at the server.
    pub fn note_ended(&self, write: &WriteId) {
        if let Some(entry) = self.generations.lock().get_mut(write)
            && entry.number == write.number
            && let State::Doubt(doubt) = &mut entry.state
        {
            doubt.may_land = false;
        }
    }

    /// It was carried out, and can't land later. (Nor can earlier writes: the server has heard of this one's number.)
    pub fn end_try(&self, write: &WriteId) {
        self.generations.lock().with_stray(write, |stray| {
            if let Some(of) = stray
                && of.number == write.number
            {
                of.tries = of.tries.saturating_sub(1);
                if of.tries == 0 {
                    *stray = None;
                }
            }
        });
    }

    /// The write was never sent: a retry is a first try.
    pub fn forget(&self, write: Option<&WriteId>) {
        let Some(write) = write else { return };
        let mut generations = self.generations.lock();
        if generations
            .get(write)
            .is_some_and(|entry| entry.number == write.number)
        {
            if generations.get(write).is_some_and(|e| e.stray.is_some()) {
                // What may still land isn't forgotten with it.
                generations.put(write, State::Alone, self.capacity);
                return;
            }
            generations.young.remove(&write.place());
            generations.old.remove(&write.place());
        }
    }

    /// Entries held now.
    pub fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.young.len() + generations.old.len()
    }
}

impl Generations {
    fn with_stray(&mut self, write: &WriteId, change: impl FnOnce(&mut Option<Stray>)) {
        if let Some(entry) = self.get_mut(write) {
            change(&mut entry.stray);
        }
    }

    fn get_mut(&mut self, write: &WriteId) -> Option<&mut Entry> {
        let place = write.place();
        match self.young.get_mut(&place) {
            Some(entry) => Some(entry),
            None => self.old.get_mut(&place),
        }
    }

    fn get(&self, write: &WriteId) -> Option<&Entry> {
        let place = write.place();
        self.young.get(&place).or_else(|| self.old.get(&place))
    }

    fn put(&mut self, write: &WriteId, state: State, capacity: usize) {
        let stray = self.get(write).and_then(|entry| entry.stray);
        let entry = Entry {
            number: write.number,
            state,
            stray,
        };
        self.young.insert(write.place(), entry);
        if self.young.len() > capacity {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

impl Entry {
    /// What must be over before a later write of the session goes on.
    fn ahead(&self, later: &WriteId) -> Option<Ahead> {
        match &self.state {
            State::Queued(ticket) if !ticket.is_told() => Some(Ahead::InBatch(Arc::clone(ticket))),
            State::Doubt(doubt) if doubt.may_land => {
                let number = self.number;
                Some(Ahead::MayLand(WriteId { number, ..*later }, doubt.clone()))
            }
            _ => None,
        }
    }
}

impl WriteId {
    fn place(&self) -> (u64, [u8; 16]) {
        (self.principal, self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(session: u8, number: i64) -> WriteId {
        WriteId {
            principal: 0,
            session: [session; 16],
            number,
        }
    }

    fn open(journal: &Journal, write: &WriteId) -> Found {
        journal.open(write, &Arc::default())
    }

    fn done(journal: &Journal, write: &WriteId) -> bool {
        matches!(open(journal, write), Found::Known(State::Done(_)))
    }

    #[test]
    fn a_retry_finds_what_became_of_the_first_try() {
        let journal = Journal::new(10);
        let first = write(1, 5);
        assert!(matches!(open(&journal, &first), Found::New));
        assert!(matches!(
            open(&journal, &first),
            Found::Known(State::Queued(_))
        ));
        journal.set(Some(&first), State::Done(Reply::for_several(&[])));
        assert!(done(&journal, &first));
        let other_user = WriteId {
            principal: 7,
            ..first
        };
        assert!(matches!(open(&journal, &other_user), Found::New));
    }

    #[test]
    fn a_later_write_of_the_session_outdates_the_earlier() {
        let journal = Journal::new(10);
        open(&journal, &write(1, 6));
        assert!(matches!(open(&journal, &write(1, 5)), Found::Outdated(6)));
        journal.set(Some(&write(1, 5)), State::Done(Reply::for_several(&[])));
        assert!(matches!(
            open(&journal, &write(1, 6)),
            Found::Known(State::Queued(_))
        ));
    }

    #[test]
    fn what_was_never_sent_is_forgotten() {
        let journal = Journal::new(10);
        open(&journal, &write(1, 5));
        journal.forget(Some(&write(1, 4)));
        assert!(matches!(
            open(&journal, &write(1, 5)),
            Found::Known(State::Queued(_))
        ));
        journal.forget(Some(&write(1, 5)));
        assert!(matches!(open(&journal, &write(1, 5)), Found::New));
    }

    #[test]
    fn the_newest_writes_are_kept_and_their_number_is_bounded() {
        let journal = Journal::new(10);
        for session in 0..200 {
            open(&journal, &write(session, 1));
            journal.set(
                Some(&write(session, 1)),
                State::Done(Reply::for_several(&[])),
            );
            for recent in session.saturating_sub(9)..=session {
                let found = journal.generations.lock().get(&write(recent, 1)).is_some();
                assert!(found, "{recent} at {session}");
            }
            assert!(journal.len() <= 21);
        }
    }
}
