//! Sessions of the proxy's own, under which batches are retryable writes.
//!
//! A session carries one batch at a time, each with the next `txnNumber`. A session whose last
//! batch has an unknown outcome isn't used again: its number must stay the newest one, so that the
//! statements of that batch can be asked for again. The server forgets unused sessions by itself.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::wire::build::DocBuf;

/// A session and the number of the write at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    id: [u8; 16],
    number: i64,
}

impl Session {
    /// `lsid` and `txnNumber`.
    pub fn append(&self, body: &mut DocBuf) {
        self.append_id(body);
        body.append_i64("txnNumber", self.number);
    }

    /// `lsid` only.
    pub fn append_id(&self, body: &mut DocBuf) {
        body.append_doc_with("lsid", |lsid| {
            lsid.append_binary("id", 4, &self.id);
        });
    }
}

/// Sessions that are free, by principal: a server keeps those of two users apart.
#[derive(Default)]
pub(super) struct Sessions {
    free: Mutex<HashMap<u64, Vec<Session>>>,
}

impl Sessions {
    /// A session with a number that it never had.
    pub fn lease(&self, principal: u64) -> Session {
        let free = self.free.lock().get_mut(&principal).and_then(Vec::pop);
        free.unwrap_or_else(|| Session {
            id: bson::Uuid::new().bytes(),
            number: 1,
        })
    }

    /// The session's batch has been answered.
    pub fn give_back(&self, principal: u64, mut session: Session) {
        session.number += 1;
        let mut free = self.free.lock();
        if free.len() >= MOST_PRINCIPALS && !free.contains_key(&principal) {
            free.clear();
        }
        free.entry(principal).or_default().push(session);
    }
}

/// Whoever comes after that many makes the others begin new sessions.
const MOST_PRINCIPALS: usize = 10_000;
