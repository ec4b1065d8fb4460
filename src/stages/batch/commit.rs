//! Whose turn it is: batch after batch of a group, in a task of its own, so that a client that
//! goes away takes nobody's write with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::batch::{Batch, How};
use super::journal::State;
use super::member::{Member, Told};
use super::merge::Form;
use super::stats::Alone;
use crate::config::WriteKind;
use crate::memory::{Kind, Live};
use crate::pipeline::{OwnedNext, Reply};

/// The right to send for a group. Dropped, those who queue have their turn.
pub(super) struct Turn {
    shared: Arc<Shared>,
    next: OwnedNext,
    key: Arc<[u8]>,
    is_over: bool,
    /// How long the last command was under way, where it matters and the server answered.
    took: Option<Duration>,
    _live: Live,
}

impl Turn {
    pub fn new(shared: Arc<Shared>, next: OwnedNext, key: Arc<[u8]>) -> Turn {
        Turn {
            _live: shared.fences.memory().live(Kind::Batches),
            shared,
            next,
            key,
            is_over: false,
            took: None,
        }
    }

    /// Sends batch after batch until nobody waits.
    pub async fn run(mut self) {
        let linger = self.shared.linger;
        loop {
            if !linger.is_zero() {
                tokio::time::sleep(linger).await;
            }
            self.gather().await;
            let members = self.shared.leaving(&self.key, self.took.take());
            if members.is_empty() {
                self.is_over = true;
                return;
            }
            let (shared, next) = (Arc::clone(&self.shared), self.next.clone());
            self.timed(commit(&shared, &next, members)).await;
        }
    }

    /// Runs a command, and sees how long it is under way, if the server is far.
    pub async fn timed<T>(&mut self, command: impl IntoFuture<Output = T>) -> T {
        let distance = Duration::from_micros(self.shared.facts.distance_us());
        if distance.is_zero() {
            return command.await;
        }
        let begun = Instant::now();
        let outcome = command.await;
        let took = begun.elapsed();
        // What was over sooner hasn't been at the server.
        self.took = (took > distance).then_some(took);
        outcome
    }
}

impl Turn {
    /// Lets all who have come already into the queue: the thread looks at its sockets as long as each look brings somebody.
    async fn gather(&self) {
        let mut waiting = 0;
        for _ in 0..MOST_LOOKS {
            let now = self.shared.groups.waiting(&self.key);
            if now <= waiting {
                return;
            }
            waiting = now;
            tokio::task::yield_now().await;
        }
    }
}

/// Looks at the sockets before a batch leaves, at most.
const MOST_LOOKS: usize = 16;

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let members = self.shared.leaving(&self.key, self.took);
        // Without a runtime the process is at its end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !members.is_empty()
        {
            let key = Arc::clone(&self.key);
            let turn = Turn::new(Arc::clone(&self.shared), self.next.clone(), key);
            runtime.spawn(async move {
                commit(&turn.shared, &turn.next, members).await;
                turn.run().await;
            });
        }
    }
}

async fn commit(shared: &Arc<Shared>, next: &OwnedNext, mut members: Vec<Member>) {
    shared
        .stats
        .waited(members.iter().map(|m| m.since.elapsed()));
    if members.len() == 1
        && let Some(only) = members.pop()
    {
        return alone(shared, next, only).await;
    }
    let Some((kind, principal, request)) = members
        .first()
        .and_then(|m| Some((m.write.kind, m.principal.id, m.request()?)))
    else {
        return;
    };
    let may_merge = shared
        .collections
        .learn_before_merging(kind, &request, next);
    let may_merge = match tokio::time::timeout(shared.max_wait, may_merge).await {
        Ok(may_merge) => may_merge,
        Err(_) => Err(Alone::Unknown),
    };
    let (db, collection) = (request.command.db(), request.command.collection());
    let is_held = shared.fences.is_held(db, collection.unwrap_or_default());
    // (Perhaps the upstream or the collection isn't what it was when they came.)
    let form = form(shared, &members).filter(|_| !is_held);
    let (form, is_retryable, guard) = match (form, may_merge) {
        (Some((form, is_retryable)), Ok(guard)) => (form, is_retryable, guard),
        (_, may_merge) => {
            let why = may_merge.err().unwrap_or(Alone::Refused);
            return members.into_iter().for_each(|m| shared.send_away(m, why));
        }
    };
    let session = is_retryable.then(|| shared.sessions.lease(principal));
    let how = How {
        form,
        session,
        guard,
    };
    Batch::new(shared, next, how, members).run().await;
}

/// How these are put, and whether as a retryable write. `None`: not together.
fn form(shared: &Shared, members: &[Member]) -> Option<(Form, bool)> {
    let abilities = shared.facts.get()?;
    let kind = members.first()?.write.kind;
    let any = |of: fn(&Member) -> bool| members.iter().any(of);
    match kind {
        WriteKind::Insert if !abilities.retryable => {
            (!any(|m| m.write.id.is_some())).then_some((Form::Plain, false))
        }
        WriteKind::Update | WriteKind::Delete if abilities.bulk => {
            let is_numbered = abilities.retryable && shared.facts.is_bulk_numbered();
            let may_leave = is_numbered || !any(|m| m.needs_number());
            may_leave.then_some((Form::Bulk, is_numbered))
        }
        _ => abilities.retryable.then_some((Form::Plain, true)),
    }
}

/// One client's write as it came.
async fn alone(shared: &Shared, next: &OwnedNext, member: Member) {
    shared.journal.set(member.write.id.as_ref(), State::Alone);
    let Some(mut request) = member.request() else {
        return;
    };
    let outcome = shared
        .alone(Alone::OnlyOne, &mut request, next.borrow())
        .await;
    member.ticket.tell(match outcome {
        // A retry that waits for it has a client of its own.
        _ if member.callers.is_one_given_up() => Told::Alone(Alone::Gone),
        Ok(reply) => Told::Answer(Reply::for_several(reply.body()), request.tried()),
        Err(failure) => Told::Failed(failure),
    });
}
