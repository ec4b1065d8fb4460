//! A client's write while it is the batching stage's to see to, and how its client is told.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::key::Write;
use super::stats::Alone;
use crate::memory::Live;
use crate::pipeline::{
    Callers, Exchanges, Failure, Origin, Principal, Reply, Request, Tried, home,
};
use crate::wire::frame::Frame;
use crate::wire::op_msg::OpMsg;

/// What a client is told of its write.
#[derive(Clone)]
pub(super) enum Told {
    /// The reply, and what became of the command that it answers.
    Answer(Reply, Tried),
    /// There is none.
    Failed(Failure),
    /// Nothing was sent: do it yourself.
    Alone(Alone),
}

/// Where a client, and any retry of its write that comes meanwhile, waits to be told.
#[derive(Default)]
pub(super) struct Ticket {
    told: OnceLock<Told>,
    bell: Notify,
}

impl Ticket {
    /// Tells everybody who waits or will. Only the first word counts.
    pub fn tell(&self, told: Told) {
        if self.told.set(told).is_ok() {
            self.bell.notify_waiters();
        }
    }

    /// Whether somebody was told.
    pub fn is_told(&self) -> bool {
        self.told.get().is_some()
    }

    /// Waits to be told.
    pub async fn told(&self) -> Told {
        loop {
            let mut ring = std::pin::pin!(self.bell.notified());
            ring.as_mut().enable();
            if let Some(told) = self.told.get() {
                return told.clone();
            }
            ring.await;
        }
    }
}

/// A write in a queue or in a batch. Dropped untold, its outcome is unknown.
pub(super) struct Member {
    frame: Frame,
    pub principal: Arc<Principal>,
    pub write: Write,
    pub ticket: Arc<Ticket>,
    pub since: Instant,
    pub listeners: Vec<Exchanges>,
    pub origin: Option<Arc<Origin>>,
    /// Its client, which may go.
    pub callers: Callers,
    /// Its client's thread, and the runtime there.
    pub home: usize,
    pub runtime: Handle,
    _live: Live,
}

impl Member {
    pub fn new(request: &Request, write: Write, ticket: Arc<Ticket>, live: Live) -> Member {
        Member {
            frame: request.frame.clone(),
            principal: Arc::clone(&request.principal),
            write,
            ticket,
            since: Instant::now(),
            listeners: request.listeners.clone(),
            origin: request.origin.clone(),
            callers: request.callers.clone(),
            home: home(),
            runtime: Handle::current(),
            _live: live,
        }
    }

    /// Whether its client may send it again, and it must not be applied twice.
    pub fn needs_number(&self) -> bool {
        self.write.id.is_some() && !self.write.survives_restart
    }

    /// Bytes of its documents.
    pub fn size(&self) -> usize {
        self.write.documents.len()
    }

    /// The client's own request. `None` never happens: it was parsed before.
    pub fn request(&self) -> Option<Request> {
        let msg = OpMsg::parse(&self.frame).ok()?;
        let principal = Arc::clone(&self.principal);
        Some(Request {
            listeners: self.listeners.clone(),
            origin: self.origin.clone(),
            callers: self.callers.clone(),
            ..Request::new(self.frame.clone(), msg, principal)
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let failure = Failure::lost("the batch was given up");
        self.ticket.tell(Told::Failed(failure));
    }
}
