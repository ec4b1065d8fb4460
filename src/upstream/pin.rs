//! Cursors and transactions stay with their server (never with a link).

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::server::Server;
use crate::command::Command;
use crate::memory::Live;
use crate::wire::doc;

/// What is pinned where.
#[derive(Debug, Default)]
pub(super) struct Pins {
    cursors: DashMap<i64, (Arc<Server>, Instant, Live)>,
    transactions: DashMap<Vec<u8>, (i64, Arc<Server>, Instant)>,
}

impl Pins {
    pub fn cursor(&self, id: i64) -> Option<Arc<Server>> {
        let mut pin = self.cursors.get_mut(&id)?;
        pin.1 = Instant::now();
        Some(Arc::clone(&pin.0))
    }

    pub fn pin_cursor(&self, id: i64, server: &Arc<Server>, live: Live) {
        self.cursors
            .insert(id, (Arc::clone(server), Instant::now(), live));
    }

    pub fn unpin_cursor(&self, id: i64) {
        self.cursors.remove(&id);
    }

    /// The server of the transaction that this command belongs to.
    pub fn transaction(&self, command: &Command) -> Option<Arc<Server>> {
        let mut pin = self.transactions.get_mut(session(command)?)?;
        pin.2 = Instant::now();
        (Some(pin.0) == command.txn_number).then(|| Arc::clone(&pin.1))
    }

    pub fn pin_transaction(&self, command: &Command, server: &Arc<Server>) {
        if let (Some(session), Some(number)) = (session(command), command.txn_number) {
            self.transactions.insert(
                session.to_vec(),
                (number, Arc::clone(server), Instant::now()),
            );
        }
    }

    pub fn cursors(&self) -> usize {
        self.cursors.len()
    }

    /// Forgets what hasn't been used for longer than the server itself keeps it.
    pub fn sweep(&self, now: Instant) {
        self.cursors.retain(|_, pin| pin.1 + CURSOR_LIFETIME > now);
        self.transactions
            .retain(|_, pin| pin.2 + TRANSACTION_LIFETIME > now);
    }
}

fn session(command: &Command) -> Option<&[u8]> {
    let lsid = command.lsid()?;
    Some(doc::find(lsid, "id").map_or(lsid, |id| id.raw))
}

/// mongod ends idle sessions, and with them their cursors, after 30 minutes.
const CURSOR_LIFETIME: Duration = Duration::from_secs(35 * 60);
const TRANSACTION_LIFETIME: Duration = Duration::from_secs(10 * 60);
