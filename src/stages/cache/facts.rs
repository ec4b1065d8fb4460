//! What the names mean that a read mentions: collections, time series, or views, whose definitions mention further names.
//!
//! Asked of the server once per name, in the principal's own name. An answer lives until a definition in that database
//! changes, through the proxy or before the watch's eyes, and at most [`LIFETIME`]; where definitions may change unseen, as
//! long as [`Seen`] says.
//!
//! - `question`: what is asked, and what the answer says

mod question;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use self::question::ask;
use crate::command::{Bypass, MOST_SOURCES};
use crate::pipeline::{Fences, MOST_NAMES, Moment, Next, Reads, Request, Stamp};

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CollectionKind {
    /// Documents of its own, in no collation, and not capped: a write to one document leaves
    /// the others alone.
    Plain,
    /// Documents of its own.
    Special,
    /// Documents that the server keeps in buckets, in a collection beside it.
    TimeSeries,
    /// Defined by a pipeline over other names of the database: these, or why nothing can be concluded from it.
    View(Result<Vec<String>, Bypass>),
    /// Nothing: it has no documents until somebody writes some.
    Missing,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub kind: CollectionKind,
    /// The server may delete documents by itself (a TTL index, `expireAfterSeconds`), as far as is known.
    pub expires: bool,
}

impl Known {
    fn of(kind: CollectionKind) -> Known {
        Known {
            kind,
            expires: false,
        }
    }
}

/// What of the others' doings is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The time of asking.
    pub now: Moment,
    /// Writes of documents, those of the server itself among them.
    pub watched: bool,
    /// New definitions may stay unseen: then for so long one may be believed.
    pub definitions: Option<Duration>,
}

/// What all names of a read mean.
pub(super) struct Meaning {
    /// The read's own collection, then the others.
    names: Vec<String>,
    facts: Vec<Arc<Fact>>,
    /// The read's own name is a [plain](CollectionKind::Plain) collection.
    is_plain: bool,
    /// The server may delete documents by itself, unseen.
    pub expires: bool,
    /// The server had to be asked.
    pub asked: bool,
}

impl Meaning {
    /// What the read depends on. `reasoned`: the command can be reasoned about.
    pub fn reads<'a>(&'a self, db: &'a str, reasoned: bool) -> Reads<'a> {
        match self.names.as_slice() {
            [collection] if self.is_plain && reasoned => Reads::Documents { db, collection },
            [collection] => Reads::Collection { db, collection },
            names if names.len() <= MOST_NAMES => Reads::Named { db, names },
            _ => Reads::View { db },
        }
    }

    /// Whether all of it still holds. To be asked once the read's window is open.
    pub fn holds(&self, fences: &Fences) -> bool {
        self.facts.iter().all(|fact| fences.valid(&fact.stamp))
    }

    /// For so long the answer may be served although definitions change unseen.
    pub fn until(&self, seen: Seen) -> Option<Moment> {
        let oldest = self.facts.iter().map(|fact| fact.asked).min()?;
        let several = self.names.len() > 1;
        seen.definitions
            .filter(|_| several)
            .map(|life| oldest.after(2 * life))
    }
}

struct Fact {
    known: Known,
    stamp: Stamp,
    asked: Moment,
}

pub(super) struct Facts {
    known: Cache<Vec<u8>, Arc<Fact>>,
}

impl Facts {
    pub fn new() -> Facts {
        Facts {
            known: Cache::new(CAPACITY),
        }
    }

    /// What the request's names mean: its collection, the `sources` that its command names, and what those are made of.
    /// An error: nothing can be concluded from one of them, no right to know, or a write under way.
    pub async fn of(
        &self,
        request: &Request,
        sources: Vec<String>,
        fences: &Fences,
        next: Next<'_>,
        seen: Seen,
    ) -> Result<Meaning, Bypass> {
        let own = request.command.collection().ok_or(Bypass::Namespace)?;
        let mut meaning = Meaning {
            names: vec![own.to_owned()],
            facts: Vec::new(),
            is_plain: false,
            expires: false,
            asked: false,
        };
        let several = !sources.is_empty();
        add(&mut meaning.names, sources)?;
        let mut place = 0;
        while let Some(name) = meaning.names.get(place).cloned() {
            if name.starts_with(BUCKETS) {
                place += 1;
                continue;
            }
            let life = seen.definitions.filter(|_| several || place > 0);
            let known = self.known(request, &name, fences, seen.now, life);
            let fact = match known {
                Some(fact) => fact,
                None => {
                    meaning.asked = true;
                    self.ask(request, &name, fences, next, seen).await?
                }
            };
            let known = &fact.known;
            meaning.expires |= known.expires && !seen.watched;
            match &known.kind {
                CollectionKind::Plain => meaning.is_plain |= place == 0,
                CollectionKind::Special => {}
                CollectionKind::View(definition) => add(&mut meaning.names, definition.clone()?)?,
                CollectionKind::TimeSeries | CollectionKind::Missing if place == 0 => {
                    return Err(Bypass::UnknownCollection);
                }
                CollectionKind::TimeSeries => {
                    // So the watch calls it.
                    add(&mut meaning.names, vec![format!("{BUCKETS}{name}")])?;
                }
                CollectionKind::Missing => {}
            }
            meaning.facts.push(fact);
            place += 1;
        }
        Ok(meaning)
    }

    /// What is known already, at most so old.
    fn known(
        &self,
        request: &Request,
        name: &str,
        fences: &Fences,
        now: Moment,
        life: Option<Duration>,
    ) -> Option<Arc<Fact>> {
        let fact = self.known.get(&key(request, name))?;
        let life = life.unwrap_or(LIFETIME).min(LIFETIME);
        (fact.asked.after(life) > now && fences.valid(&fact.stamp)).then_some(fact)
    }

    async fn ask(
        &self,
        request: &Request,
        name: &str,
        fences: &Fences,
        next: Next<'_>,
        seen: Seen,
    ) -> Result<Arc<Fact>, Bypass> {
        let db = request.command.db();
        let collection = name;
        let stamp = fences.open(Reads::Documents { db, collection });
        let mut stamp = stamp.ok_or(Bypass::Fenced)?;
        let any_write = fences.open(Reads::Collection { db, collection });
        let known = ask(request, next, name, seen.watched).await;
        let known = known.ok_or(Bypass::UnknownCollection)?;
        if known.kind == CollectionKind::Missing {
            // An insert makes a collection of it.
            stamp = any_write.ok_or(Bypass::Fenced)?;
        }
        if !fences.unmet(&stamp) {
            return Err(Bypass::Raced);
        }
        let asked = seen.now;
        let fact = Arc::new(Fact {
            known,
            stamp,
            asked,
        });
        self.known.insert(key(request, name), Arc::clone(&fact));
        Ok(fact)
    }
}

/// Adds the names that aren't there yet.
fn add(names: &mut Vec<String>, more: Vec<String>) -> Result<(), Bypass> {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() <= MOST_SOURCES {
        true => Ok(()),
        false => Err(Bypass::PipelineStage),
    }
}

fn key(request: &Request, collection: &str) -> Vec<u8> {
    let db = request.command.db();
    let principal = request.principal.id.to_le_bytes();
    [&principal, db.as_bytes(), b"\0", collection.as_bytes()].concat()
}

/// The collection with the buckets of a time series.
const BUCKETS: &str = "system.buckets.";

/// How long an answer is believed, at most.
const LIFETIME: Duration = Duration::from_secs(30);

/// Names remembered.
const CAPACITY: usize = 10_000;
