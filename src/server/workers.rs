//! Whether the worker threads turn: one that doesn't serves none of its clients, and nothing else would say so.
//!
//! Each worker counts its turns once a second, and notes whose task it polls. The watchdog, a thread of its own, looks on: a
//! worker that stands still for [`STUCK`] is logged, with the client and the shape of the request that it is at, and makes
//! `/health` fail until it turns again. The watchdog counts its own looks rather than the time, so that a process that was
//! suspended as a whole isn't taken for a stuck one.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::roster::Client;
use super::shared::Shared;
use crate::command::{Command, shape_text};
use crate::wire::Frame;
use crate::wire::op_code::OP_MSG;
use crate::wire::op_msg::OpMsg;

/// The worker threads of a proxy.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug, Default)]
struct Worker {
    turns: AtomicU64,
    /// Whose task is being polled; 0: none of a client's.
    client: AtomicU64,
    /// For how many looks of the watchdog it has stood still; 0 while it isn't stuck.
    still: AtomicU64,
}

/// A worker that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckWorker {
    /// Its number, from 0 on.
    pub worker: usize,
    /// For how long.
    pub since: Duration,
}

impl Workers {
    pub(super) fn new(count: usize) -> Arc<Workers> {
        Arc::new(Workers((0..count).map(|_| Worker::default()).collect()))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that stand still now.
    pub fn stuck(&self) -> Vec<StuckWorker> {
        let all = self.0.iter().enumerate();
        let stuck = all.filter_map(|(worker, w)| {
            let still = w.still.load(Relaxed);
            let since = LOOK * u32::try_from(still).unwrap_or(u32::MAX);
            (still > 0).then_some(StuckWorker { worker, since })
        });
        stuck.collect()
    }

    /// Counts a worker's turns, on that worker, until the runtime ends.
    pub(super) async fn turn(self: Arc<Self>, worker: usize) {
        let Some(worker) = self.0.get(worker) else {
            return;
        };
        loop {
            worker.turns.fetch_add(1, Relaxed);
            sleep(TURN).await;
        }
    }

    /// The worker has ended, and won't turn any more.
    pub(super) fn ended(&self, worker: usize) {
        if let Some(worker) = self.0.get(worker) {
            worker.turns.store(ENDED, Relaxed);
        }
    }

    /// Runs a client's task on a worker, noting when it is polled.
    pub(super) async fn run(&self, worker: usize, client: u64, task: impl Future<Output = ()>) {
        let mut task = pin!(task);
        let worker = self.0.get(worker);
        let note = |client| {
            if let Some(worker) = worker {
                worker.client.store(client, Relaxed);
            }
        };
        std::future::poll_fn(move |context| {
            note(client);
            let polled = task.as_mut().poll(context);
            note(0);
            polled
        })
        .await;
    }

    /// Looks on for as long as the proxy lives.
    pub(super) fn watch(self: &Arc<Self>, shared: Weak<Shared>) -> std::io::Result<()> {
        let workers = Arc::clone(self);
        let watch = move || {
            let mut seen: Vec<Seen> = workers.0.iter().map(|_| Seen::default()).collect();
            while shared.strong_count() > 0 {
                std::thread::sleep(LOOK);
                for (number, (worker, seen)) in workers.0.iter().zip(&mut seen).enumerate() {
                    match seen.look(worker.turns.load(Relaxed)) {
                        Look::Turns => {}
                        Look::TurnsAgain(after) => {
                            worker.still.store(0, Relaxed);
                            tracing::warn!(target: "petiole::server", worker = number,
                                seconds = (LOOK * after).as_secs(), "the worker turns again");
                        }
                        Look::Stuck(still) => worker.still.store(still.into(), Relaxed),
                        Look::StuckNow(still) => {
                            worker.still.store(still.into(), Relaxed);
                            let client = worker.client.load(Relaxed);
                            report(number, client, &shared);
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("petiole-watchdog".to_owned());
        thread.spawn(watch).map(drop)
    }
}

/// What the watchdog remembers of a worker.
#[derive(Default)]
struct Seen {
    turns: u64,
    /// Looks since it was seen to turn.
    still: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    Turns,
    /// It was stuck for so many looks.
    TurnsAgain(u32),
    /// It is stuck, for so many looks, and that is new.
    StuckNow(u32),
    /// It is stuck still.
    Stuck(u32),
}

impl Seen {
    fn look(&mut self, turns: u64) -> Look {
        let was = self.still;
        if turns != self.turns || turns == ENDED {
            *self = Seen { turns, still: 0 };
            return match was >= STUCK {
                true => Look::TurnsAgain(was),
                false => Look::Turns,
            };
        }
        self.still = was.saturating_add(1);
        match self.still {
            still if still < STUCK => Look::Turns,
            STUCK => Look::StuckNow(STUCK),
            still => Look::Stuck(still),
        }
    }
}

fn report(worker: usize, client: u64, shared: &Weak<Shared>) {
    let shared = shared.upgrade();
    let client = shared.and_then(|shared| shared.roster.client(client));
    let seconds = (LOOK * STUCK).as_secs();
    let Some(client) = client else {
        tracing::error!(target: "petiole::server", worker, seconds,
            "a worker is stuck, and its clients wait: it is at a task of the proxy's own");
        return;
    };
    let message = client.at.message();
    let address = client.address.map(tracing::field::display);
    tracing::error!(target: "petiole::server", worker, seconds, client = client.id, address,
        application = client.application(), principal = client.principal().name,
        bytes = message.as_ref().map(|message| message.len()), "a worker is stuck, and its clients wait: it is at this client");
    // What the worker is stuck at may be what reads the message: that isn't done in the watchdog's own thread.
    let name = "petiole-stuck".to_owned();
    let _ = std::thread::Builder::new()
        .name(name)
        .spawn(move || describe(worker, &client));
}

/// Logs the shape of the request that a client's task is at.
fn describe(worker: usize, client: &Client) {
    let Some(frame) = client.at.message() else {
        tracing::error!(target: "petiole::server", worker, client = client.id, "the worker is between two requests of the client");
        return;
    };
    let op_code = frame.op_code();
    match read(&frame) {
        None => {
            tracing::error!(target: "petiole::server", worker, client = client.id, op_code, "the worker is at a message without a command");
        }
        Some((command, shape)) => {
            tracing::error!(target: "petiole::server", worker, client = client.id, db = command.db(), command = command.name(),
                collection = command.collection(), shape, "the worker is at this request");
        }
    }
}

/// A message's command, and its shape: no values.
fn read(frame: &Frame) -> Option<(Command, String)> {
    if frame.op_code() != OP_MSG {
        return None;
    }
    let msg = OpMsg::parse(frame).ok()?;
    let command = Command::parse(&msg)?;
    let shape = shape_text(&command, &msg);
    Some((command, shape))
}

const TURN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(500);
/// Looks without a turn: five seconds. A busy worker takes milliseconds for a turn, and one without a processor on a machine
/// that is short of them a second or two.
const STUCK: u32 = 10;
const ENDED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::super::roster::Roster;
    use super::*;
    use crate::pipeline::scripted::request;

    #[test]
    fn what_a_stuck_worker_is_at_is_told_as_a_shape_without_values() {
        let roster = Arc::new(Roster::default());
        let seat = roster.enter(7, None);
        for many in [1, 1000] {
            let list: Vec<i32> = (0..many).collect();
            let find = doc! {"find": "items", "filter": {"owner": {"$in": list}, "name": "secret"}, "$db": "game"};
            seat.at.begin(&request(&find).frame);
            let client = roster.client(7).unwrap();
            let (command, shape) = read(&client.at.message().unwrap()).unwrap();
            let named = (command.db(), command.name(), command.collection());
            assert_eq!(named, ("game", "find", Some("items")));
            assert!(
                shape.contains("owner") && !shape.contains("secret"),
                "{shape}"
            );
            seat.at.end();
        }
        assert!(roster.client(8).is_none());
    }

    #[test]
    fn a_worker_is_stuck_after_ten_looks_without_a_turn_and_that_is_new_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.look(1), Look::Turns);
        for _ in 0..STUCK - 1 {
            assert_eq!(seen.look(1), Look::Turns);
        }
        assert_eq!(seen.look(1), Look::StuckNow(STUCK));
        assert_eq!(seen.look(1), Look::Stuck(STUCK + 1));
        assert_eq!(seen.look(2), Look::TurnsAgain(STUCK + 1));
        assert_eq!(seen.look(2), Look::Turns);
        for _ in 0..2 * STUCK {
            assert_eq!(seen.look(ENDED), Look::Turns);
        }
    }
}
