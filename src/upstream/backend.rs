//! The end of the pipeline: route, lease, exchange, pin.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::admission::{Admission, AdmissionStats, Entered};
use super::auth::{AuthLink, LoginError, Principals};
use super::awaits::Awaits;
use super::budget::Budget;
use super::dial::Dialer;
use super::faults::Faults;
use super::hello::Hello;
use super::lease::{Checkout, Lease};
use super::link::{LinkError, WhenFull};
use super::logins::{LoginStats, Logins};
use super::patience::Patience;
use super::pin::Pins;
use super::pool::{Pool, PoolStats};
use super::read_preference::{Mode, ReadPreference};
use super::seeds::{SeedError, Seeds};
use super::selection::Search;
use super::server::Server;
use super::topology::{ServerStatus, Settings, Topology};
use crate::command::{Kind, Standing, outgoing, standing};
use crate::config;
use crate::memory::{self, Memory};
use crate::pipeline::{
    Backend, BoxFuture, Decision, Deployment, Failure, Fault, Fences, NO_PRINCIPAL, Outcome,
    Principal, Reply, Request, Timed, UpstreamFacts, home,
};
use crate::wire::frame::Frame;

/// The deployment behind the proxy.
pub struct Upstream {
    topology: Arc<Topology>,
    pool: Arc<Pool>,
    pins: Pins,
    awaits: Awaits,
    dialer: Arc<Dialer>,
    principals: Principals,
    logins: Arc<Logins>,
    failover_wait: Duration,
    admission: Arc<Admission>,
    memory: Arc<Memory>,
    facts: Arc<UpstreamFacts>,
}

impl Upstream {
    /// Resolves the connection string and begins to watch the servers. `max_awaiting`: links beside
    /// `upstream.max_links` for requests that a server holds back until there is something new.
    pub async fn start(
        config: &config::Upstream,
        limits: &config::Admission,
        login_timeout: Duration,
        max_awaiting: usize,
        fences: Arc<Fences>,
        known: Arc<UpstreamFacts>,
    ) -> Result<Arc<Upstream>, SeedError> {
        let seeds = Seeds::resolve(config).await?;
        let memory = Arc::clone(fences.memory());
        let dialer = Arc::new(Dialer {
            tls: seeds.tls,
            connect_timeout: config.connect_timeout,
            compressors: config.compressors.iter().map(|c| c.name()).collect(),
            faults: Faults::default(),
            memory: Arc::clone(&memory),
        });
        let admission = Admission::new(limits, config.max_links, config.wait_timeout);
        let settings = Settings {
            direct: seeds.direct,
            set_name: seeds.set_name,
            heartbeat: config.heartbeat,
            local_threshold: config.local_threshold,
            failover_wait: config.failover_wait,
            breaker_failures: config.breaker_failures,
            links_of_server: admission.links_of_server(),
        };
        let topology = Topology::start(
            &seeds.addresses,
            settings,
            Arc::clone(&dialer),
            fences,
            Arc::clone(&known),
        );
        let pool = Pool::new(
            config.max_links,
            max_awaiting,
            config.link_idle_timeout,
            Arc::clone(&admission),
        );
        let upstream = Upstream {
            topology,
            pool,
            pins: Pins::default(),
            awaits: Awaits::default(),
            dialer,
            principals: Principals::default(),
            logins: Logins::new(config.max_login_links, login_timeout),
            failover_wait: config.failover_wait,
            admission,
            memory,
            facts: known,
        };
        Ok(Arc::new(upstream))
    }

    /// What clients are told of the upstream: the last hello of a server that takes writes.
    pub async fn face(&self) -> Result<(Arc<Hello>, Deployment), Failure> {
        self.topology.face().await
    }

    /// What kind of deployment it is, as far as is known.
    pub fn deployment(&self) -> Deployment {
        self.topology.deployment()
    }

    /// The servers, for status.
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.topology.status()
    }

    /// Server addresses, to keep them from clients.
    pub fn addresses(&self) -> Vec<String> {
        self.topology.addresses()
    }

    /// Numbers of the pool.
    pub fn pool(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Numbers of admission.
    pub fn admission(&self) -> AdmissionStats {
        self.admission.stats()
    }

    /// Faults that a test makes on this proxy's links.
    #[cfg(feature = "test-hooks")]
    pub fn faults(&self) -> &Faults {
        &self.dialer.faults
    }

    /// Cursors pinned to servers now.
    pub fn pinned_cursors(&self) -> usize {
        self.pins.cursors()
    }

    /// Has the servers looked at now.
    pub fn look_again(&self) {
        self.topology.look_again();
    }

    /// Upkeep, about once a second.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.pool.sweep(now);
        self.pins.sweep(now);
        self.awaits.sweep(now);
        self.principals.sweep();
        self.logins.sweep(now);
    }

    /// A fresh link to the primary for a client's authentication. `extra`: elements of the
    /// client's own hello that are relayed. `may_wait`: whether it is worth waiting for a turn.
    pub async fn open_auth(
        &self,
        extra: &[&[u8]],
        mechanism: String,
        address: Option<IpAddr>,
        may_wait: bool,
    ) -> Result<AuthLink, Failure> {
        let began = Instant::now();
        let turn = match may_wait {
            true => self.logins.enter(address).await?,
            false => {
                let turn = self.logins.try_enter(address);
                turn.ok_or_else(|| self.logins.too_late(began))?
            }
        };
        let dialled = async {
            let primary = ReadPreference::primary();
            let server = self.topology.select(&Search::of(&primary)).await?;
            let dialled = self.dialer.dial(&server, home(), extra).await;
            dialled.inspect_err(|_| server.suspect())
        };
        let (link, hello) = timeout_at(turn.deadline, dialled)
            .await
            .map_err(|_| self.logins.too_late(began))??;
        Ok(AuthLink::new(turn, link, hello, mechanism))
    }

    /// The conversation is done: asks the server who this is, and shares the link among
    /// that principal's clients.
    pub async fn adopt(&self, auth: AuthLink) -> Result<Arc<Principal>, LoginError> {
        let mechanism = auth.mechanism.clone();
        let (link, users) = auth.finish().await?;
        if users.is_empty() {
            return Ok(NO_PRINCIPAL.clone());
        }
        let principal = self.principals.of(users, &mechanism);
        self.pool.adopt(link, &principal);
        Ok(principal)
    }

    /// Numbers of logins.
    pub fn logins(&self) -> LoginStats {
        self.logins.stats()
    }

    /// Where the logins came from that were ended since the last call, because their clients didn't continue.
    pub fn ended_logins(&self) -> Vec<Option<IpAddr>> {
        self.logins.ended()
    }

    /// Whether the servers know `comment` in every command: since 4.4.
    fn takes_comments(&self) -> bool {
        let facts = self.facts.get();
        facts
            .writer
            .as_ref()
            .is_some_and(|w| w.wire_version >= WIRE_VERSION_4_4)
    }

    /// Follows what a reply says of its cursor.
    pub fn note_cursor(&self, request: &Request, server: &Arc<Server>, reply: &Reply) {
        let id = match request.command.kind {
            Kind::Insert | Kind::Update | Kind::Delete | Kind::FindAndModify => return,
            _ => reply.view().cursor_id,
        };
        self.awaits
            .note(&request.command, reply.view(), reply.body());
        if self.topology.len() < 2 {
            return;
        }
        match (id, request.command.cursor_id()) {
            (Some(0) | None, Some(asked)) => self.pins.unpin_cursor(asked),
            (Some(id), _) if id != 0 => {
                let live = self.memory.live(memory::Kind::ServerCursors);
                self.pins.pin_cursor(id, server, live);
            }
            _ => {}
        }
    }

    /// The server that the request must or may go to, waited for since `began`.
    async fn route(&self, request: &Request, began: Instant) -> Result<Route, Failure> {
        let command = &request.command;
        if self.topology.len() > 1 {
            if let Some(server) = command.cursor_id().and_then(|id| self.pins.cursor(id)) {
                return Ok(Route::Pinned(server));
            }
            if command.txn_number.is_some()
                && let Some(server) = self.pins.transaction(command)
            {
                return Ok(Route::Pinned(server));
            }
        }
        let wanted = match command.read_preference() {
            Some(preference) if reads(command.kind) && !command.pipeline_writes => {
                ReadPreference::parse(preference)
            }
            _ => ReadPreference::primary(),
        };
        let search = Search {
            wanted: &wanted,
            met: request.met,
            began,
            deadline: request.deadline(),
        };
        if request.principal.id != 0 && wanted.mode != Mode::Primary {
            return self.route_of_user(request, &search).await;
        }
        let server = self.topology.select(&search).await?;
        if command.in_transaction
            && self.deployment() == Deployment::Sharded
            && self.topology.len() > 1
        {
            self.pins.pin_transaction(command, &server);
        }
        Ok(Route::Chosen(server))
    }

    /// Where a read of an authenticated user may go that needn't go to the primary: a server that fits
    /// and that the user has proved itself to, which nobody else can do for it. That's the primary,
    /// and whoever was primary before.
    async fn route_of_user(
        &self,
        request: &Request,
        search: &Search<'_>,
    ) -> Result<Route, Failure> {
        let own = |server: &Server| self.pool.has_links(server, &request.principal);
        if let Some(server) = self.topology.select_now(search, own) {
            return Ok(Route::Chosen(server));
        }
        let wanted = &ReadPreference::primary();
        let search = Search { wanted, ..*search };
        Ok(Route::Chosen(self.topology.select(&search).await?))
    }

    /// A server and a link to it. Where a server can be chosen, one that can't be reached is no
    /// reason to fail: nothing was sent.
    async fn leased(&self, request: &mut Request) -> Result<Leased<'_>, Failure> {
        let budget = match self.awaits.may_wait(&request.command) {
            true => {
                request.trail.note(Decision::Awaited);
                Budget::Awaiting
            }
            false => Budget::Shared,
        };
        let mut patience = self.admission.patience(request);
        let before = patience.waited();
        let leased = self.leased_within(request, budget, &mut patience).await;
        request
            .waits
            .waited_for_turn(patience.waited().saturating_sub(before));
        leased
    }

    async fn leased_within(
        &self,
        request: &mut Request,
        budget: Budget,
        patience: &mut Patience,
    ) -> Result<Leased<'_>, Failure> {
        loop {
            let began = Instant::now();
            let since = began.checked_sub(request.waits.for_server());
            let route = self.route(request, since.unwrap_or(began)).await;
            request.waits.waited_for_server(began.elapsed());
            let route = route?;
            let server = route.server();
            let generation = server.generation();
            let entered = self
                .admission
                .enter(server, self.topology.len(), request, budget, patience)
                .await?;
            if generation != server.generation() && matches!(route, Route::Chosen(_)) {
                // It was lost while this one waited for it.
                continue;
            }
            let began = Instant::now();
            match self.lease(request, server, budget, patience).await {
                Ok(lease) => {
                    let server = Arc::clone(server);
                    return Ok(Leased {
                        server,
                        lease,
                        _entered: entered,
                    });
                }
                Err(failure) => {
                    if !matches!(failure.fault, Fault::Unreachable { .. }) {
                        return Err(failure);
                    }
                    self.topology
                        .doubt(server, generation, "no link to it can be made");
                    request.waits.waited_for_server(began.elapsed());
                    let is_late = request.waits.for_server() >= self.failover_wait;
                    if matches!(route, Route::Pinned(_)) || is_late {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// A link to `server`, dialled if there is room, waited for if not.
    async fn lease(
        &self,
        request: &mut Request,
        server: &Arc<Server>,
        mut budget: Budget,
        patience: &mut Patience,
    ) -> Result<Lease, Failure> {
        loop {
            let (checkout, queued) = self
                .pool
                .checkout(server, &request.principal, budget, patience)
                .await?;
            if queued {
                request.trail.note(Decision::Queued);
            }
            let room = match checkout {
                Checkout::Link(lease) => return Ok(lease),
                Checkout::Dial(room) => room,
            };
            match self.dialer.dial(server, home(), &[]).await {
                Ok((link, _)) => {
                    return room
                        .fill(link, &request.principal)
                        .ok_or_else(|| gone("the pool was closed"));
                }
                // The server may have reached its limit of connections: one of those that are there will do.
                Err(_) if budget == Budget::Awaiting && server.state().hello.is_some() => {
                    budget = Budget::Shared;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn exchange(&self, request: &mut Request) -> Outcome {
        let _admitted = self.admission.admit(request)?;
        let Leased {
            server,
            mut lease,
            _entered,
        } = self.leased(request).await?;
        let reworded = reworded(request, request.origin.is_some() && self.takes_comments())?;
        request.met = Some(self.topology.met(&server));
        let frame = reworded.as_ref().unwrap_or(&request.frame);
        let link = lease.link().ok_or_else(|| gone("the link was closed"))?;
        let generation = link.generation;
        let may_compress = request.command.kind != Kind::Auth;
        if reads(request.command.kind) || request.command.kind == Kind::GetMore {
            link.when_full = WhenFull::Refuse;
        }
        let callers = request.callers.clone();
        let Some(_under_way) = callers.set_out() else {
            lease.done();
            return Err(Failure::unsent(Fault::ClientGone));
        };
        request.sent += 1;
        let timed = Timed::begin(
            &request.listeners,
            &server.address.host,
            server.address.port,
        );
        let answer = tokio::select! {
            biased;
            answer = link.exchange(frame, may_compress) => answer,
            () = server.given_up(generation) => Err(LinkError::GivenUp),
            () = overdue(request) => {
                let reason = "a reply didn't come within the request's maxTimeMS";
                self.topology.doubt(&server, generation, reason);
                return Err(Failure { fault: Fault::MaxTimeExpired, sent: true });
            }
        };
        let reply = match answer {
            Ok(reply) => {
                if let Some(timed) = timed {
                    timed.answered();
                }
                Reply::from_server(reply)
            }
            Err(LinkError::NoRoom(no_room)) => {
                lease.done();
                return Err(Failure::unread(no_room));
            }
            Err(error) => {
                match error {
                    LinkError::Closed | LinkError::Io(_) => {
                        self.topology.link_lost(&server, generation);
                    }
                    _ => {
                        let reason = "a link to it can't be used any more";
                        self.topology.doubt(&server, generation, reason);
                    }
                }
                return Err(lost(&error));
            }
        };
        request.permit = link.take_permit();
        lease.done();
        server.breaker.answered();
        if !reply.is_mere_success() {
            let standing = standing(reply.view());
            if standing != Standing::Unchanged {
                self.topology.not_as_thought(&server, standing);
            }
        }
        self.note_cursor(request, &server, &reply);
        Ok(reply)
    }
}

impl Backend for Upstream {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(self.exchange(request))
    }
}

/// The same message as the server is to get it, if that isn't how it came.
fn reworded(request: &Request, takes_comments: bool) -> Result<Option<Frame>, Failure> {
    let left = time_left(request)?;
    let origin = request.origin.as_ref();
    // (Sections that aren't known are passed on as they came.)
    let comment = origin
        .filter(|_| takes_comments && request.msg.unknown.is_none())
        .and_then(|origin| origin.comment(&request.command));
    if left.is_none() && comment.is_none() {
        return Ok(None);
    }
    let bytes = outgoing(
        request.frame.header().request_id,
        &request.msg,
        &request.command,
        left,
        comment.as_deref(),
    );
    Ok(Some(Frame { bytes }))
}

/// What is left of its `maxTimeMS`, if it waited noticeably.
fn time_left(request: &Request) -> Result<Option<u64>, Failure> {
    let Some(deadline) = request.deadline() else {
        return Ok(None);
    };
    let now = Instant::now();
    if now.saturating_duration_since(request.received) < NOTICEABLE
        || request.command.kind == Kind::GetMore
    {
        return Ok(None);
    }
    match deadline.saturating_duration_since(now).as_millis() as u64 {
        0 => Err(Failure::unsent(Fault::MaxTimeExpired)),
        left => Ok(Some(left)),
    }
}

/// A link, and a request's places at the server that it leads to.
struct Leased<'a> {
    server: Arc<Server>,
    lease: Lease,
    _entered: Entered<'a>,
}

/// Where a request goes.
enum Route {
    /// It must go there: its cursor or transaction is there.
    Pinned(Arc<Server>),
    /// Another one would do as well.
    Chosen(Arc<Server>),
}

impl Route {
    fn server(&self) -> &Arc<Server> {
        match self {
            Route::Pinned(server) | Route::Chosen(server) => server,
        }
    }
}

/// Ends when the server should have ended the request by itself, for its `maxTimeMS`.
async fn overdue(request: &Request) {
    match request.deadline() {
        // (A getMore's is how long it waits for something new.)
        Some(deadline) if request.command.kind != Kind::GetMore => {
            tokio::time::sleep_until(deadline + GRACE).await;
        }
        _ => std::future::pending().await,
    }
}

fn reads(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Find
            | Kind::Aggregate
            | Kind::Count
            | Kind::Distinct
            | Kind::Read
            | Kind::Validate
            | Kind::Unknown
    )
}

fn lost(error: &LinkError) -> Failure {
    Failure::lost(error)
}

fn gone(reason: &str) -> Failure {
    Failure::unsent(Fault::LinkLost(reason.to_owned()))
}

/// How much later than at its `maxTimeMS` a server may say that the time is over.
const GRACE: Duration = Duration::from_secs(2);
const WIRE_VERSION_4_4: i32 = 9;
/// A wait below this isn't worth a new message.
const NOTICEABLE: Duration = Duration::from_millis(2);
