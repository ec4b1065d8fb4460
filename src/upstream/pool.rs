//! Many clients over few links.
//!
//! One limit for all servers and principals (`upstream.max_links`), one queue in order
//! of arrival. Links are grouped by (server, principal): only clients that proved to be
//! the same principal share them. A link of an authenticated principal can't be dialled
//! again (no password is kept), so the last one of a principal that still has clients
//! is never closed for room.
//!
//! Work isn't pinned to links. A worker thread prefers links that its own reactor drives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::Admission;
use super::lease::{Checkout, Lease, Room};
use super::link::Link;
use super::patience::Patience;
use super::server::Server;
use crate::pipeline::{Failure, Fault, Principal, home};

/// The links of this proxy.
#[derive(Debug)]
pub struct Pool {
    inner: Mutex<Inner>,
    max_links: usize,
    idle_timeout: Duration,
    admission: Arc<Admission>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Links that exist or are being dialled.
    total: usize,
    groups: HashMap<Key, Group, foldhash::fast::RandomState>,
    waiters: VecDeque<Waiter>,
}

/// Server and principal.
type Key = (u32, u64);

#[derive(Debug)]
struct Group {
    idle: Vec<Link>,
    /// Idle and in use.
    live: usize,
    principal: Weak<Principal>,
}

#[derive(Debug)]
struct Waiter {
    key: Key,
    principal: Arc<Principal>,
    /// What is granted accounts for itself, so that a waiter who gave up meanwhile loses nothing.
    grant: oneshot::Sender<Checkout>,
}

/// Numbers of the pool, for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Links that exist or are being dialled.
    pub links: usize,
    /// Of them, idle.
    pub idle: usize,
    /// Requests that wait for a link.
    pub waiting: usize,
}

impl Pool {
    pub(super) fn new(
        max_links: usize,
        idle_timeout: Duration,
        admission: Arc<Admission>,
    ) -> Arc<Pool> {
        Arc::new(Pool {
            inner: Mutex::default(),
            max_links: max_links.max(1),
            idle_timeout,
            admission,
        })
    }

    /// A link to `server` in the name of `principal`, or the right to dial one, as soon as
    /// there is either.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        server: &Arc<Server>,
        principal: &Arc<Principal>,
        patience: &mut Patience,
    ) -> Result<(Checkout, bool), Failure> {
        let key = (server.id, principal.id);
        let (waiting, _in_queue) = {
            let mut dead = Vec::new();
            let mut inner = self.inner.lock();
            if let Some(link) = inner.take_idle(key, &mut dead) {
                drop(inner);
                drop(dead);
                return Ok((Checkout::Link(Lease::of(self, link, principal)), false));
            }
            if principal.id != 0 && inner.groups.get(&key).is_none_or(|g| g.live == 0) {
                return Err(Failure::unsent(Fault::PrincipalGone));
            }
            if principal.id == 0 && inner.make_room(self.max_links, &mut dead) {
                inner.total += 1;
                return Ok((Checkout::Dial(Room::of(self)), false));
            }
            let in_queue = self.admission.queue()?;
            let (grant, waiting) = oneshot::channel();
            inner.waiters.push_back(Waiter {
                key,
                principal: Arc::clone(principal),
                grant,
            });
            (waiting, in_queue)
        };
        let timed_out = |waited_ms| {
            let stats = self.stats();
            Fault::WaitQueueTimeout {
                waited_ms,
                links: stats.links,
                limit: self.max_links,
                key: "upstream.max_links",
                waiting: stats.waiting,
            }
        };
        let granted = patience.wait(waiting, timed_out).await?;
        match granted {
            Ok(checkout) => Ok((checkout, true)),
            Err(_) => Err(Failure::unsent(Fault::PrincipalGone)),
        }
    }

    /// Whether `principal` has links to a server at all.
    pub(super) fn has_links(&self, server: &Server, principal: &Principal) -> bool {
        let inner = self.inner.lock();
        let group = inner.groups.get(&(server.id, principal.id));
        group.is_some_and(|group| group.live > 0)
    }

    /// A link on which `principal` has just proved itself joins the others of that principal.
    pub(super) fn adopt(self: &Arc<Self>, link: Link, principal: &Arc<Principal>) {
        let mut dead = Vec::new();
        let mut inner = self.inner.lock();
        let key = (link.server.id, principal.id);
        let has_others = inner.groups.get(&key).is_some_and(|g| g.live > 0);
        if !inner.make_room(self.max_links, &mut dead) && has_others {
            dead.push(link);
            return;
        }
        // A principal's only link is taken in even past the limit: it can't be made again.
        inner.total += 1;
        inner.group(key, principal).live += 1;
        inner.give_back(self, link, principal.id, &mut dead);
    }

    /// Closes what has been idle for too long, is void, or belongs to nobody.
    pub(super) fn sweep(self: &Arc<Self>, now: Instant) {
        let mut dead = Vec::new();
        let mut inner = self.inner.lock();
        let mut closed = 0;
        inner.groups.retain(|key, group| {
            let abandoned = key.1 != 0 && group.principal.strong_count() == 0;
            let mut i = 0;
            while i < group.idle.len() {
                let spare = key.1 == 0 || group.live > 1 || abandoned;
                let expired = abandoned
                    || group
                        .idle
                        .get(i)
                        .is_some_and(|l| l.last_used + self.idle_timeout <= now && spare);
                if expired || group.idle.get(i).is_some_and(|l| !l.is_sound()) {
                    dead.push(group.idle.swap_remove(i));
                    group.live -= 1;
                    closed += 1;
                } else {
                    i += 1;
                }
            }
            group.live > 0
        });
        inner.total -= closed;
        inner.grant_room(self);
    }

    /// How many links and waiters there are.
    pub fn stats(&self) -> PoolStats {
        let inner = self.inner.lock();
        PoolStats {
            links: inner.total,
            idle: inner.groups.values().map(|g| g.idle.len()).sum(),
            waiting: inner
                .waiters
                .iter()
                .filter(|w| !w.grant.is_closed())
                .count(),
        }
    }

    /// A link was dialled in the room that was granted for it.
    pub(super) fn dialled(&self, server: u32, principal: &Arc<Principal>) {
        let mut inner = self.inner.lock();
        inner.group((server, principal.id), principal).live += 1;
    }

    /// None was, and the room is free.
    pub(super) fn not_dialled(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        inner.total -= 1;
        inner.grant_room(self);
    }

    /// A link comes back that may carry the next request.
    pub(super) fn returned(self: &Arc<Self>, link: Link, principal: u64) {
        let mut dead = Vec::new();
        let mut inner = self.inner.lock();
        inner.give_back(self, link, principal, &mut dead);
    }

    /// A link in use was closed.
    pub(super) fn lost(self: &Arc<Self>, server: u32, principal: u64) {
        let mut inner = self.inner.lock();
        inner.total -= 1;
        if let Some(group) = inner.groups.get_mut(&(server, principal)) {
            group.live -= 1;
        }
        inner.grant_room(self);
    }
}

impl Inner {
    fn group(&mut self, key: Key, principal: &Arc<Principal>) -> &mut Group {
        self.groups.entry(key).or_insert_with(|| Group {
            idle: Vec::new(),
            live: 0,
            principal: Arc::downgrade(principal),
        })
    }

    /// The idle link of this group that was used last, of this thread if there is one.
    fn take_idle(&mut self, key: Key, dead: &mut Vec<Link>) -> Option<Link> {
        let group = self.groups.get_mut(&key)?;
        let home = home();
        while !group.idle.is_empty() {
            let own = group.idle.iter().rposition(|l| l.home == home);
            let link = group.idle.swap_remove(own.unwrap_or(group.idle.len() - 1));
            if link.is_sound() {
                return Some(link);
            }
            group.live -= 1;
            self.total -= 1;
            dead.push(link);
        }
        None
    }

    /// Whether one more link fits, closing an idle one of another group if need be.
    fn make_room(&mut self, max_links: usize, dead: &mut Vec<Link>) -> bool {
        if self.total < max_links {
            return true;
        }
        let spare = |key: &Key, g: &Group| {
            !g.idle.is_empty() && (key.1 == 0 || g.live > 1 || g.principal.strong_count() == 0)
        };
        let victim = self
            .groups
            .iter_mut()
            .filter(|(key, g)| spare(key, g))
            .min_by_key(|(_, g)| g.idle.iter().map(|l| l.last_used).min());
        let Some((_, group)) = victim else {
            return false;
        };
        let oldest = group
            .idle
            .iter()
            .enumerate()
            .min_by_key(|(_, l)| l.last_used)
            .map(|(i, _)| i);
        let Some(oldest) = oldest else { return false };
        dead.push(group.idle.swap_remove(oldest));
        group.live -= 1;
        self.total -= 1;
        true
    }

    /// A sound link comes back: to the first in the queue who can use it, or his right to dial.
    fn give_back(
        &mut self,
        pool: &Arc<Pool>,
        mut link: Link,
        principal: u64,
        dead: &mut Vec<Link>,
    ) {
        let key = (link.server.id, principal);
        let mut i = 0;
        while let Some(waiter) = self.waiters.get(i) {
            if waiter.grant.is_closed() {
                self.waiters.remove(i);
            } else if waiter.key == key {
                let Some(waiter) = self.waiters.remove(i) else {
                    break;
                };
                match waiter
                    .grant
                    .send(Checkout::Link(Lease::of(pool, link, &waiter.principal)))
                {
                    Err(Checkout::Link(back)) => match back.take_back() {
                        Some(back) => link = back,
                        None => return,
                    },
                    _ => return,
                }
            } else if waiter.key.1 == 0
                && self
                    .groups
                    .get(&key)
                    .is_some_and(|g| principal == 0 || g.live > 1)
            {
                // Somebody else was here first: this link makes room for one of his.
                let Some(waiter) = self.waiters.remove(i) else {
                    break;
                };
                match waiter.grant.send(Checkout::Dial(Room::of(pool))) {
                    Err(back) => back.disarm(),
                    Ok(()) => {
                        if let Some(group) = self.groups.get_mut(&key) {
                            group.live -= 1;
                        }
                        dead.push(link);
                        return;
                    }
                }
            } else {
                i += 1;
            }
        }
        match self.groups.get_mut(&key) {
            Some(group) => group.idle.push(link),
            None => {
                self.total -= 1;
                dead.push(link);
            }
        }
    }

    /// A link is gone: those who can dial may, and those who waited for the last link
    /// of their principal are told.
    fn grant_room(&mut self, pool: &Arc<Pool>) {
        let groups = &self.groups;
        self.waiters.retain(|w| {
            !w.grant.is_closed() && (w.key.1 == 0 || groups.get(&w.key).is_some_and(|g| g.live > 0))
        });
        while self.total < pool.max_links
            && let Some(i) = self.waiters.iter().position(|w| w.key.1 == 0)
            && let Some(waiter) = self.waiters.remove(i)
        {
            match waiter.grant.send(Checkout::Dial(Room::of(pool))) {
                Ok(()) => self.total += 1,
                Err(back) => back.disarm(),
            }
        }
    }
}
