//! One proxy's pipeline with all its stages, and a server that answers at once.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use petiole::config;
use petiole::pipeline::{
    Backend, BoxFuture, Fences, Horizon, NO_PRINCIPAL, Outcome, Pipeline, Reply, Request,
    UpstreamFacts,
};
use petiole::stages::Stages;
use petiole::stages::batch::{Batch, Knowledge};
use petiole::stages::cache::Cache;
use petiole::stages::profile::Profile;
use petiole::stages::rewrite::Rewrite;
use petiole::wire::op_msg::OpMsg;
use petiole::wire::{Frame, build};

/// A pipeline, and what runs it.
pub struct Walk {
    runtime: tokio::runtime::Runtime,
    pipeline: Pipeline,
    cache: Arc<Cache>,
}

impl Walk {
    pub fn new() -> Walk {
        let fences = Fences::new(Duration::from_secs(90));
        let cache = config::Cache {
            external_writes: config::ExternalWrites::None,
            shadow_share: 0.0,
            ..config::Cache::default()
        };
        let cache = Cache::new(&cache, Arc::clone(&fences), Horizon::off());
        let profile = Profile::new(&config::Profile::default(), 1, true);
        let knowledge = Knowledge {
            fences: Arc::clone(&fences),
            upstream: Arc::new(UpstreamFacts::default()),
            collections: Arc::default(),
            horizon: Horizon::off(),
        };
        let batch = Batch::new(&config::Batch::default(), 24, &knowledge);
        let stages = Stages {
            profile: Some(Arc::new(profile)),
            rewrite: Arc::new(Rewrite::new(&config::Rewrite::default())),
            cache: Some(Arc::clone(&cache)),
            batch: Some(Arc::new(batch)),
            retry: None,
        };
        Walk {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
            pipeline: Pipeline::new(stages.in_order(), Arc::new(Server), fences),
            cache,
        }
    }

    /// Stores answers of several shapes, among them some that a write can't be told apart from by value.
    pub fn fill(&self) {
        let find = |command: Document| self.send(message(&command));
        for n in 0..8_i64 {
            find(doc! {"find": "c", "filter": {"user": n}, "$db": "d"});
            find(doc! {"find": "c", "filter": {"_id": n}, "$db": "d"});
            find(doc! {"find": "c", "filter": {"score": {"$gt": n}}, "$db": "d"});
            find(
                doc! {"find": "c", "filter": {"guild": n}, "sort": {"score": -1}, "limit": 3, "$db": "d"},
            );
            find(
                doc! {"find": "c", "filter": {"$or": [{"a": n}, {"b.c": {"$lt": n}}]}, "projection": {"a": 1}, "$db": "d"},
            );
            find(doc! {"count": "c", "query": {"f1": n, "f2": 1}, "$db": "d"});
        }
        assert!(self.cache.entries() >= 40, "{}", self.cache.entries());
    }

    /// From the bytes of a message to its reply.
    pub fn send(&self, frame: Frame) {
        let msg = OpMsg::parse(&frame).expect("a message");
        let mut request = Request::new(frame, msg, NO_PRINCIPAL.clone());
        let answer = self.runtime.block_on(self.pipeline.run(&mut request));
        assert!(answer.is_ok());
    }
}

/// A message of one document.
pub fn message(command: &Document) -> Frame {
    let body = command.to_vec().expect("a document that encodes");
    Frame {
        bytes: build::op_msg(1, 0, 0, &body),
    }
}

struct Server;

impl Backend for Server {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let first = |document: Document| doc! {"cursor": {"firstBatch": [document], "id": 0_i64, "ns": "d.c"}, "ok": 1.0};
            let reply = match request.command.name() {
                "listCollections" => first(doc! {"name": "c", "type": "collection", "options": {}}),
                "listIndexes" => first(doc! {"name": "_id_", "key": {"_id": 1}, "v": 2}),
                "find" | "aggregate" => first(document()),
                "count" => doc! {"n": 1, "ok": 1.0},
                "distinct" => doc! {"values": [1, 2, 3], "ok": 1.0},
                _ => doc! {"n": 1, "nModified": 1, "ok": 1.0},
            };
            let bytes = reply.to_vec().expect("a reply that encodes");
            Ok(Reply::document(&request.frame, &bytes))
        })
    }
}

fn document() -> Document {
    let mut document = doc! {"_id": 1, "user": 1, "guild": 1, "score": 5, "tags": ["a", "b"]};
    document.extend((0..20).map(|n| (format!("f{n}"), n.into())));
    document
}
