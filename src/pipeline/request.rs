//! What travels the pipeline.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::caller::Callers;
use super::exchanges::Exchanges;
use super::origin::Origin;
use super::progress::Progress;
use super::trail::Trail;
use super::waits::Waits;
use crate::command::{Command, Kind, ReplyView, ShapeId, is_mere_success, with_body};
use crate::memory::Permit;
use crate::wire::build;
use crate::wire::frame::Frame;
use crate::wire::header::HEADER_LEN;
use crate::wire::op_code;
use crate::wire::op_msg::OpMsg;

/// Who is asking: what the server said of the link that the client proved itself on.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// Number of this principal in this process; 0 is nobody.
    pub id: u64,
    /// Authenticated users as `db.name (mechanism)`, for people to read; empty for nobody.
    pub name: String,
}

/// The principal of clients that haven't authenticated.
pub static NO_PRINCIPAL: LazyLock<Arc<Principal>> = LazyLock::new(|| {
    Arc::new(Principal {
        id: 0,
        name: String::new(),
    })
});

/// A command on its way to the server.
#[derive(Debug)]
pub struct Request {
    /// The message as it came (decompressed), byte for byte.
    pub frame: Frame,
    /// Its parts.
    pub msg: OpMsg,
    /// What it means.
    pub command: Command,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Number of the client's connection; 0 for requests of the proxy's own.
    pub client: u64,
    /// The client as one that may go before the request is sent; several for a batch.
    pub callers: Callers,
    /// When it arrived.
    pub received: Instant,
    /// How long it took, once somebody has asked ([`Request::took`]).
    pub answered_in: Option<Duration>,
    /// What was decided on the way, for people.
    pub trail: Trail,
    /// What has become of it so far, for everything that depends on that.
    pub progress: Progress,
    /// The server's profiler records every operation of its database: it is sent on as it came, and by itself.
    pub recorded: bool,
    /// How long it has waited for the upstream so far.
    pub waits: Waits,
    /// Where it was sent last, if it was sent.
    pub met: Option<Met>,
    /// How often it was put on a link, as itself. (Not at all: it is answered by the proxy, or went in a batch.)
    pub sent: u32,
    /// Where the client is.
    pub address: Option<IpAddr>,
    /// What the server is to be told of where it comes from; usually nothing.
    pub origin: Option<Arc<Origin>>,
    /// The right to the memory that its reply takes, if that is large: held as long as the request.
    pub permit: Option<Permit>,
    /// What an answer from memory says of the command as it was then, so that nobody has to look again.
    pub known: Option<Known>,
    /// Who wants to know of its exchanges with servers: nearly always nobody.
    pub listeners: Vec<Exchanges>,
}

/// What is known of a command that was answered before, and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The command's shape.
    pub shape: ShapeId,
    /// Documents in the answer, as `command::returned` counts them.
    pub documents: u64,
}

/// A server as a request has met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The server's number in this process.
    pub server: u32,
    /// Counts up when the server restarts, is lost, or another one is elected.
    pub epoch: u64,
}

impl Request {
    /// A request from a message. A body that can't be read makes an opaque command.
    pub fn new(frame: Frame, msg: OpMsg, principal: Arc<Principal>) -> Request {
        let mut request = Request::unread(frame, msg, principal);
        request.read();
        request
    }

    /// The same, but what it means is still to be [`read`](Request::read): for who has a place for it.
    /// A request is large, and what is read and then returned is moved.
    pub fn unread(frame: Frame, msg: OpMsg, principal: Arc<Principal>) -> Request {
        Request {
            frame,
            msg,
            command: Command::opaque(),
            principal,
            client: 0,
            callers: Callers::None,
            received: Instant::now(),
            answered_in: None,
            trail: Trail::default(),
            progress: Progress::default(),
            recorded: false,
            waits: Waits::default(),
            met: None,
            sent: 0,
            address: None,
            origin: None,
            permit: None,
            known: None,
            listeners: Vec::new(),
        }
    }

    /// Reads what it means, once.
    pub fn read(&mut self) {
        self.command.become_that_of(&self.msg);
    }

    /// A request of the proxy's own, in the name of the same principal. What it waits for the upstream counts as this one's waiting.
    pub fn side(&self, body: &[u8]) -> Option<Request> {
        let bytes = build::op_msg(self.frame.header().request_id, 0, 0, body);
        let frame = Frame { bytes };
        let msg = OpMsg::parse(&frame).ok()?;
        Some(Request {
            waits: self.waits.shared(),
            ..Request::new(frame, msg, Arc::clone(&self.principal))
        })
    }

    /// The same request as another message, which arrived when this one did.
    pub fn reworded(&self, bytes: Bytes) -> Option<Request> {
        let frame = Frame { bytes };
        let msg = OpMsg::parse(&frame).ok()?;
        Some(Request {
            received: self.received,
            trail: self.trail,
            progress: self.progress,
            recorded: self.recorded,
            waits: self.waits.shared(),
            met: self.met,
            sent: self.sent,
            client: self.client,
            callers: self.callers.clone(),
            address: self.address,
            origin: self.origin.clone(),
            listeners: self.listeners.clone(),
            ..Request::new(frame, msg, Arc::clone(&self.principal))
        })
    }

    /// Puts another command document in the place of the one that came, and gives that back. The message
    /// keeps its id, its flags and its document sequences; a checksum is left out. `None`, and nothing
    /// is changed, for a message with sections that aren't known and for a document that can't be read.
    pub fn replace_body(&mut self, body: &[u8]) -> Option<Replaced> {
        if self.msg.unknown.is_some() {
            return None;
        }
        let bytes = with_body(self.frame.request_id(), &self.msg, body);
        let frame = Frame { bytes };
        let msg = OpMsg::parse(&frame).ok()?;
        let command = Command::parse(&msg)?;
        Some(Replaced {
            frame: std::mem::replace(&mut self.frame, frame),
            msg: std::mem::replace(&mut self.msg, msg),
            command: std::mem::replace(&mut self.command, command),
        })
    }

    /// Puts back what came, for those who handed the request on: it is theirs to look at.
    pub fn restore(&mut self, replaced: Replaced) {
        // That was of the other message.
        self.known = None;
        (self.frame, self.msg, self.command) = (replaced.frame, replaced.msg, replaced.command);
    }

    /// How long it took: for who has its answer. All are told the same, and the clock is read once.
    pub fn took(&mut self) -> Duration {
        *self
            .answered_in
            .get_or_insert_with(|| self.received.elapsed())
    }

    /// When the client's own `maxTimeMS` runs out. A `getMore` has no deadline: its `maxTimeMS` says how long the
    /// server waits for further documents, not how long the client waits for a reply.
    pub fn deadline(&self) -> Option<Instant> {
        if self.command.kind == Kind::GetMore {
            return None;
        }
        let limit = self.command.max_time_ms.filter(|&ms| ms > 0)?;
        self.received.checked_add(Duration::from_millis(limit))
    }
}

/// The message in whose place another was put.
#[derive(Debug)]
pub struct Replaced {
    frame: Frame,
    msg: OpMsg,
    command: Command,
}

/// An answer on its way to the client.
#[derive(Clone, Debug)]
pub struct Reply {
    frame: Frame,
    /// The message was made for another request (it comes from the cache): its ids
    /// must be replaced when it is written.
    pub replayed: bool,
    news: News,
    /// Made with it, for all its clones.
    known: Option<Arc<ReplyView>>,
    view: OnceLock<Box<ReplyView>>,
}

/// Whether there is more in a reply than its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// It is `ok`, and says nothing of errors, labels or the server's state.
    None,
    /// Who wants to know must read it.
    Perhaps,
}

impl Reply {
    fn new(frame: Frame, replayed: bool) -> Reply {
        Reply {
            frame,
            replayed,
            news: News::Perhaps,
            known: None,
            view: OnceLock::new(),
        }
    }

    /// A reply from a server. It is looked at once, for all who would only
    /// find that it is a success.
    pub fn from_server(frame: Frame) -> Reply {
        let mut reply = Reply::new(frame, false);
        if is_mere_success(reply.body()) {
            reply.news = News::None;
        }
        reply
    }

    /// A reply that was stored earlier.
    pub fn replayed(frame: Frame) -> Reply {
        Reply::new(frame, true)
    }

    /// A reply document of the proxy's own.
    pub fn document(request: &Frame, document: &[u8]) -> Reply {
        Reply::message(build::op_msg(0, request.header().request_id, 0, document))
    }

    /// The same for several requests: made and looked at once, and each gets a clone. (Ids are given when
    /// it is written, as to all messages of the proxy's own.)
    pub fn for_several(document: &[u8]) -> Reply {
        let bytes = build::op_msg(0, 0, 0, document);
        let mut reply = Reply::from_server(Frame { bytes });
        reply.known = Some(Arc::new(ReplyView::read(document)));
        reply
    }

    /// A message of the proxy's own.
    pub fn message(bytes: Bytes) -> Reply {
        Reply::new(Frame { bytes }, false)
    }

    /// The whole message.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The server's own word that all went well, known without reading it again. `false` proves
    /// nothing.
    pub fn is_mere_success(&self) -> bool {
        self.news == News::None
    }

    /// What it says: read once, however many ask.
    pub fn view(&self) -> &ReplyView {
        match &self.known {
            Some(view) => view,
            None => self
                .view
                .get_or_init(|| Box::new(ReplyView::read(self.body()))),
        }
    }

    /// The reply document: the body section of an OP_MSG, or the only document of an OP_REPLY.
    pub fn body(&self) -> &[u8] {
        let bytes: &Bytes = &self.frame.bytes;
        let start = match self.frame.op_code() {
            op_code::OP_MSG if bytes.get(HEADER_LEN + 4) == Some(&0) => HEADER_LEN + 5,
            op_code::OP_REPLY => HEADER_LEN + 20,
            _ => return &[],
        };
        let rest = bytes.get(start..).unwrap_or_default();
        let len = rest
            .first_chunk::<4>()
            .map_or(0, |b| u32::from_le_bytes(*b) as usize);
        rest.get(..len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::pipeline::scripted;
    use crate::wire::op_msg::{CHECKSUM_PRESENT, EXHAUST_ALLOWED};

    #[test]
    fn what_a_reply_says_is_the_same_however_often_it_is_asked_and_cloned() {
        let request = scripted::request(&doc! {"ping": 1, "$db": "d"});
        for ok in [0.0, 1.0] {
            let document = doc! {"ok": ok}.to_vec().unwrap();
            let own = Reply::document(&request.frame, &document);
            for reply in [own, Reply::for_several(&document)] {
                let views = [reply.view(), reply.view(), reply.clone().view()].map(|view| view.ok);
                assert_eq!(views, [ok == 1.0; 3]);
                assert_eq!(reply.clone().body(), document);
            }
        }
    }

    #[test]
    fn the_time_limit_of_a_get_more_is_no_deadline_of_its_reply() {
        let find = scripted::request(&doc! {"find": "c", "maxTimeMS": 5, "$db": "d"});
        assert!(find.deadline().is_some());
        let more = doc! {"getMore": 7_i64, "collection": "c", "maxTimeMS": 5, "$db": "d"};
        assert_eq!(scripted::request(&more).deadline(), None);
    }

    #[test]
    fn another_body_keeps_the_rest_of_the_message_and_is_what_counts_from_then_on() {
        let body = doc! {"find": "c", "filter": {"$and": [{"a": 1}]}, "$db": "d"};
        let body = body.to_vec().unwrap();
        let flags = CHECKSUM_PRESENT | EXHAUST_ALLOWED;
        let frame = Frame {
            bytes: build::op_msg(77, 0, flags, &body),
        };
        let msg = OpMsg::parse(&frame).unwrap();
        let mut request = Request::new(frame, msg, NO_PRINCIPAL.clone());
        let other = doc! {"find": "c", "filter": {"a": 1}, "maxTimeMS": 5, "$db": "d"};
        let came = request.replace_body(&other.to_vec().unwrap()).unwrap();
        assert_eq!(request.frame.request_id(), 77);
        assert_eq!(request.msg.flags, EXHAUST_ALLOWED);
        assert_eq!(request.command.max_time_ms, Some(5));
        let sent = OpMsg::parse(&request.frame).unwrap().body.unwrap();
        assert_eq!(Document::from_reader(&mut sent.as_ref()).unwrap(), other);
        assert!(request.replace_body(b"broken").is_none());
        request.restore(came);
        assert_eq!(request.command.body(), &body);
        assert_eq!(request.msg.flags, flags);
    }
}
