//! The fewest indexes that serve all queries that need one.

use bson::Document;

use super::WELL_SERVED;
use super::candidates::{Keys, candidates};
use super::data::Data;
use super::estimate::{Work, estimate};
use super::index::{Index, same_collation};
use super::query::Query;

/// A query that examines too much, as it was measured.
#[derive(Clone, Debug)]
pub struct Need {
    /// What it asks.
    pub query: Query,
    /// Documents that one answer holds, on average.
    pub returned: f64,
    /// What is examined for it now.
    pub examined: f64,
    /// Whether documents are sorted for it now.
    pub sorts: bool,
    /// The indexes that it uses now.
    pub uses: Vec<String>,
    /// How often it has been asked of the server.
    pub calls: u64,
}

/// What serves some of the needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The index.
    pub keys: Keys,
    /// Its collation, where it isn't the collection's own.
    pub collation: Option<Document>,
    /// It exists, under this name, and is hidden.
    pub hidden: Option<String>,
    /// Places in the list of needs.
    pub serves: Vec<usize>,
    /// What it will examine for each of these.
    pub examines: Vec<f64>,
}

/// The fewest indexes that serve the `needs` of one collection that pay. `writes`: documents
/// written to it in the time in which the needs were counted.
#[must_use]
pub fn choose(needs: &[Need], existing: &[Index], data: &Data, writes: u64) -> Vec<Choice> {
    let weighed = |need: &Need| Need {
        query: data.weigh(need.query.clone()),
        ..need.clone()
    };
    let needs: &[Need] = &needs
        .iter()
        .take(MOST_NEEDS)
        .map(weighed)
        .collect::<Vec<_>>();
    let mut choices: Vec<Choice> = Vec::new();
    let mut open: Vec<(usize, f64)> = Vec::new();
    for (at, need) in needs.iter().enumerate() {
        let all = candidates(&need.query, data);
        let works = all.iter().filter_map(|keys| work(need, keys, data));
        let Some(best) = works.min_by(|a, b| cost(need, a).total_cmp(&cost(need, b))) else {
            continue;
        };
        let enough = enough(need, cost(need, &best));
        match serving(need, existing, data, enough) {
            Some(index) if index.hidden => unhide(&mut choices, index, at, best.examined),
            // It's there: the server has its reasons.
            Some(_) => {}
            None if pays(need, &best, data, writes) => open.push((at, enough)),
            None => {}
        }
    }
    let places: Vec<Candidate> = offered(needs, &open, existing, data);
    choices.extend(
        cover(&places, &open)
            .into_iter()
            .map(|c| c.choice(&open, data)),
    );
    choices
}

fn work(need: &Need, keys: &Keys, data: &Data) -> Option<Work> {
    estimate(&need.query, keys, data, need.returned)
}

/// Documents examined, and what sorting them is worth.
fn cost(need: &Need, work: &Work) -> f64 {
    let sorting = if work.ordered {
        0.0
    } else {
        SORT * need.returned
    };
    work.examined + sorting
}

/// The cost up to which a need is served well, given the best there could be.
fn enough(need: &Need, best: f64) -> f64 {
    WELL_SERVED * need.returned.max(1.0).max(best)
}

/// An index that exists and serves as well as any.
fn serving<'a>(need: &Need, existing: &'a [Index], data: &Data, enough: f64) -> Option<&'a Index> {
    let serves = |index: &&Index| {
        let Some(keys) = index.ordered() else {
            return false;
        };
        if !index.holds(&need.query, data.collation.as_ref()) {
            return false;
        }
        let Some(mut work) = work(need, &keys, data) else {
            return false;
        };
        let has = |path: &str| keys.iter().any(|(key, _)| key == path);
        let whole = need.query.predicates.iter().all(|p| has(&p.path)) && work.ordered;
        if need.uses.contains(&index.name) && !whole {
            // It was measured.
            work.examined = work.examined.max(need.examined);
        }
        cost(need, &work) <= enough
    };
    let (hidden, shown): (Vec<&Index>, Vec<&Index>) = existing.iter().partition(|i| i.hidden);
    shown.into_iter().chain(hidden).find(serves)
}

fn unhide(choices: &mut Vec<Choice>, index: &Index, need: usize, examines: f64) {
    let known = choices
        .iter_mut()
        .find(|c| c.hidden.as_deref() == Some(&*index.name));
    if let Some(choice) = known {
        choice.serves.push(need);
        choice.examines.push(examines);
        return;
    }
    choices.push(Choice {
        keys: index.ordered().unwrap_or_default(),
        collation: None,
        hidden: Some(index.name.clone()),
        serves: vec![need],
        examines: vec![examines],
    });
}

/// Whether an index would be worth its upkeep.
fn pays(need: &Need, best: &Work, data: &Data, writes: u64) -> bool {
    let sorting = if need.sorts {
        SORT * need.returned
    } else {
        0.0
    };
    let now = need.examined + sorting;
    let then = cost(need, best);
    let saves = now - then;
    // Fetching by an index costs more by the document than a scan does.
    let selective = !best.fetches || best.examined <= SELECTIVE * data.documents;
    need.calls >= LEAST_CALLS
        && saves >= LEAST_SAVED
        && then <= now / 2.0
        && selective
        && saves * need.calls as f64 >= UPKEEP * writes as f64
}

struct Candidate {
    keys: Keys,
    collation: Option<Document>,
    /// Bits: which of the open needs it serves.
    serves: u64,
    /// What it costs each of the open needs.
    costs: Vec<f64>,
    examines: Vec<f64>,
    /// Share of the documents that its first field leaves.
    lead: f64,
    /// It begins as an index does that exists, which can go then.
    extends: bool,
}

/// All candidates of all open needs, each with all that it serves.
fn offered(
    needs: &[Need],
    open: &[(usize, f64)],
    existing: &[Index],
    data: &Data,
) -> Vec<Candidate> {
    let mut offered: Vec<Candidate> = Vec::new();
    for need in open.iter().filter_map(|(at, _)| needs.get(*at)) {
        let collation = need.query.collation.as_ref().or(data.collation.as_ref());
        for keys in candidates(&need.query, data) {
            let known =
                |c: &Candidate| c.keys == keys && same_collation(c.collation.as_ref(), collation);
            if offered.iter().any(known) || exists(&keys, collation, existing) {
                continue;
            }
            let mut candidate = Candidate {
                lead: lead(need, &keys),
                extends: existing.iter().any(|index| extends(&keys, index)),
                keys,
                collation: collation.cloned(),
                serves: 0,
                costs: Vec::new(),
                examines: Vec::new(),
            };
            for (bit, (at, enough)) in open.iter().enumerate() {
                let Some(other) = needs.get(*at) else {
                    continue;
                };
                let wanted = other.query.collation.as_ref().or(data.collation.as_ref());
                let fits = same_collation(candidate.collation.as_ref(), wanted);
                let work = work(other, &candidate.keys, data).filter(|_| fits);
                let cost = work.map_or(f64::INFINITY, |work| cost(other, &work));
                if cost <= *enough {
                    candidate.serves |= 1 << bit;
                }
                candidate.costs.push(cost);
                candidate
                    .examines
                    .push(work.map_or(f64::INFINITY, |w| w.examined));
            }
            offered.push(candidate);
        }
    }
    offered
}

fn lead(need: &Need, keys: &Keys) -> f64 {
    let first = keys.first().and_then(|(path, _)| need.query.on(path));
    first.map_or(1.0, |predicate| predicate.share)
}

/// Whether an index on `keys` is there in effect: the same one, or a longer one.
fn exists(keys: &Keys, collation: Option<&Document>, existing: &[Index]) -> bool {
    existing.iter().any(|index| {
        let plain = !index.sparse && index.partial.is_none();
        let same = same_collation(index.collation.as_ref(), collation);
        plain && same && index.ordered().is_some_and(|long| begins(&long, keys))
    })
}

fn extends(keys: &Keys, index: &Index) -> bool {
    index.ordered().is_some_and(|short| begins(keys, &short))
}

/// Whether `long` begins with `short`, read in this direction or the other.
pub(super) fn begins(long: &Keys, short: &Keys) -> bool {
    let pairs = || long.iter().zip(short);
    long.len() >= short.len()
        && pairs().all(|(a, b)| a.0 == b.0)
        && (pairs().all(|(a, b)| a.1 == b.1) || pairs().all(|(a, b)| a.1 == -b.1))
}

/// The fewest candidates that serve every need; of as few, those that examine least, have the
/// fewest fields, and begin with the most selective ones.
fn cover<'a>(candidates: &'a [Candidate], open: &[(usize, f64)]) -> Vec<&'a Candidate> {
    let served = candidates.iter().fold(0, |all, c| all | c.serves);
    for most in 1..=open.len() {
        let mut search = Search {
            candidates,
            fuel: FUEL,
            best: None,
        };
        search.go(served, most, &mut Vec::new());
        if let Some((_, chosen)) = search.best {
            return chosen
                .into_iter()
                .filter_map(|at| candidates.get(at))
                .collect();
        }
    }
    Vec::new()
}

struct Search<'a> {
    candidates: &'a [Candidate],
    fuel: usize,
    best: Option<(Score, Vec<usize>)>,
}

/// Smaller is better, from left to right.
type Score = (i64, usize, usize, i64);

impl Search<'_> {
    fn go(&mut self, left: u64, most: usize, chosen: &mut Vec<usize>) {
        if left == 0 {
            let score = self.score(chosen);
            if self.best.as_ref().is_none_or(|(best, _)| score < *best) {
                self.best = Some((score, chosen.clone()));
            }
            return;
        }
        if chosen.len() == most || self.fuel == 0 {
            return;
        }
        self.fuel -= 1;
        let need = 1 << left.trailing_zeros();
        for (at, candidate) in self.candidates.iter().enumerate() {
            if candidate.serves & need != 0 {
                chosen.push(at);
                self.go(left & !candidate.serves, most, chosen);
                chosen.pop();
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "scores are rounded on purpose"
    )]
    fn score(&self, chosen: &[usize]) -> Score {
        let chosen: Vec<&Candidate> = chosen
            .iter()
            .filter_map(|at| self.candidates.get(*at))
            .collect();
        let needs = chosen.first().map_or(0, |c| c.costs.len());
        let least = |need: usize| {
            let costs = chosen.iter().filter_map(|c| c.costs.get(need));
            costs.fold(f64::INFINITY, |least, cost| least.min(*cost))
        };
        let work: f64 = (0..needs).map(|n| least(n).clamp(1.0, 1e12).log2()).sum();
        let fields = chosen.iter().map(|c| c.keys.len()).sum();
        let fresh = chosen.iter().filter(|c| !c.extends).count();
        let lead: f64 = chosen.iter().map(|c| c.lead).sum();
        ((work * 4.0) as i64, fields, fresh, (lead * 1e6) as i64)
    }
}

impl Candidate {
    fn choice(&self, open: &[(usize, f64)], data: &Data) -> Choice {
        let served = |bit: &usize| self.serves & (1 << bit) != 0;
        let bits: Vec<usize> = (0..open.len()).filter(served).collect();
        let own = !same_collation(self.collation.as_ref(), data.collation.as_ref());
        let simple = || bson::doc! {"locale": "simple"};
        Choice {
            keys: self.keys.clone(),
            collation: own.then(|| self.collation.clone().unwrap_or_else(simple)),
            hidden: None,
            serves: bits
                .iter()
                .filter_map(|b| open.get(*b))
                .map(|(at, _)| *at)
                .collect(),
            examines: bits
                .iter()
                .filter_map(|b| self.examines.get(*b))
                .copied()
                .collect(),
        }
    }
}

/// What sorting a document costs, in documents examined.
const SORT: f64 = 2.0;

/// A need must have been seen so often.
const LEAST_CALLS: u64 = 3;

/// What an index must save by the call, documents.
const LEAST_SAVED: f64 = 50.0;

/// An answer that holds more of the collection than this is found as quickly without.
const SELECTIVE: f64 = 0.3;

/// What keeping an index up costs at a write, in documents examined.
const UPKEEP: f64 = 20.0;

/// Needs of a collection that are looked at, the costliest first.
const MOST_NEEDS: usize = 32;

/// Steps of the search.
const FUEL: usize = 200_000;
