//! What is remembered of a collection between two looks.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use crate::advice::{Data, Index, Use};
use crate::pipeline::{CollectionFacts, IndexUse};

/// A collection, as it was when it was looked at.
#[derive(Default)]
pub(super) struct Collection {
    pub facts: CollectionFacts,
    pub indexes: Vec<Index>,
    facts_asked: Option<Instant>,
    indexes_asked: Option<Instant>,
    /// Advice stands: whether it was followed should be seen soon.
    pub is_advised: bool,
    data: Option<Sampled>,
    uses: HashMap<String, Watched>,
    uses_asked: Option<Instant>,
}

struct Sampled {
    at: Instant,
    paths: Vec<String>,
    data: Data,
}

/// The uses of an index, and since when they haven't changed.
struct Watched {
    uses: i64,
    unchanged: Instant,
    /// Counted by every server since then.
    since: SystemTime,
}

impl Collection {
    /// Takes in what it is now; whether its indexes have changed.
    pub fn update(&mut self, facts: CollectionFacts) -> bool {
        self.facts = facts;
        self.facts_asked = Some(Instant::now());
        let indexes = self.facts.indexes.clone();
        self.update_indexes(&indexes)
    }

    /// Takes in its indexes alone; whether they have changed.
    pub fn update_indexes(&mut self, specs: &[bson::Document]) -> bool {
        let indexes: Vec<Index> = specs.iter().filter_map(Index::read).collect();
        self.indexes_asked = Some(Instant::now());
        let changed = indexes != self.indexes;
        self.indexes = indexes;
        changed
    }

    /// Whether it should be asked for what it is now.
    pub fn wants_facts(&self) -> bool {
        self.facts_asked
            .is_none_or(|asked| asked.elapsed() >= FACTS_LAST)
    }

    /// Whether it should be asked for its indexes: soon, if advice stands that may have been followed.
    pub fn wants_indexes(&self) -> bool {
        let lasts = if self.is_advised { SOON } else { FACTS_LAST };
        self.indexes_asked
            .is_none_or(|asked| asked.elapsed() >= lasts)
    }

    /// What is known of its values, if that is fresh and tells of all these paths.
    pub fn data(&self, paths: &[String]) -> Option<&Data> {
        let known = self.data.as_ref()?;
        let fresh = known.at.elapsed() < SAMPLE_LASTS;
        let grown = self.facts.documents as f64 > 2.0 * known.data.documents;
        let whole = paths.iter().all(|path| known.paths.contains(path));
        (fresh && !grown && whole).then_some(&known.data)
    }

    /// Takes in a sample of its documents.
    pub fn sampled(&mut self, paths: Vec<String>, sample: Vec<bson::Document>) {
        let data = Data::of(
            self.facts.documents as f64,
            sample,
            self.facts.collation.clone(),
            paths.iter().map(String::as_str),
        );
        self.data = Some(Sampled {
            at: Instant::now(),
            paths,
            data,
        });
    }

    /// Whether its indexes' uses should be asked for again.
    pub fn wants_uses(&self) -> bool {
        let fresh = |asked: &Instant| asked.elapsed() < USES_LAST;
        !self.uses_asked.as_ref().is_some_and(fresh)
    }

    /// Takes in how often its indexes were used.
    pub fn used(&mut self, uses: Vec<IndexUse>) {
        let now = Instant::now();
        self.uses_asked = Some(now);
        self.uses
            .retain(|name, _| uses.iter().any(|u| u.name == *name));
        for one in uses {
            let watched = self.uses.entry(one.name).or_insert(Watched {
                uses: one.uses,
                unchanged: now,
                since: one.since,
            });
            if (watched.uses, watched.since) != (one.uses, one.since) {
                watched.unchanged = now;
            }
            (watched.uses, watched.since) = (one.uses, one.since);
        }
    }

    /// How an index is used, if that is known.
    pub fn index_use(&self, name: &str) -> Option<Use> {
        let watched = self.uses.get(name)?;
        // Up to the last time that was asked: what came since isn't known.
        let asked = self.uses_asked?;
        let observed = asked.duration_since(watched.unchanged);
        let unused_for = match watched.uses {
            // Nor was it before, since its servers began to count.
            0 => {
                let counted = watched.since.elapsed().unwrap_or(Duration::ZERO);
                observed.max(counted.saturating_sub(asked.elapsed()))
            }
            _ => observed,
        };
        Some(Use { unused_for })
    }
}

/// A sample is good for so long.
const SAMPLE_LASTS: Duration = Duration::from_secs(300);

/// So are counts of uses.
const USES_LAST: Duration = Duration::from_secs(30);

/// So is what a collection is.
const FACTS_LAST: Duration = Duration::from_secs(60);

/// And its indexes while advice stands.
const SOON: Duration = Duration::from_secs(5);
