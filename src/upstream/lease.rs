//! What the pool gives out: a link in use, or the right to dial one. Each accounts for itself when
//! it is dropped.

use std::sync::Arc;

use tokio::time::Instant;

use super::budget::Budget;
use super::link::Link;
use super::pool::Pool;
use crate::memory::Live;
use crate::pipeline::Principal;

/// Either a link that may be used, or the right to dial one.
#[derive(Debug)]
pub(super) enum Checkout {
    Link(Lease),
    Dial(Room),
}

impl Checkout {
    /// Lets go of what was never granted, without accounting for it.
    pub fn disarm(self) {
        if let Checkout::Dial(mut room) = self {
            room.pool = None;
        }
    }
}

/// The right to dial one link. Dropped, the room is free again.
#[derive(Debug)]
pub(super) struct Room {
    pool: Option<Arc<Pool>>,
    budget: Budget,
}

impl Room {
    pub fn of(pool: &Arc<Pool>, budget: Budget) -> Room {
        Room {
            pool: Some(Arc::clone(pool)),
            budget,
        }
    }

    /// The link was dialled.
    pub fn fill(mut self, mut link: Link, principal: &Arc<Principal>) -> Option<Lease> {
        let pool = self.pool.take()?;
        link.budget = self.budget;
        pool.dialled(&link, principal);
        Some(Lease::of(&pool, link, principal))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.not_dialled(self.budget);
        }
    }
}

/// A link in use. Dropped without [`Lease::done`], the link is closed: a request may
/// still be under way on it.
#[derive(Debug)]
pub struct Lease {
    link: Option<Link>,
    principal: Arc<Principal>,
    pool: Arc<Pool>,
    _live: Live,
}

impl Lease {
    pub(super) fn of(pool: &Arc<Pool>, link: Link, principal: &Arc<Principal>) -> Lease {
        Lease {
            _live: link.leased(),
            link: Some(link),
            principal: Arc::clone(principal),
            pool: Arc::clone(pool),
        }
    }

    /// The link of a lease that was never granted.
    pub(super) fn take_back(mut self) -> Option<Link> {
        self.link.take()
    }

    /// The link. `None` never happens before [`Lease::done`].
    pub fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// The reply has come whole: the link may carry the next request.
    pub fn done(mut self) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        link.shrink();
        if link.is_sound() {
            link.last_used = Instant::now();
            self.pool.returned(link, self.principal.id);
        } else {
            self.link = Some(link);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.pool.lost(&link, self.principal.id);
        }
    }
}
