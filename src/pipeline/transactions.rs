//! Fences of open transactions (docs/coherence.md, rule 5): a transaction's writes stay fenced
//! until its commit or abort is answered, or a later transaction of the same session
//! has been accepted by the server. One whose first statement was refused was never open.
//!
//! Invariant: no more than [`MOST`] are told apart. The others share one fence, of everything, that stands until none
//! has been added to it for as long as a transaction can live.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::fences::{Fence, Fences};
use super::request::Request;
use crate::command::{Effect, Footprint};
use crate::memory::{Kind, Live};
use crate::wire::doc;

/// The open transactions that this proxy has seen.
pub(super) struct Transactions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<SessionKey, Vec<Open>>,
    /// In all sessions.
    open: usize,
    /// For those beyond [`MOST`].
    others: Option<Open>,
}

/// Principal, then the session's `id` as sent. Two principals never share a session.
type SessionKey = (u64, Vec<u8>);

struct Open {
    number: i64,
    fence: Fence,
    last_used: Instant,
    _live: Live,
}

impl Transactions {
    pub(super) fn new() -> Transactions {
        Transactions {
            state: Mutex::default(),
        }
    }

    /// A statement is about to be sent: its footprint is fenced until the transaction ends. Whether it is the
    /// transaction's first, as far as is known here.
    pub(super) fn statement(
        &self,
        fences: &Arc<Fences>,
        request: &Request,
        footprint: &Footprint,
    ) -> bool {
        let Some((key, number)) = identify(request) else {
            return false;
        };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let known = state.sessions.get_mut(&key);
        if let Some(open) = known.and_then(|open| open.iter_mut().find(|t| t.number == number)) {
            open.last_used = Instant::now();
            open.fence.widen(footprint);
            return false;
        }
        if state.open >= MOST {
            let others = state
                .others
                .get_or_insert_with(|| Open::new(fences, 0, &Footprint::Everything));
            others.last_used = Instant::now();
            return false;
        }
        state.open += 1;
        let open = Open::new(fences, number, footprint);
        state.sessions.entry(key).or_default().push(open);
        true
    }

    /// The server has accepted something with this session's `txnNumber`: transactions
    /// of the session with a lower number are over.
    pub(super) fn accepted(&self, request: &Request) {
        let Some((key, number)) = identify(request) else {
            return;
        };
        self.end_where(&key, |t| (t.number < number).then_some(Effect::Changed));
    }

    /// Whether a transaction is known here (its statements went through this proxy).
    pub(super) fn knows(&self, request: &Request) -> bool {
        identify(request).is_some_and(|(key, number)| {
            let state = self.state.lock();
            let open = state.sessions.get(&key);
            open.is_some_and(|o| o.iter().any(|t| t.number == number))
        })
    }

    /// Commit or abort was answered: the transaction is over, and this is what it has done.
    pub(super) fn ended(&self, request: &Request, effect: Effect) {
        let Some((key, number)) = identify(request) else {
            return;
        };
        self.end_where(&key, |t| match t.number.cmp(&number) {
            Ordering::Less => Some(Effect::Changed),
            Ordering::Equal => Some(effect),
            Ordering::Greater => None,
        });
    }

    /// This transaction isn't open, whatever becomes of others of its session.
    pub(super) fn is_not_open(&self, request: &Request, effect: Effect) {
        let Some((key, number)) = identify(request) else {
            return;
        };
        self.end_where(&key, |t| (t.number == number).then_some(effect));
    }

    /// Ends the transactions of a session that `over` says what they have done of.
    fn end_where(&self, key: &SessionKey, over: impl Fn(&Open) -> Option<Effect>) {
        let mut state = self.state.lock();
        let Some(open) = state.sessions.get_mut(key) else {
            return;
        };
        let ended = end(open, over);
        if open.is_empty() {
            state.sessions.remove(key);
        }
        state.open -= ended;
    }

    /// Transactions that were left alone for longer than the quarantine are over: the
    /// server has ended them by its own `transactionLifetimeLimitSeconds`.
    pub(super) fn sweep(&self, now: Instant, quarantine: Duration) {
        let over = |t: &Open| (t.last_used + quarantine <= now).then_some(Effect::Changed);
        let mut state = self.state.lock();
        let mut ended = 0;
        state.sessions.retain(|_, open| {
            ended += end(open, over);
            !open.is_empty()
        });
        state.open -= ended;
        if state.others.as_ref().is_some_and(|t| over(t).is_some())
            && let Some(others) = state.others.take()
        {
            others.fence.settle(Effect::Changed);
        }
    }

    pub(super) fn open(&self) -> usize {
        let state = self.state.lock();
        state.open + usize::from(state.others.is_some())
    }
}

impl Open {
    fn new(fences: &Arc<Fences>, number: i64, footprint: &Footprint) -> Open {
        Open {
            number,
            fence: fences.hold(footprint),
            last_used: Instant::now(),
            _live: fences.memory().live(Kind::Transactions),
        }
    }
}

/// Settles those of a session's transactions that are over; how many were.
fn end(open: &mut Vec<Open>, over: impl Fn(&Open) -> Option<Effect>) -> usize {
    let before = open.len();
    let mut i = 0;
    while i < open.len() {
        match open.get(i).and_then(&over) {
            Some(effect) => open.swap_remove(i).fence.settle(effect),
            None => i += 1,
        }
    }
    before - open.len()
}

fn identify(request: &Request) -> Option<(SessionKey, i64)> {
    let number = request.command.txn_number?;
    let lsid = request.command.lsid()?;
    let id = doc::find(lsid, "id").map_or(lsid, |id| id.raw);
    Some(((request.principal.id, id.to_vec()), number))
}

/// Open transactions that are told apart: far more than a server keeps open.
const MOST: usize = 10_000;
