//! How much may be under way: limits by user, by client address and in total, and a share of the
//! links for each namespace and each server.
//!
//! Only what goes upstream is counted: an answer from the cache costs nothing that could run out.
//! What is over a limit is refused at once, with an error on which drivers wait and try again
//! ("Client Backpressure" specification); nothing was executed.
//!
//! A namespace whose requests have become slow must not hold every link. So at most a share of them
//! serves one namespace at a time, and its further requests queue by themselves. Namespaces are
//! hashed into a fixed table; two that share a place share its links. The same goes for a server, where
//! there are several (`occupancy.rs`); it may have more than a namespace, so that a slow namespace
//! doesn't take all that its server has. And of a namespace's links one server may have that share, so
//! that a namespace is at hand where its servers are quick while it is slow at one.
//!
//! getMores, which may wait for something new for long, transactions, which hold locks that others wait
//! for, and the commands with which an operator looks at a server and ends what runs there take part in
//! neither.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::budget::Budget;
use super::occupancy::Occupied;
use super::patience::Patience;
use super::server::Server;
use crate::command::{Command, Kind};
use crate::config;
use crate::pipeline::{Decision, Failure, Fault, Request};

/// See the module.
#[derive(Debug)]
pub(super) struct Admission {
    limits: config::Admission,
    wait_timeout: Duration,
    queued: AtomicUsize,
    rejected: AtomicU64,
    principals: Counts<u64>,
    addresses: Counts<IpAddr>,
    namespaces: Shares,
    /// Of a namespace's links, those at one of several servers.
    namespaces_here: Shares,
    links_of_server: usize,
    max_links: usize,
    hasher: foldhash::fast::RandomState,
}

/// Numbers of admission, for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdmissionStats {
    /// Requests that wait for their turn or for a link.
    pub queued: usize,
    /// Requests refused so far.
    pub rejected: u64,
    /// `admission.max_queue`.
    pub limit: usize,
}

/// A request that is under way. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    _principal: Option<Counted<'a, u64>>,
    _address: Option<Counted<'a, IpAddr>>,
}

/// A request's places at a server. Dropped, they are free.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    _namespace_here: Option<SemaphorePermit<'a>>,
    _namespace: Option<SemaphorePermit<'a>>,
    _server: Option<Occupied>,
}

impl Admission {
    pub fn new(
        limits: &config::Admission,
        max_links: usize,
        wait_timeout: Duration,
    ) -> Arc<Admission> {
        let part = |of: usize, share: f64| ((of as f64 * share) as usize).clamp(1, of.max(1));
        let links_of_namespace = part(max_links, limits.namespace_share);
        let links_here = part(links_of_namespace, limits.server_share);
        Arc::new(Admission {
            limits: limits.clone(),
            wait_timeout,
            queued: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
            principals: Counts::default(),
            addresses: Counts::default(),
            namespaces: Shares::new(links_of_namespace, max_links, NAMESPACE_SHARE),
            namespaces_here: Shares::new(links_here, links_of_namespace, SERVER_SHARE),
            links_of_server: part(max_links, limits.server_share),
            max_links,
            hasher: foldhash::fast::RandomState::default(),
        })
    }

    /// Lets a request in, or refuses it.
    pub fn admit(&self, request: &Request) -> Result<Admitted<'_>, Failure> {
        let principal = match self.limits.max_per_principal {
            0 => None,
            most => Some(
                self.principals
                    .enter(request.principal.id, most)
                    .ok_or_else(|| {
                        self.refuse(
                            format!("{most} requests of this user are under way"),
                            "max_per_principal",
                        )
                    })?,
            ),
        };
        let address = match (self.limits.max_per_client, request.address) {
            (0, _) | (_, None) => None,
            (most, Some(address)) => {
                Some(self.addresses.enter(address, most).ok_or_else(|| {
                    self.refuse(
                        format!("{most} requests of this client address are under way"),
                        "max_per_client",
                    )
                })?)
            }
        };
        Ok(Admitted {
            _principal: principal,
            _address: address,
        })
    }

    /// Links that one server may have in use while there are others.
    pub fn links_of_server(&self) -> usize {
        self.links_of_server
    }

    /// What a request has for all that it waits for here and in the pool.
    pub fn patience(&self, request: &Request) -> Patience {
        Patience::new(
            self.wait_timeout,
            request.waits.for_turn(),
            request.deadline(),
        )
    }

    /// Lets a request in at a server, one of so many, when it is its turn.
    pub async fn enter(
        &self,
        server: &Server,
        servers: usize,
        request: &mut Request,
        budget: Budget,
        patience: &mut Patience,
    ) -> Result<Entered<'_>, Failure> {
        let apart = queues_apart(&request.command);
        let several = servers > 1 && !apart;
        let namespace = self.namespace(&request.command).filter(|_| !apart);
        let here = namespace.filter(|_| several);
        let here = here.map(|namespace| self.hasher.hash_one((server.id, namespace)));
        // The narrowest first: who waits keeps no place that is wanted elsewhere. A namespace that waits
        // for its turn at one server keeps at most what it may have there.
        let namespaces = &self.namespaces_here;
        let namespace_here = self.place(namespaces, here, request, patience).await?;
        let namespaces = &self.namespaces;
        let namespace = self.place(namespaces, namespace, request, patience).await?;
        let places = || Arc::clone(&server.occupancy.places);
        let place = if several && self.links_of_server < self.max_links {
            Some(match places().try_acquire_owned() {
                Ok(place) => place,
                Err(_) => {
                    let share = (self.links_of_server, SERVER_SHARE);
                    self.wait(places().acquire_owned(), share, request, patience)
                        .await?
                }
            })
        } else {
            None
        };
        Ok(Entered {
            _namespace_here: namespace_here,
            _namespace: namespace,
            // What waits at a server is no work there.
            _server: (budget == Budget::Shared).then(|| server.occupancy.enter(place)),
        })
    }

    /// Joins the queue, if there is room in it.
    pub fn queue(&self) -> Result<InQueue<'_>, Failure> {
        let place = InQueue(&self.queued);
        if self.queued.fetch_add(1, Relaxed) >= self.limits.max_queue {
            let what = format!("{} requests wait for a link", self.limits.max_queue);
            return Err(self.refuse(what, "max_queue"));
        }
        Ok(place)
    }

    pub fn stats(&self) -> AdmissionStats {
        AdmissionStats {
            queued: self.queued.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            limit: self.limits.max_queue,
        }
    }

    /// What stands for the namespace of a command, if it has one.
    fn namespace(&self, command: &Command) -> Option<u64> {
        let namespace = (command.db(), command.collection()?);
        Some(self.hasher.hash_one(namespace))
    }

    /// One of the places of a share, when it is the request's turn.
    async fn place<'a>(
        &self,
        shares: &'a Shares,
        whose: Option<u64>,
        request: &mut Request,
        patience: &mut Patience,
    ) -> Result<Option<SemaphorePermit<'a>>, Failure> {
        let Some(places) = whose.and_then(|whose| shares.of(whose)) else {
            return Ok(None);
        };
        if let Ok(place) = places.try_acquire() {
            return Ok(Some(place));
        }
        let share = (shares.links, shares.key);
        let place = self.wait(places.acquire(), share, request, patience);
        place.await.map(Some)
    }

    /// Waits for a place of a share of so many links, by its key.
    async fn wait<P>(
        &self,
        place: impl Future<Output = Result<P, AcquireError>>,
        (links, key): (usize, &'static str),
        request: &mut Request,
        patience: &mut Patience,
    ) -> Result<P, Failure> {
        let _in_queue = self.queue()?;
        request.trail.note(Decision::Queued);
        let timed_out = |waited_ms| Fault::WaitQueueTimeout {
            waited_ms,
            links,
            limit: links,
            key,
            waiting: self.queued.load(Relaxed),
        };
        match patience.wait(place, timed_out).await? {
            Ok(place) => Ok(place),
            // (Nobody closes them.)
            Err(_) => Err(Failure::unsent(timed_out(0))),
        }
    }

    fn refuse(&self, what: String, key: &'static str) -> Failure {
        self.rejected.fetch_add(1, Relaxed);
        Failure::unsent(Fault::Overloaded { what, key })
    }
}

/// The places of many, hashed into a fixed table.
#[derive(Debug)]
struct Shares {
    /// Empty if one may have all links.
    places: Box<[Semaphore]>,
    /// What one may have.
    links: usize,
    key: &'static str,
}

impl Shares {
    fn new(links: usize, all: usize, key: &'static str) -> Shares {
        let places = match links < all {
            true => (0..PLACES).map(|_| Semaphore::new(links)).collect(),
            false => Box::default(),
        };
        Shares { places, links, key }
    }

    fn of(&self, whose: u64) -> Option<&Semaphore> {
        let at = (whose as usize).checked_rem(self.places.len())?;
        self.places.get(at)
    }
}

/// Whether it needs no place: it may take its time, others may wait for it, or it ends what holds the
/// places, or shows it.
fn queues_apart(command: &Command) -> bool {
    match command.kind {
        Kind::GetMore | Kind::KillCursors | Kind::Upkeep => true,
        // Of a server or a database, not of a collection, as `currentOp` and `aggregate: 1`. (What is
        // explained is.)
        Kind::Read | Kind::Aggregate if command.collection().is_none() => {
            command.name() != "explain"
        }
        _ => command.in_transaction,
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct InQueue<'a>(&'a AtomicUsize);

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How many requests of each are under way; nobody who has none is kept.
#[derive(Debug)]
struct Counts<K: Eq + Hash>(DashMap<K, usize, RandomState>);

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts(DashMap::default())
    }
}

impl<K: Eq + Hash + Copy> Counts<K> {
    fn enter(&self, key: K, most: usize) -> Option<Counted<'_, K>> {
        let mut count = self.0.entry(key).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted { of: self, key })
    }
}

#[derive(Debug)]
struct Counted<'a, K: Eq + Hash + Copy> {
    of: &'a Counts<K>,
    key: K,
}

impl<K: Eq + Hash + Copy> Drop for Counted<'_, K> {
    fn drop(&mut self) {
        self.of.0.remove_if_mut(&self.key, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

/// Enough that two busy namespaces rarely meet.
const PLACES: usize = 1024;
const NAMESPACE_SHARE: &str = "admission.namespace_share";
const SERVER_SHARE: &str = "admission.server_share";

#[cfg(test)]
mod tests;
