//! The servers of a bench run: a private mongod, the proxy in several settings, the peers, and any other address.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bson::rawdoc;

use super::connection::{Asker, ConnectionError};
use super::contestant::{Contestant, Process};
use super::goals::Part;
use super::load::Target;
use super::peers::{Peer, echo, haproxy, redis, relay};
use super::process::{ProcessError, find_program};
use super::proxy::Proxy;
use super::random::Random;
use super::record::version_of;
use super::reply::Protocol;
use super::workload::{Context, Workload};
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
    /// The proxy with batching off.
    BatchOff,
    /// The proxy with rewriting off.
    RewriteOff,
    /// The proxy with profile and advice off.
    ProfileOff,
    /// The proxy with retries off.
    RetryOff,
    /// haproxy in TCP mode before the same mongod.
    Haproxy,
    /// The framed-echo server with replies of the same size.
    Echo,
    /// Redis with values of the same size.
    Redis,
}

impl Server {
    /// All of them, in the order of tables.
    pub const ALL: [Server; 10] = [
        Server::Direct,
        Server::Petiole,
        Server::CacheOff,
        Server::BatchOff,
        Server::RewriteOff,
        Server::ProfileOff,
        Server::RetryOff,
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
            Server::BatchOff => "petiole, batch off",
            Server::RewriteOff => "petiole, rewrite off",
            Server::ProfileOff => "petiole, profile off",
            Server::RetryOff => "petiole, retry off",
            Server::Haproxy => "haproxy TCP",
            Server::Echo => "framed echo",
            Server::Redis => "redis GET",
        }
    }

    /// The settings of a proxy, as for `--set`; `None` for what isn't one. The bench itself promises that nobody
    /// writes a lane's data around its proxy.
    fn settings(self) -> Option<&'static [&'static str]> {
        match self {
            Server::Petiole => Some(&["cache.external_writes=none"]),
            Server::CacheOff => Some(&["cache.enabled=false"]),
            Server::BatchOff => Some(&["cache.external_writes=none", "batch.enabled=false"]),
            Server::RewriteOff => Some(&["cache.external_writes=none", "rewrite.enabled=false"]),
            Server::ProfileOff => Some(&[
                "cache.external_writes=none",
                "profile.enabled=false",
                "advice.enabled=false",
            ]),
            Server::RetryOff => Some(&["cache.external_writes=none", "retry.enabled=false"]),
            Server::Direct | Server::Haproxy | Server::Echo | Server::Redis => None,
        }
    }
}

/// Any other address, given with `--target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// What tables call it.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
}

impl Other {
    /// Reads `NAME=URI`, where URI is `mongodb://host:port/…` or `host:port`.
    pub fn parse(text: &str) -> Result<Other, String> {
        let (name, uri) = text
            .split_once('=')
            .filter(|(name, uri)| !name.is_empty() && !uri.is_empty())
            .ok_or("NAME=URI, such as other=mongodb://127.0.0.1:27017")?;
        let rest = uri.strip_prefix("mongodb://").unwrap_or(uri);
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        if host.contains('@') {
            return Err("the raw generator doesn't authenticate: leave the user out".to_owned());
        }
        if host.contains(',') {
            return Err("one host: the raw generator asks one address".to_owned());
        }
        let with_port = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            host.to_owned()
        } else {
            format!("{host}:27017")
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| format!("{with_port}: {error}"))?
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| format!("{with_port} has no address"))?;
        Ok(Other {
            name: name.to_owned(),
            address,
        })
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
    Asking(String, ConnectionError),
    /// An address that isn't one.
    #[error("{0:?} isn't an address: {1}")]
    Address(String, std::net::AddrParseError),
}

/// Everything that serves all workloads. Ends when dropped.
#[derive(Debug)]
pub struct Servers {
    /// Those that were filled.
    databases: RefCell<BTreeSet<String>>,
    others: Vec<Other>,
    /// mongod, or the relay before it.
    direct: Target,
    relay: Option<Peer>,
    proxies: Vec<(Server, Proxy)>,
    haproxy: Option<Peer>,
    mongod: Option<Deployment>,
}

impl Servers {
    /// Starts mongod (or takes the one given), at this distance, and whatever was chosen.
    pub async fn start(
        chosen: &[Server],
        others: &[Other],
        upstream: Option<&str>,
        rtt: Duration,
    ) -> Result<Servers, ServersError> {
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
        let relay = match rtt.is_zero() {
            true => None,
            false => Some(relay::start(parsed, rtt)?),
        };
        let direct = relay.as_ref().map_or(parsed, |relay| relay.target.address);
        let mut servers = Servers {
            databases: RefCell::default(),
            others: others.to_vec(),
            direct: Target {
                address: direct,
                protocol: Protocol::Mongo,
            },
            relay,
            proxies: Vec::new(),
            haproxy: None,
            mongod,
        };
        let uri = servers.uri();
        for &server in chosen {
            if let Some(settings) = server.settings() {
                let proxy = Proxy::start(server.label(), &uri, settings)?;
                servers.proxies.push((server, proxy));
            }
        }
        if chosen.contains(&Server::Haproxy) {
            servers.haproxy = haproxy::start(direct)?;
        }
        Ok(servers)
    }

    fn mongod_pid(&self) -> Option<u32> {
        self.mongod.as_ref().and_then(|mongod| mongod.pid(0))
    }

    /// How many take part in a workload.
    pub fn count(&self, part: &Part) -> usize {
        let reads = part.workload.is_one_read();
        let takes_part = |server: &&Server| match server {
            Server::Echo => reads,
            Server::Redis => reads && redis::is_installed(),
            Server::Haproxy => self.haproxy.is_some(),
            _ => true,
        };
        part.servers.iter().filter(takes_part).count() + self.others.len()
    }

    /// Versions of what takes part beside the proxy.
    pub fn versions(&self) -> Vec<(String, String)> {
        let mut versions = Vec::new();
        let build_info = rawdoc! {"buildInfo": 1, "$db": "admin"};
        let mongod = Asker::connect(self.direct.address, self.direct.protocol)
            .and_then(|mut asker| asker.command(&build_info))
            .ok()
            .and_then(|info| info.get_str("version").map(str::to_owned).ok());
        versions.extend(mongod.map(|version| ("mongod".to_owned(), version)));
        for (name, program, argument) in [
            ("haproxy", "haproxy", "-v"),
            ("redis", "redis-server", "--version"),
        ] {
            let version = find_program(program).and_then(|path| version_of(&path, argument));
            versions.extend(version.map(|version| (name.to_owned(), version)));
        }
        versions
    }

    /// The connection string of mongod, or of the relay before it.
    pub fn uri(&self) -> String {
        if self.relay.is_some() {
            // mongod names an address of its own, which isn't behind the relay.
            return format!("mongodb://{}/?directConnection=true", self.direct.address);
        }
        let given = || format!("mongodb://{}/", self.direct.address);
        self.mongod.as_ref().map_or_else(given, Deployment::uri)
    }

    /// Leaves a mongod that isn't ours as it was found.
    pub fn clean_up(&self) {
        let given = self.mongod.is_none().then_some(self.direct.address);
        let others = self.others.iter().map(|other| other.address);
        for address in given.into_iter().chain(others) {
            // What can't be tidied up stays; the findings are good all the same.
            let Ok(mut asker) = Asker::connect(address, Protocol::Mongo) else {
                continue;
            };
            for database in self.databases.borrow().iter() {
                let _ = drop_database(&mut asker, database);
            }
        }
    }

    /// Those that take part in a workload, each with its own data and with what must be kept alive for it.
    pub fn contestants(
        &self,
        part: &Part,
        like: &Context,
        reply_bytes: usize,
    ) -> Result<Vec<Contestant>, ServersError> {
        let workload = part.workload;
        let mut contestants = Vec::new();
        for &server in &part.servers {
            let Some(found) = self.find(server, workload, reply_bytes)? else {
                continue;
            };
            let behind_mongod = !matches!(server, Server::Echo | Server::Redis);
            contestants.push(Contestant {
                name: server.label().to_owned(),
                redis: server == Server::Redis,
                target: found.target,
                process: found.process,
                mongod: behind_mongod.then_some((self.direct, self.mongod_pid())),
                context: Self::context(server.label(), contestants.len(), like),
                keep: found.keep,
            });
        }
        for other in &self.others {
            let target = Target {
                address: other.address,
                protocol: Protocol::Mongo,
            };
            contestants.push(Contestant {
                name: other.name.clone(),
                redis: false,
                target,
                process: Process::default(),
                mongod: None,
                context: Self::context(&other.name, contestants.len(), like),
                keep: None,
            });
        }
        for contestant in &contestants {
            if contestant.speaks_to_mongod() {
                let database = &contestant.context.database;
                self.databases.borrow_mut().insert(database.clone());
                fill(contestant.target, database, workload)
                    .map_err(|error| ServersError::Asking(contestant.name.clone(), error))?;
            }
        }
        Ok(contestants)
    }

    /// The size of mongod's own reply to one of a workload's requests; 0 where they differ.
    pub fn reply_bytes(&self, workload: Workload, like: &Context) -> Result<usize, ServersError> {
        if !workload.has_one_reply() {
            return Ok(0);
        }
        let failed = |error| ServersError::Asking("asking mongod".to_owned(), error);
        let context = Context {
            database: format!("{DATABASE}_sample"),
            ..like.clone()
        };
        fill(self.direct, &context.database, workload).map_err(failed)?;
        let mut request = Vec::new();
        workload
            .source(&context)
            .fill(0, &mut Random::seeded(0), &mut request);
        let mut asker =
            Asker::connect(self.direct.address, self.direct.protocol).map_err(failed)?;
        let reply = asker.exchange(&request).map_err(failed)?.len();
        drop_database(&mut asker, &context.database).map_err(failed)?;
        Ok(reply)
    }

    fn context(name: &str, lane: usize, like: &Context) -> Context {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        Context {
            database: format!("{DATABASE}_{}", name.chars().map(plain).collect::<String>()),
            lane: lane as u64 + 1,
            ..like.clone()
        }
    }

    fn find(
        &self,
        server: Server,
        workload: Workload,
        reply_bytes: usize,
    ) -> Result<Option<Found>, ServersError> {
        let borrowed = |peer: &Peer, admin| Found {
            target: peer.target,
            process: Process::of(&peer.child, admin),
            keep: None,
        };
        let own = |peer: Peer| {
            let found = borrowed(&peer, None);
            Found {
                keep: Some(peer),
                ..found
            }
        };
        Ok(match server {
            Server::Direct => Some(Found {
                target: self.direct,
                process: Process {
                    pid: self.mongod_pid(),
                    admin: None,
                },
                keep: None,
            }),
            Server::Haproxy => self.haproxy.as_ref().map(|peer| borrowed(peer, None)),
            Server::Echo | Server::Redis if !workload.is_one_read() => None,
            Server::Echo => Some(own(echo::start(reply_bytes)?)),
            Server::Redis => redis::start(reply_bytes)?.map(own),
            _ => {
                let mut proxies = self.proxies.iter();
                let found = proxies.find(|(which, _)| *which == server);
                found.map(|(_, proxy)| borrowed(&proxy.peer, Some(proxy.admin)))
            }
        })
    }
}

/// Where a server is.
struct Found {
    target: Target,
    process: Process,
    keep: Option<Peer>,
}

/// All databases of the bench begin so.
const DATABASE: &str = "petiole_bench";

/// Fills a lane's database for a workload, from scratch.
fn fill(target: Target, database: &str, workload: Workload) -> Result<(), ConnectionError> {
    let mut asker = Asker::connect(target.address, target.protocol)?;
    workload.fill(&mut asker, database)
}

fn drop_database(asker: &mut Asker, database: &str) -> Result<(), ConnectionError> {
    asker
        .command(&rawdoc! {"dropDatabase": 1, "$db": database})
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_can_be_a_target() {
        let other = Other::parse("mine=mongodb://127.0.0.1:3/?x=1").unwrap();
        assert_eq!(other.name, "mine");
        assert_eq!(other.address, "127.0.0.1:3".parse().unwrap());
        let plain = Other::parse("mine=127.0.0.1").unwrap();
        assert_eq!(plain.address.port(), 27017);
        for wrong in ["mine", "=127.0.0.1:1", "a=", "a=u:p@127.0.0.1", "a=h1,h2"] {
            assert!(Other::parse(wrong).is_err(), "{wrong}");
        }
    }
}
