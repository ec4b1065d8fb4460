//! Many clients over few links.
//!
//! One limit for all servers and principals (`upstream.max_links`), one queue in order
//! of arrival. Links are grouped by (server, principal): only clients that proved to be
//! the same principal share them. A link of an authenticated principal can't be dialled
//! again (no password is kept), so the last one of a principal that still has clients
//! is never closed for room.
//!
//! A request that the server may hold back until there is something new (a `getMore` of a change stream) is no work, and
//! takes no link that work waits for: it has a link of another budget, dialled when there is none and closed when it
//! has been idle for a while. A principal whose links can't be dialled lends its own, and its other
//! requests go first. If it has fewer links than logins (there was no room for all), a quarter isn't lent.
//!
//! Work isn't pinned to links. A worker thread prefers links that its own reactor drives.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::Admission;
use super::budget::Budget;
use super::lease::{Checkout, Lease, Room};
use super::link::Link;
use super::patience::Patience;
use super::server::Server;
use super::stock::{Stock, Waiter};
use crate::pipeline::{Failure, Fault, Principal};

/// The links of this proxy.
#[derive(Debug)]
pub struct Pool {
    inner: Mutex<Stock>,
    max_links: usize,
    /// Links of [`Budget::Awaiting`] that there may be.
    max_awaiting: usize,
    idle_timeout: Duration,
    admission: Arc<Admission>,
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
    /// Links beside these, for requests that the server may hold back until there is something new.
    pub awaiting: usize,
}

impl Pool {
    pub(super) fn new(
        max_links: usize,
        max_awaiting: usize,
        idle_timeout: Duration,
        admission: Arc<Admission>,
    ) -> Arc<Pool> {
        Arc::new(Pool {
            inner: Mutex::default(),
            max_links: max_links.max(1),
            max_awaiting,
            idle_timeout: match idle_timeout.is_zero() {
                true => NEVER,
                false => idle_timeout,
            },
            admission,
        })
    }

    /// A link to `server` in the name of `principal`, or the right to dial one, as soon as
    /// there is either. If what it should count against is full, a link counts against the other budget.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        server: &Arc<Server>,
        principal: &Arc<Principal>,
        mut budget: Budget,
        patience: &mut Patience,
    ) -> Result<(Checkout, bool), Failure> {
        let key = (server.id, principal.id);
        let (waiting, _in_queue) = {
            let mut dead = Vec::new();
            let mut inner = self.inner.lock();
            if budget == Budget::Awaiting && principal.id == 0 && !inner.has_idle_awaiting(key) {
                if inner.awaiting < self.max_awaiting {
                    inner.awaiting += 1;
                    return Ok((Checkout::Dial(Room::of(self, budget)), false));
                }
                budget = Budget::Shared;
            }
            if let Some(link) = inner.take_idle(key, budget, &mut dead) {
                if link.budget == Budget::Awaiting {
                    inner.grant_room(self, self.max_links);
                }
                drop(inner);
                drop(dead);
                return Ok((Checkout::Link(Lease::of(self, link, principal)), false));
            }
            if principal.id != 0 && inner.groups.get(&key).is_none_or(|g| g.live == 0) {
                return Err(Failure::unsent(Fault::PrincipalGone));
            }
            if principal.id == 0 && inner.make_room(self.max_links, &mut dead) {
                inner.total += 1;
                return Ok((Checkout::Dial(Room::of(self, Budget::Shared)), false));
            }
            let in_queue = self.admission.queue()?;
            let (grant, waiting) = oneshot::channel();
            inner.waiters.push_back(Waiter {
                key,
                principal: Arc::clone(principal),
                budget,
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
    pub(super) fn adopt(self: &Arc<Self>, mut link: Link, principal: &Arc<Principal>) {
        let mut dead = Vec::new();
        let mut inner = self.inner.lock();
        let key = (link.server.id, principal.id);
        let has_others = inner.groups.get(&key).is_some_and(|g| g.live > 0);
        if inner.total >= self.max_links
            && inner.awaiting < self.max_awaiting
            && inner.wants_awaiting(key)
        {
            inner.adopt_awaiting(key, &mut link);
            inner.give_back(self, self.max_links, link, principal.id, &mut dead);
            return;
        }
        if !inner.make_room(self.max_links, &mut dead) && has_others {
            inner.group(key, principal).fewer_than_clients = true;
            dead.push(link);
            return;
        }
        // A principal's only link is taken in even past the limit: it can't be made again.
        inner.total += 1;
        inner.group(key, principal).live += 1;
        inner.give_back(self, self.max_links, link, principal.id, &mut dead);
    }

    /// Closes what has been idle for too long, is void, or belongs to nobody.
    pub(super) fn sweep(self: &Arc<Self>, now: Instant) {
        let mut dead = Vec::new();
        let mut inner = self.inner.lock();
        let (mut closed, mut closed_awaiting) = (0, 0);
        inner.groups.retain(|key, group| {
            closed += group.expire(*key, Budget::Shared, now, self.idle_timeout, &mut dead);
            // A link that isn't wanted again at once isn't wanted, and can be dialled again.
            let idle_timeout = match key.1 {
                0 => AWAITING_IDLE.min(self.idle_timeout),
                _ => self.idle_timeout,
            };
            closed_awaiting += group.expire(*key, Budget::Awaiting, now, idle_timeout, &mut dead);
            group.live > 0
        });
        inner.total -= closed;
        inner.awaiting -= closed_awaiting;
        inner.grant_room(self, self.max_links);
    }

    /// How many links and waiters there are.
    pub fn stats(&self) -> PoolStats {
        let inner = self.inner.lock();
        PoolStats {
            links: inner.total,
            idle: inner.groups.values().map(|g| g.idle.len()).sum(),
            awaiting: inner.awaiting,
            waiting: inner
                .waiters
                .iter()
                .filter(|w| !w.grant.is_closed())
                .count(),
        }
    }

    /// A link was dialled in the room that was granted for it.
    pub(super) fn dialled(&self, link: &Link, principal: &Arc<Principal>) {
        let mut inner = self.inner.lock();
        let group = inner.group((link.server.id, principal.id), principal);
        group.live += 1;
        group.awaiting += usize::from(link.budget == Budget::Awaiting);
    }

    /// None was, and the room is free.
    pub(super) fn not_dialled(self: &Arc<Self>, budget: Budget) {
        let mut inner = self.inner.lock();
        *inner.of(budget) -= 1;
        inner.grant_room(self, self.max_links);
    }

    /// A link comes back that may carry the next request.
    pub(super) fn returned(self: &Arc<Self>, link: Link, principal: u64) {
        let mut dead = Vec::new();
        let mut inner = self.inner.lock();
        inner.give_back(self, self.max_links, link, principal, &mut dead);
    }

    /// A link in use was closed.
    pub(super) fn lost(self: &Arc<Self>, link: &Link, principal: u64) {
        let mut inner = self.inner.lock();
        inner.gone((link.server.id, principal), link.budget);
        inner.grant_room(self, self.max_links);
    }
}

/// How long a link that can be dialled again stays for the next request that waits at the server.
const AWAITING_IDLE: Duration = Duration::from_secs(10);
/// The idle time limit of links that none is closed for (`upstream.link_idle_timeout` of zero).
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
