//! The servers of a bench run: a private mongod with data, the proxy twice, and the peers.

use std::net::SocketAddr;

use bson::{RawArrayBuf, RawDocumentBuf, rawdoc};

use super::connection::{Asker, ConnectionError};
use super::load::Target;
use super::peers::{Peer, echo, haproxy, redis};
use super::process::{Child, ProcessError, free_address, process_cpu};
use super::random::Random;
use super::reply::Protocol;
use super::rounds::{Probe, Totals};
use super::status;
use super::workload::{DATABASE, RedisGet, Source, USERS, Workload, user};
use crate::embedded::{Deployment, EmbeddedError, MongodOptions};

/// Whom the generator can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Server {
    /// mongod itself.
    Direct,
    /// The proxy with everything on.
    Petiole,
    /// The proxy with its cache off.
    CacheOff,
    /// haproxy in TCP mode before the same mongod.
    Haproxy,
    /// The framed-echo server with replies of the same size.
    Echo,
    /// Redis with values of the same size.
    Redis,
}

impl Server {
    /// All of them, in the order of tables.
    pub const ALL: [Server; 6] = [
        Server::Direct,
        Server::Petiole,
        Server::CacheOff,
        Server::Haproxy,
        Server::Echo,
        Server::Redis,
    ];

    /// What tables call it.
    pub fn label(self) -> &'static str {
        match self {
            Server::Direct => "direct mongod",
            Server::Petiole => "petiole",
            Server::CacheOff => "petiole, cache off",
            Server::Haproxy => "haproxy TCP",
            Server::Echo => "framed echo",
            Server::Redis => "redis GET",
        }
    }
}

/// Why the servers aren't there.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// The private mongod.
    #[error("the private mongod: {0}")]
    Mongod(#[from] EmbeddedError),
    /// A child process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Talking to one of them.
    #[error("{0}: {1}")]
    Asking(&'static str, ConnectionError),
    /// An address that isn't one.
    #[error("{0:?} isn't an address: {1}")]
    Address(String, std::net::AddrParseError),
}

/// A running proxy: a child process of this very program. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Its process and where it listens.
    pub peer: Peer,
    /// Its admin address.
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts a proxy before `upstream`, with `settings` as for `--set`, and waits until it's ready.
    pub fn start(name: &str, upstream: &str, settings: &[&str]) -> Result<Proxy, ServersError> {
        let admin = free_address().map_err(ProcessError::from)?;
        let admin_text = admin.to_string();
        let mut args = vec![
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            upstream,
            "--admin",
            &admin_text,
        ];
        for setting in ["log.level=warn"].iter().chain(settings) {
            args.extend(["--set", setting]);
        }
        let mut child = Child::start_self(name, &args)?;
        let line = child.wait_for_line("petiole listening on ")?;
        let address = line
            .parse()
            .map_err(|error| ServersError::Address(line.clone(), error))?;
        Ok(Proxy {
            peer: Peer {
                target: Target {
                    address,
                    protocol: Protocol::Mongo,
                },
                child,
            },
            admin,
        })
    }
}

/// Everything that serves all workloads. Ends when dropped.
#[derive(Debug)]
pub struct Servers {
    chosen: Vec<Server>,
    direct: Target,
    petiole: Option<Proxy>,
    cache_off: Option<Proxy>,
    haproxy: Option<Peer>,
    mongod: Option<Deployment>,
}

impl Servers {
    /// Starts mongod (or takes the one given), fills it, and starts the proxies that were chosen.
    pub async fn start(chosen: &[Server], upstream: Option<&str>) -> Result<Servers, ServersError> {
        let (mongod, address) = match upstream {
            Some(address) => (None, address.to_owned()),
            None => {
                let deployment = Deployment::start(MongodOptions::default()).await?;
                let address = deployment
                    .addresses()
                    .into_iter()
                    .next()
                    .unwrap_or_default();
                (Some(deployment), address)
            }
        };
        let parsed = address
            .parse()
            .map_err(|error| ServersError::Address(address.clone(), error))?;
        let direct = Target {
            address: parsed,
            protocol: Protocol::Mongo,
        };
        fill(direct).map_err(|error| ServersError::Asking("filling mongod", error))?;
        let uri = mongod
            .as_ref()
            .map_or_else(|| format!("mongodb://{address}/"), Deployment::uri);
        let mut servers = Servers {
            chosen: chosen.to_vec(),
            direct,
            petiole: None,
            cache_off: None,
            haproxy: None,
            mongod,
        };
        if chosen.contains(&Server::Petiole) {
            servers.petiole = Some(Proxy::start(
                "petiole",
                &uri,
                &["cache.external_writes=none"],
            )?);
        }
        if chosen.contains(&Server::CacheOff) {
            servers.cache_off = Some(Proxy::start(
                "petiole, cache off",
                &uri,
                &["cache.enabled=false"],
            )?);
        }
        if chosen.contains(&Server::Haproxy) {
            servers.haproxy = haproxy::start(parsed)?;
        }
        Ok(servers)
    }

    /// The size of mongod's own reply to one of a workload's requests.
    pub fn reply_bytes(&self, workload: Workload) -> Result<usize, ServersError> {
        let failed = |error| ServersError::Asking("asking mongod", error);
        let mut request = Vec::new();
        workload
            .source()
            .fill(0, &mut Random::seeded(0), &mut request);
        let mut asker =
            Asker::connect(self.direct.address, self.direct.protocol).map_err(failed)?;
        Ok(asker.exchange(&request).map_err(failed)?.len())
    }

    /// Those that take part in a workload, each with what must be kept alive for it.
    pub fn contestants(&self, workload: Workload) -> Result<Vec<Contestant>, ServersError> {
        let reply_bytes = self.reply_bytes(workload)?;
        let reads = workload != Workload::Insert;
        let mut contestants = Vec::new();
        for &server in &self.chosen {
            let (target, process, keep) = match server {
                Server::Direct => (self.direct, None, None),
                Server::Petiole | Server::CacheOff => {
                    let proxy = if server == Server::Petiole {
                        &self.petiole
                    } else {
                        &self.cache_off
                    };
                    let Some(proxy) = proxy else { continue };
                    (
                        proxy.peer.target,
                        Some((&proxy.peer.child, Some(proxy.admin))),
                        None,
                    )
                }
                Server::Haproxy => {
                    let Some(peer) = &self.haproxy else { continue };
                    (peer.target, Some((&peer.child, None)), None)
                }
                Server::Echo if reads => {
                    let peer = echo::start(reply_bytes)?;
                    (peer.target, None, Some(peer))
                }
                Server::Redis if reads => {
                    let Some(peer) = redis::start(reply_bytes)? else {
                        continue;
                    };
                    (peer.target, None, Some(peer))
                }
                Server::Echo | Server::Redis => continue,
            };
            let own = keep.as_ref().map(|peer: &Peer| (&peer.child, None));
            let watched = process.or(own);
            let behind_mongod = keep.is_none();
            contestants.push(Contestant {
                server,
                target,
                reply_bytes,
                pid: watched.map_or_else(
                    || self.mongod.as_ref().and_then(|mongod| mongod.pid(0)),
                    |(child, _)| Some(child.pid()),
                ),
                admin: watched.and_then(|(_, admin)| admin),
                mongod: behind_mongod.then(|| {
                    (
                        self.direct,
                        self.mongod.as_ref().and_then(|mongod| mongod.pid(0)),
                    )
                }),
                _keep: keep,
            });
        }
        Ok(contestants)
    }
}

/// One target of one workload.
#[derive(Debug)]
pub struct Contestant {
    /// Which one.
    pub server: Server,
    /// Where it is.
    pub target: Target,
    /// Size of a reply to the workload.
    pub reply_bytes: usize,
    /// Its process, if it's known.
    pub pid: Option<u32>,
    admin: Option<SocketAddr>,
    mongod: Option<(Target, Option<u32>)>,
    _keep: Option<Peer>,
}

impl Contestant {
    /// Requests for it.
    pub fn source(&self, workload: Workload) -> Box<dyn Source> {
        if self.server == Server::Redis {
            Box::new(RedisGet)
        } else {
            workload.source()
        }
    }

    /// Counts CPU time of its process and of mongod, operations that reached mongod, and cache hits.
    pub fn probe(&self) -> Result<Probe, ServersError> {
        let (pid, admin) = (
            self.pid.filter(|_| self.server != Server::Direct),
            self.admin,
        );
        let mut mongod = None;
        if let Some((target, mongod_pid)) = self.mongod {
            let failed = |error| ServersError::Asking("asking mongod", error);
            mongod = Some((
                Asker::connect(target.address, target.protocol).map_err(failed)?,
                mongod_pid,
            ));
        }
        let micros =
            |pid: Option<u32>| pid.and_then(process_cpu).unwrap_or_default().as_secs_f64() * 1e6;
        Ok(Box::new(move || {
            let mut totals: Totals = Vec::new();
            if pid.is_some() {
                totals.push((SERVER_CPU.to_owned(), micros(pid)));
            }
            if let Some((asker, mongod_pid)) = &mut mongod {
                totals.push((UPSTREAM.to_owned(), operations(asker).unwrap_or_default()));
                totals.push((MONGOD_CPU.to_owned(), micros(*mongod_pid)));
            }
            if let Some(status) = admin.and_then(|admin| status::fetch(admin).ok()) {
                totals.push((HITS.to_owned(), status::number(&status, "cache.hits")));
            }
            totals
        }))
    }
}

/// Name of the CPU microseconds of the server asked.
pub const SERVER_CPU: &str = "server_cpu_us";
/// Name of the CPU microseconds of mongod behind it.
pub const MONGOD_CPU: &str = "mongod_cpu_us";
/// Name of the operations that reached mongod, whoever sent them (those of the probe itself aren't counted).
pub const UPSTREAM: &str = "upstream_operations";
/// Name of the proxy's cache hits.
pub const HITS: &str = "cache_hits";

/// All operations that mongod counted since it started. This question isn't among them.
pub fn operations(asker: &mut Asker) -> Result<f64, ConnectionError> {
    let command = rawdoc! {
        "serverStatus": 1, "repl": 0, "metrics": 0, "locks": 0, "wiredTiger": 0, "network": 0, "$db": "admin",
    };
    let status = asker.command(&command)?;
    let counters = status.get_document("opcounters").ok();
    let fields = counters
        .iter()
        .flat_map(|counters| counters.iter().flatten());
    let number =
        |value: bson::RawBsonRef<'_>| value.as_i64().or_else(|| value.as_i32().map(i64::from));
    let counted: i64 = fields.filter_map(|(_, value)| number(value)).sum();
    let questions = asker.asked();
    Ok((counted - questions) as f64)
}

/// Fills the collections that the workloads use, from scratch.
fn fill(target: Target) -> Result<(), ConnectionError> {
    let mut asker = Asker::connect(target.address, target.protocol)?;
    asker.command(&rawdoc! {"dropDatabase": 1, "$db": DATABASE})?;
    let ids: Vec<i32> = (0..USERS).collect();
    for chunk in ids.chunks(1_000) {
        let mut documents = RawArrayBuf::new();
        chunk.iter().for_each(|&id| documents.push(user(id)));
        asker.command(&rawdoc! {"insert": "users", "documents": documents, "$db": DATABASE})?;
    }
    let index: RawDocumentBuf =
        rawdoc! {"key": {"guild": 1, "score": -1}, "name": "guild_1_score_-1"};
    asker.command(&rawdoc! {"createIndexes": "users", "indexes": [index], "$db": DATABASE})?;
    asker.command(&rawdoc! {"create": "events", "$db": DATABASE})?;
    Ok(())
}
