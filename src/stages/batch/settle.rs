//! Asking for a batch's writes one by one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::batch::{in_doubt, millis, must_stay_askable};
use super::journal::State;
use super::member::{Member, Told};
use super::merge;
use super::split::{self, Share};
use crate::command::ReplyView;
use crate::pipeline::{Failure, Fault, OwnSession, OwnedNext, Reply, Tried};

/// A batch that as a whole can't be answered, in a task beside the queue. Each write gets a slice
/// of time as long as others wait, so that one whose document is blocked doesn't hold up the rest:
/// they share a session, and the server runs one command of a session at a time.
pub(super) struct Settling {
    pub shared: Arc<Shared>,
    pub next: OwnedNext,
    pub principal: u64,
    pub session: OwnSession,
    /// What became of the batch.
    pub tried: Tried,
    /// Whether the session is free once all of these are settled.
    pub may_reuse: bool,
    pub waiting: VecDeque<(Member, Share)>,
}

impl Settling {
    pub async fn run(mut self) {
        let session = self.session;
        let mut is_settled = self.may_reuse;
        let mut takes_its_time = false;
        while let Some((member, share)) = self.waiting.pop_front() {
            let is_last = self.waiting.is_empty();
            let limit = (!is_last && !takes_its_time).then_some(millis(SLICE));
            takes_its_time = false;
            let Some(mut request) = member.request().and_then(|original| {
                merge::statement(&original, &member.write, &session, share.first, limit)
            }) else {
                continue;
            };
            self.shared.stats.one_by_one();
            let outcome = self.next.borrow().run(&mut request).await;
            let mut tried = self.tried;
            tried.join(&request.tried());
            let body = match outcome {
                Ok(reply) => Bytes::copy_from_slice(reply.body()),
                Err(failure) => {
                    is_settled = false;
                    // Where there's nobody to ask, nobody is kept waiting for the same.
                    let is_over = !failure.sent && !matches!(failure.fault, Fault::ClientGone);
                    self.fail(&member, &share, &tried, failure.clone());
                    while is_over && let Some((member, share)) = self.waiting.pop_front() {
                        self.fail(&member, &share, &self.tried, failure.clone());
                    }
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
                let part = Reply::for_several(&split::whole(&body, share.labelled));
                let may_still_land = !view.ok && tried.progress.in_doubt;
                let stays = must_stay_askable(&view) || may_still_land;
                is_settled &= !stays;
                let state = match stays {
                    true => in_doubt(session, &member, &share, &tried, tried.progress.in_doubt),
                    false => State::Done(part.clone()),
                };
                self.shared.journal.set(member.write.id.as_ref(), state);
                member.ticket.tell(Told::Answer(part, tried));
            }
        }
        if is_settled {
            self.shared.sessions.give_back(self.principal, session);
        }
    }

    fn fail(&self, member: &Member, share: &Share, tried: &Tried, mut failure: Failure) {
        // Sent or not, it may have been executed with the batch.
        failure.sent = true;
        let state = in_doubt(self.session, member, share, tried, true);
        self.shared.journal.set(member.write.id.as_ref(), state);
        member.ticket.tell(Told::Failed(failure));
    }
}

/// How long one write may hold up the others of its batch when they are asked for one by one.
const SLICE: Duration = Duration::from_millis(200);
