//! One target of one workload, and what is counted while it's loaded.

use std::net::SocketAddr;

use bson::rawdoc;

use super::connection::{Asker, ConnectionError};
use super::load::Target;
use super::peers::Peer;
use super::process::{Child, process_cpu};
use super::rounds::{Probe, Totals};
use super::servers::ServersError;
use super::status;
use super::workload::redis::RedisGet;
use super::workload::{Context, Source, Workload};

/// The process that answers a target, as far as it's ours to look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// Its id.
    pub pid: Option<u32>,
    /// A proxy's admin address.
    pub admin: Option<SocketAddr>,
}

impl Process {
    /// A child of ours.
    pub fn of(child: &Child, admin: Option<SocketAddr>) -> Process {
        Process {
            pid: Some(child.pid()),
            admin,
        }
    }
}

/// One target of one workload.
#[derive(Debug)]
pub struct Contestant {
    /// What tables call it.
    pub name: String,
    /// Whether it speaks Redis' protocol.
    pub redis: bool,
    /// Where it is.
    pub target: Target,
    /// Who answers there.
    pub process: Process,
    /// The mongod behind it, or itself, and its process.
    pub mongod: Option<(Target, Option<u32>)>,
    /// Its database and sessions.
    pub context: Context,
    /// What ends with it.
    pub keep: Option<Peer>,
}

impl Contestant {
    /// Requests for it.
    pub fn source(&self, workload: Workload) -> Box<dyn Source> {
        if self.redis {
            Box::new(RedisGet)
        } else {
            workload.source(&self.context)
        }
    }

    /// Whether a mongod answers in the end, so that there must be data.
    pub fn speaks_to_mongod(&self) -> bool {
        self.mongod.is_some() || self.process.pid.is_none()
    }

    /// Whether it's mongod itself.
    fn is_mongod(&self) -> bool {
        (self.mongod).is_some_and(|(mongod, _)| mongod.address == self.target.address)
    }

    /// Counts CPU time of its process and of mongod, operations that reached mongod, and cache hits.
    pub fn probe(&self) -> Result<Probe, ServersError> {
        let pid = self.process.pid.filter(|_| !self.is_mongod());
        let admin = self.process.admin;
        let mut mongod = None;
        if let Some((target, mongod_pid)) = self.mongod {
            let failed = |error| ServersError::Asking("asking mongod".to_owned(), error);
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
