//! Running a batch, in a task of its own: a client that goes away takes nobody's write with it.
//!
//! On a replica set a batch is a retryable write of the proxy's own. So whatever happens to it, it
//! can be sent again, whole or client by client, and the server runs those statements only that it
//! hasn't run. That makes the outcome exact when a link dies, when the batch as a whole is refused
//! for what one client sent, and when one client's document is blocked by somebody's transaction.
//! On a standalone, a lost batch is lost as each write would have been.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::journal::{Doubt, State};
use super::merge;
use super::queue::{Member, Told};
use super::sessions::Session;
use super::split::{self, Share};
use super::stats::Alone;
use crate::command::{ReplyView, labels};
use crate::pipeline::{Failure, Fault, OwnedNext};

/// The right to send for a group. Dropped, those who queue have their turn.
pub(super) struct Turn {
    shared: Arc<Shared>,
    next: OwnedNext,
    key: Box<[u8]>,
    is_over: bool,
}

impl Turn {
    pub fn new(shared: Arc<Shared>, next: OwnedNext, key: Box<[u8]>) -> Turn {
        Turn {
            shared,
            next,
            key,
            is_over: false,
        }
    }

    /// Sends batch after batch until nobody waits.
    pub async fn run(mut self) {
        let linger = self.shared.linger;
        loop {
            if !linger.is_zero() {
                tokio::time::sleep(linger).await;
            }
            let members = self.shared.leaving(&self.key);
            if members.is_empty() {
                self.is_over = true;
                return;
            }
            commit(&self.shared, &self.next, members).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let members = self.shared.leaving(&self.key);
        // Without a runtime the process is at its end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !members.is_empty()
        {
            let key = std::mem::take(&mut self.key);
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
    let Some((principal, is_held)) = members.first().and_then(|m| {
        let command = m.request()?.command;
        let is_held = shared.fences.is_held(command.db(), command.collection()?);
        Some((m.principal.id, is_held))
    }) else {
        return;
    };
    let is_retryable = shared.facts.last().map(|abilities| abilities.retryable);
    let session = match is_retryable {
        _ if is_held => return members.into_iter().for_each(|m| send_away(shared, m)),
        Some(true) => Some(shared.sessions.lease(principal)),
        Some(false) if members.iter().all(|m| m.insert.write.is_none()) => None,
        // It isn't what it was when they came.
        _ => return members.into_iter().for_each(|m| send_away(shared, m)),
    };
    let mut batch = Batch {
        shared,
        next,
        principal,
        session,
        members,
    };
    match batch.send().await {
        Sent::Answered(reply) => batch.answer(&reply),
        Sent::Unanswered(failure) => batch.fail(failure),
        Sent::Unsettled => {
            let settling = Settling::of(batch);
            tokio::spawn(settling.run());
        }
        Sent::Refused => {
            shared.facts.forget();
            batch.give_session_back();
            let members = std::mem::take(&mut batch.members);
            members.into_iter().for_each(|m| send_away(shared, m));
        }
    }
}

/// One client's write as it came.
async fn alone(shared: &Shared, next: &OwnedNext, member: Member) {
    shared
        .journal
        .set(member.insert.write.as_ref(), State::Alone);
    let Some(mut request) = member.request() else {
        return;
    };
    shared.stats.alone(Alone::OnlyOne);
    member
        .ticket
        .tell(match next.borrow().run(&mut request).await {
            Ok(reply) => Told::Answer(Bytes::copy_from_slice(reply.body())),
            Err(failure) => Told::Failed(failure),
        });
}

/// Nothing was executed: the client's own task sends it.
fn send_away(shared: &Shared, member: Member) {
    shared.goes_alone(member.insert.write.as_ref(), &member.ticket);
}

struct Batch<'a> {
    shared: &'a Arc<Shared>,
    next: &'a OwnedNext,
    principal: u64,
    session: Option<Session>,
    members: Vec<Member>,
}

/// What became of a batch.
enum Sent {
    /// The server has answered for all of it.
    Answered(Bytes),
    Unanswered(Failure),
    /// An error of the whole command, after some of it may have been executed: each must be asked
    /// for by itself.
    Unsettled,
    /// An error of the whole command, before anything was executed.
    Refused,
}

impl Batch<'_> {
    async fn send(&mut self) -> Sent {
        let mut limit = self.session.map(|_| millis(self.shared.max_wait));
        let (mut was_sent, mut was_retried) = (false, false);
        self.shared.stats.command(self.members.len());
        loop {
            let Some(mut request) = merge::merged(&self.members, self.session.as_ref(), limit)
            else {
                return Sent::Refused;
            };
            let may_retry = self.session.is_some() && !was_retried;
            let body = match self.next.borrow().run(&mut request).await {
                Ok(reply) => Bytes::copy_from_slice(reply.body()),
                Err(failure) if limit.is_some() && never_left_in_time(&failure) => {
                    limit = None;
                    continue;
                }
                Err(failure) if failure.sent && may_retry => {
                    (was_sent, was_retried) = (true, true);
                    self.shared.stats.resent();
                    continue;
                }
                Err(mut failure) => {
                    failure.sent |= was_sent;
                    return Sent::Unanswered(failure);
                }
            };
            was_sent = true;
            let view = ReplyView::read(&body);
            let is_labelled = self.session.is_some() && view.has_label(labels::RETRYABLE_WRITE);
            if is_labelled && may_retry {
                was_retried = true;
                self.shared.stats.resent();
            } else if is_labelled {
                return Sent::Answered(body);
            } else if view.ok && limit.is_some() && split::has_write_concern_timeout(&body) {
                // It is all executed; only our own limit ended the wait for its replication.
                limit = None;
                self.shared.stats.resent();
            } else if view.ok {
                return Sent::Answered(body);
            } else {
                let code = view.code;
                return self.refused(code, body);
            }
        }
    }

    fn refused(&self, code: Option<i32>, body: Bytes) -> Sent {
        match code {
            Some(NO_RETRYABLE_WRITES) => Sent::Refused,
            _ if self.session.is_some() => Sent::Unsettled,
            Some(code) if INTERRUPTIONS.contains(&code) => Sent::Answered(body),
            _ => Sent::Refused,
        }
    }

    fn shares(&self) -> Vec<Share> {
        let mut first = 0;
        let share = |member: &Member| {
            let count = member.insert.count;
            let share = Share {
                first,
                count,
                labelled: member.insert.write.is_some(),
            };
            first += count;
            share
        };
        self.members.iter().map(share).collect()
    }

    fn answer(mut self, reply: &[u8]) {
        let shares = self.shares();
        let view = ReplyView::read(reply);
        let parts = match view.ok {
            true => split::split(reply, &shares),
            false => Some(
                shares
                    .iter()
                    .map(|s| split::whole(reply, s.labelled))
                    .collect(),
            ),
        };
        let Some(parts) = parts else {
            if self.session.is_some() {
                tokio::spawn(Settling::of(self).run());
            } else {
                let failure = Failure::lost("the reply to a batch doesn't add up");
                self.fail(failure);
            }
            return;
        };
        let stays = self.session.filter(|_| must_stay_askable(&view));
        for ((member, share), part) in self.members.iter().zip(&shares).zip(parts) {
            let state = match stays {
                Some(session) => in_doubt(session, share),
                None => State::Done(part.clone()),
            };
            self.shared.journal.set(member.insert.write.as_ref(), state);
            member.ticket.tell(Told::Answer(part));
        }
        if stays.is_none() {
            self.give_session_back();
        }
    }

    fn fail(mut self, failure: Failure) {
        for (member, share) in self.members.iter().zip(self.shares()) {
            let write = member.insert.write.as_ref();
            match self.session {
                Some(session) if failure.sent => {
                    self.shared.journal.set(write, in_doubt(session, &share));
                }
                _ => self.shared.journal.forget(write),
            }
            member.ticket.tell(Told::Failed(failure.clone()));
        }
        if !failure.sent {
            self.give_session_back();
        }
    }

    fn give_session_back(&mut self) {
        if let Some(session) = self.session.take() {
            self.shared.sessions.give_back(self.principal, session);
        }
    }
}

/// Whether a client may send its write again after such a reply, to have it executed.
fn must_stay_askable(reply: &ReplyView<'_>) -> bool {
    let interrupted = |code| INTERRUPTIONS.contains(&code);
    reply.has_label(labels::RETRYABLE_WRITE) || !reply.ok && reply.code.is_some_and(interrupted)
}

fn in_doubt(session: Session, share: &Share) -> State {
    State::Doubt(Doubt {
        session,
        first: share.first,
        count: share.count,
    })
}

/// Asks for a batch's writes one by one, in a task beside the queue. Each gets a slice of time as
/// long as others wait, so that one whose document is blocked doesn't hold up the rest: they share
/// a session, and the server runs one command of a session at a time.
struct Settling {
    shared: Arc<Shared>,
    next: OwnedNext,
    principal: u64,
    session: Option<Session>,
    waiting: VecDeque<(Member, Share)>,
}

impl Settling {
    fn of(batch: Batch<'_>) -> Settling {
        let shares = batch.shares();
        Settling {
            shared: Arc::clone(batch.shared),
            next: batch.next.clone(),
            principal: batch.principal,
            session: batch.session,
            waiting: batch.members.into_iter().zip(shares).collect(),
        }
    }

    async fn run(mut self) {
        let Some(session) = self.session else { return };
        let mut is_settled = true;
        let mut takes_its_time = false;
        while let Some((member, share)) = self.waiting.pop_front() {
            let is_last = self.waiting.is_empty();
            let limit = (!is_last && !takes_its_time).then_some(millis(SLICE));
            takes_its_time = false;
            let Some(mut request) = member.request().and_then(|original| {
                merge::statement(&original, &member.insert, &session, share.first, limit)
            }) else {
                continue;
            };
            self.shared.stats.one_by_one();
            let body = match self.next.borrow().run(&mut request).await {
                Ok(reply) => Bytes::copy_from_slice(reply.body()),
                Err(failure) if limit.is_some() && never_left_in_time(&failure) => {
                    takes_its_time = true;
                    self.waiting.push_front((member, share));
                    continue;
                }
                Err(mut failure) => {
                    // Sent or not, it may have been executed with the batch.
                    failure.sent = true;
                    is_settled = false;
                    let state = in_doubt(session, &share);
                    self.shared.journal.set(member.insert.write.as_ref(), state);
                    member.ticket.tell(Told::Failed(failure));
                    continue;
                }
            };
            let view = ReplyView::read(&body);
            if view.ok && limit.is_some() && split::has_write_concern_timeout(&body) {
                // It is executed, and waits for what the others will wait for too.
                takes_its_time = true;
                self.waiting.push_front((member, share));
            } else if !view.ok && limit.is_some() && view.code == Some(super::MAX_TIME_MS_EXPIRED) {
                self.waiting.push_back((member, share));
            } else {
                let part = split::whole(&body, share.labelled);
                let stays = must_stay_askable(&view);
                is_settled &= !stays;
                let state = match stays {
                    true => in_doubt(session, &share),
                    false => State::Done(part.clone()),
                };
                self.shared.journal.set(member.insert.write.as_ref(), state);
                member.ticket.tell(Told::Answer(part));
            }
        }
        if is_settled {
            self.shared.sessions.give_back(self.principal, session);
        }
    }
}

/// There was no link or no primary within a limit of our own, which the clients never set.
fn never_left_in_time(failure: &Failure) -> bool {
    !failure.sent && matches!(failure.fault, Fault::MaxTimeExpired)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// How long one write may hold up the others of its batch when they are asked for one by one.
const SLICE: Duration = Duration::from_millis(200);

/// IllegalOperation: the server has no sessions with numbers (a standalone).
const NO_RETRYABLE_WRITES: i32 = 20;

/// Errors that can end a command in its midst: LockTimeout, MaxTimeMSExpired, ShutdownInProgress,
/// CursorKilled, ExceededTimeLimit, ClientDisconnect, TransactionExceededLifetimeLimitSeconds,
/// InterruptedDueToStorageChange, InterruptedAtShutdown, Interrupted,
/// InterruptedDueToReplStateChange, ClientMarkedKilled (names from the server's error_codes.yml).
const INTERRUPTIONS: [i32; 12] = [
    24, 50, 91, 237, 262, 279, 290, 355, 11600, 11601, 11602, 46841,
];
