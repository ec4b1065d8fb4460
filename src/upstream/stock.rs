//! The links that a pool holds, counted by group and budget, and the requests that wait for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::budget::Budget;
use super::lease::{Checkout, Lease, Room};
use super::link::Link;
use super::pool::Pool;
use crate::pipeline::{Principal, home};

#[derive(Debug, Default)]
pub(super) struct Stock {
    /// Links of [`Budget::Shared`] that exist or are being dialled.
    pub total: usize,
    /// Those of [`Budget::Awaiting`].
    pub awaiting: usize,
    pub groups: HashMap<Key, Group, foldhash::fast::RandomState>,
    pub waiters: VecDeque<Waiter>,
}

/// Server and principal.
pub(super) type Key = (u32, u64);

#[derive(Debug)]
pub(super) struct Group {
    pub idle: Vec<Link>,
    /// Of [`Budget::Awaiting`].
    idle_awaiting: Vec<Link>,
    /// Idle and in use, of both budgets.
    pub live: usize,
    /// Of [`Budget::Awaiting`].
    pub awaiting: usize,
    /// Links of a principal that its clients brought were closed, so that not every client has one.
    pub fewer_than_clients: bool,
    principal: Weak<Principal>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub key: Key,
    pub principal: Arc<Principal>,
    /// What its link is to count against.
    pub budget: Budget,
    /// What is granted accounts for itself, so that a waiter who gave up meanwhile loses nothing.
    pub grant: oneshot::Sender<Checkout>,
}

impl Group {
    /// Closes idle links of a budget that have been idle for too long, are void, or belong to nobody.
    pub fn expire(
        &mut self,
        key: Key,
        budget: Budget,
        now: Instant,
        idle_timeout: Duration,
        dead: &mut Vec<Link>,
    ) -> usize {
        let before = self.live;
        let abandoned = key.1 != 0 && self.principal.strong_count() == 0;
        for link in std::mem::take(self.idle(budget)) {
            let spare = key.1 == 0 || self.live > 1 || abandoned;
            let expired = abandoned || link.last_used + idle_timeout <= now && spare;
            if expired || !link.is_sound() {
                self.fewer_than_clients = true;
                self.count_out(budget);
                dead.push(link);
            } else {
                self.idle(budget).push(link);
            }
        }
        before - self.live
    }

    pub fn idle(&mut self, budget: Budget) -> &mut Vec<Link> {
        match budget {
            Budget::Shared => &mut self.idle,
            Budget::Awaiting => &mut self.idle_awaiting,
        }
    }

    pub fn count_out(&mut self, budget: Budget) {
        self.live -= 1;
        self.awaiting -= usize::from(budget == Budget::Awaiting);
    }

    /// Whether one more of the links of a principal, which can't be dialled, may go to a request that waits at the
    /// server. Where there aren't as many links as clients, a part is left to the other requests.
    pub fn may_lend(&self) -> bool {
        let left = match self.fewer_than_clients {
            true => (self.live / 4).max(usize::from(self.live > 1)),
            false => 0,
        };
        self.awaiting + left < self.live
    }
}

impl Stock {
    pub fn group(&mut self, key: Key, principal: &Arc<Principal>) -> &mut Group {
        self.groups.entry(key).or_insert_with(|| Group {
            idle: Vec::new(),
            idle_awaiting: Vec::new(),
            live: 0,
            awaiting: 0,
            fewer_than_clients: false,
            principal: Arc::downgrade(principal),
        })
    }

    /// How many links count against a budget.
    pub fn of(&mut self, budget: Budget) -> &mut usize {
        match budget {
            Budget::Shared => &mut self.total,
            Budget::Awaiting => &mut self.awaiting,
        }
    }

    /// A link of this group was closed.
    pub fn gone(&mut self, key: Key, budget: Budget) {
        *self.of(budget) -= 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.count_out(budget);
        }
    }

    /// A link counts against [`Budget::Awaiting`] from now on.
    pub fn lend(&mut self, key: Key, link: &mut Link) {
        link.budget = Budget::Awaiting;
        self.total -= 1;
        self.awaiting += 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.awaiting += 1;
        }
    }

    /// [`Stock::lend`] taken back: nobody wanted it.
    pub fn unlend(&mut self, key: Key, link: &mut Link) {
        link.budget = Budget::Shared;
        self.total += 1;
        self.awaiting -= 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.awaiting -= 1;
        }
    }

    /// Whether one more link of a principal, which can't be dialled later, is kept for requests that wait at the server:
    /// where the principal has such requests, and few links are left for the next.
    pub fn wants_awaiting(&self, key: Key) -> bool {
        let waits = |w: &Waiter| w.key == key && w.budget == Budget::Awaiting;
        self.groups.get(&key).is_some_and(|group| {
            let streams = group.awaiting > 0 || self.waiters.iter().any(waits);
            streams && group.idle_awaiting.len() < SPARE_AWAITING
        })
    }

    /// A link of a principal that there is no room for in the shared budget.
    pub fn adopt_awaiting(&mut self, key: Key, link: &mut Link) {
        link.budget = Budget::Awaiting;
        self.awaiting += 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.live += 1;
            group.awaiting += 1;
        }
    }

    pub fn has_idle_awaiting(&self, key: Key) -> bool {
        let group = self.groups.get(&key);
        group.is_some_and(|group| !group.idle_awaiting.is_empty())
    }

    /// An idle link of this group for a request of this budget. Links of a principal, which can't be dialled, serve
    /// requests of the other budget too.
    pub fn take_idle(&mut self, key: Key, budget: Budget, dead: &mut Vec<Link>) -> Option<Link> {
        if let Some(link) = self.take_idle_of(key, budget, dead) {
            return Some(link);
        }
        match budget {
            _ if key.1 == 0 => None,
            Budget::Shared => self.take_idle_of(key, Budget::Awaiting, dead),
            Budget::Awaiting => {
                self.groups.get(&key).filter(|group| group.may_lend())?;
                let mut link = self.take_idle_of(key, Budget::Shared, dead)?;
                self.lend(key, &mut link);
                Some(link)
            }
        }
    }

    /// The idle link of this group and budget that was used last, of this thread if there is one.
    pub fn take_idle_of(&mut self, key: Key, budget: Budget, dead: &mut Vec<Link>) -> Option<Link> {
        let group = self.groups.get_mut(&key)?;
        let home = home();
        let mut closed = 0;
        let found = loop {
            let idle = group.idle(budget);
            if idle.is_empty() {
                break None;
            }
            let own = idle.iter().rposition(|l| l.home == home);
            let link = idle.swap_remove(own.unwrap_or(idle.len() - 1));
            if link.is_sound() {
                break Some(link);
            }
            group.count_out(budget);
            closed += 1;
            dead.push(link);
        };
        *self.of(budget) -= closed;
        found
    }

    /// Whether one more link fits, closing an idle one of another group if need be.
    pub fn make_room(&mut self, max_links: usize, dead: &mut Vec<Link>) -> bool {
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
        group.fewer_than_clients = true;
        group.count_out(Budget::Shared);
        self.total -= 1;
        true
    }

    /// A sound link comes back: to the first in the queue who can use it, or his right to dial.
    pub fn give_back(
        &mut self,
        pool: &Arc<Pool>,
        max_links: usize,
        mut link: Link,
        principal: u64,
        dead: &mut Vec<Link>,
    ) {
        let key = (link.server.id, principal);
        let mut i = 0;
        while let Some(waiter) = self.waiters.get(i) {
            if waiter.grant.is_closed() {
                self.waiters.remove(i);
            } else if waiter.key == key && self.may_have(waiter.budget, &link, key) {
                let Some(waiter) = self.waiters.remove(i) else {
                    break;
                };
                let lends = (waiter.budget, link.budget) == (Budget::Awaiting, Budget::Shared);
                if lends {
                    self.lend(key, &mut link);
                }
                match waiter
                    .grant
                    .send(Checkout::Link(Lease::of(pool, link, &waiter.principal)))
                {
                    Err(Checkout::Link(back)) => match back.take_back() {
                        Some(back) => link = back,
                        None => return,
                    },
                    _ => {
                        if lends {
                            self.grant_room(pool, max_links);
                        }
                        return;
                    }
                }
                if lends {
                    self.unlend(key, &mut link);
                }
            } else if waiter.key != key
                && waiter.key.1 == 0
                && link.budget == Budget::Shared
                && self
                    .groups
                    .get(&key)
                    .is_some_and(|g| principal == 0 || g.live > 1)
            {
                // Somebody else was here first: this link makes room for one of his.
                let Some(waiter) = self.waiters.remove(i) else {
                    break;
                };
                match waiter
                    .grant
                    .send(Checkout::Dial(Room::of(pool, Budget::Shared)))
                {
                    Err(back) => back.disarm(),
                    Ok(()) => {
                        if let Some(group) = self.groups.get_mut(&key) {
                            group.fewer_than_clients = true;
                            group.count_out(Budget::Shared);
                        }
                        dead.push(link);
                        return;
                    }
                }
            } else {
                i += 1;
            }
        }
        let budget = link.budget;
        match self.groups.get_mut(&key) {
            Some(group) => group.idle(budget).push(link),
            None => {
                *self.of(budget) -= 1;
                dead.push(link);
            }
        }
    }

    /// Whether a request that waits may have a link of its group. Those that the server may hold back come last, and
    /// where links can be dialled both budgets keep theirs.
    fn may_have(&self, wanted: Budget, link: &Link, key: Key) -> bool {
        let is_work = |waiter: &Waiter| {
            waiter.key == key && waiter.budget == Budget::Shared && !waiter.grant.is_closed()
        };
        let may_lend = || self.groups.get(&key).is_some_and(Group::may_lend);
        match (wanted, link.budget) {
            (Budget::Shared, budget) => key.1 != 0 || budget == Budget::Shared,
            (Budget::Awaiting, Budget::Shared) if !may_lend() => false,
            (Budget::Awaiting, _) => !self.waiters.iter().any(is_work),
        }
    }

    /// A link is gone: those who can dial may, and those who waited for the last link
    /// of their principal are told.
    pub fn grant_room(&mut self, pool: &Arc<Pool>, max_links: usize) {
        let groups = &self.groups;
        self.waiters.retain(|w| {
            !w.grant.is_closed() && (w.key.1 == 0 || groups.get(&w.key).is_some_and(|g| g.live > 0))
        });
        while self.total < max_links
            && let Some(i) = self.waiters.iter().position(|w| w.key.1 == 0)
            && let Some(waiter) = self.waiters.remove(i)
        {
            match waiter
                .grant
                .send(Checkout::Dial(Room::of(pool, Budget::Shared)))
            {
                Ok(()) => self.total += 1,
                Err(back) => back.disarm(),
            }
        }
    }
}

/// A driver has a few logins under way at a time, each followed by a request that waits.
const SPARE_AWAITING: usize = 16;
