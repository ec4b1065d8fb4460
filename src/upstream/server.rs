//! One member of the deployment, as last seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::address::Address;
use super::breaker::Breaker;
use super::hello::{Hello, Role};
use super::occupancy::Occupancy;
use crate::pipeline::Distance;

/// A server that the topology knows.
#[derive(Debug)]
pub struct Server {
    /// Number of this server in this process.
    pub id: u32,
    /// Where it listens.
    pub address: Address,
    state: ArcSwap<State>,
    generation: AtomicU64,
    incarnation: Mutex<Incarnation>,
    /// Moving average, microseconds; 0 = it was never measured.
    round_trip_us: AtomicU64,
    /// What stands for it until then.
    guess_us: AtomicU64,
    /// The last round trips measured, microseconds, and what they say of the way there.
    latest_us: Mutex<VecDeque<u64>>,
    distance: Distance,
    /// What is under way there.
    pub(super) occupancy: Occupancy,
    /// Whether requests should be sent to it at all.
    pub(super) breaker: Breaker,
    /// Another member was elected while this one called itself primary: it must answer soon.
    superseded: watch::Sender<bool>,
    /// It was primary when it was last heard of.
    was_primary: AtomicBool,
    /// Those who wait for replies over links that are void: they won't come.
    given_up: Notify,
    /// A link of its own was lost or couldn't be made, and its monitor hasn't heard of it since.
    is_doubted: AtomicBool,
    /// When its monitor last heard of it after a doubt: the doubt was wrong.
    refuted: Mutex<Option<Instant>>,
    /// Wakes the monitor: somebody had trouble with this server.
    pub(super) suspected: Notify,
    /// The monitor must end: the server left the deployment.
    pub(super) removed: Notify,
}

/// `topologyVersion.processId` as last heard; `None` inside where the server doesn't say.
#[derive(Debug)]
enum Incarnation {
    NeverSeen,
    Process(Option<Vec<u8>>),
    Gone(Option<Vec<u8>>),
}

/// What is known of a server.
#[derive(Debug, Default)]
pub struct State {
    /// Its last hello; `None` before the first and after a failure.
    pub hello: Option<Arc<Hello>>,
    /// Why there is none.
    pub error: Option<String>,
}

impl Server {
    /// `places`: requests that may be under way there while there are other servers.
    pub(super) fn new(id: u32, address: Address, places: usize) -> Arc<Server> {
        Arc::new(Server {
            id,
            address,
            state: ArcSwap::default(),
            generation: AtomicU64::new(0),
            incarnation: Mutex::new(Incarnation::NeverSeen),
            round_trip_us: AtomicU64::new(0),
            guess_us: AtomicU64::new(0),
            latest_us: Mutex::default(),
            distance: Distance::default(),
            occupancy: Occupancy::new(places),
            breaker: Breaker::default(),
            superseded: watch::Sender::new(false),
            was_primary: AtomicBool::new(false),
            given_up: Notify::new(),
            is_doubted: AtomicBool::new(false),
            refuted: Mutex::new(None),
            suspected: Notify::new(),
            removed: Notify::new(),
        })
    }

    /// What is known now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// The average round trip, microseconds, or a guess; 0 = there isn't even that.
    pub fn round_trip_us(&self) -> u64 {
        match self.round_trip_us.load(Relaxed) {
            0 => self.guess_us.load(Relaxed),
            measured => measured,
        }
    }

    /// What a round trip may take, for the first requests. Whatever is measured takes its place: an
    /// average would be long in forgetting it.
    pub(super) fn guess(&self, us: u64) {
        self.guess_us.store(us, Relaxed);
    }

    /// A hello took so long ("Server Selection": a moving average that weighs the last one by a fifth).
    pub(super) fn took(&self, us: u64) {
        let average = |before: u64| match before {
            0 => Some(us.max(1)),
            before => Some((before * 4 + us) / 5),
        };
        // The closure never refuses.
        let _ = self.round_trip_us.fetch_update(Relaxed, Relaxed, average);
        let mut latest = self.latest_us.lock();
        if latest.len() == REMEMBERED_TRIPS {
            latest.pop_front();
        }
        latest.push_back(us);
        // A server that is busy answers late; it never answers sooner than the network allows.
        let shortest = latest.iter().copied().min().unwrap_or_default();
        self.distance.set_us(shortest.saturating_sub(NEAR_US));
    }

    /// How far away it is.
    pub fn distance(&self) -> &Distance {
        &self.distance
    }

    /// Counts up whenever all links to the server must be given up.
    pub fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, SeqCst);
        // What failed was another process, or another network.
        self.breaker.answered();
    }

    /// The server has fallen silent: whoever waits for a reply of it does so in vain.
    /// (To be called after [`Server::next_generation`].)
    pub(super) fn give_up(&self) {
        self.given_up.notify_waiters();
    }

    /// Ends when replies over links of `generation` are given up.
    pub(super) async fn given_up(&self, generation: u64) {
        loop {
            let mut given_up = std::pin::pin!(self.given_up.notified());
            given_up.as_mut().enable();
            if self.generation() != generation {
                // A link may have been leased just before.
                return;
            }
            given_up.await;
        }
    }

    /// Whether another member has been elected while this one called itself primary, or did so
    /// when it was last heard of.
    pub(super) fn may_be_superseded(&self) -> bool {
        self.was_primary.load(SeqCst)
    }

    pub(super) fn supersede(&self) {
        self.superseded.send_replace(true);
        self.suspect();
    }

    /// Ends once the server has been [superseded](Server::supersede).
    pub(super) async fn superseded(&self) {
        let mut superseded = self.superseded.subscribe();
        if superseded.wait_for(|yes| *yes).await.is_err() {
            std::future::pending().await
        }
    }

    /// It may be down: a link was lost, or couldn't be made.
    pub(super) fn doubted(&self) {
        self.is_doubted.store(true, SeqCst);
    }

    /// It has answered its monitor as the process that it was before.
    pub(super) fn refute_doubt(&self, now: Instant) {
        if self.is_doubted.swap(false, SeqCst) {
            *self.refuted.lock() = Some(now);
        }
    }

    /// Whether it was doubted and turned out to be well less than a second ago. Then another link that it
    /// closes is the request's doing, which says nothing of other requests. (If the process ends after all, its
    /// monitor's link ends with it.)
    pub(super) fn was_refuted(&self, now: Instant) -> bool {
        self.refuted.lock().is_some_and(|at| now < at + DOUBT_AGAIN)
    }

    /// Its monitor has heard of it, or has given it up.
    pub(super) fn looked_at(&self, role: Option<Role>) {
        self.was_primary.store(role == Some(Role::Primary), SeqCst);
        self.superseded.send_replace(false);
    }

    /// The server answers, and says which process it is. Whether that is another one than
    /// before; where servers don't say, one that was gone in between counts as another.
    pub(super) fn answered_as(&self, process_id: Option<&Vec<u8>>) -> bool {
        let now = Incarnation::Process(process_id.cloned());
        let before = std::mem::replace(&mut *self.incarnation.lock(), now);
        match before {
            Incarnation::NeverSeen => false,
            Incarnation::Process(before) => before.as_ref() != process_id,
            Incarnation::Gone(before) => before.is_none() || before.as_ref() != process_id,
        }
    }

    /// The server doesn't answer.
    pub(super) fn gone(&self) {
        *self.refuted.lock() = None;
        let mut incarnation = self.incarnation.lock();
        if let Incarnation::Process(id) = &mut *incarnation {
            *incarnation = Incarnation::Gone(id.take());
        }
    }

    /// A link to this server failed: have it looked at now.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }
}

/// How long a server that was doubted in vain isn't doubted again for a link that it closes.
const DOUBT_AGAIN: Duration = Duration::from_secs(1);
/// Round trips of which the shortest counts: a minute of them, with the default heartbeat.
const REMEMBERED_TRIPS: usize = 6;
/// What a hello takes where the network takes nothing, microseconds.
const NEAR_US: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Arc<Server> {
        Server::new(
            0,
            Address {
                host: "h".into(),
                port: 1,
            },
            1,
        )
    }

    #[test]
    fn another_process_is_noticed_also_after_the_server_was_gone() {
        let (a, b) = (vec![1], vec![2]);
        let server = server();
        assert!(!server.answered_as(Some(&a)), "the first time");
        assert!(!server.answered_as(Some(&a)));
        assert!(server.answered_as(Some(&b)));
        server.gone();
        assert!(!server.answered_as(Some(&b)), "only the network was down");
        server.gone();
        server.gone();
        assert!(server.answered_as(Some(&a)));
    }

    #[test]
    fn a_doubt_that_was_refuted_is_not_repeated_for_a_second() {
        let (server, now) = (server(), Instant::now());
        server.refute_doubt(now);
        assert!(!server.was_refuted(now), "nobody had doubted it");
        server.doubted();
        assert!(!server.was_refuted(now));
        server.refute_doubt(now);
        assert!(server.was_refuted(now));
        assert!(!server.was_refuted(now + DOUBT_AGAIN));
        server.gone();
        assert!(!server.was_refuted(now), "it didn't answer later");
    }

    #[test]
    fn a_guess_is_forgotten_once_a_round_trip_was_measured() {
        let server = server();
        server.guess(500_000);
        assert_eq!(server.round_trip_us(), 500_000);
        server.took(1_000);
        assert_eq!(server.round_trip_us(), 1_000);
        server.took(2_000);
        assert_eq!(server.round_trip_us(), 1_200);
    }

    #[test]
    fn a_server_that_does_not_name_its_process_is_another_once_it_was_gone() {
        let server = server();
        assert!(!server.answered_as(None));
        assert!(!server.answered_as(None));
        server.gone();
        assert!(server.answered_as(None));
    }
}
