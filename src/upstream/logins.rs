//! Who may log in now: each login has a link of its own to the server, outside the pool, for as long as it takes.
//!
//! Anybody can begin a login and not end it, so that these links have a limit of their own (`upstream.max_login_links`),
//! a queue, and a time limit (`server.login_timeout`, the queue included). While others wait, a login whose client has not
//! continued for a second (less while many wait: [`patience`]) is ended, the longest silent first. Of those that wait, the next is one from the address that
//! has the fewest links, so that one host's flood leaves turns to other hosts.
//!
//! Invariant: a [`Turn`] is counted until it is dropped, and nothing that drops one holds the lock.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, timeout_at};

use super::link::Link;
use crate::pipeline::{Failure, Fault};

/// The logins that are under way, and those that wait.
#[derive(Debug)]
pub(super) struct Logins {
    limit: usize,
    timeout: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    held: HashMap<u64, Held>,
    queues: HashMap<Option<IpAddr>, VecDeque<Waiter>>,
    last: u64,
    ended: u64,
    /// Where the logins came from that were ended and not yet reported.
    unreported: Vec<Option<IpAddr>>,
}

#[derive(Debug)]
struct Held {
    address: Option<IpAddr>,
    began: Instant,
    /// The link while the client has the next word, and since when.
    parked: Option<(Instant, Link)>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    began: Instant,
    grant: oneshot::Sender<Turn>,
}

/// Numbers for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginStats {
    /// Logins under way: each has a link.
    pub links: usize,
    /// Logins that wait for their turn.
    pub waiting: usize,
    /// Logins that were ended because their clients didn't continue.
    pub ended: u64,
}

/// The right to one link for a login.
#[derive(Debug)]
pub(super) struct Turn {
    id: u64,
    logins: Arc<Logins>,
    /// When the login must be done.
    pub deadline: Instant,
}

impl Logins {
    pub fn new(limit: usize, timeout: Duration) -> Arc<Logins> {
        Arc::new(Logins {
            limit: limit.max(1),
            timeout,
            inner: Mutex::default(),
        })
    }

    /// A turn, if nobody has to wait for one.
    pub fn try_enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Turn> {
        let mut inner = self.inner.lock();
        let is_free = inner.held.len() < self.limit && inner.queues.is_empty();
        is_free.then(|| self.turn(&mut inner, address, Instant::now()))
    }

    /// A turn, waited for.
    pub async fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Turn, Failure> {
        if let Some(turn) = self.try_enter(address) {
            return Ok(turn);
        }
        let began = Instant::now();
        let mut waiting = {
            let mut inner = self.inner.lock();
            inner.last += 1;
            let (grant, waiting) = oneshot::channel();
            let waiter = Waiter {
                number: inner.last,
                began,
                grant,
            };
            inner.queues.entry(address).or_default().push_back(waiter);
            waiting
        };
        // (One may have become free before it was in the queue.)
        self.grant();
        let mut tick = interval(LOOK);
        let granted = timeout_at(began + self.timeout, async {
            loop {
                tokio::select! {
                    biased;
                    granted = &mut waiting => return granted,
                    _ = tick.tick() => self.end_silent(Instant::now()),
                }
            }
        });
        match granted.await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(self.too_late(began)),
        }
    }

    /// The error of a login that isn't done in time.
    pub fn too_late(&self, began: Instant) -> Failure {
        Failure::unsent(Fault::LoginTimeout {
            waited_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            links: self.inner.lock().held.len(),
            limit: self.limit,
        })
    }

    /// Ends logins whose time is over. To be called about once a second.
    pub fn sweep(self: &Arc<Self>, now: Instant) {
        let mut inner = self.inner.lock();
        let timeout = self.timeout;
        let overdue = inner.held.iter().filter(|(_, held)| {
            held.parked.is_some() && now.saturating_duration_since(held.began) >= timeout
        });
        let overdue: Vec<u64> = overdue.map(|(&id, _)| id).collect();
        let links: Vec<Link> = overdue.into_iter().filter_map(|id| inner.end(id)).collect();
        // Queues of those who gave up.
        inner.queues.retain(|_, queue| {
            queue.retain(|waiter| !waiter.grant.is_closed());
            !queue.is_empty()
        });
        drop(inner);
        drop(links);
        self.grant();
    }

    pub fn stats(&self) -> LoginStats {
        let inner = self.inner.lock();
        let waits = |waiter: &&Waiter| !waiter.grant.is_closed();
        LoginStats {
            links: inner.held.len(),
            waiting: inner.queues.values().flatten().filter(waits).count(),
            ended: inner.ended,
        }
    }

    /// Where the logins came from that were ended since the last call.
    pub fn ended(&self) -> Vec<Option<IpAddr>> {
        std::mem::take(&mut self.inner.lock().unreported)
    }

    /// Makes room for those that wait, among logins whose clients don't continue.
    fn end_silent(self: &Arc<Self>, now: Instant) {
        let mut inner = self.inner.lock();
        let wanted: usize = inner.queues.values().map(VecDeque::len).sum();
        let idle = patience(wanted, self.limit);
        let mut silent: Vec<(Instant, u64)> = inner
            .held
            .iter()
            .filter_map(|(&id, held)| Some((held.parked.as_ref()?.0, id)))
            .filter(|(since, _)| now.saturating_duration_since(*since) >= idle)
            .collect();
        silent.sort_unstable();
        let ids = silent.into_iter().take(wanted).map(|(_, id)| id);
        let links: Vec<Link> = ids.filter_map(|id| inner.end(id)).collect();
        drop(inner);
        if !links.is_empty() {
            drop(links);
            self.grant();
        }
    }

    /// Gives free turns to those that wait.
    fn grant(self: &Arc<Self>) {
        let mut granted = Vec::new();
        let mut inner = self.inner.lock();
        while inner.held.len() < self.limit
            && let Some((address, waiter)) = inner.next()
        {
            let turn = self.turn(&mut inner, address, waiter.began);
            granted.push((waiter.grant, turn));
        }
        drop(inner);
        for (grant, turn) in granted {
            // A waiter that gave up meanwhile drops its turn, which grants again.
            let _ = grant.send(turn);
        }
    }

    fn turn(self: &Arc<Self>, inner: &mut Inner, address: Option<IpAddr>, began: Instant) -> Turn {
        inner.last += 1;
        let id = inner.last;
        let held = Held {
            address,
            began,
            parked: None,
        };
        inner.held.insert(id, held);
        Turn {
            id,
            logins: Arc::clone(self),
            deadline: began + self.timeout,
        }
    }
}

impl Inner {
    /// Ends a login: its turn is free, though its client doesn't know yet.
    fn end(&mut self, id: u64) -> Option<Link> {
        let held = self.held.remove(&id)?;
        self.ended += 1;
        if self.unreported.len() < MOST_REPORTED {
            self.unreported.push(held.address);
        }
        held.parked.map(|(_, link)| link)
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<(Option<IpAddr>, Waiter)> {
        let mut has: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for held in self.held.values() {
            *has.entry(held.address).or_default() += 1;
        }
        self.queues.retain(|_, queue| {
            while queue.front().is_some_and(|w| w.grant.is_closed()) {
                queue.pop_front();
            }
            !queue.is_empty()
        });
        let first = |(address, queue): &(&Option<IpAddr>, &VecDeque<Waiter>)| {
            let number = queue.front().map(|waiter| waiter.number);
            (has.get(*address).copied().unwrap_or(0), number)
        };
        let (&address, _) = self.queues.iter().min_by_key(first)?;
        let queue = self.queues.get_mut(&address)?;
        let waiter = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&address);
        }
        Some((address, waiter))
    }
}

impl Turn {
    /// The client has the next word: until it comes, the login may be ended.
    pub fn park(&self, link: Link) {
        let mut inner = self.logins.inner.lock();
        let back = match inner.held.get_mut(&self.id) {
            Some(held) => {
                held.parked = Some((Instant::now(), link));
                None
            }
            None => Some(link),
        };
        drop(inner);
        drop(back);
    }

    /// The link again, unless the login was ended.
    pub fn take(&self) -> Option<Link> {
        let mut inner = self.logins.inner.lock();
        let (_, link) = inner.held.get_mut(&self.id)?.parked.take()?;
        Some(link)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let held = self.logins.inner.lock().held.remove(&self.id);
        drop(held);
        self.logins.grant();
    }
}

/// So long a client may take for one step of its login while so many wait for one of `limit` links.
fn patience(waiting: usize, limit: usize) -> Duration {
    let rounds = u32::try_from(waiting / limit.max(1)).unwrap_or(u32::MAX);
    (IDLE / rounds.saturating_add(1)).max(SHORTEST_IDLE)
}

/// When few wait. A slow client, far away, needs less.
const IDLE: Duration = Duration::from_secs(1);
/// However many wait. A client on the same continent needs less.
const SHORTEST_IDLE: Duration = Duration::from_millis(250);
/// How often one that waits looks for clients that don't continue.
const LOOK: Duration = Duration::from_millis(50);
const MOST_REPORTED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn begun(logins: &Arc<Logins>, address: Option<IpAddr>) -> tokio::task::JoinHandle<Turn> {
        let logins = Arc::clone(logins);
        tokio::spawn(async move { logins.enter(address).await.unwrap() })
    }

    #[tokio::test(start_paused = true)]
    async fn logins_wait_for_their_turn_and_give_up_after_their_time() {
        let logins = Logins::new(2, Duration::from_secs(10));
        let first = logins.enter(from(1)).await.unwrap();
        let _second = logins.enter(from(1)).await.unwrap();
        assert!(logins.try_enter(from(1)).is_none());
        let began = Instant::now();
        let late = logins.enter(from(2)).await.unwrap_err();
        assert!(matches!(late.fault, Fault::LoginTimeout { links: 2, .. }));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        let third = begun(&logins, from(2));
        tokio::task::yield_now().await;
        assert_eq!(logins.stats().waiting, 1);
        drop(first);
        let _third = third.await.unwrap();
        let stats = logins.stats();
        assert_eq!((stats.links, stats.waiting, stats.ended), (2, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_address_leaves_the_next_turn_to_others() {
        let logins = Logins::new(2, Duration::from_secs(10));
        let mut held = vec![logins.enter(from(1)).await.unwrap()];
        held.push(logins.enter(from(1)).await.unwrap());
        let flood: Vec<_> = (0..50).map(|_| begun(&logins, from(1))).collect();
        tokio::task::yield_now().await;
        let other = begun(&logins, from(2));
        tokio::task::yield_now().await;
        held.pop();
        let _turn = other.await.unwrap();
        assert!(flood.iter().all(|waiting| !waiting.is_finished()));
    }

    #[test]
    fn the_more_wait_the_shorter_a_client_may_be_silent() {
        let ms = |waiting| patience(waiting, 16).as_millis();
        assert_eq!((ms(1), ms(16), ms(32), ms(5000)), (1000, 500, 333, 250));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gave_up_in_the_queue_takes_no_turn() {
        let logins = Logins::new(1, Duration::from_secs(10));
        let first = logins.enter(from(1)).await.unwrap();
        let gone = begun(&logins, from(1));
        tokio::task::yield_now().await;
        let stays = begun(&logins, from(1));
        tokio::task::yield_now().await;
        gone.abort();
        tokio::task::yield_now().await;
        drop(first);
        let _turn = stays.await.unwrap();
        assert_eq!(logins.stats().links, 1);
    }
}
