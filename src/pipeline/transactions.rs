//! Fences of open transactions (DESIGN §4 rule 5): a transaction's writes stay fenced
//! until its commit or abort is answered, or a later transaction of the same session
//! has been accepted by the server.

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
    sessions: Mutex<HashMap<SessionKey, Vec<Open>>>,
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
            sessions: Mutex::new(HashMap::new()),
        }
    }

    /// A statement is about to be sent: its footprint is fenced until the transaction ends.
    pub(super) fn statement(&self, fences: &Arc<Fences>, request: &Request, footprint: &Footprint) {
        let Some((key, number)) = identify(request) else {
            return;
        };
        let mut sessions = self.sessions.lock();
        let open = sessions.entry(key).or_default();
        match open.iter_mut().find(|t| t.number == number) {
            Some(transaction) => {
                transaction.last_used = Instant::now();
                transaction.fence.widen(footprint);
            }
            None => {
                let fence = fences.hold(footprint);
                open.push(Open {
                    number,
                    fence,
                    last_used: Instant::now(),
                    _live: fences.memory().live(Kind::Transactions),
                });
            }
        }
    }

    /// The server has accepted something with this session's `txnNumber`: transactions
    /// of the session with a lower number are over.
    pub(super) fn accepted(&self, request: &Request) {
        let Some((key, number)) = identify(request) else {
            return;
        };
        self.end_where(&key, |t| t.number < number);
    }

    /// Whether a transaction is known here (its statements went through this proxy).
    pub(super) fn knows(&self, request: &Request) -> bool {
        identify(request).is_some_and(|(key, number)| {
            self.sessions
                .lock()
                .get(&key)
                .is_some_and(|o| o.iter().any(|t| t.number == number))
        })
    }

    /// Commit or abort was answered: the transaction is over.
    pub(super) fn ended(&self, request: &Request) {
        let Some((key, number)) = identify(request) else {
            return;
        };
        self.end_where(&key, |t| t.number <= number);
    }

    fn end_where(&self, key: &SessionKey, over: impl Fn(&Open) -> bool) {
        let mut sessions = self.sessions.lock();
        let Some(open) = sessions.get_mut(key) else {
            return;
        };
        let mut i = 0;
        while i < open.len() {
            if open.get(i).is_some_and(&over) {
                open.swap_remove(i).fence.settle(Effect::Changed);
            } else {
                i += 1;
            }
        }
        if open.is_empty() {
            sessions.remove(key);
        }
    }

    /// Transactions that were left alone for longer than the quarantine are over: the
    /// server has ended them by its own `transactionLifetimeLimitSeconds`.
    pub(super) fn sweep(&self, now: Instant, quarantine: Duration) {
        self.sessions.lock().retain(|_, open| {
            let mut i = 0;
            while i < open.len() {
                if open.get(i).is_some_and(|t| t.last_used + quarantine <= now) {
                    open.swap_remove(i).fence.settle(Effect::Changed);
                } else {
                    i += 1;
                }
            }
            !open.is_empty()
        });
    }

    pub(super) fn open(&self) -> usize {
        self.sessions.lock().values().map(Vec::len).sum()
    }
}

fn identify(request: &Request) -> Option<(SessionKey, i64)> {
    let number = request.command.txn_number?;
    let lsid = request.command.lsid()?;
    let id = doc::find(lsid, "id").map_or(lsid, |id| id.raw);
    Some(((request.principal.id, id.to_vec()), number))
}
