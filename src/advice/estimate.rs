//! What a query would examine through an index.

use super::data::Data;
use super::query::{Op, Query};

/// What a query examines for its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Documents, or keys where they are more.
    pub examined: f64,
    /// Whether the documents come in the order that is asked for.
    pub ordered: bool,
    /// Whether documents have to be fetched.
    pub fetches: bool,
}

impl Work {
    /// Without an index.
    #[must_use]
    pub fn scan(data: &Data) -> Work {
        Work {
            examined: data.documents,
            ordered: false,
            fetches: true,
        }
    }
}

/// What `query` would examine through an index on `keys`, if its answer holds `returned`
/// documents. `None`: the index is no use to it.
#[must_use]
pub fn estimate(query: &Query, keys: &[(String, i32)], data: &Data, returned: f64) -> Option<Work> {
    let is_equality = |path: &str| query.on(path).is_some_and(|p| p.op == Op::Equal);
    let sort: Vec<&(String, i32)> = query.sort.iter().filter(|(p, _)| !is_equality(p)).collect();
    let mut walk = Walk {
        bounds: 1.0,
        fetched: 1.0,
        exact: true,
        sorted: 0,
        in_order: true,
        flipped: None,
    };
    for (at, (path, direction)) in keys.iter().enumerate() {
        let used = walk.key(query, &sort, path, *direction, data);
        if at == 0 && !used {
            // (A distinct can walk an index by its values.)
            let distinct = query.distinct.as_deref() == Some(path);
            if !distinct {
                return None;
            }
        }
    }
    let in_keys = |path: &str| keys.iter().any(|(key, _)| key == path);
    let covered = query.predicates.iter().all(|p| in_keys(&p.path));
    let by_bounds = query
        .predicates
        .iter()
        .all(|p| in_keys(&p.path) && p.op != Op::Weak && data.array(&p.path).is_none());
    let every: f64 = query.predicates.iter().map(|p| p.share).product();
    let matched = match query.limit {
        // The answer may be a part of what matches.
        Some(_) => (data.documents * every).max(returned),
        None => returned,
    };
    let mut documents = (data.documents * walk.fetched).max(matched);
    let mut visited = (data.documents * walk.bounds).max(matched);
    if covered {
        documents = matched;
        if walk.exact || walk.contiguous(query, keys) {
            visited = matched;
        }
    }
    let ordered = sort.is_empty() || (walk.in_order && walk.sorted == sort.len());
    if let (Some(limit), true) = (query.limit, ordered) {
        let limit = limit as f64;
        let of_documents = (documents / matched.max(1.0)).max(1.0);
        let of_keys = (visited / matched.max(1.0)).max(1.0);
        documents = documents.min(limit * of_documents);
        visited = visited.min(limit * of_keys);
    }
    let mut fetches = !(query.counts && by_bounds);
    if let Some(path) = &query.distinct
        && in_keys(path)
        && covered
        && data.array(path).is_none()
    {
        fetches = false;
        let equalities = query.predicates.iter().all(|p| p.op == Op::Equal);
        let prefix = keys.iter().position(|(key, _)| key == path);
        if equalities && prefix.is_some_and(|at| at <= query.predicates.len()) {
            // It steps from value to value.
            visited = returned;
        }
    }
    Some(Work {
        examined: if fetches {
            documents.max(visited)
        } else {
            visited
        },
        ordered,
        fetches,
    })
}

/// Walking the keys of an index.
struct Walk {
    /// Share of the keys that is visited.
    bounds: f64,
    /// Share of the documents that is fetched.
    fetched: f64,
    /// All keys so far have one value, or a few.
    exact: bool,
    /// Fields of the sort that are in order so far.
    sorted: usize,
    in_order: bool,
    flipped: Option<bool>,
}

impl Walk {
    /// Whether the key plays a part.
    fn key(
        &mut self,
        query: &Query,
        sort: &[&(String, i32)],
        path: &str,
        direction: i32,
        data: &Data,
    ) -> bool {
        let predicate = query.on(path);
        let share = predicate.map_or(1.0, |p| p.share);
        let waits = self.sorted < sort.len();
        let point = match predicate.map(|p| p.op) {
            Some(Op::Equal) => true,
            // (The server merges the lists of a few values in order.)
            Some(Op::List(n)) => !waits || n <= FEW,
            _ => false,
        };
        let is_next = waits
            && self.in_order
            && sort.get(self.sorted).is_some_and(|(next, _)| next == path)
            && data.array(path).is_none();
        if point && !(is_next && matches!(predicate.map(|p| p.op), Some(Op::List(_)))) {
            self.fetched *= share;
            if self.exact {
                self.bounds *= share;
            }
            return true;
        }
        let mut used = predicate.is_some_and(|p| p.op != Op::Weak);
        if is_next {
            let flipped = sort.get(self.sorted).is_some_and(|(_, d)| *d != direction);
            if *self.flipped.get_or_insert(flipped) == flipped {
                self.sorted += 1;
                used = true;
            } else {
                self.in_order = false;
            }
        } else if waits {
            self.in_order = false;
        }
        self.fetched *= share;
        if self.exact && predicate.is_some_and(|p| p.op != Op::Weak) {
            self.bounds *= share;
        }
        self.exact = false;
        used
    }

    /// Whether the keys visited are those that match: one range at most, after all equalities.
    fn contiguous(&self, query: &Query, keys: &[(String, i32)]) -> bool {
        let mut ranges = 0;
        let mut left = query.predicates.len();
        for (path, _) in keys {
            if left == 0 {
                break;
            }
            match query.on(path).map(|p| p.op) {
                Some(Op::Equal | Op::List(_)) if ranges == 0 => {}
                Some(Op::Range) if ranges == 0 => ranges = 1,
                _ => return false,
            }
            left -= 1;
        }
        left == 0
    }
}

/// Values of a list that an index can merge in order, at most.
pub(super) const FEW: usize = 100;
