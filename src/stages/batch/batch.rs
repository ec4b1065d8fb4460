//! Running a batch.
//!
//! On a replica set a batch is a retryable write of the proxy's own. So whatever happens to it, it
//! can be sent again, whole or client by client, and the server runs those statements only that it
//! hasn't run. (When a link dies, or the server says so, the retry stage below does that, as with
//! any other write.) That makes the outcome exact when a link dies, when the batch as a whole is refused
//! for what one client sent, when one client's document is blocked by somebody's transaction, when all
//! that is wrong with the documents is too much for one reply, and when totals don't tell what each update did
//! (`tally`).
//! On a standalone, a lost batch is lost as each write would have been.
//!
//! What is sent again here is what has been answered: to learn more than the answer tells.
//!
//! A try that was lost may land after a later one was refused (`Progress::in_doubt`). So from then on
//! nothing of the batch is sent under other numbers, and each client's fence hears of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::journal::{Doubt, State};
use super::kinds::{COLLECTION_UUID_MISMATCH, Guard};
use super::member::{Member, Told};
use super::merge::{self, Form};
use super::news::News;
use super::settle::Settling;
use super::split::{self, Share};
use super::stats::Alone;
use super::tally::{self, Did};
use crate::command::{ReplyView, labels};
use crate::config::WriteKind;
use crate::pipeline::{Failure, Fault, OwnSession, OwnedNext, Reply, Tried};
use crate::wire::doc;

/// Several clients' writes in one command.
pub(super) struct Batch<'a> {
    shared: &'a Arc<Shared>,
    next: &'a OwnedNext,
    form: Form,
    guard: Guard,
    kind: WriteKind,
    principal: u64,
    session: Option<OwnSession>,
    members: Vec<(Member, Share)>,
    /// A try was answered.
    was_sent: bool,
    /// What became of some write isn't known, and may be asked for under the session's number.
    leaves_doubt: bool,
    /// What became of its tries.
    tried: Tried,
}

/// How a batch is sent.
pub(super) struct How {
    pub form: Form,
    /// What makes sending it again exact.
    pub session: Option<OwnSession>,
    /// What makes the server refuse it if the collection is another by now.
    pub guard: Guard,
}

/// What became of a batch.
enum Sent {
    /// The server has answered for all of it. A `bulkWrite`'s results are beside its reply.
    Answered(Bytes, Vec<Bytes>),
    Unanswered(Failure),
    /// An error of the whole command, after some of it may have been executed: each must be asked
    /// for by itself.
    Unsettled,
    /// An error of the whole command, before anything was executed.
    Refused,
}

impl<'a> Batch<'a> {
    pub fn new(
        shared: &'a Arc<Shared>,
        next: &'a OwnedNext,
        how: How,
        members: Vec<Member>,
    ) -> Batch<'a> {
        let first = members.first();
        let kind = first.map_or(WriteKind::Insert, |m| m.write.kind);
        let principal = first.map_or(0, |m| m.principal.id);
        let shared_out = |member: Member| {
            let share = Share {
                first: 0,
                count: member.write.count,
                labelled: member.write.id.is_some(),
            };
            (member, share)
        };
        let mut members: Vec<_> = members.into_iter().map(shared_out).collect();
        number(&mut members);
        Batch {
            shared,
            next,
            form: how.form,
            guard: how.guard,
            kind,
            principal,
            session: how.session,
            members,
            was_sent: false,
            leaves_doubt: false,
            tried: Tried::default(),
        }
    }

    /// Sends it and tells each client.
    pub async fn run(mut self) {
        self.shared.stats.batch(self.kind, self.members.len());
        match self.send().await {
            Sent::Answered(reply, results) => self.answer(reply, results).await,
            Sent::Unanswered(failure) => self.unanswered(failure),
            Sent::Unsettled => self.settle(),
            Sent::Refused => {
                self.give_session_back();
                let members = std::mem::take(&mut self.members);
                members
                    .into_iter()
                    .for_each(|(m, _)| self.shared.send_away(m, Alone::Refused));
            }
        }
    }

    async fn send(&mut self) -> Sent {
        let mut limit = self.session.map(|_| millis(self.shared.max_wait));
        let mut was_executed = false;
        loop {
            let members = self.members.iter().map(|(member, _)| member);
            let how = (self.form, self.session.as_ref(), self.guard.as_ref());
            let Some(mut request) = merge::merged(members, how, limit) else {
                return Sent::Refused;
            };
            let outcome = self.next.borrow().run(&mut request).await;
            self.tried.join(&request.tried());
            let body = match outcome {
                Ok(reply) => Bytes::copy_from_slice(reply.body()),
                Err(mut failure) => {
                    failure.sent |= self.was_sent;
                    if !request.callers.was_kept_back() {
                        return Sent::Unanswered(failure);
                    }
                    self.let_go(&failure);
                    match (self.members.is_empty(), failure.sent) {
                        (true, true) => return Sent::Unanswered(failure),
                        (true, false) => return Sent::Refused,
                        (false, true) => return Sent::Unsettled,
                        (false, false) => continue,
                    }
                }
            };
            self.was_sent = true;
            let view = ReplyView::read(&body);
            if !view.ok && self.session.is_some() && request.callers.was_kept_back() {
                // The error asked for a retry, which one client's going kept back: the others are asked for by themselves.
                self.let_go(&Failure {
                    fault: Fault::ClientGone,
                    sent: true,
                });
                return Sent::Unsettled;
            }
            let is_labelled = self.session.is_some() && view.has_label(labels::RETRYABLE_WRITE);
            // (Who is overloaded isn't asked for each by itself.)
            if !view.ok && (is_labelled || is_overload(&view)) {
                return Sent::Answered(body, Vec::new());
            } else if view.ok && limit.is_some() && split::has_write_concern_timeout(&body) {
                // It is all executed; only our own limit ended the wait for its replication.
                limit = None;
                was_executed = true;
                self.shared.stats.resent();
            } else if view.ok {
                return self.results(body).await;
            } else if was_executed || self.is_in_doubt() {
                // Whatever this try was refused for, an earlier one counts.
                return Sent::Unsettled;
            } else if self.refuses_numbers(&body) {
                self.shared.facts.note_unnumbered();
                self.give_session_back();
                limit = None;
                if self.members.iter().any(|(m, _)| m.needs_number()) {
                    return Sent::Refused;
                }
            } else {
                let code = view.code;
                return self.refused(code, body);
            }
        }
    }

    /// Takes those out whose clients were found to have gone. What has not been sent is forgotten; what may have been sent
    /// isn't sent again, and nobody knows what became of it.
    fn let_go(&mut self, failure: &Failure) {
        let has_gone = |(member, _): &(Member, Share)| member.callers.is_one_given_up();
        let (gone, left) = std::mem::take(&mut self.members)
            .into_iter()
            .partition(has_gone);
        self.members = left;
        match failure.sent {
            true => {
                self.leaves_doubt = true;
                self.fail_each(gone, failure);
            }
            false => {
                for (member, _) in gone {
                    self.shared.send_away(member, Alone::Gone);
                }
                number(&mut self.members);
            }
        }
    }

    /// Whether a try was lost and may still land. (It had a session then.)
    fn is_in_doubt(&self) -> bool {
        self.tried.progress.in_doubt
    }

    /// Whether the server doesn't know of statement numbers in a `bulkWrite`; then it has read no
    /// further.
    fn refuses_numbers(&self, body: &[u8]) -> bool {
        let names_them = doc::find(body, "errmsg")
            .and_then(|e| e.as_str())
            .is_some_and(|text| text.contains("stmtIds"));
        self.form == Form::Bulk && self.session.is_some() && names_them
    }

    fn refused(&self, code: Option<i32>, body: Bytes) -> Sent {
        match code {
            Some(NO_RETRYABLE_WRITES) => {}
            Some(COLLECTION_UUID_MISMATCH) => self.forget_collection(),
            _ if self.session.is_some() => return Sent::Unsettled,
            Some(code) if INTERRUPTIONS.contains(&code) => {
                return Sent::Answered(body, Vec::new());
            }
            _ => {}
        }
        // (If the upstream isn't what it was, its monitor hears of that.)
        Sent::Refused
    }

    /// A `bulkWrite`'s results, also those that aren't in its reply.
    async fn results(&self, body: Bytes) -> Sent {
        if self.form == Form::Plain {
            return Sent::Answered(body, Vec::new());
        }
        let mut results = Vec::new();
        let mut part = body.clone();
        loop {
            let Some((id, collection)) = take_results(&part, &mut results) else {
                return self.without_results();
            };
            if id == 0 {
                return Sent::Answered(body, results);
            }
            let request = self.members.first().and_then(|(member, _)| {
                merge::more_results(member, id, &collection, self.session.as_ref())
            });
            let Some(mut request) = request else {
                return self.without_results();
            };
            match self.next.borrow().run(&mut request).await {
                Ok(reply) if reply.view().ok => {
                    part = Bytes::copy_from_slice(reply.body());
                }
                _ => return self.without_results(),
            }
        }
    }

    /// It is all executed, and nobody knows with what result.
    fn without_results(&self) -> Sent {
        match self.session {
            Some(_) => Sent::Unsettled,
            None => Sent::Unanswered(Failure::lost("the results of a batch didn't come")),
        }
    }

    async fn answer(mut self, reply: Bytes, results: Vec<Bytes>) {
        if !ReplyView::read(&reply).ok {
            let whole = |labelled| Reply::for_several(&split::whole(&reply, labelled));
            let [plain, labelled] = [false, true].map(whole);
            let parts = self.members.iter().map(|(_, share)| match share.labelled {
                true => Part::Answer(labelled.clone()),
                false => Part::Answer(plain.clone()),
            });
            let parts = parts.collect();
            return self.tell(&reply, parts);
        }
        let mut parts = self.parts(&reply, &results);
        self.leave_out_elsewhere(&reply, &mut parts);
        let mut reply = reply;
        let is_unclear = |parts: &Option<Vec<Part>>| {
            parts
                .as_ref()
                .is_some_and(|p| p.iter().any(|p| matches!(p, Part::Unknown)))
        };
        if is_unclear(&parts) {
            self.shared.stats.resent();
            match self.send().await {
                Sent::Answered(again, _) if ReplyView::read(&again).ok => {
                    parts = self.parts(&again, &[]);
                    self.leave_out_elsewhere(&again, &mut parts);
                    reply = again;
                }
                Sent::Unanswered(mut failure) => {
                    failure.sent = true;
                    return self.unanswered(failure);
                }
                Sent::Answered(..) | Sent::Unsettled | Sent::Refused => return self.settle(),
            }
        }
        match parts {
            Some(parts) => self.tell(&reply, parts),
            None if self.session.is_some() => self.settle(),
            None => self.fail(Failure::lost("the reply to a batch doesn't add up")),
        }
    }

    /// Each client's part of a reply. `None` if the reply doesn't add up.
    fn parts(&self, reply: &[u8], results: &[Bytes]) -> Option<Vec<Part>> {
        let shares = || self.members.iter().map(|(_, share)| share);
        let kind = self.kind;
        match (kind, self.form) {
            (WriteKind::Insert, _) => {
                let shares: Vec<Share> = shares().copied().collect();
                let parts = split::split(reply, &shares)?;
                Some(parts.into_iter().map(Part::Answer).collect())
            }
            (_, Form::Plain) => {
                let did = tally::of_totals(reply, kind, self.members.len())?;
                let part = |(share, did): (&Share, Option<Did<'_>>)| match did {
                    Some(did) => {
                        let own = tally::reply_of_totals(reply, kind, share, did);
                        Part::Answer(Reply::for_several(&own))
                    }
                    None => Part::Unknown,
                };
                Some(shares().zip(did).map(part).collect())
            }
            (_, Form::Bulk) => {
                let did = tally::of_results(results, kind, self.members.len())?;
                let part = |(share, did): (&Share, Did<'_>)| match did {
                    Did::Failed(result) => {
                        if split::code(result) == Some(COLLECTION_UUID_MISMATCH) {
                            self.forget_collection();
                        }
                        Part::Undone
                    }
                    did => {
                        let own = tally::reply_of_bulk(reply, kind, share, did);
                        Part::Answer(Reply::for_several(&own))
                    }
                };
                Some(shares().zip(did).map(part).collect())
            }
        }
    }

    /// A statement that the server refused because the collection is another one by now was not executed. Its client didn't
    /// name a collection by its UUID, so it must not see that error: the statement is sent again without the guard.
    fn leave_out_elsewhere(&self, reply: &[u8], parts: &mut Option<Vec<Part>>) {
        let elsewhere = split::failed_with(reply, COLLECTION_UUID_MISMATCH);
        if elsewhere.is_empty() {
            return;
        }
        self.forget_collection();
        let shares = self.members.iter().map(|(_, share)| share);
        for (part, share) in parts.iter_mut().flatten().zip(shares) {
            let own = share.first..share.first + share.count;
            match elsewhere.iter().filter(|at| own.contains(at)).count() {
                0 => {}
                all if all == share.count => *part = Part::Undone,
                // Dropped in the midst of this client's documents. Without a session nothing can be asked again.
                _ if self.session.is_some() => *part = Part::Unknown,
                _ => {}
            }
        }
    }

    fn forget_collection(&self) {
        let first = self.members.first().and_then(|(m, _)| m.request());
        if let Some(request) = first {
            self.shared.collections.forget(&request);
        }
    }

    fn tell(mut self, reply: &[u8], parts: Vec<Part>) {
        let view = ReplyView::read(reply);
        let askable = must_stay_askable(&view);
        let mut unclear = Vec::new();
        let mut news = News::default();
        for ((member, share), part) in std::mem::take(&mut self.members).into_iter().zip(parts) {
            let id = member.write.id.as_ref();
            match part {
                Part::Answer(part) => {
                    let state = match self.session {
                        Some(session) if askable => {
                            let may_land = self.is_in_doubt();
                            in_doubt(session, &member, &share, &self.tried, may_land)
                        }
                        None if askable => State::Alone,
                        _ => State::Done(part.clone()),
                    };
                    self.shared.journal.set(id, state);
                    news.tell(member, Told::Answer(part, self.tried));
                }
                Part::Undone if !self.is_in_doubt() => {
                    self.shared.send_away(member, Alone::Refused)
                }
                Part::Undone | Part::Unknown => unclear.push((member, share)),
            }
        }
        self.members = unclear;
        if !self.members.is_empty() {
            self.settle_for(!askable);
        } else if !askable {
            self.give_session_back();
        }
    }

    /// Nobody knows what became of it. If that may be because its reply was more than the server can
    /// send, each is asked for by itself.
    fn unanswered(self, failure: Failure) {
        let sizes = self.members.iter().map(|(m, _)| m.write.documents.len());
        let may_overflow = self.members.len() > 1 && sizes.sum::<usize>() > SURELY_ANSWERED;
        match self.session {
            Some(_) if failure.sent && may_overflow => self.settle(),
            _ => self.fail(failure),
        }
    }

    fn fail(mut self, failure: Failure) {
        let members = std::mem::take(&mut self.members);
        self.fail_each(members, &failure);
        if !failure.sent {
            self.give_session_back();
        }
    }

    fn fail_each(&self, members: Vec<(Member, Share)>, failure: &Failure) {
        let mut news = News::default();
        for (member, share) in members {
            let id = member.write.id.as_ref();
            match self.session {
                Some(session) if failure.sent => {
                    self.shared
                        .journal
                        .set(id, in_doubt(session, &member, &share, &self.tried, true));
                }
                // (Without a session, only what may be applied twice has a number.)
                _ => self.shared.journal.forget(id),
            }
            news.tell(member, Told::Failed(failure.clone()));
        }
    }

    /// Asks for each by itself.
    fn settle(self) {
        self.settle_for(true);
    }

    fn settle_for(self, may_reuse: bool) {
        let Some(session) = self.session else { return };
        let settling = Settling {
            shared: Arc::clone(self.shared),
            next: self.next.clone(),
            principal: self.principal,
            session,
            tried: self.tried,
            may_reuse: may_reuse && !self.leaves_doubt,
            waiting: self.members.into(),
        };
        tokio::spawn(settling.run());
    }

    fn give_session_back(&mut self) {
        if let Some(session) = self.session.take() {
            self.shared.sessions.give_back(self.principal, session);
        }
    }
}

/// Gives each write its place among the statements of a batch that hasn't been sent.
fn number(members: &mut [(Member, Share)]) {
    let mut first = 0;
    for (_, share) in members {
        share.first = first;
        first += share.count;
    }
}

/// One client's part in the outcome.
enum Part {
    Answer(Reply),
    /// Nothing was done for it. What the server says to that, it says to the client's own command.
    Undone,
    /// The reply doesn't tell.
    Unknown,
}

/// Takes the results out of a reply with a cursor: its id, and the name of its collection.
fn take_results(reply: &[u8], results: &mut Vec<Bytes>) -> Option<(i64, String)> {
    let cursor = doc::find(reply, "cursor")?.as_document()?;
    let batch = doc::find(cursor, "firstBatch").or_else(|| doc::find(cursor, "nextBatch"))?;
    for result in doc::elements(batch.as_array()?) {
        results.push(Bytes::copy_from_slice(result.ok()?.as_document()?));
    }
    let namespace = doc::find(cursor, "ns")?.as_str()?;
    let (_, collection) = namespace.split_once('.')?;
    Some((doc::find(cursor, "id")?.as_i64()?, collection.to_owned()))
}

/// Whether a client may send its write again after such a reply, to have it executed.
pub(super) fn must_stay_askable(reply: &ReplyView) -> bool {
    let interrupted = |code| INTERRUPTIONS.contains(&code);
    reply.has_label(labels::RETRYABLE_WRITE)
        || is_overload(reply)
        || !reply.ok && reply.code.is_some_and(interrupted)
}

/// Whether the server has refused it and wants clients to come back later.
fn is_overload(reply: &ReplyView) -> bool {
    reply.has_label(labels::SYSTEM_OVERLOADED) && reply.has_label(labels::RETRYABLE)
}

/// `may_land`: the server may carry it out later.
pub(super) fn in_doubt(
    session: OwnSession,
    member: &Member,
    share: &Share,
    tried: &Tried,
    may_land: bool,
) -> State {
    State::Doubt(Doubt {
        group: Arc::clone(&member.write.key),
        session,
        first: share.first,
        count: share.count,
        retried: tried.progress.retried,
        may_land,
    })
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Bytes of documents of which a server can tell all that is wrong with them, even if each says its values many
/// times over: more than 16 MiB it can't send, and closes the connection.
pub(super) const SURELY_ANSWERED: usize = 512 * 1024;

/// IllegalOperation: the server has no sessions with numbers (a standalone).
const NO_RETRYABLE_WRITES: i32 = 20;

/// Errors that can end a command in its midst: LockTimeout, MaxTimeMSExpired, ShutdownInProgress,
/// CursorKilled, ExceededTimeLimit, ClientDisconnect, TransactionExceededLifetimeLimitSeconds,
/// InterruptedDueToStorageChange, InterruptedAtShutdown, Interrupted,
/// InterruptedDueToReplStateChange, ClientMarkedKilled (names from the server's error_codes.yml).
const INTERRUPTIONS: [i32; 12] = [
    24, 50, 91, 237, 262, 279, 290, 355, 11600, 11601, 11602, 46841,
];
