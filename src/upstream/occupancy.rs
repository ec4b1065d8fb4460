//! What is under way at one server, and the most that may be while there are other servers.
//!
//! A server that has become slow would come to hold every link, and with them requests for servers
//! that are as quick as ever. So at most a share of the links serves one server
//! (`admission.server_share`); its further requests queue by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
#[derive(Debug)]
pub(super) struct Occupancy {
    busy: Arc<AtomicUsize>,
    pub(super) places: Arc<Semaphore>,
}

impl Occupancy {
    pub fn new(places: usize) -> Occupancy {
        Occupancy {
            busy: Arc::default(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Requests under way.
    pub fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    /// How much there is to do: more where there's no place left, then where more is under way.
    pub fn load(&self) -> (bool, usize) {
        (self.places.available_permits() == 0, self.busy())
    }

    /// One more is, until the answer is dropped. `place`: `None` for what needs none.
    pub fn enter(&self, place: Option<OwnedSemaphorePermit>) -> Occupied {
        self.busy.fetch_add(1, Relaxed);
        Occupied {
            busy: Arc::clone(&self.busy),
            _place: place,
        }
    }
}

/// A request that is under way at a server. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Occupied {
    busy: Arc<AtomicUsize>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Relaxed);
    }
}
