//! A watch with somebody who writes down all that it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bson::{Bson, Document};
use parking_lot::Mutex;
use petiole::command::{Footprint, Inserts, Namespace, Statement};
use petiole::config::{self, ExternalWrites, UpstreamUri};
use petiole::pipeline::{Horizon, Landed, WatchState};
use petiole::upstream::watch::{self, Watch};

use crate::parts::wait::until;

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Statement(Namespace, Statement),
    Footprint(Footprint),
    Flush,
}

/// A watch and what it has said. Dropping it ends the watch.
pub struct Listener {
    pub horizon: Arc<Horizon>,
    record: Arc<Record>,
    _watch: Watch,
}

struct Record {
    horizon: Arc<Horizon>,
    heard: Mutex<Vec<Heard>>,
    late: AtomicU64,
    terms: AtomicU64,
}

/// What the watches of these tests may lag.
pub const MAX_LAG: Duration = Duration::from_millis(500);

impl Listener {
    pub fn start(uri: &str) -> Listener {
        let upstream = config::Upstream {
            uri: UpstreamUri::new(uri),
            ..Default::default()
        };
        Listener::with(&upstream)
    }

    pub fn with(upstream: &config::Upstream) -> Listener {
        let cache = config::Cache {
            external_writes: ExternalWrites::Watch,
            max_lag: MAX_LAG,
            ..Default::default()
        };
        let horizon = watch::horizon(&cache);
        let record = Arc::new(Record {
            horizon: Arc::clone(&horizon),
            heard: Mutex::default(),
            late: AtomicU64::new(0),
            terms: AtomicU64::new(0),
        });
        let landed = Arc::clone(&record);
        let watch =
            Watch::start(upstream, &cache, Arc::clone(&horizon), landed).expect("it was asked for");
        Listener {
            horizon,
            record,
            _watch: watch,
        }
    }

    pub fn wait_for(&self, state: WatchState) {
        until(state.as_str(), || self.horizon.state() == state);
    }

    /// What was said of a database whose name begins like this.
    pub fn heard_of(&self, db: &str) -> Vec<Heard> {
        let mut heard = self.record.heard.lock().clone();
        heard.retain(|heard| match heard {
            Heard::Statement(namespace, _) => namespace.db.starts_with(db),
            Heard::Footprint(Footprint::Namespaces(list)) => {
                list.iter().any(|ns| ns.db.starts_with(db))
            }
            Heard::Footprint(Footprint::Databases(list)) => {
                list.iter().any(|name| name.starts_with(db))
            }
            _ => false,
        });
        heard
    }

    /// The `_id`s of documents inserted into a database, in order.
    pub fn inserts(&self, db: &str) -> Vec<Bson> {
        let heard = self.record.heard.lock();
        heard.iter().filter_map(|h| inserted(h, db)).collect()
    }

    pub fn last_insert(&self, db: &str) -> Option<Bson> {
        let heard = self.record.heard.lock();
        heard.iter().rev().find_map(|h| inserted(h, db))
    }

    /// How often everything was said to be void.
    pub fn flushes(&self) -> usize {
        let heard = self.record.heard.lock();
        heard.iter().filter(|h| **h == Heard::Flush).count()
    }

    /// Elections after the first primary.
    pub fn terms(&self) -> u64 {
        self.record.terms.load(SeqCst)
    }

    /// Statements of a time that the position had reached already.
    pub fn late(&self) -> u64 {
        self.record.late.load(SeqCst)
    }
}

fn inserted(heard: &Heard, db: &str) -> Option<Bson> {
    match heard {
        Heard::Statement(namespace, statement) if namespace.db == db => {
            let Inserts::Document(document) = &statement.inserts else {
                return None;
            };
            Document::from_reader(&**document)
                .expect("a document")
                .remove("_id")
        }
        _ => None,
    }
}

impl Landed for Record {
    fn landed(&self, footprint: &Footprint, cluster_time: u64) {
        if cluster_time <= self.horizon.position() {
            self.late.fetch_add(1, SeqCst);
        }
        let mut heard = self.heard.lock();
        match footprint {
            Footprint::Statements(namespace, statements) => {
                let each = statements.iter();
                heard.extend(each.map(|s| Heard::Statement(namespace.clone(), s.clone())));
            }
            other => heard.push(Heard::Footprint(other.clone())),
        }
    }

    fn flush(&self) {
        self.heard.lock().push(Heard::Flush);
    }

    fn term_changed(&self) {
        self.terms.fetch_add(1, SeqCst);
    }

    fn keeps(&self, _: &Namespace) -> bool {
        true
    }
}
