//! Single flight (docs/coherence.md, rule 3): one read for several who ask the same.
//!
//! A reader may join if nothing that the read meets was being written since the flight began, as
//! far as that can be told before the answer is known; once it is, whoever joined takes it only
//! if it outlives every write that had begun by the time they came. An error belongs to the
//! leader, and so does an answer that can't be shared: the others go themselves. A leader that
//! is cancelled or panics lets go by being dropped, and one of the others leads.

use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::watch;
use tokio::time::Instant;

use super::entry::Entry;
use crate::memory::Live;
use crate::pipeline::{Mark, Waits, Window};

/// The reads that are under way.
#[derive(Default)]
pub(super) struct Flights {
    in_air: DashMap<Box<[u8]>, Arc<Flight>, RandomState>,
}

/// A read under way.
pub(super) struct Flight {
    pub window: Window,
    /// The cluster time that its answer will be at or after.
    pub after: u64,
    /// Of its leader.
    pub waits: Waits,
    landing: watch::Sender<Landing>,
    _live: Live,
}

/// How a flight ended.
#[derive(Clone)]
pub(super) enum Landing {
    InAir,
    /// With an answer for those whom it still serves.
    Answer(Arc<Entry>),
    /// With something that is the leader's own.
    Released,
    /// The leader is gone.
    Abandoned,
}

impl Flights {
    /// Joins the flight for this key, if there is one that may serve.
    pub fn join(&self, key: &[u8], after: u64) -> Option<(Arc<Flight>, Mark)> {
        let flight = Arc::clone(&*self.in_air.get(key)?);
        let mark = flight.window.join()?;
        (flight.after >= after).then_some((flight, mark))
    }

    /// Leads a flight that others may join, if `open`. One that couldn't be joined goes on
    /// without its place in the table.
    pub fn lead(&self, key: &[u8], flight: Arc<Flight>, open: bool) -> Lead<'_> {
        if open {
            self.in_air.insert(key.into(), Arc::clone(&flight));
        }
        Lead {
            flights: self,
            key: key.into(),
            flight,
        }
    }

    pub fn len(&self) -> usize {
        self.in_air.len()
    }
}

impl Flight {
    pub fn new(window: Window, after: u64, waits: Waits, live: Live) -> Flight {
        Flight {
            window,
            after,
            waits,
            landing: watch::Sender::new(Landing::InAir),
            _live: live,
        }
    }

    /// Waits for the end. `None`: the deadline came first.
    pub async fn end(&self, deadline: Option<Instant>) -> Option<Landing> {
        let mut landing = self.landing.subscribe();
        let landed = landing.wait_for(|l| !matches!(l, Landing::InAir));
        let landed = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, landed).await.ok()?,
            None => landed.await,
        };
        Some(landed.map_or(Landing::Abandoned, |l| l.clone()))
    }
}

/// The leader's hold on its flight.
pub(super) struct Lead<'a> {
    flights: &'a Flights,
    key: Box<[u8]>,
    flight: Arc<Flight>,
}

impl Lead<'_> {
    /// Ends the flight.
    pub fn land(self, landing: Landing) {
        self.end(landing);
    }

    fn end(&self, landing: Landing) {
        self.flights
            .in_air
            .remove_if(&self.key, |_, flight| Arc::ptr_eq(flight, &self.flight));
        self.flight.landing.send_if_modified(|l| {
            let first = matches!(l, Landing::InAir);
            if first {
                *l = landing;
            }
            first
        });
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.end(Landing::Abandoned);
    }
}
