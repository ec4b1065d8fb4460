//! Sessions of the proxy's own, under which writes and batches of writes are retryable.
//!
//! A session carries one write at a time, each with the next `txnNumber`. A session whose last
//! write has an unknown outcome isn't used again: its number must stay the newest one, so that the
//! write can be asked for again. The server forgets unused sessions by itself.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::wire::build::DocBuf;

/// A session and the number of the write at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSession {
    /// `lsid.id`.
    pub id: [u8; 16],
    /// `txnNumber`.
    pub number: i64,
}

impl OwnSession {
    /// Appends `lsid` and `txnNumber`.
    pub fn append(&self, body: &mut DocBuf) {
        self.append_id(body);
        body.append_i64("txnNumber", self.number);
    }

    /// Appends `lsid` only.
    pub fn append_id(&self, body: &mut DocBuf) {
        body.append_doc_with("lsid", |lsid| {
            lsid.append_binary("id", 4, &self.id);
        });
    }
}

/// Sessions that are free, by principal: a server keeps those of two users apart.
#[derive(Default)]
pub struct OwnSessions {
    free: Mutex<HashMap<u64, Vec<OwnSession>>>,
}

impl OwnSessions {
    /// A session with a number that it never had.
    pub fn lease(&self, principal: u64) -> OwnSession {
        let free = self.free.lock().get_mut(&principal).and_then(Vec::pop);
        free.unwrap_or_else(|| OwnSession {
            id: bson::Uuid::new().bytes(),
            number: 1,
        })
    }

    /// The session's write has been answered.
    pub fn give_back(&self, principal: u64, mut session: OwnSession) {
        session.number += 1;
        let mut free = self.free.lock();
        if free.len() >= MOST_PRINCIPALS && !free.contains_key(&principal) {
            free.clear();
        }
        let own = free.entry(principal).or_default();
        if own.len() < MOST_OF_ONE {
            own.push(session);
        }
    }
}

/// Whoever comes after that many makes the others begin new sessions.
const MOST_PRINCIPALS: usize = 10_000;
/// More than that are rarely under way at once, and then some are made anew.
const MOST_OF_ONE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_back_with_its_next_number_to_the_same_principal_only() {
        let sessions = OwnSessions::default();
        let first = sessions.lease(1);
        assert_ne!(
            sessions.lease(1).id,
            first.id,
            "it carries one write at a time"
        );
        sessions.give_back(1, first);
        assert_ne!(sessions.lease(2).id, first.id);
        let again = sessions.lease(1);
        assert_eq!((again.id, again.number), (first.id, first.number + 1));
    }

    #[test]
    fn the_sessions_kept_are_bounded() {
        let sessions = OwnSessions::default();
        for principal in 0..MOST_PRINCIPALS as u64 + 10 {
            let session = sessions.lease(principal);
            sessions.give_back(principal, session);
        }
        assert!(sessions.free.lock().len() <= MOST_PRINCIPALS);
        for _ in 0..MOST_OF_ONE + 10 {
            let session = OwnSession {
                id: [0; 16],
                number: 1,
            };
            sessions.give_back(1, session);
        }
        assert!(sessions.free.lock()[&1].len() <= MOST_OF_ONE);
    }
}
