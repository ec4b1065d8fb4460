//! One client: read a message, answer it, again.
//!
//! Requests of a client are handled in turn, as mongod does. While one is at work
//! upstream the socket isn't read. A client that goes away meanwhile leaves its write
//! and the fence around it to end by themselves; its read is given up.

use std::fmt::Display;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::OptionFuture;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::{coop::consume_budget, yield_now};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsStream;

use super::complaints::{Complaint, Whence};
use super::drain::Drained;
use super::gone::Leaving;
use super::peer::Stream;
use super::roster::Seat;
use super::shared::Shared;
use super::traces::Traced;
use super::{auth_relay, disguise, gone, handshake, legacy, malformed};
use crate::command::{ErrorReply, Kind, acknowledged, codes};
use crate::config::LostUpstream;
use crate::memory::{self, Held, Live, Memory, NoRoom, Permit, Pressure};
use crate::pipeline::{
    self, Answer, Caller, Callers, Failure, Fault, NO_PRINCIPAL, Origin, Presence, Principal,
    Reply, Request,
};
use crate::upstream::{AuthLink, Sock};
use crate::wire::op_code;
use crate::wire::op_compressed::{self, Compressor, OpCompressed};
use crate::wire::op_msg::{self, EXHAUST_ALLOWED, MORE_TO_COME, OpMsg};
use crate::wire::{Frame, Header, WireError, build, reserve_more, take_frame};

/// A client's connection.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) sock: Sock<Stream>,
    /// The client, as others may look at it.
    client: Arc<dyn Presence>,
    /// Number of this client in this process; its `connectionId`.
    pub(super) id: u64,
    /// Where the client found us: what we advertise unless told otherwise.
    pub(super) local: String,
    peer: Option<IpAddr>,
    pub(super) principal: Arc<Principal>,
    /// This client's line in the roster.
    pub(super) seat: Seat,
    /// A conversation under way.
    pub(super) auth: Option<AuthLink>,
    /// How the message at hand was compressed: its reply is, too.
    pub(super) compressor: Option<Compressor>,
    pub(super) next_id: i32,
    /// What servers are told of where requests come from (`upstream.comments`).
    origin: Option<Arc<Origin>>,
    buf: BytesMut,
    held: Held,
    /// For the message at hand, if it is large.
    permit: Option<Permit>,
    _live: Live,
}

/// Why a connection ends. For a fault of the upstream only where mongod itself would be lost (`server.lost_upstream`).
#[derive(Debug, thiserror::Error)]
pub(super) enum Close {
    /// The client left, or the proxy drains.
    #[error("closed")]
    Ended,
    /// The server can't be reached, and the client is to see that as it would without the proxy.
    #[error("the upstream is lost")]
    LostUpstream,
    /// The client's socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What came isn't a wire message.
    #[error("broken message: {0}")]
    Broken(#[from] WireError),
    /// A whole message of a kind that has no answer, in mongod either.
    #[error("opcode {op_code} ({name}) isn't supported")]
    OpCode {
        /// As it came.
        op_code: i32,
        /// Its name, if it ever had one.
        name: &'static str,
    },
    /// A message was begun and not finished in time.
    #[error("a message wasn't finished within {} ms (server.frame_timeout)", .0.as_millis())]
    SlowWriter(Duration),
}

/// Serves a client until it leaves.
pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream, id: u64) {
    let peer = socket.peer_addr().ok();
    let whence = Whence {
        client: Some(id),
        address: peer,
    };
    let local = socket
        .local_addr()
        .map(|a| a.to_string())
        .unwrap_or_default();
    let stream = Stream::new(socket);
    let client = stream.peer();
    let sock = match &shared.tls {
        None => Sock::Plain(stream),
        Some(acceptor) => match timeout(TLS_HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(tls)) => Sock::Tls(Box::new(TlsStream::Server(tls))),
            Ok(Err(error)) => {
                shared
                    .complaints
                    .note(Complaint::TlsFailed, "refused", whence, error);
                return;
            }
            Err(_) => {
                let reason = format_args!("not done within {} s", TLS_HANDSHAKE.as_secs());
                shared
                    .complaints
                    .note(Complaint::TlsFailed, "slow", whence, reason);
                return;
            }
        },
    };
    let seat = shared.roster.enter(id, peer);
    let mut connection = Connection {
        held: shared.memory.buffer(),
        permit: None,
        _live: shared.memory.live(memory::Kind::Clients),
        shared,
        sock,
        client,
        id,
        local,
        peer: peer.map(|address| address.ip()),
        principal: NO_PRINCIPAL.clone(),
        seat,
        auth: None,
        compressor: None,
        next_id: 1,
        origin: None,
        buf: BytesMut::new(),
    };
    connection.set_origin();
    Box::pin(connection.run()).await;
}

impl Connection {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // One wait for all messages: to begin it anew with each costs more than to read one.
        let wait = pin!(shared.drain.wait());
        let mut drained = Drained::new(&shared.drain, wait);
        let mut pipelined = 0;
        let end = loop {
            let frame = match self.next_frame(&mut drained).await {
                Ok(frame) => frame,
                Err(close) => break close,
            };
            if let Err(close) = self.handle(frame).await {
                break close;
            }
            // What is answered without waiting never yields by itself: a client that sends on without a pause
            // would keep its worker from all others. (One that waits for its replies has nothing in the buffer.)
            if !self.buf.is_empty() {
                pipelined += 1;
            }
            if pipelined < TURN {
                consume_budget().await;
            } else {
                pipelined = 0;
                yield_now().await;
            }
        };
        let what = match end {
            Close::Ended | Close::Io(_) | Close::LostUpstream => return,
            Close::Broken(_) => "broken",
            Close::OpCode { .. } => "opcode",
            Close::SlowWriter(_) => "slow",
        };
        self.shared.clients.broken_message();
        self.complain(Complaint::BrokenMessage, what, end);
    }

    /// The next whole message. `drained` is done when there should be none.
    async fn next_frame(
        &mut self,
        mut drained: impl Future<Output = ()> + Unpin,
    ) -> Result<Frame, Close> {
        let config = &self.shared.config.server;
        let max = config.max_message_size.as_usize();
        let (idle, patience) = (config.idle_timeout, config.frame_timeout);
        let mut began: Option<Instant> = None;
        loop {
            if let Some(frame) = take_frame(&mut self.buf, max).map_err(WireError::from)? {
                return Ok(frame);
            }
            let read = if self.buf.is_empty() {
                self.permit = None;
                if self.buf.capacity() > self.keep() {
                    self.buf = BytesMut::new();
                }
                reserve_more(&mut self.buf);
                self.held.set(self.buf.capacity());
                let idle = Some(idle).filter(|idle| !idle.is_zero());
                let too_long = OptionFuture::from(idle.map(tokio::time::sleep));
                tokio::select! {
                    biased;
                    read = self.sock.read_buf(&mut self.buf) => read?,
                    () = &mut drained => return Err(Close::Ended),
                    Some(()) = too_long => return Err(Close::Ended),
                }
            } else {
                let since = *began.get_or_insert_with(Instant::now);
                if self.permit.is_none() && Memory::is_large(self.buf.len()) {
                    // Its peer has proved that it means it. Until there is room, the rest stays
                    // in the socket.
                    self.make_room().await?;
                    began = None;
                    continue;
                }
                reserve_more(&mut self.buf);
                if self.permit.is_none() {
                    self.held.set(self.buf.capacity());
                }
                let reading = self.sock.read_buf(&mut self.buf);
                match timeout_at(since + patience, reading).await {
                    Ok(read) => read?,
                    Err(_) => return Err(Close::SlowWriter(patience)),
                }
            };
            if read == 0 {
                return Err(Close::Ended);
            }
        }
    }

    /// The buffer that an idle client may keep.
    fn keep(&self) -> usize {
        match self.shared.memory.pressure() {
            Pressure::Calm => KEEP,
            Pressure::Tight | Pressure::Critical => 0,
        }
    }

    /// A large message is coming: waits until there is room for it. If there will be none, it is
    /// read and thrown away, and its sender is told.
    async fn make_room(&mut self) -> Result<(), Close> {
        let header = Header::parse(&self.buf).unwrap_or_default();
        let length = usize::try_from(header.message_length).unwrap_or(0);
        match self.shared.memory.permit(length).await {
            Ok(permit) => {
                self.permit = Some(permit);
                Ok(())
            }
            Err(no_room) => self.refuse(header, length, no_room).await,
        }
    }

    async fn refuse(&mut self, header: Header, length: usize, why: NoRoom) -> Result<(), Close> {
        let flags = op_msg::flags(&self.buf);
        let mut left = length.saturating_sub(self.buf.len());
        self.buf.clear();
        let within = self.shared.config.server.frame_timeout;
        let until = Instant::now() + within;
        while left > 0 {
            reserve_more(&mut self.buf);
            let mut rest = (&mut self.sock).take(left as u64);
            match timeout_at(until, rest.read_buf(&mut self.buf)).await {
                Ok(Ok(0)) => return Err(Close::Ended),
                Ok(read) => left -= read?,
                Err(_) => return Err(Close::SlowWriter(within)),
            }
            self.buf.clear();
        }
        self.shared.clients.failure();
        self.complain(Complaint::RequestRefused, "memory", &why);
        if header.op_code == op_code::OP_MSG && flags & MORE_TO_COME != 0 {
            return Ok(());
        }
        let error = ErrorReply::new(codes::EXCEEDED_MEMORY_LIMIT, why).document();
        let bytes = build::op_msg(0, header.request_id, 0, &error);
        let request = Frame {
            bytes: header.encode().to_vec().into(),
        };
        let reply = Reply::from_server(Frame { bytes });
        self.compressor = None;
        self.write(&request, &reply).await
    }

    /// Answers one message.
    async fn handle(&mut self, mut frame: Frame) -> Result<(), Close> {
        self.shared.clients.request();
        self.seat.request();
        self.compressor = None;
        if frame.op_code() == op_code::OP_COMPRESSED {
            let id = OpCompressed::parse(&frame)
                .map_err(WireError::from)?
                .compressor_id;
            self.compressor = Compressor::from_id(id);
            let max = self.shared.config.server.max_message_size.as_usize();
            frame = op_compressed::decompress(&frame, max).map_err(WireError::from)?;
        }
        self.seat.at.begin(&frame);
        let handled = match frame.op_code() {
            // Pinned where it lies: to await it by value is to move a kilobyte first.
            op_code::OP_MSG => pin!(self.op_msg(frame)).await,
            _ => legacy::message(self, frame).await,
        };
        self.seat.at.end();
        handled
    }

    async fn op_msg(&mut self, mut frame: Frame) -> Result<(), Close> {
        let mut msg = match OpMsg::parse(&frame) {
            Ok(msg) => msg,
            Err(error) => return malformed::answer(self, &frame, error).await,
        };
        if msg.exhaust_allowed() {
            (frame, msg) = one_reply(&frame, msg)?;
        }
        let silent = msg.more_to_come();
        let mut request = Request::unread(frame, msg, Arc::clone(&self.principal));
        request.read();
        request.client = self.id;
        request.address = self.peer;
        request.origin.clone_from(&self.origin);
        match request.command.kind {
            Kind::Hello => return handshake::hello(self, &request).await,
            Kind::Auth => return auth_relay::step(self, &request).await,
            _ if let Some(document) = self.console(&request) => {
                let reply = Reply::document(&request.frame, &document);
                return match silent {
                    true => Ok(()),
                    false => self.write(&request.frame, &reply).await,
                };
            }
            _ if silent => return self.unacknowledged(request).await,
            _ => {}
        }
        let reply = self.answer(&mut request).await?;
        self.write(&request.frame, &reply).await
    }

    /// Walks the pipeline; a failure becomes a reply here and nowhere else.
    pub(super) async fn answer(&mut self, request: &mut Request) -> Result<Reply, Close> {
        let leaving = Leaving::of(&request.command);
        let caller = (leaving == Leaving::KeepsItBack).then(|| self.caller(request));
        if let Some(caller) = &caller {
            request.callers = Callers::One(Arc::clone(caller));
        }
        let traced = Traced::begin(self.shared.traces.as_ref(), request);
        let (guard, outcome) = match self.shared.pipeline.begin(request) {
            (guard, Answer::Now(outcome)) => (guard, Some(outcome)),
            (guard, Answer::Later(answer)) => tokio::select! {
                biased;
                outcome = answer => (guard, Some(outcome)),
                () = gone::gone(&self.sock, caller.as_deref()), if leaving != Leaving::ChangesNothing => {
                    let given_up = caller.as_ref().map(|_| Err(Failure::unsent(Fault::ClientGone)));
                    (guard, given_up)
                }
            },
        };
        // Of an earlier try that was sent, by a batch, say, nobody knows what it has done.
        let was_sent = caller.is_some_and(|caller| caller.was_sent());
        let outcome =
            outcome.map(|outcome| outcome.map_err(|failure| failure.of_one_gone(was_sent)));
        let Some(outcome) = outcome else {
            self.shared.clients.gave_up();
            if let Some(traced) = traced {
                traced.end(request, None, request.received.elapsed());
            }
            return Err(Close::Ended);
        };
        self.shared.pipeline.end(request, guard, &outcome);
        let took = request.took();
        if let Some(traced) = traced {
            traced.end(request, Some(&outcome), took);
        }
        self.shared.latencies.note(request, took);
        let failed = outcome.is_err();
        let kind = request.command.kind;
        self.shared
            .durations
            .add(kind, &request.trail, failed, took);
        Ok(match outcome {
            Ok(reply) if reply.replayed => reply,
            Ok(reply) => {
                let reply = self.disguised(request, reply);
                self.amended(request, reply)
            }
            Err(failure) if matches!(failure.fault, Fault::ClientGone) => {
                self.shared.clients.gave_up();
                tracing::debug!(target: "petiole::server", client = self.id, command = request.command.name(),
                    sent = failure.sent, "request given up: its client has gone");
                // (It may have closed its sending side only.)
                Reply::document(&request.frame, &failure.reply(&request.command).document())
            }
            Err(failure) => {
                self.shared.clients.failure();
                let name = request.command.name();
                let reason = format_args!("{failure} (command {name})");
                self.complain(Complaint::RequestFailed, failure.fault.as_str(), reason);
                let closes = self.shared.config.server.lost_upstream == LostUpstream::Close;
                if closes && failure.is_loss_of_server() {
                    return Err(Close::LostUpstream);
                }
                Reply::document(&request.frame, &failure.reply(&request.command).document())
            }
        })
    }

    /// To be called whenever more is known of where the client's requests come from.
    pub(super) fn set_origin(&mut self) {
        if self.shared.config.upstream.comments {
            let address = self.seat.address.map(|address| address.to_string());
            let origin = Origin {
                application: self.seat.application().map(str::to_owned),
                clients: pipeline::Clients::One(address.unwrap_or_default()),
            };
            self.origin = Some(Arc::new(origin));
        }
    }

    /// Counts and logs what went wrong with this client.
    pub(super) fn complain(&self, complaint: Complaint, what: &'static str, reason: impl Display) {
        let whence = Whence {
            client: Some(self.id),
            address: self.seat.address,
        };
        self.shared.complaints.note(complaint, what, whence, reason);
    }

    /// The client, as one whose going away keeps a request from being sent.
    fn caller(&self, request: &Request) -> Arc<Caller> {
        // (What was read after the process stood still may have come long before.)
        let may_leave = request.progress.unacknowledged && !self.shared.pulse.has_paused();
        let silent_since = may_leave.then_some(request.received);
        Caller::new(Arc::clone(&self.client), silent_since)
    }

    /// The address by which clients know the proxy.
    pub(super) fn advertised(&self) -> String {
        match &self.shared.config.server.advertise {
            Some(address) => address.to_string(),
            None => self.local.clone(),
        }
    }

    /// The reply to a command on the virtual database.
    fn console(&self, request: &Request) -> Option<Vec<u8>> {
        self.shared.console.as_ref()?.answer(&self.shared, request)
    }

    /// A list of databases names the virtual one too.
    fn amended(&self, request: &Request, reply: Reply) -> Reply {
        let console = self.shared.console.as_ref();
        match console.and_then(|console| console.amend(request, reply.body())) {
            Some(document) => Reply::document(&request.frame, &document),
            None => reply,
        }
    }

    fn disguised(&self, request: &Request, reply: Reply) -> Reply {
        if disguise::may_name_servers(request, &reply) {
            return disguise::disguise(
                request,
                reply,
                &self.shared.upstream.addresses(),
                &self.advertised(),
            );
        }
        reply
    }

    /// A message that wants no reply: sent as one that does, so that its fence can be
    /// lifted when it is over. The client's next message waits for it.
    async fn unacknowledged(&mut self, request: Request) -> Result<(), Close> {
        let bytes = acknowledged(request.frame.request_id(), &request.msg, &request.command);
        let frame = Frame { bytes };
        let msg = OpMsg::parse(&frame).map_err(WireError::from)?;
        let mut request = Request::new(frame, msg, request.principal);
        request.client = self.id;
        request.origin.clone_from(&self.origin);
        request.note_unacknowledged();
        self.answer(&mut request).await?;
        match request.callers.is_one_given_up() {
            // What lies behind it in the socket is as late.
            true => Err(Close::Ended),
            false => Ok(()),
        }
    }
}

/// The same message without `exhaustAllowed`. A server may ignore that flag, and so does the proxy: every batch of
/// a cursor is asked for by a `getMore` of its own, which walks the pipeline (rules, admission, fences, the profile) and
/// holds a link only until its reply has come.
fn one_reply(frame: &Frame, mut msg: OpMsg) -> Result<(Frame, OpMsg), WireError> {
    msg.flags &= !EXHAUST_ALLOWED;
    let bytes = msg.encode(frame.request_id(), frame.header().response_to);
    let frame = Frame { bytes };
    let msg = OpMsg::parse(&frame)?;
    Ok((frame, msg))
}

/// So many pipelined messages are answered before other clients have their turn.
const TURN: u32 = 8;

const KEEP: usize = 16 * 1024;
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
