//! What a sample of a collection says of its values.

use std::collections::{BTreeMap, HashMap};

use bson::{Bson, Document, doc};

use super::query::{Op, Predicate, Query};
use crate::command::matcher::matches;
use crate::command::{Strings, Tri};

/// A collection, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Documents in it.
    pub documents: f64,
    /// Its default collation.
    pub collation: Option<Document>,
    sample: Vec<Sampled>,
    paths: BTreeMap<String, Path>,
}

#[derive(Clone, Debug)]
struct Sampled {
    document: Document,
    bytes: Vec<u8>,
}

/// What is known of a path.
#[derive(Clone, Debug, Default)]
struct Path {
    /// How likely two documents have the same value.
    alike: f64,
    /// The outermost array on the way.
    array: Option<String>,
    /// Bytes of a value.
    bytes: f64,
}

impl Data {
    /// From a random sample, of which at least `paths` are there.
    #[must_use]
    pub fn of<'a>(
        documents: f64,
        sample: Vec<Document>,
        collation: Option<Document>,
        paths: impl Iterator<Item = &'a str>,
    ) -> Data {
        let sample: Vec<Sampled> = sample
            .into_iter()
            .filter_map(|document| {
                let bytes = document.to_vec().ok()?;
                Some(Sampled { document, bytes })
            })
            .collect();
        let paths = paths
            .map(|path| (path.to_owned(), Path::of(path, &sample)))
            .collect();
        Data {
            documents: documents.max(1.0),
            collation,
            sample,
            paths,
        }
    }

    /// Says of each predicate of a query what share of the documents it matches.
    #[must_use]
    pub fn weigh(&self, mut query: Query) -> Query {
        for predicate in &mut query.predicates {
            predicate.share = self.share(predicate);
        }
        query
    }

    /// Share of the documents that a predicate matches: by what the sample says of this value, or
    /// if none of it has it, of all values.
    fn share(&self, predicate: &Predicate) -> f64 {
        let least = 1.0 / self.documents;
        let known = self.paths.get(&predicate.path);
        if self.sample.is_empty() {
            return match predicate.op {
                Op::Equal | Op::List(_) => 0.1,
                Op::Range => 0.33,
                Op::Weak => 1.0,
            };
        }
        let matched = self.matched(predicate);
        let size = self.sample.len() as f64;
        let values = match predicate.op {
            Op::List(n) => n as f64,
            _ => 1.0,
        };
        let by_chance = match predicate.op {
            Op::Equal | Op::List(_) => CHANCE * values.min(3.0) / size,
            Op::Range | Op::Weak => 0.0,
        };
        if matched > by_chance {
            return matched.max(least);
        }
        let unseen = if matched > 0.0 { matched } else { 0.5 / size };
        let alike = known.map_or(1.0, |path| path.alike);
        match predicate.op {
            Op::Equal => alike.min(unseen).max(least),
            Op::List(_) => (alike * values).min(unseen).max(least),
            Op::Range | Op::Weak => unseen.max(least),
        }
    }

    fn matched(&self, predicate: &Predicate) -> f64 {
        let filter = doc! {&predicate.path: predicate.condition.clone()};
        let Ok(filter) = filter.to_vec() else {
            return 0.0;
        };
        // (What can't be told counts half.)
        let weigh = |of: &Sampled| match matches(&filter, &of.bytes, Strings::Simple) {
            Tri::Yes => 1.0,
            Tri::Unknown => 0.5,
            Tri::No => 0.0,
        };
        self.sample.iter().map(weigh).sum::<f64>() / self.sample.len() as f64
    }

    /// The outermost array on the way to a path's values, if there is one.
    #[must_use]
    pub fn array(&self, path: &str) -> Option<&str> {
        self.paths.get(path)?.array.as_deref()
    }

    /// Whether it's known that a path never leads through an array, as far as a sample tells.
    #[must_use]
    pub fn is_scalar(&self, path: &str) -> bool {
        !self.sample.is_empty() && self.paths.get(path).is_some_and(|p| p.array.is_none())
    }

    /// What one key of an index on these paths takes, about, bytes.
    #[must_use]
    pub fn key_bytes<'a>(&self, paths: impl Iterator<Item = &'a str>) -> f64 {
        let of = |path: &str| self.paths.get(path).map_or(8.0, |p| p.bytes);
        KEY + paths.map(of).sum::<f64>()
    }
}

impl Path {
    fn of(path: &str, sample: &[Sampled]) -> Path {
        let mut counts: HashMap<Vec<u8>, f64> = HashMap::new();
        let (mut bytes, mut array) = (0.0, None);
        for one in sample {
            let mut values = Vec::new();
            let through = values_of(&one.document, path, &mut values);
            array = array.or(through);
            let value = values.first().map(|v| doc! {"": (*v).clone()}.to_vec());
            let value = value.and_then(Result::ok).unwrap_or_default();
            // (Length, type, empty name and terminator of the document around it.)
            bytes += value.len().saturating_sub(7).min(1024) as f64;
            *counts.entry(value).or_default() += 1.0;
        }
        let n = sample.len() as f64;
        let pairs = n * (n - 1.0);
        let same: f64 = counts.values().map(|c| c * (c - 1.0)).sum();
        Path {
            alike: if pairs > 0.0 { same / pairs } else { 1.0 },
            array,
            bytes: if n > 0.0 { bytes / n } else { 8.0 },
        }
    }
}

/// The values at a path; the outermost array that was passed.
fn values_of<'a>(document: &'a Document, path: &str, values: &mut Vec<&'a Bson>) -> Option<String> {
    let mut at = document;
    let mut passed = String::new();
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if !passed.is_empty() {
            passed.push('.');
        }
        passed.push_str(part);
        let value = at.get(part)?;
        match (value, parts.peek().is_some()) {
            (Bson::Array(items), false) => {
                values.extend(items);
                return Some(passed);
            }
            (value, false) => {
                values.push(value);
                return None;
            }
            (Bson::Array(items), true) => {
                let rest: Vec<&str> = parts.collect();
                let rest = rest.join(".");
                for item in items.iter().filter_map(Bson::as_document) {
                    values_of(item, &rest, values);
                }
                return Some(passed);
            }
            (Bson::Document(inner), true) => at = inner,
            (_, true) => return None,
        }
    }
    None
}

/// So many documents of a sample may have a value by chance: then what all values have counts.
const CHANCE: f64 = 2.0;

/// A record id, and what a key has besides its values, bytes.
const KEY: f64 = 8.0;
