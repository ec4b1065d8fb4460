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
//! doesn't take all that its server has.
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
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::occupancy::Occupied;
use super::server::Server;
use crate::command::{Command, Kind};
use crate::config;
use crate::pipeline::{Decision, Failure, Fault, Request};

/// See the module.
#[derive(Debug)]
pub(super) struct Admission {
    limits: config::Admission,
    patience: Duration,
    queued: AtomicUsize,
    rejected: AtomicU64,
    principals: Counts<u64>,
    addresses: Counts<IpAddr>,
    /// Empty if one namespace may have all links.
    places: Box<[Semaphore]>,
    links_of_one: usize,
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
    _place: Option<SemaphorePermit<'a>>,
}

impl Admission {
    pub fn new(limits: &config::Admission, max_links: usize, patience: Duration) -> Arc<Admission> {
        let part = |share: f64| ((max_links as f64 * share) as usize).clamp(1, max_links.max(1));
        let links_of_one = part(limits.namespace_share);
        let places = match links_of_one < max_links {
            true => (0..PLACES).map(|_| Semaphore::new(links_of_one)).collect(),
            false => Box::default(),
        };
        Arc::new(Admission {
            limits: limits.clone(),
            patience,
            queued: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
            principals: Counts::default(),
            addresses: Counts::default(),
            places,
            links_of_one,
            links_of_server: part(limits.server_share),
            max_links,
            hasher: foldhash::fast::RandomState::default(),
        })
    }

    /// Lets a request in, when it is its namespace's turn, or refuses it.
    pub async fn admit(&self, request: &mut Request) -> Result<Admitted<'_>, Failure> {
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
        let place = match self.place(request) {
            None => None,
            Some(place) => Some(match place.try_acquire() {
                Ok(permit) => permit,
                Err(_) => {
                    self.wait(place.acquire(), self.links_of_one, request)
                        .await?
                }
            }),
        };
        Ok(Admitted {
            _principal: principal,
            _address: address,
            _place: place,
        })
    }

    /// Links that one server may have in use while there are others.
    pub fn links_of_server(&self) -> usize {
        self.links_of_server
    }

    /// Lets a request in at one of several servers, when it is its turn.
    pub async fn enter(&self, server: &Server, request: &mut Request) -> Result<Occupied, Failure> {
        let at = &server.occupancy;
        if self.links_of_server >= self.max_links || queues_apart(&request.command) {
            return Ok(at.enter(None));
        }
        let places = || Arc::clone(&at.places);
        let place = match places().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let links = self.links_of_server;
                self.wait(places().acquire_owned(), links, request).await?
            }
        };
        Ok(at.enter(Some(place)))
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

    fn place(&self, request: &Request) -> Option<&Semaphore> {
        let command = &request.command;
        if self.places.is_empty() || queues_apart(command) {
            return None;
        }
        let namespace = (command.db(), command.collection()?);
        let hash = self.hasher.hash_one(namespace) as usize;
        self.places.get(hash % self.places.len())
    }

    /// Waits for a place of `links`, as long as a request may.
    async fn wait<P>(
        &self,
        place: impl Future<Output = Result<P, AcquireError>>,
        links: usize,
        request: &mut Request,
    ) -> Result<P, Failure> {
        let _in_queue = self.queue()?;
        request.trail.note(Decision::Queued);
        let began = Instant::now();
        let patience = began + self.patience;
        let until = request.deadline().map_or(patience, |d| d.min(patience));
        match timeout_at(until, place).await {
            Ok(Ok(permit)) => Ok(permit),
            _ if until < patience => Err(Failure::unsent(Fault::MaxTimeExpired)),
            _ => Err(Failure::unsent(Fault::WaitQueueTimeout {
                waited_ms: began.elapsed().as_millis() as u64,
                links,
                max_links: links,
                waiting: self.queued.load(Relaxed),
            })),
        }
    }

    fn refuse(&self, what: String, key: &'static str) -> Failure {
        self.rejected.fetch_add(1, Relaxed);
        Failure::unsent(Fault::Overloaded { what, key })
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
struct Counts<K: Eq + Hash>(DashMap<K, usize>);

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts(DashMap::new())
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

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;
    use crate::pipeline::scripted::request;

    fn admission(limits: config::Admission, max_links: usize) -> Arc<Admission> {
        Admission::new(&limits, max_links, Duration::from_millis(20))
    }

    fn find(collection: &str) -> Request {
        request(&doc! {"find": collection, "$db": "d"})
    }

    #[tokio::test]
    async fn one_namespace_gets_its_share_and_another_is_not_held_up() {
        let admission = admission(config::Admission::default(), 4);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(admission.admit(&mut find("slow")).await.unwrap());
        }
        let late = admission.admit(&mut find("slow")).await.unwrap_err();
        assert!(matches!(late.fault, Fault::WaitQueueTimeout { .. }) && !late.sent);
        admission.admit(&mut find("other")).await.unwrap();
        let more = doc! {"getMore": 1_i64, "collection": "slow", "$db": "d"};
        admission.admit(&mut request(&more)).await.unwrap();
        held.pop();
        admission.admit(&mut find("slow")).await.unwrap();
        assert_eq!(admission.stats().queued, 0);
    }

    #[tokio::test]
    async fn one_server_gets_its_share_and_transactions_and_cursors_need_none() {
        let admission = admission(config::Admission::default(), 4);
        let address = || crate::upstream::Address::parse("h:1").unwrap();
        let [slow, other] =
            [1, 2].map(|id| Server::new(id, address(), admission.links_of_server()));
        let mut held = Vec::new();
        for name in ["a", "b", "c"] {
            held.push(admission.enter(&slow, &mut find(name)).await.unwrap());
        }
        let late = admission.enter(&slow, &mut find("d")).await.unwrap_err();
        assert!(matches!(late.fault, Fault::WaitQueueTimeout { .. }) && !late.sent);
        admission.enter(&other, &mut find("d")).await.unwrap();
        let more = doc! {"getMore": 1_i64, "collection": "d", "$db": "d"};
        let more = admission.enter(&slow, &mut request(&more)).await.unwrap();
        assert_eq!((slow.occupancy.busy(), other.occupancy.busy()), (4, 0));
        drop((held.pop(), more));
        admission.enter(&slow, &mut find("d")).await.unwrap();
        assert_eq!(slow.occupancy.busy(), 2);
    }

    #[tokio::test]
    async fn what_ends_work_or_looks_at_it_waits_for_nobody() {
        let admission = admission(config::Admission::default(), 4);
        let address = crate::upstream::Address::parse("h:1").unwrap();
        let slow = Server::new(1, address, admission.links_of_server());
        let mut held = Vec::new();
        for name in ["a", "b", "c"] {
            held.push(admission.enter(&slow, &mut find(name)).await.unwrap());
        }
        for command in [
            doc! {"ping": 1, "$db": "admin"},
            doc! {"currentOp": 1, "$db": "admin"},
            doc! {"aggregate": 1, "pipeline": [{"$currentOp": {}}], "cursor": {}, "$db": "admin"},
            doc! {"serverStatus": 1, "$db": "admin"},
            doc! {"killOp": 1, "op": 1, "$db": "admin"},
            doc! {"killSessions": [], "$db": "admin"},
            doc! {"endSessions": [], "$db": "admin"},
            doc! {"killCursors": "a", "cursors": [1_i64], "$db": "d"},
            doc! {"abortTransaction": 1, "autocommit": false, "$db": "admin"},
        ] {
            let entered = admission.enter(&slow, &mut request(&command)).await;
            assert!(entered.is_ok(), "{command}");
        }
        for command in [
            doc! {"bulkWrite": 1, "ops": [], "nsInfo": [], "$db": "admin"},
            doc! {"explain": {"find": "a"}, "$db": "d"},
            doc! {"aggregate": "a", "pipeline": [], "cursor": {}, "$db": "d"},
        ] {
            let entered = admission.enter(&slow, &mut request(&command)).await;
            assert!(entered.is_err(), "{command}");
        }
    }

    #[tokio::test]
    async fn what_is_over_a_limit_is_refused_with_labels_that_drivers_know() {
        let limits = config::Admission {
            max_per_principal: 2,
            max_per_client: 1,
            ..config::Admission::default()
        };
        let admission = admission(limits, 4);
        let mut first = find("c");
        first.address = Some([127, 0, 0, 1].into());
        let held = admission.admit(&mut first).await.unwrap();
        let refused = admission.admit(&mut first).await.unwrap_err();
        let reply = refused.reply(&first.command);
        assert_eq!(reply.code, 462);
        assert_eq!(reply.labels, ["SystemOverloadedError", "RetryableError"]);
        let second = admission.admit(&mut find("c")).await.unwrap();
        assert!(admission.admit(&mut find("c")).await.is_err());
        drop((held, second));
        admission.admit(&mut first).await.unwrap();
        assert_eq!(admission.stats().rejected, 2);
        assert!(admission.principals.0.is_empty() && admission.addresses.0.is_empty());
    }

    #[test]
    fn the_queue_is_bounded() {
        let limits = config::Admission {
            max_queue: 1,
            ..config::Admission::default()
        };
        let admission = admission(limits, 4);
        let waiting = admission.queue().unwrap();
        assert!(admission.queue().is_err());
        drop(waiting);
        assert!(admission.queue().is_ok());
    }
}
