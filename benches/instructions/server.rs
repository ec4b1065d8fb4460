//! A whole `petiole serve` under callgrind, asked over a socket. What the kernel does isn't counted.
//!
//! Counted twice, with few and with many requests: the difference has no start and no end in it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use bson::{RawDocumentBuf, rawdoc};
use petiole::bench::connection::Asker;
use petiole::bench::random::Random;
use petiole::bench::reply::Protocol;
use petiole::bench::workload::{Context, Source, Workload, message};
use petiole::embedded::{Deployment, MongodOptions};

use crate::{collected, valgrind};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A point read that is in memory.
    Hit,
    /// A point read that isn't.
    Miss,
    /// An insert of a lone client.
    Insert,
    /// An update of a lone client.
    Update,
}

pub const ALL: [Kind; 4] = [Kind::Hit, Kind::Miss, Kind::Insert, Kind::Update];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hit => "server_hit",
            Kind::Miss => "server_miss",
            Kind::Insert => "server_insert",
            Kind::Update => "server_update",
        }
    }

    /// Request number `index`.
    fn request(self, index: i32, sources: &mut Sources) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Kind::Hit => sources.point.fill_nth(0, (index % 50) as u32, &mut out),
            Kind::Miss => out = message(index, &miss(index)),
            Kind::Insert => sources.insert.fill(0, &mut sources.random, &mut out),
            Kind::Update => sources.update.fill(0, &mut sources.random, &mut out),
        }
        out
    }
}

/// Each asks for something else.
fn miss(index: i32) -> RawDocumentBuf {
    rawdoc! {
        "find": "users", "filter": {"_id": index % 10_000, "guild": index}, "limit": 1, "singleBatch": true,
        "$db": DATABASE,
    }
}

struct Sources {
    point: Box<dyn Source>,
    insert: Box<dyn Source>,
    update: Box<dyn Source>,
    random: Random,
}

const DATABASE: &str = "petiole_instructions";
const FEW: i32 = 500;
const MANY: i32 = 2_500;

/// Instructions per request of each kind.
pub fn count(kinds: &[&Kind]) -> Result<Vec<(String, u64)>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mongod = runtime
        .block_on(Deployment::start(MongodOptions::default()))
        .map_err(|error| format!("the private mongod: {error}"))?;
    let address = mongod.addresses().first().cloned().unwrap_or_default();
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("{address:?} isn't an address"))?;
    Asker::connect(address, Protocol::Mongo)
        .and_then(|mut asker| Workload::Point.fill(&mut asker, DATABASE))
        .map_err(|error| format!("filling mongod: {error}"))?;
    let uri = mongod.uri();
    kinds
        .iter()
        .map(|kind| {
            let few = serve(**kind, FEW, &uri)?;
            let many = serve(**kind, MANY, &uri)?;
            Ok((kind.name().to_owned(), (many - few) / (MANY - FEW) as u64))
        })
        .collect()
}

/// Instructions of one process that serves so many requests.
fn serve(kind: Kind, requests: i32, upstream: &str) -> Result<u64, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", kind.name());
    let mut child = valgrind()
        .arg("--callgrind-out-file=/dev/null")
        .args([env!("CARGO_BIN_EXE_petiole"), "serve"])
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "",
            "--upstream",
            upstream,
        ])
        .args([
            "--set",
            "cache.external_writes=none",
            "--set",
            "cache.shadow_share=0.0",
        ])
        .args(["--set", "server.threads=1", "--set", "log.level=warn"])
        // The program would start itself again to set it, and leave callgrind.
        .env("MALLOC_ARENA_MAX", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let asked = ask(kind, requests, &mut child);
    let pid = child.id().to_string();
    Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .map_err(|error| failed(&error))?;
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr
            .read_to_string(&mut text)
            .map_err(|error| failed(&error))?;
    }
    child.wait().map_err(|error| failed(&error))?;
    asked.map_err(|error| format!("{}: {error}\n{text}", kind.name()))?;
    collected(&text).ok_or_else(|| failed(&text))
}

fn ask(kind: Kind, requests: i32, child: &mut std::process::Child) -> Result<(), String> {
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no output")?;
    BufReader::new(stdout)
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    let address = line.trim().strip_prefix("petiole listening on ");
    let address = address.ok_or_else(|| format!("it printed {line:?}"))?;
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("{address:?} isn't an address"))?;
    let context = Context {
        database: DATABASE.to_owned(),
        ..Context::default()
    };
    let mut sources = Sources {
        point: Workload::Point.source(&context),
        insert: Workload::Insert.source(&context),
        update: Workload::Update.source(&context),
        random: Random::seeded(1),
    };
    let mut asker = Asker::connect(address, Protocol::Mongo).map_err(|error| error.to_string())?;
    // What is learnt and stored once happens before: the same in both runs.
    for index in 0..requests + 100 {
        let request = kind.request(index, &mut sources);
        asker
            .exchange(&request)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
