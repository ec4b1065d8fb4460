//! A backend that plays a script, for tests of stages and of the pipeline.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::Failure;
use super::request::{NO_PRINCIPAL, Reply, Request};
use super::stage::{Backend, BoxFuture, Outcome};
use super::trail::Decision;
use crate::command::Bypass;
use crate::wire::build;
use crate::wire::frame::Frame;
use crate::wire::op_msg::OpMsg;

/// Answers each request with the next line of its script, and remembers what was asked. It has no
/// indexes, and says so without a line of the script.
#[derive(Default)]
pub struct Scripted {
    script: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<bson::Document>>,
}

/// One answer.
pub enum Step {
    /// A reply document.
    Reply(bson::Document),
    /// A failure.
    Fail(Failure),
    /// Something is done (another write, say) before the reply goes out.
    During(Box<dyn FnOnce() + Send>, bson::Document),
    /// The reply comes when the test sends it. A sender that is dropped makes whoever asks panic.
    Later(oneshot::Receiver<Result<bson::Document, Failure>>),
}

impl Scripted {
    /// A backend that answers with these documents in turn.
    pub fn replies(replies: impl IntoIterator<Item = bson::Document>) -> Scripted {
        let script = replies.into_iter().map(Step::Reply).collect();
        Scripted {
            script: Mutex::new(script),
            asked: Mutex::default(),
        }
    }

    /// Adds a step.
    pub fn push(&self, step: Step) {
        self.script.lock().push_back(step);
    }

    /// Adds a step whose reply the test sends.
    pub fn push_later(&self) -> oneshot::Sender<Result<bson::Document, Failure>> {
        let (sender, reply) = oneshot::channel();
        self.push(Step::Later(reply));
        sender
    }

    /// The commands that got here, in order.
    pub fn asked(&self) -> Vec<bson::Document> {
        self.asked.lock().clone()
    }
}

impl Backend for Scripted {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if request.command.name() == "listIndexes" {
                let none = bson::doc! {"cursor": {"firstBatch": [], "id": 0_i64}, "ok": 1.0};
                return Ok(Reply::document(
                    &request.frame,
                    &none.to_vec().unwrap_or_default(),
                ));
            }
            if request.command.name() == "getDefaultRWConcern" {
                let local = bson::doc! {"ok": 1.0};
                return Ok(Reply::document(
                    &request.frame,
                    &local.to_vec().unwrap_or_default(),
                ));
            }
            let asked = bson::Document::from_reader(request.command.body().as_ref());
            self.asked.lock().push(asked.unwrap_or_default());
            let step = self.script.lock().pop_front();
            let document = match step {
                Some(Step::Reply(document)) => document,
                Some(Step::Fail(failure)) => return Err(failure),
                Some(Step::During(act, document)) => {
                    act();
                    document
                }
                Some(Step::Later(reply)) => reply.await.expect("the test sends a reply")?,
                None => return Err(Failure::lost("the script is at its end")),
            };
            let body = document.to_vec().unwrap_or_default();
            Ok(Reply::document(&request.frame, &body))
        })
    }
}

/// A request of nobody with this command document.
///
/// # Panics
/// If the document can't be encoded: only for tests.
pub fn request(document: &bson::Document) -> Request {
    let body = Bytes::from(document.to_vec().expect("a document that encodes"));
    let frame = Frame {
        bytes: build::op_msg(7, 0, 0, &body),
    };
    let msg = OpMsg::parse(&frame).expect("our own message parses");
    Request::new(frame, msg, NO_PRINCIPAL.clone())
}

/// Makes as many decisions about a request as its trail holds: it drops those that come now.
pub fn fill_trail(request: &mut Request) {
    for decision in [
        Decision::Rewritten,
        Decision::Ruled,
        Decision::Denied,
        Decision::Hit,
        Decision::Miss,
        Decision::Mismatch,
        Decision::Joined,
        Decision::Stored,
        Decision::Bypassed(Bypass::Disabled),
        Decision::Queued,
    ] {
        request.trail.note(decision);
    }
}
