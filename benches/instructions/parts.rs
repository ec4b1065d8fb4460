//! The parts. Each makes ready what it needs and then does its work in [`measured`], where callgrind counts.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use petiole::command::{Command, Strings, Tri, canonical, matcher};
use petiole::config;
use petiole::pipeline::scripted::request;
use petiole::pipeline::{
    Backend, BoxFuture, Deployment, Fences, Horizon, Outcome, Pipeline, Reply, Request, Stage,
    UpstreamFacts, Writer,
};
use petiole::stages::batch::{Batch, Knowledge};
use petiole::stages::cache::Cache;
use petiole::wire::op_msg::OpMsg;
use petiole::wire::{Frame, build, take_frame};

use crate::model::Model;

/// Names, and how many operations each does.
pub const ALL: [(&str, u64); 8] = [
    ("framing", 1_000),
    ("parsing", 1_000),
    ("key", 1_000),
    ("matcher", 1_000),
    ("hit", 1_000),
    ("fill", 500),
    ("invalidation", 500),
    ("batching", 1_600),
];

/// Callgrind counts what happens in here and nothing else.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

/// Does one part.
pub fn run(name: &str) {
    match name {
        "framing" => framing(),
        "parsing" => parsing(),
        "key" => key(),
        "matcher" => matching(),
        "hit" => hit(),
        "fill" => fill(),
        "invalidation" => invalidation(),
        "batching" => batching(),
        other => panic!("no part is called {other}"),
    }
}

fn balance(user: i64) -> Document {
    let session = bson::Binary {
        subtype: bson::spec::BinarySubtype::Uuid,
        bytes: vec![7; 16],
    };
    doc! {
        "find": "users", "filter": {"user_id": user}, "limit": 1, "singleBatch": true,
        "lsid": {"id": session}, "$db": "game",
    }
}

fn frame(command: &Document) -> Frame {
    let body = command.to_vec().expect("a command that encodes");
    Frame {
        bytes: build::op_msg(1, 0, 0, &body),
    }
}

/// Messages out of one buffer.
fn framing() {
    let one = frame(&balance(1)).bytes;
    let mut buffer = BytesMut::from(one.repeat(1_000).as_slice());
    let taken = measured(|| {
        let mut taken = 0;
        while let Ok(Some(frame)) = take_frame(&mut buffer, 48_000_000) {
            taken += frame.bytes.len();
        }
        taken
    });
    assert_eq!(taken, one.len() * 1_000);
}

/// From a message to a command.
fn parsing() {
    let frame = frame(&balance(1));
    measured(|| {
        for _ in 0..1_000 {
            let msg = OpMsg::parse(&frame).expect("a message");
            std::hint::black_box(Command::parse(&msg).expect("a command"));
        }
    });
}

/// From a command to its key.
fn key() {
    let body = balance(1).to_vec().expect("a command that encodes");
    let command = Command::parse_body(&Bytes::from(body)).expect("a command");
    let mut key = Vec::with_capacity(256);
    measured(|| {
        for _ in 0..1_000 {
            std::hint::black_box(canonical(&command, 0, &mut key).expect("a key"));
        }
    });
}

/// A filter of four conditions against a document of ten fields.
fn matching() {
    let filter =
        doc! {"guild": 7, "score": {"$gte": 10, "$lt": 100}, "tags": "new", "owner.name": "ann"};
    let mut document =
        doc! {"_id": 1, "guild": 7, "score": 50, "tags": ["old", "new"], "owner": {"name": "ann"}};
    for field in 0..5 {
        document.insert(format!("field{field}"), "text");
    }
    let [filter, document] =
        [filter, document].map(|d| d.to_vec().expect("a document that encodes"));
    measured(|| {
        for _ in 0..1_000 {
            let found = matcher::matches(&filter, &document, Strings::Simple);
            assert_eq!(std::hint::black_box(found), Tri::Yes);
        }
    });
}

struct Cached {
    runtime: tokio::runtime::Runtime,
    pipeline: Pipeline,
    cache: Arc<Cache>,
}

impl Cached {
    fn new() -> Cached {
        let fences = Fences::new(Duration::from_secs(90));
        let config = config::Cache {
            external_writes: config::ExternalWrites::None,
            shadow_share: 0.0,
            ..config::Cache::default()
        };
        let cache = Cache::new(&config, Arc::clone(&fences), Horizon::off());
        let stages: Vec<Box<dyn Stage>> = vec![Box::new(Arc::clone(&cache))];
        Cached {
            runtime: runtime(),
            pipeline: Pipeline::new(stages, Arc::new(Model::default()), fences),
            cache,
        }
    }

    fn ask(&self, requests: Vec<Request>) {
        self.runtime.block_on(async {
            for mut request in requests {
                assert!(self.pipeline.run(&mut request).await.is_ok());
            }
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn requests(commands: impl Iterator<Item = Document>) -> Vec<Request> {
    commands.map(|command| request(&command)).collect()
}

/// The pipeline's walk of a read that is in memory.
fn hit() {
    let cached = Cached::new();
    cached.ask(requests((0..100).map(balance)));
    let again = requests((0..1_000).map(|n| balance(n % 100)));
    let before = cached.cache.stats().hits();
    measured(|| cached.ask(again));
    assert_eq!(cached.cache.stats().hits() - before, 1_000);
}

/// The walk of a read that isn't, up to its answer's being stored.
fn fill() {
    let cached = Cached::new();
    cached.ask(requests((0..100).map(balance)));
    let new = requests((100..600).map(balance));
    measured(|| cached.ask(new));
    assert!(cached.cache.entries() >= 590, "{}", cached.cache.entries());
}

/// The walk of an update by a field, with a thousand entries of which one falls.
fn invalidation() {
    let cached = Cached::new();
    cached.ask(requests((0..1_000).map(balance)));
    let pay = |user: i64| {
        doc! {"update": "users", "updates": [{"q": {"user_id": user}, "u": {"$inc": {"balance": 1}}}], "$db": "game"}
    };
    cached.ask(requests((0..1).map(pay)));
    let writes = requests((1..501).map(pay));
    measured(|| cached.ask(writes));
}

/// Sixteen clients' inserts at a time, in one command (of the first sixteen, one goes ahead); per insert.
fn batching() {
    let fences = Fences::new(Duration::from_secs(90));
    let facts = Arc::new(UpstreamFacts::default());
    facts.publish(|facts| {
        facts.deployment = Deployment::ReplicaSet;
        facts.writer = Some(Arc::new(Writer {
            wire_version: 17,
            numbers: true,
            max_documents: 100_000,
            max_message: 48_000_000,
            ..Writer::default()
        }));
    });
    let knowledge = Knowledge {
        fences: Arc::clone(&fences),
        upstream: facts,
        collections: Arc::default(),
        horizon: Horizon::off(),
    };
    let batch = Arc::new(Batch::new(&config::Batch::default(), 24, &knowledge));
    let stages: Vec<Box<dyn Stage>> = vec![Box::new(Arc::clone(&batch))];
    let pipeline = Pipeline::new(stages, Arc::new(Writes), fences);
    let insert = |id: i64| {
        request(
            &doc! {"insert": "events", "documents": [{"_id": id, "kind": "transfer"}], "$db": "game"},
        )
    };
    let ask = async |mut requests: Vec<Request>| {
        let answers = requests.iter_mut().map(|request| pipeline.run(request));
        assert!(join_all(answers).await.iter().all(Result::is_ok));
    };
    let runtime = runtime();
    runtime.block_on(async {
        // The stage learns what the collection is.
        ask(vec![insert(-1)]).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    let rounds: Vec<Vec<Request>> = (0..100)
        .map(|round| (0..16).map(|n| insert(round * 16 + n)).collect())
        .collect();
    measured(|| {
        runtime.block_on(async {
            for round in rounds {
                ask(round).await;
            }
        });
    });
    let (writes, commands) = (
        batch.stats().client_writes(),
        batch.stats().upstream_commands(),
    );
    assert!(
        commands * 4 < writes,
        "{commands} commands for {writes} writes"
    );
}

/// A replica set that takes every insert, one turn of the scheduler later.
struct Writes;

impl Backend for Writes {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let reply = match request.command.name() {
                "listCollections" => {
                    let uuid = bson::Uuid::from_bytes([7; 16]);
                    let only = doc! {"name": "events", "type": "collection", "options": {}, "info": {"uuid": uuid}};
                    doc! {"cursor": {"firstBatch": [only]}, "ok": 1.0}
                }
                "find" => doc! {"code": 361, "ok": 0.0},
                _ => doc! {"n": documents(request), "ok": 1.0},
            };
            let bytes = reply.to_vec().expect("a reply that encodes");
            Ok(Reply::document(&request.frame, &bytes))
        })
    }
}

fn documents(request: &Request) -> i32 {
    let in_sequences: usize = request.msg.sequences.iter().map(|s| s.iter().count()).sum();
    let body = Document::from_reader(request.command.body().as_ref()).expect("a command");
    let in_body = body.get_array("documents").map_or(0, Vec::len);
    i32::try_from(in_sequences + in_body).expect("few documents")
}
