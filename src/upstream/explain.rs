//! Side questions through the official driver, with the connection string's credentials: explain,
//! indexes and their uses, samples of documents.
//!
//! Reads only: an explain carries no write out, and everything has a time limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{SelectionCriteria, ServerAddress};
use tokio::sync::OnceCell;

use super::client;
use crate::command::Namespace;
use crate::config;
use crate::pipeline::{
    CollectionFacts, Deployment, Explain, IndexUse, Probe, ProbeError, Probed, UpstreamFacts,
};

/// The asker of one proxy. It connects when it's first asked.
pub struct Prober {
    config: config::Upstream,
    client: OnceCell<Client>,
    facts: Arc<UpstreamFacts>,
}

impl Prober {
    /// An asker for the deployment of this configuration.
    #[must_use]
    pub fn new(config: &config::Upstream, facts: Arc<UpstreamFacts>) -> Prober {
        Prober {
            config: config.clone(),
            client: OnceCell::new(),
            facts,
        }
    }

    async fn client(&self) -> Result<&Client, ProbeError> {
        let connect = || async { client::connect(&self.config, "petiole-advice", LINKS).await };
        let client = self.client.get_or_try_init(connect).await;
        client.map_err(|reason| ProbeError { reason })
    }

    async fn run(&self, db: &str, command: Document) -> Result<Document, ProbeError> {
        let db = self.client().await?.database(db);
        db.run_command(command).await.map_err(failed)
    }

    async fn facts(&self, namespace: &Namespace) -> Result<CollectionFacts, ProbeError> {
        let name = &namespace.collection;
        let list = doc! {"listCollections": 1, "filter": {"name": name}, "cursor": {}};
        let list = self.run(&namespace.db, list).await?;
        let first = first_batch(&list).into_iter().next();
        let described = first.ok_or_else(|| refused("there is no such collection"))?;
        if described.get_str("type").ok() != Some("collection") {
            return Err(refused("it is no plain collection"));
        }
        let options = described.get_document("options");
        let collation = options.and_then(|o| o.get_document("collation")).ok();
        let count = doc! {"count": name, "maxTimeMS": COUNT_MS};
        let count = self.run(&namespace.db, count).await?;
        Ok(CollectionFacts {
            documents: whole(count.get("n")).try_into().unwrap_or(0),
            collation: collation.cloned(),
            indexes: self.list_indexes(namespace).await?,
            shard_key: self.shard_key(namespace).await?,
        })
    }

    async fn list_indexes(&self, namespace: &Namespace) -> Result<Vec<Document>, ProbeError> {
        let name = &namespace.collection;
        let list = doc! {"listIndexes": name, "cursor": {"batchSize": MOST_INDEXES}};
        Ok(first_batch(&self.run(&namespace.db, list).await?))
    }

    async fn shard_key(&self, namespace: &Namespace) -> Result<Option<Document>, ProbeError> {
        if self.facts.get().deployment != Deployment::Sharded {
            return Ok(None);
        }
        let find = doc! {"find": "collections", "filter": {"_id": namespace.to_string()}};
        let found = self.run("config", find).await?;
        let first = first_batch(&found).into_iter().next();
        Ok(first.and_then(|c| c.get_document("key").ok().cloned()))
    }

    async fn uses(&self, namespace: &Namespace) -> Result<Vec<IndexUse>, ProbeError> {
        let hello = self.run("admin", doc! {"hello": 1}).await?;
        let mut hosts = Vec::new();
        for key in ["hosts", "passives"] {
            let list = hello.get_array(key).map(Vec::as_slice).unwrap_or_default();
            hosts.extend(list.iter().filter_map(Bson::as_str).map(str::to_owned));
        }
        let collection = self.client().await?.database(&namespace.db);
        let collection = collection.collection::<Document>(&namespace.collection);
        let mut all: BTreeMap<String, IndexUse> = BTreeMap::new();
        // Each member counts for itself; a standalone or a mongos answers for all.
        let whom: Vec<Option<String>> = match hosts.is_empty() {
            true => vec![None],
            false => hosts.into_iter().map(Some).collect(),
        };
        for host in whom {
            let mut stats = collection.aggregate([doc! {"$indexStats": {}}]);
            if let Some(host) = host {
                let address = ServerAddress::parse(&host).map_err(failed)?;
                let is_it = move |server: &mongodb::ServerInfo<'_>| *server.address() == address;
                stats = stats.selection_criteria(SelectionCriteria::Predicate(Arc::new(is_it)));
            }
            let cursor = tokio::time::timeout(PATIENCE, stats)
                .await
                .map_err(|_| refused("a member doesn't answer"))?
                .map_err(failed)?;
            let list: Vec<Document> = cursor.try_collect().await.map_err(failed)?;
            list.iter().for_each(|one| add_use(&mut all, one));
        }
        Ok(all.into_values().collect())
    }
}

fn add_use(all: &mut BTreeMap<String, IndexUse>, one: &Document) {
    let (Ok(name), Ok(accesses)) = (one.get_str("name"), one.get_document("accesses")) else {
        return;
    };
    let since = accesses
        .get_datetime("since")
        .map_or_else(|_| SystemTime::now(), |time| time.to_system_time());
    let uses = whole(accesses.get("ops"));
    let known = all.entry(name.to_owned()).or_insert(IndexUse {
        name: name.to_owned(),
        uses: 0,
        since,
    });
    known.uses += uses;
    known.since = known.since.max(since);
}

impl Probe for Prober {
    fn explain<'a>(
        &'a self,
        db: &'a str,
        command: Document,
        how: Explain,
        limit: Duration,
    ) -> Probed<'a, Document> {
        let verbosity = match how {
            Explain::Plan => "queryPlanner",
            Explain::Execute => "executionStats",
        };
        let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1);
        let command = doc! {"explain": command, "verbosity": verbosity, "maxTimeMS": limit};
        Box::pin(async move { self.run(db, command).await })
    }

    fn collection<'a>(&'a self, namespace: &'a Namespace) -> Probed<'a, CollectionFacts> {
        Box::pin(self.facts(namespace))
    }

    fn indexes<'a>(&'a self, namespace: &'a Namespace) -> Probed<'a, Vec<Document>> {
        Box::pin(self.list_indexes(namespace))
    }

    fn index_uses<'a>(&'a self, namespace: &'a Namespace) -> Probed<'a, Vec<IndexUse>> {
        Box::pin(self.uses(namespace))
    }

    fn sample<'a>(
        &'a self,
        namespace: &'a Namespace,
        fields: Vec<String>,
        size: u32,
        limit: Duration,
    ) -> Probed<'a, Vec<Document>> {
        let mut shown: Document = fields.into_iter().map(|f| (f, Bson::Int32(1))).collect();
        if !shown.contains_key("_id") {
            shown.insert("_id", 0);
        }
        let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1);
        let command = doc! {
            "aggregate": &namespace.collection,
            "pipeline": [{"$sample": {"size": size}}, {"$project": shown}],
            "cursor": {"batchSize": size},
            "maxTimeMS": limit,
        };
        Box::pin(async move {
            let reply = self.run(&namespace.db, command).await?;
            Ok(first_batch(&reply))
        })
    }
}

fn first_batch(reply: &Document) -> Vec<Document> {
    let cursor = reply.get_document("cursor");
    let batch = cursor.and_then(|cursor| cursor.get_array("firstBatch"));
    let batch = batch.map(Vec::as_slice).unwrap_or_default();
    batch
        .iter()
        .filter_map(Bson::as_document)
        .cloned()
        .collect()
}

fn whole(number: Option<&Bson>) -> i64 {
    match number {
        Some(Bson::Int32(n)) => i64::from(*n),
        Some(Bson::Int64(n)) => *n,
        #[expect(clippy::cast_possible_truncation, reason = "the server counts so")]
        Some(Bson::Double(n)) => *n as i64,
        _ => 0,
    }
}

fn failed(error: mongodb::error::Error) -> ProbeError {
    ProbeError {
        reason: error.to_string(),
    }
}

fn refused(reason: &str) -> ProbeError {
    ProbeError {
        reason: reason.to_owned(),
    }
}

/// Links of the side client to each server.
const LINKS: u32 = 1;

/// Indexes that a collection can have, with room to spare.
const MOST_INDEXES: i32 = 1000;

/// Longest time for a count, which reads one number.
const COUNT_MS: i32 = 1000;

/// How long one member may take to tell its uses.
const PATIENCE: Duration = Duration::from_secs(5);
