//! Which servers there are, and which of them a request may go to
//! ("Server Discovery and Monitoring" and "Server Selection" specifications).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::breaker::BreakerState;
use super::dial::Dialer;
use super::hello::{Hello, Role};
use super::monitor;
use super::server::{Server, State};
use crate::command::Standing;
use crate::pipeline::{Deployment, Failure, Fault, Fences, Met, UpstreamFacts};

/// A server, for status.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// Where it listens.
    pub address: String,
    /// What it is; `None` while it can't be reached.
    pub role: Option<Role>,
    /// Why it can't be reached.
    pub error: Option<String>,
    /// Round trip, microseconds.
    pub rtt_us: u64,
    /// Whether requests are sent to it.
    pub breaker: BreakerState,
}

/// The deployment, kept up to date by a monitor for each server.
pub(super) struct Topology {
    pub(super) servers: ArcSwap<Vec<Arc<Server>>>,
    facts: Mutex<Facts>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) settings: Settings,
    dialer: Arc<Dialer>,
    fences: Arc<Fences>,
    /// What others are told, under the lock of `facts`.
    known: Arc<UpstreamFacts>,
    /// Whose turn it is among servers that are as good.
    pub(super) rotation: AtomicUsize,
    /// Elections seen.
    elections: AtomicU64,
    runtime: tokio::runtime::Handle,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub direct: bool,
    pub set_name: Option<String>,
    pub heartbeat: Duration,
    pub local_threshold: Duration,
    pub failover_wait: Duration,
    /// Failures in a row that open a server's breaker; 0 = never.
    pub breaker_failures: u32,
    /// Links that one of several servers may have in use.
    pub links_of_server: usize,
}

struct Facts {
    /// The highest election seen: a primary of an earlier one is stale.
    election: (Vec<u8>, i64),
    /// What clients are told; the last hello of a server that takes writes.
    face: Option<Arc<Hello>>,
    next_id: u32,
}

impl Topology {
    /// Begins to watch the seeds, on the runtime that calls.
    pub fn start(
        seeds: &[Address],
        settings: Settings,
        dialer: Arc<Dialer>,
        fences: Arc<Fences>,
        known: Arc<UpstreamFacts>,
    ) -> Arc<Topology> {
        let topology = Arc::new(Topology {
            servers: ArcSwap::default(),
            facts: Mutex::new(Facts {
                election: (Vec::new(), -1),
                face: None,
                next_id: 0,
            }),
            changed: watch::Sender::new(0),
            settings,
            dialer,
            fences,
            known,
            rotation: AtomicUsize::new(0),
            elections: AtomicU64::new(0),
            runtime: tokio::runtime::Handle::current(),
        });
        let mut facts = topology.facts.lock();
        for address in seeds {
            topology.add(&mut facts, address.clone());
        }
        drop(facts);
        topology
    }

    pub fn deployment(&self) -> Deployment {
        self.known.get().deployment
    }

    /// What clients are told of the upstream, as soon as there is something to tell.
    pub async fn face(&self) -> Result<(Arc<Hello>, Deployment), Failure> {
        let began = Instant::now();
        let mut changes = self.changed.subscribe();
        loop {
            {
                let facts = self.facts.lock();
                if let Some(face) = &facts.face {
                    return Ok((Arc::clone(face), self.deployment()));
                }
            }
            self.wait(&mut changes, began, || {
                "server that answers hello".to_owned()
            })
            .await?;
        }
    }

    /// Waits for a change, as long as `failover_wait` allows.
    pub(super) async fn wait(
        &self,
        changes: &mut watch::Receiver<u64>,
        began: Instant,
        wanted: impl Fn() -> String,
    ) -> Result<(), Failure> {
        match timeout_at(began + self.settings.failover_wait, changes.changed()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Failure::unsent(Fault::NoServer {
                wanted: wanted(),
                waited_ms: self.settings.failover_wait.as_millis() as u64,
            })),
        }
    }

    /// The server has closed a link on which a request was under way. It may be down, and is doubted then; or
    /// the request made it do so, again and again, and nobody else must suffer from that.
    pub fn link_lost(&self, server: &Arc<Server>, generation: u64) {
        if server.generation() == generation && server.was_refuted(Instant::now()) {
            tracing::debug!(target: "petiole::upstream", server = %server.address,
                "a link to it was lost, and it answers: the request is to blame");
            return;
        }
        self.doubt(server, generation, "a link to it was lost");
    }

    /// A link of this generation to the server was lost, or couldn't be made: nothing more is sent
    /// there until its monitor has heard of it again.
    pub fn doubt(&self, server: &Arc<Server>, generation: u64, reason: &str) {
        server
            .breaker
            .failed(Instant::now(), self.settings.breaker_failures);
        let state = server.state();
        if server.generation() == generation && state.hello.is_some() {
            server.doubted();
            server.set_state(State {
                hello: None,
                error: Some(reason.to_owned()),
            });
        }
        server.suspect();
    }

    /// Has all servers looked at now.
    pub fn look_again(&self) {
        self.servers.load().iter().for_each(|s| s.suspect());
    }

    /// The server has said that it isn't what it was taken for: it is looked at before anything
    /// else is sent there that depends on it.
    pub fn not_as_thought(&self, server: &Arc<Server>, standing: Standing) {
        let state = server.state();
        let Some(hello) = &state.hello else { return };
        let hello = match standing {
            Standing::Unchanged => return,
            Standing::NotPrimary if hello.role != Role::Primary => return,
            Standing::NotPrimary => Some(Arc::new(Hello {
                role: Role::Other,
                ..(**hello).clone()
            })),
            Standing::Recovering => None,
        };
        server.set_state(State { hello, error: None });
        server.suspect();
    }

    /// The server as a request meets it now.
    pub fn met(&self, server: &Server) -> Met {
        Met {
            server: server.id,
            epoch: server
                .generation()
                .wrapping_add(self.elections.load(Relaxed)),
        }
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.servers.load().len()
    }

    pub fn status(&self) -> Vec<ServerStatus> {
        let servers = self.servers.load();
        let describe = |s: &Arc<Server>| {
            let state = s.state();
            ServerStatus {
                address: s.address.to_string(),
                role: state.hello.as_ref().map(|h| h.role),
                error: state.error.clone(),
                rtt_us: s.round_trip_us(),
                breaker: s.breaker.state(),
            }
        };
        servers.iter().map(describe).collect()
    }

    /// All addresses by which servers are known, for keeping them from clients.
    pub fn addresses(&self) -> Vec<String> {
        self.servers
            .load()
            .iter()
            .map(|s| s.address.to_string())
            .collect()
    }

    /// A server has answered its monitor.
    pub(super) fn answered(self: &Arc<Self>, server: &Arc<Server>, hello: Hello) {
        let hello = Arc::new(hello);
        let restarted = server.answered_as(hello.process_id.as_ref());
        match restarted {
            true => server.next_generation(),
            false => server.refute_doubt(Instant::now()),
        }
        let mut hello = hello;
        let mut facts = self.facts.lock();
        if let Some(name) = &self.settings.set_name
            && hello.set_name.as_ref() != Some(name)
        {
            let found = hello.set_name.as_deref().unwrap_or("none").to_owned();
            drop(facts);
            self.failed(
                server,
                format!("replicaSet={name} is wanted, the server's setName is {found}"),
            );
            return;
        }
        let deployment = match hello.role {
            Role::Mongos => Deployment::Sharded,
            Role::Standalone => Deployment::Single,
            _ => Deployment::ReplicaSet,
        };
        let mut new_term = false;
        if hello.role == Role::Primary {
            if !self.settings.direct && hello.election < facts.election {
                // It doesn't know yet that it has been replaced.
                hello = Arc::new(Hello {
                    role: Role::Other,
                    ..(*hello).clone()
                });
            } else {
                new_term = facts.election.1 >= 0 && hello.election.0 != facts.election.0;
                if new_term {
                    self.elections.fetch_add(1, Relaxed);
                }
                facts.election = hello.election.clone();
                if !self.settings.direct {
                    self.demote_others(server);
                }
            }
        }
        let takes_writes = matches!(hello.role, Role::Primary | Role::Standalone | Role::Mongos);
        // Before the face is there, nobody's handshake is answered; before the state is set, nothing is sent there.
        self.known.publish(|known| {
            known.deployment = deployment;
            if takes_writes {
                known.writer = Some(Arc::new(hello.writer(server.distance().clone())));
            }
        });
        if takes_writes || (self.settings.direct && facts.face.is_none()) {
            facts.face = Some(Arc::clone(&hello));
        }
        if deployment == Deployment::ReplicaSet && !self.settings.direct {
            self.take_members(&mut facts, server, &hello);
        }
        drop(facts);
        server.looked_at(Some(hello.role));
        server.set_state(State {
            hello: Some(hello),
            error: None,
        });
        if restarted || new_term {
            // Nothing that an earlier process or term still had in hand can land any more.
            let settles = deployment != Deployment::Sharded;
            tracing::info!(target: "petiole::upstream", server = %server.address, restarted, new_term,
                "new generation of the server: the cache is void");
            self.fences.flush(settles);
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// A server's monitor got no answer, not even a refusal: nor will anybody else.
    pub(super) fn silent(&self, server: &Arc<Server>, reason: String) {
        self.failed(server, reason);
        server.give_up();
    }

    /// A server's monitor got no answer.
    pub(super) fn failed(&self, server: &Arc<Server>, reason: String) {
        let before = server.state();
        if before.error.as_deref() != Some(&reason) {
            tracing::warn!(target: "petiole::upstream", server = %server.address, reason, "server can't be reached");
        }
        server.gone();
        server.looked_at(None);
        server.next_generation();
        server.set_state(State {
            hello: None,
            error: Some(reason),
        });
        self.changed.send_modify(|n| *n += 1);
    }

    /// There is one primary: whoever else says so is out of date.
    fn demote_others(&self, primary: &Arc<Server>) {
        for other in self.servers.load().iter().filter(|s| s.id != primary.id) {
            if other.may_be_superseded() {
                other.supersede();
            }
            let state = other.state();
            if let Some(hello) = state.hello.as_ref().filter(|h| h.role == Role::Primary) {
                let hello = Arc::new(Hello {
                    role: Role::Other,
                    ..(**hello).clone()
                });
                other.set_state(State {
                    hello: Some(hello),
                    error: None,
                });
                other.suspect();
            }
        }
    }

    /// The members as this one lists them; a primary's word also removes.
    fn take_members(self: &Arc<Self>, facts: &mut Facts, server: &Arc<Server>, hello: &Hello) {
        for address in &hello.members {
            let known = self.servers.load().iter().any(|s| s.address == *address);
            if !known {
                self.add(facts, address.clone());
            }
        }
        if hello.role != Role::Primary || hello.members.is_empty() {
            return;
        }
        let listed = |s: &Arc<Server>| hello.members.contains(&s.address);
        let servers = self.servers.load_full();
        if servers.iter().all(listed) {
            return;
        }
        for gone in servers.iter().filter(|s| !listed(s)) {
            gone.removed.notify_one();
            if gone.id == server.id {
                tracing::debug!(target: "petiole::upstream", seed = %gone.address,
                    "the seed is known to the set by another name");
            }
        }
        self.servers.store(Arc::new(
            servers.iter().filter(|s| listed(s)).cloned().collect(),
        ));
    }

    fn add(self: &Arc<Self>, facts: &mut Facts, address: Address) {
        let server = Server::new(facts.next_id, address, self.settings.links_of_server);
        facts.next_id += 1;
        let mut servers = self.servers.load().to_vec();
        servers.push(Arc::clone(&server));
        self.servers.store(Arc::new(servers));
        let watched = monitor::watch(
            Arc::downgrade(self),
            server,
            Arc::clone(&self.dialer),
            self.settings.heartbeat,
        );
        self.runtime.spawn(watched);
    }
}
