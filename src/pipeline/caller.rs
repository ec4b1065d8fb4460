//! The client behind a request, looked at before the request is sent.
//!
//! What has not been sent is not sent after its client has gone: the client may have written anew through another
//! connection, and what comes late would undo that. So while a request waits, its client's going away ends the wait
//! ([`Caller::give_up`]), and immediately before it is put on a link its client is looked at once more
//! ([`Callers::set_out`]). A request that is under way at a server runs on, as it does when a client of the server goes.
//!
//! Both sides may come at the same moment, on two threads, when a batch carries the write. One of them wins: the state
//! changes in one step.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::Instant;

/// A client as others may look at it.
pub trait Presence: Debug + Send + Sync {
    /// Whether it has closed its connection, or the sending side of it.
    fn is_gone(&self) -> bool;
}

/// A client that has one request under way.
#[derive(Debug)]
pub struct Caller {
    client: Arc<dyn Presence>,
    /// It wants no reply, since then.
    silent_since: Option<Instant>,
    state: AtomicU8,
    was_sent: AtomicBool,
}

/// It waits, and may be given up.
const WAITS: u8 = 0;
/// It is under way at a server.
const UNDER_WAY: u8 = 1;
/// Its client has gone, and it isn't sent any more.
const GONE: u8 = 2;

impl Caller {
    /// `silent_since`: the client wants no reply, and asked then.
    pub fn new(client: Arc<dyn Presence>, silent_since: Option<Instant>) -> Arc<Caller> {
        Arc::new(Caller {
            client,
            silent_since,
            state: AtomicU8::new(WAITS),
            was_sent: AtomicBool::new(false),
        })
    }

    /// The client has gone. Whether its request can be given up: it waits, and won't be sent from now on.
    pub fn give_up(&self) -> bool {
        let before = self
            .state
            .compare_exchange(WAITS, GONE, SeqCst, SeqCst)
            .unwrap_or_else(|state| state);
        before != UNDER_WAY
    }

    /// Whether the request was found to be of a client that has gone: it won't be sent, or not again.
    pub fn is_given_up(&self) -> bool {
        self.state.load(SeqCst) == GONE
    }

    /// Whether any try of it was sent.
    pub fn was_sent(&self) -> bool {
        self.was_sent.load(SeqCst)
    }

    /// A client that wants no reply closes when it has said what it had to say: mongod carries out what lies in the socket
    /// then. But what had to wait comes as late as any other write.
    pub fn may_leave(&self) -> bool {
        self.silent_since
            .is_some_and(|since| since.elapsed() < AT_ONCE)
    }

    /// Looks. Found gone, it stays so.
    fn is_here(&self) -> bool {
        if self.is_given_up() {
            return false;
        }
        if !self.may_leave() && self.client.is_gone() {
            self.state.store(GONE, SeqCst);
            return false;
        }
        true
    }

    fn set_out(&self) -> bool {
        let state = self
            .state
            .compare_exchange(WAITS, UNDER_WAY, SeqCst, SeqCst)
            .unwrap_or_else(|state| state);
        if state == GONE {
            return false;
        }
        self.was_sent.store(true, SeqCst);
        true
    }

    fn come_back(&self) {
        // (A client that was found gone stays so.)
        let _ = self
            .state
            .compare_exchange(UNDER_WAY, WAITS, SeqCst, SeqCst);
    }
}

/// The clients behind a command.
#[derive(Clone, Debug, Default)]
pub enum Callers {
    /// None that could go: the command is the proxy's own, or may be sent all the same.
    #[default]
    None,
    /// One.
    One(Arc<Caller>),
    /// Those of a batch.
    Several(Arc<Several>),
}

/// The clients of a batch.
#[derive(Debug)]
pub struct Several {
    callers: Box<[Arc<Caller>]>,
    was_kept_back: AtomicBool,
}

impl Callers {
    /// The clients behind several commands that are sent as one.
    pub fn of_all<'a>(commands: impl Iterator<Item = &'a Callers>) -> Callers {
        let all: Vec<_> = commands
            .flat_map(Callers::as_slice)
            .map(Arc::clone)
            .collect();
        match all.is_empty() {
            true => Callers::None,
            false => Callers::Several(Arc::new(Several {
                callers: all.into(),
                was_kept_back: AtomicBool::new(false),
            })),
        }
    }

    /// To be called immediately before the command is put on a link, and once for each try: looks at each client. `None`: one
    /// of them has gone, and nothing may be sent. Otherwise the command is under way until the answer is dropped.
    pub fn set_out(&self) -> Option<UnderWay> {
        let callers = self.as_slice();
        // All are looked at, so that all who have gone leave at once.
        let here = callers.iter().filter(|caller| caller.is_here()).count();
        let under_way = UnderWay(self.clone());
        // (One may have been given up since. The others come back when `under_way` is dropped.)
        if here == callers.len() && callers.iter().all(|caller| caller.set_out()) {
            return Some(under_way);
        }
        if let Callers::Several(several) = self {
            several.was_kept_back.store(true, SeqCst);
        }
        None
    }

    /// Whether a try of a batch wasn't sent because a client of it had gone.
    pub fn was_kept_back(&self) -> bool {
        matches!(self, Callers::Several(several) if several.was_kept_back.load(SeqCst))
    }

    /// Whether the request of one of them was given up.
    pub fn is_one_given_up(&self) -> bool {
        self.as_slice().iter().any(|caller| caller.is_given_up())
    }

    fn as_slice(&self) -> &[Arc<Caller>] {
        match self {
            Callers::None => &[],
            Callers::One(caller) => std::slice::from_ref(caller),
            Callers::Several(several) => &several.callers,
        }
    }
}

/// A command that is under way at a server. Dropped, it waits again or is over.
#[derive(Debug)]
#[must_use]
pub struct UnderWay(Callers);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let callers = self.0.as_slice();
        callers.iter().for_each(|caller| caller.come_back());
    }
}

/// What leaves within this time after it was read has not waited.
pub const AT_ONCE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Socket(AtomicBool);

    impl Presence for Socket {
        fn is_gone(&self) -> bool {
            self.0.load(SeqCst)
        }
    }

    fn client() -> (Arc<Socket>, Arc<Caller>) {
        let socket = Arc::<Socket>::default();
        let caller = Caller::new(socket.clone(), None);
        (socket, caller)
    }

    #[test]
    fn what_waits_is_given_up_and_what_is_under_way_is_not() {
        let (_, caller) = client();
        let one = Callers::One(Arc::clone(&caller));
        let under_way = one.set_out().unwrap();
        assert!(!caller.give_up());
        drop(under_way);
        assert!(caller.give_up() && caller.was_sent());
        assert!(one.set_out().is_none(), "it isn't sent again");
    }

    #[test]
    fn nothing_of_a_batch_sets_out_when_one_client_has_gone_and_only_that_one_is_given_up() {
        let clients = [client(), client(), client()];
        let callers: Vec<_> = clients
            .iter()
            .map(|(_, caller)| Callers::One(Arc::clone(caller)))
            .collect();
        clients[1].0.0.store(true, SeqCst);
        let all = Callers::of_all(callers.iter());
        assert!(all.set_out().is_none() && all.was_kept_back());
        let given_up = clients.each_ref().map(|(_, c)| c.is_given_up());
        assert_eq!(given_up, [false, true, false]);
        assert!(!clients.iter().any(|(_, caller)| caller.was_sent()));
        let others = [&callers[0], &callers[2]];
        assert!(Callers::of_all(others.into_iter()).set_out().is_some());
    }

    #[test]
    fn a_client_that_is_given_up_on_another_thread_meanwhile_keeps_all_from_setting_out() {
        let (first, second) = (client().1, client().1);
        assert!(second.give_up());
        let one = |caller: &Arc<Caller>| Callers::One(Arc::clone(caller));
        assert!(
            Callers::of_all([one(&first), one(&second)].iter())
                .set_out()
                .is_none()
        );
        assert!(first.give_up(), "it waits again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_wants_no_reply_may_leave_its_client_but_not_wait_for_long_without_it() {
        let socket = Arc::<Socket>::default();
        socket.0.store(true, SeqCst);
        let one = Callers::One(Caller::new(socket, Some(Instant::now())));
        assert!(one.set_out().is_some());
        tokio::time::advance(AT_ONCE).await;
        assert!(one.set_out().is_none());
    }
}
