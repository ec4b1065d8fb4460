//! Group commit: what is under way in each group, and who waits for it.
//!
//! A group is what may share a batch (see [`super::key`]). While one command of it is under way,
//! others queue in order of arrival; when it returns they leave together. A group that has neither
//! is gone.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::key::Insert;
use crate::pipeline::{Failure, Principal, Request};
use crate::wire::frame::Frame;
use crate::wire::op_msg::OpMsg;

/// What a client is told of its write.
#[derive(Clone)]
pub(super) enum Told {
    /// The reply document.
    Answer(Bytes),
    /// There is none.
    Failed(Failure),
    /// Nothing was sent: do it yourself.
    Alone,
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
    pub insert: Insert,
    pub ticket: Arc<Ticket>,
    pub since: Instant,
}

impl Member {
    pub fn new(request: &Request, insert: Insert, ticket: Arc<Ticket>) -> Member {
        Member {
            frame: request.frame.clone(),
            principal: Arc::clone(&request.principal),
            insert,
            ticket,
            since: Instant::now(),
        }
    }

    /// The client's own request. `None` never happens: it was parsed before.
    pub fn request(&self) -> Option<Request> {
        let msg = OpMsg::parse(&self.frame).ok()?;
        let principal = Arc::clone(&self.principal);
        Some(Request::new(self.frame.clone(), msg, principal))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let failure = Failure::lost("the batch was given up");
        self.ticket.tell(Told::Failed(failure));
    }
}

/// The groups that have something under way.
#[derive(Default)]
pub(super) struct Groups {
    groups: DashMap<Box<[u8]>, Group, RandomState>,
}

#[derive(Default)]
struct Group {
    queue: VecDeque<Member>,
    bytes: usize,
}

/// What becomes of a write that comes.
pub(super) enum Entered {
    /// Nothing of its group is under way: now this is.
    First,
    /// It waits. `starts`: nothing is under way, so the caller must see to the queue.
    Queued { starts: bool },
    /// Too many wait already.
    Full,
}

impl Groups {
    /// A write comes; `member` makes its place in the queue. `queue_first`: the first one waits too.
    pub fn enter(
        &self,
        insert: Insert,
        queue_first: bool,
        member: impl FnOnce(Insert) -> Member,
    ) -> Entered {
        let mut entry = match self.groups.entry(insert.key.clone()) {
            Entry::Vacant(vacant) if queue_first => {
                let mut group = vacant.insert(Group::default());
                group.push(member(insert));
                return Entered::Queued { starts: true };
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Group::default());
                return Entered::First;
            }
            Entry::Occupied(entry) => entry,
        };
        let group = entry.get_mut();
        if group.bytes + insert.documents.len() > MOST_BYTES {
            return Entered::Full;
        }
        group.push(member(insert));
        Entered::Queued { starts: false }
    }

    /// What was under way has returned: those who leave now. Empty: nobody waits, and the group is
    /// gone.
    pub fn next(&self, key: &[u8], max_documents: usize, max_size: usize) -> Vec<Member> {
        let Some(mut group) = self.groups.get_mut(key) else {
            return Vec::new();
        };
        let (mut documents, mut size) = (0, 0);
        let mut leaving = Vec::with_capacity(group.queue.len().min(max_documents));
        while let Some(member) = group.queue.front() {
            documents += member.insert.count;
            size += member.insert.documents.len();
            let is_full = documents > max_documents || size > max_size;
            if is_full && !leaving.is_empty() {
                break;
            }
            leaving.extend(group.queue.pop_front());
        }
        group.bytes -= leaving
            .iter()
            .map(|m| m.insert.documents.len())
            .sum::<usize>();
        drop(group);
        if leaving.is_empty() {
            // Somebody may have come since.
            if self
                .groups
                .remove_if(key, |_, group| group.queue.is_empty())
                .is_none()
            {
                return self.next(key, max_documents, max_size);
            }
        }
        leaving
    }

    /// A write doesn't want to wait any longer. `None`: it is under way.
    pub fn leave(&self, key: &[u8], ticket: &Arc<Ticket>) -> Option<Member> {
        let mut group = self.groups.get_mut(key)?;
        let at = group
            .queue
            .iter()
            .position(|m| Arc::ptr_eq(&m.ticket, ticket))?;
        let member = group.queue.remove(at)?;
        group.bytes -= member.insert.documents.len();
        Some(member)
    }

    /// Writes that wait.
    pub fn queued(&self) -> usize {
        self.groups.iter().map(|group| group.queue.len()).sum()
    }

    /// Groups with something under way.
    pub fn len(&self) -> usize {
        self.groups.len()
    }
}

impl Group {
    fn push(&mut self, member: Member) {
        self.bytes += member.insert.documents.len();
        self.queue.push_back(member);
    }
}

/// Bytes of documents that may wait in one group.
const MOST_BYTES: usize = 64 << 20;
