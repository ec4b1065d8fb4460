//! Readers and writers before one proxy, until there have been enough reads.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::Client;
use parking_lot::Mutex;
use petiole::config::Config;
use petiole::embedded::{Deployment, MongodOptions};
use petiole::pipeline::Weakened;
use petiole::proxy::Proxy;

use super::model::{KEYS, Model, first_phase};
use super::query::{BASE, COPY, MAIN, Query, VIEW, VIEWED};
use super::reader::operation_time;
use super::writer::document;
use super::{queries, reader, writer};
use crate::parts::shared;

const READERS: u64 = 12;
const WRITERS: u64 = 5;

/// Reads after which readers and writers turn to others.
pub const ERA: u64 = 1500;
/// Reads from one storm of writes to the next, and in each of them.
const WEATHER: u64 = 2500;
const STORM: u64 = 150;
/// Reads between two writes of a writer, at most.
const STORM_PACE: u64 = 40;
const CALM_PACE: u64 = 6000;

/// What the clients have in common.
pub struct Run {
    /// Where they connect.
    pub address: String,
    pub db: String,
    pub model: Model,
    pub queries: Vec<Query>,
    /// A slow one for each key.
    pub slow: Vec<Query>,
    /// Held by whoever copies.
    pub copying: Mutex<()>,
    most: u64,
    /// Violations after which nothing more needs to be shown.
    enough: usize,
    reads: AtomicU64,
    writes: AtomicU64,
    commits: AtomicU64,
    violations: Mutex<Vec<String>>,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    pub reads: u64,
    pub writes: u64,
    pub commits: u64,
    pub hits: u64,
    pub joins: u64,
    pub stores: u64,
    pub mismatches: u64,
    pub violations: Vec<String>,
    pub took: Duration,
}

/// A server whose writes are slow now and then: others have time to do something wrong.
pub async fn server() -> Deployment {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let server = Deployment::start(options).await.unwrap();
    let commands = ["update", "findAndModify", "delete", "insert", "aggregate"];
    let block = doc! {"failCommands": &commands[..], "blockConnection": true, "blockTimeMS": 3};
    let client = Client::with_uri_str(server.uri()).await.unwrap();
    let fail = doc! {"configureFailPoint": "failCommand", "mode": {"activationProbability": 0.05}, "data": block};
    client.database("admin").run_command(fail).await.unwrap();
    server
}

/// Lets readers and writers loose on a proxy before `server`, with some rules switched off, until
/// there were `most` reads or `enough` violations.
pub async fn run(server: &Deployment, weakened: &[Weakened], most: u64, enough: usize) -> Outcome {
    let db = shared::database("linear");
    let model = Model::new();
    fill(server, &db, &model).await;
    let sets = [
        "server.listen=127.0.0.1:0",
        "admin.listen=",
        "cache.external_writes=none",
        &format!("upstream.uri={}", server.seed_uri()),
    ];
    let config = Config::load(None, &sets.map(str::to_owned)).unwrap();
    let proxy = Proxy::start(config).await.unwrap();
    assert!(proxy.ready(Duration::from_secs(30)).await);
    for &rule in weakened {
        proxy.shared().pipeline.fences().weaken(rule);
    }
    let run = Run {
        address: proxy.address().to_string(),
        queries: queries::all(&db),
        slow: queries::slow(&db),
        db,
        model,
        copying: Mutex::new(()),
        most,
        enough,
        reads: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        commits: AtomicU64::new(0),
        violations: Mutex::default(),
    };
    let began = Instant::now();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let run = &run;
            (0..WRITERS).for_each(|n| drop(scope.spawn(move || writer::write(run, n))));
            (0..READERS).for_each(|n| drop(scope.spawn(move || reader::read(run, n))));
        });
    });
    let stats = proxy.shared().cache.as_ref().expect("it is on").stats();
    Outcome {
        reads: run.reads.load(SeqCst),
        writes: run.writes.load(SeqCst),
        commits: run.commits.load(SeqCst),
        hits: stats.hits(),
        joins: stats.joins(),
        stores: stats.stores(),
        mismatches: stats.mismatches(),
        violations: run.violations.into_inner(),
        took: began.elapsed(),
    }
}

impl Run {
    /// Whether there have been enough reads, or enough violations.
    pub fn goes_on(&self) -> bool {
        self.reads() < self.most && self.violations.lock().len() < self.enough
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(SeqCst)
    }

    /// So many more reads have been judged.
    pub fn count(&self, reads: u64) {
        self.reads.fetch_add(reads, SeqCst);
    }

    /// A write is over.
    pub fn written(&self) {
        self.writes.fetch_add(1, SeqCst);
    }

    /// A transaction was committed.
    pub fn committed(&self) {
        self.commits.fetch_add(1, SeqCst);
    }

    /// A read that can't be.
    pub fn violation(&self, what: String) {
        let reads = self.reads();
        self.violations
            .lock()
            .push(format!("after {reads} reads: {what}"));
    }

    /// Lets the readers read before the next write: few of them in a storm, and many in the calm
    /// that follows, where hits are made.
    pub fn rest(&self, random: &mut Random) {
        let since = self.reads();
        let (storm, calm) = (random.below(STORM_PACE), random.below(CALM_PACE));
        let rest = || if self.storms() { storm } else { calm };
        while self.reads() < since + rest() && self.goes_on() {
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Whether there is a storm.
    pub fn storms(&self) -> bool {
        self.reads() % WEATHER < STORM
    }

    /// The key that most writers are at, for a while.
    pub fn hot_key(&self) -> usize {
        (self.reads() / ERA) as usize % KEYS
    }
}

/// The collections as the model says that they begin.
async fn fill(server: &Deployment, db: &str, model: &Model) {
    let client = Client::with_uri_str(server.uri()).await.unwrap();
    let database = client.database(db);
    let documents: Vec<Document> = (0..KEYS).map(|k| document(k, 1, first_phase(k))).collect();
    let base: Vec<Document> = (0..KEYS as i32).map(|k| doc! {"_id": k, "k": k}).collect();
    let below = doc! {"$match": {"k": {"$lt": VIEWED as i32}}};
    for command in [
        doc! {"createIndexes": MAIN, "indexes": [{"key": {"k": 1}, "name": "k"}]},
        doc! {"insert": MAIN, "documents": documents},
        doc! {"insert": BASE, "documents": base},
        doc! {"create": VIEW, "viewOn": MAIN, "pipeline": [below]},
        doc! {"aggregate": MAIN, "pipeline": [{"$out": COPY}], "cursor": {}},
    ] {
        let reply = database.run_command(command).await.unwrap();
        model.note_operation_time(operation_time(&reply));
    }
}

/// A source of numbers that look like chance.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One of 0, 1, …, `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
