//! One look at the workload: the costliest collections and shapes first, as far as the budget goes.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use bson::{Bson, Document};

use super::Advice;
use super::budget::{Budget, Spent};
use super::collection::Collection;
use super::verdicts::{Verdict, judge};
use crate::advice::{
    self, Action, Choice, Data, Index, Need, Query, Words, choose, queries, surplus, surplus_words,
    unhide,
};
use crate::command::{Kind, Namespace, ShapeId};
use crate::config;
use crate::pipeline::{Observed, Probe, ProbeError, Workload};

/// What is remembered between two looks.
#[derive(Default)]
pub(super) struct Memory {
    collections: HashMap<Namespace, Collection>,
    verdicts: HashMap<ShapeId, Verdict>,
    spent: Spent,
    explained: u64,
}

impl Memory {
    pub fn explained(&self) -> u64 {
        self.explained
    }

    pub fn share(&self, upstream: Duration) -> f64 {
        match upstream.is_zero() {
            true => 0.0,
            false => self.spent.time().as_secs_f64() / upstream.as_secs_f64(),
        }
    }
}

/// All advice that stands now.
pub(super) async fn look(
    workload: &dyn Workload,
    probe: &dyn Probe,
    config: &config::Advice,
    memory: &mut Memory,
) -> Vec<Advice> {
    let observed = workload.observed();
    let Memory {
        collections,
        verdicts,
        spent,
        explained,
    } = memory;
    let mut budget = spent.budget(workload.upstream_time(), config.explain_share);
    verdicts.retain(|id, _| observed.iter().any(|shape| shape.id == *id));
    let groups = by_collection(observed);
    collections.retain(|namespace, _| groups.iter().any(|group| group.namespace == *namespace));
    let mut all = Vec::new();
    for group in &groups {
        let collection = collections.entry(group.namespace.clone()).or_default();
        let view = group.look(collection, verdicts, probe, &mut budget, config, explained);
        all.extend(view.await);
    }
    all
}

/// The shapes of one collection.
struct Group {
    namespace: Namespace,
    /// Those that have a plan, the costliest first.
    shapes: Vec<Observed>,
    /// Writes so far, and by the second lately.
    writes: u64,
    writes_per_second: f64,
}

/// The collections that are asked for, the costliest first.
fn by_collection(observed: Vec<Observed>) -> Vec<Group> {
    let mut groups: HashMap<Namespace, Group> = HashMap::new();
    for shape in observed {
        let namespace = shape.namespace.clone();
        let group = groups.entry(namespace.clone()).or_insert_with(|| Group {
            namespace,
            shapes: Vec::new(),
            writes: 0,
            writes_per_second: 0.0,
        });
        if matches!(
            shape.kind,
            Kind::Insert | Kind::Update | Kind::Delete | Kind::FindAndModify
        ) {
            group.writes += shape.upstream_calls;
            group.writes_per_second += shape.per_second;
        }
        if !shape.samples.is_empty() {
            group.shapes.push(shape);
        }
    }
    let mut groups: Vec<Group> = groups
        .into_values()
        .filter(|g| !g.shapes.is_empty())
        .collect();
    for group in &mut groups {
        group
            .shapes
            .sort_by_key(|shape| std::cmp::Reverse(shape.upstream_time));
    }
    let time = |group: &Group| {
        group
            .shapes
            .iter()
            .map(|s| s.upstream_time)
            .sum::<Duration>()
    };
    groups.sort_by_key(|group| std::cmp::Reverse(time(group)));
    groups
}

/// What one look at a collection goes by.
struct Wanted<'a> {
    /// One for each query of a shape that examines too much.
    needs: Vec<Need>,
    shapes: Vec<&'a Observed>,
}

impl Group {
    async fn look(
        &self,
        collection: &mut Collection,
        verdicts: &mut HashMap<ShapeId, Verdict>,
        probe: &dyn Probe,
        budget: &mut Budget<'_>,
        config: &config::Advice,
        explained: &mut u64,
    ) -> Vec<Advice> {
        let changed = match self.ask(collection, probe, budget).await {
            Ok(changed) => changed,
            Err(error) => {
                tracing::debug!(target: "petiole::advice", namespace = %self.namespace, reason = %error,
                    "a collection can't be looked at");
                return Vec::new();
            }
        };
        for shape in self.shapes.iter().filter(|_| changed) {
            if let Some(verdict) = verdicts.get_mut(&shape.id) {
                verdict.outdated = true;
            }
        }
        if collection.indexes.is_empty() {
            return Vec::new();
        }
        let limit = config.explain_max_time;
        let paths = self.paths(&collection.indexes);
        if collection.data(&paths).is_none() && !paths.is_empty() {
            let fields = roots(&paths);
            let ask = || probe.sample(&self.namespace, fields, SAMPLE, limit);
            if let Some(Ok(sample)) = budget.ask(SAMPLING, ask).await {
                collection.sampled(paths.clone(), sample);
            }
        }
        let now = Instant::now();
        for shape in self.shapes.iter().take(MOST_SHAPES) {
            let due = verdicts.get(&shape.id).is_none_or(|v| v.is_due(now));
            let Some(data) = collection.data(&paths).filter(|_| due) else {
                continue;
            };
            let verdict = judge(shape, data, probe, budget, limit, explained).await;
            if let Some(verdict) = verdict {
                verdicts.insert(shape.id, verdict);
            }
        }
        let wanted = self.wanted(verdicts);
        if collection.wants_uses()
            && let Some(Ok(uses)) = budget
                .ask(FACTS, || probe.index_uses(&self.namespace))
                .await
        {
            collection.used(uses);
        }
        let mut advice = Vec::new();
        if let Some(data) = collection.data(&paths) {
            advice.extend(self.missing(&wanted, &collection.indexes, data));
        }
        // What is to be shown again looks unused because it is hidden.
        let shown = advice.iter().filter(|a| a.words.action == Action::Unhide);
        let shown: Vec<String> = shown.map(|a| a.words.index_name()).collect();
        advice.extend(self.surplus(collection, &paths, config.unused_after, &shown));
        collection.is_advised = !advice.is_empty();
        advice
    }

    /// Asks what the collection is now, if it's time; whether its indexes have changed.
    async fn ask(
        &self,
        collection: &mut Collection,
        probe: &dyn Probe,
        budget: &mut Budget<'_>,
    ) -> Result<bool, ProbeError> {
        if collection.wants_facts() {
            let facts = budget.ask(FACTS, || probe.collection(&self.namespace));
            if let Some(facts) = facts.await {
                return Ok(collection.update(facts?));
            }
        } else if collection.wants_indexes() {
            let indexes = budget.ask(FACTS, || probe.indexes(&self.namespace));
            if let Some(indexes) = indexes.await {
                return Ok(collection.update_indexes(&indexes?));
            }
        }
        Ok(false)
    }

    /// The paths that matter: of all that is asked, and of indexes that may replace others.
    fn paths(&self, indexes: &[Index]) -> Vec<String> {
        let latest = self.shapes.iter().filter_map(|shape| shape.samples.last());
        let asked: Vec<Query> = latest.flat_map(queries).collect();
        let asked = asked.iter().flat_map(Query::paths);
        let long = indexes.iter().filter(|index| index.keys.len() > 1);
        let of_indexes = long.flat_map(|index| index.keys.iter().map(|(path, _)| path.as_str()));
        let mut paths: Vec<String> = asked.chain(of_indexes).map(str::to_owned).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn wanted(&self, verdicts: &HashMap<ShapeId, Verdict>) -> Wanted<'_> {
        let mut wanted = Wanted {
            needs: Vec::new(),
            shapes: Vec::new(),
        };
        for shape in &self.shapes {
            let Some(verdict) = verdicts.get(&shape.id).filter(|v| v.is_bad()) else {
                continue;
            };
            for query in queries(&verdict.sample) {
                wanted.needs.push(need(query, verdict, shape));
                wanted.shapes.push(shape);
            }
        }
        wanted
    }

    fn missing(&self, wanted: &Wanted<'_>, indexes: &[Index], data: &Data) -> Vec<Advice> {
        let needs = &wanted.needs;
        let choices = choose(needs, indexes, data, self.writes);
        let mut taken = Vec::new();
        let advise = |choice: &Choice| {
            let words = match &choice.hidden {
                Some(name) => unhide(&self.namespace, choice, name, needs),
                None => advice::create(
                    &self.namespace,
                    choice,
                    needs,
                    indexes,
                    data,
                    self.writes_per_second,
                    &taken,
                ),
            };
            taken.push(words.index_name());
            self.advice(words, choice, wanted)
        };
        choices.iter().map(advise).collect()
    }

    /// `needed`: names of indexes that stay.
    fn surplus(
        &self,
        collection: &Collection,
        paths: &[String],
        after: Duration,
        needed: &[String],
    ) -> Vec<Advice> {
        let unknown = Data::default();
        let data = collection.data(paths).unwrap_or(&unknown);
        let mut stay = self.hinted(&collection.indexes);
        stay.extend_from_slice(needed);
        let found = surplus(
            &collection.indexes,
            &|name| collection.index_use(name),
            data,
            collection.facts.shard_key.as_ref(),
            &stay,
            after,
        );
        let none = Choice {
            keys: Vec::new(),
            collation: None,
            hidden: None,
            serves: Vec::new(),
            examines: Vec::new(),
        };
        let nobody = Wanted {
            needs: Vec::new(),
            shapes: Vec::new(),
        };
        let advise = |one: &advice::Surplus| {
            let index = collection.indexes.iter().find(|i| i.name == one.name)?;
            let words = surplus_words(&self.namespace, one, index);
            Some(self.advice(words, &none, &nobody))
        };
        found.iter().filter_map(advise).collect()
    }

    /// Names of the indexes that commands prescribe.
    fn hinted(&self, indexes: &[Index]) -> Vec<String> {
        let mut names = Vec::new();
        for sample in self.shapes.iter().flat_map(|shape| &shape.samples) {
            for hint in hints(sample) {
                match hint {
                    Bson::String(name) => names.push(name.clone()),
                    Bson::Document(keys) => {
                        let same = |i: &&Index| i.pattern.keys().eq(keys.keys());
                        names.extend(indexes.iter().filter(same).map(|i| i.name.clone()));
                    }
                    _ => {}
                }
            }
        }
        names
    }

    fn advice(&self, words: Words, choice: &Choice, wanted: &Wanted<'_>) -> Advice {
        let (mut calls, mut time, mut shapes) = (0, Duration::ZERO, Vec::new());
        let (mut examined, mut returned) = (0.0, 0.0);
        for at in &choice.serves {
            let (Some(need), Some(shape)) = (wanted.needs.get(*at), wanted.shapes.get(*at)) else {
                continue;
            };
            let weight = need.calls as f64;
            examined += need.examined * weight;
            returned += need.returned * weight;
            if !shapes.contains(&shape.id) {
                shapes.push(shape.id);
                calls += shape.upstream_calls;
                time += shape.upstream_time;
            }
        }
        let weights: u64 = choice
            .serves
            .iter()
            .filter_map(|at| wanted.needs.get(*at))
            .map(|need| need.calls)
            .sum();
        let by_call = |sum: f64| sum / weights.max(1) as f64;
        Advice {
            id: id(&self.namespace, words.action, &words.command),
            namespace: self.namespace.clone(),
            words,
            examined: by_call(examined),
            returned: by_call(returned),
            calls,
            time,
            shapes,
            since: SystemTime::now(),
        }
    }
}

fn need(query: Query, verdict: &Verdict, shape: &Observed) -> Need {
    Need {
        query,
        returned: verdict.returned,
        examined: verdict.examined,
        sorts: verdict.plan.sorts,
        uses: verdict.plan.indexes.clone(),
        calls: shape.upstream_calls,
    }
}

/// The indexes that a command prescribes.
fn hints(sample: &Document) -> Vec<&Bson> {
    let mut hints: Vec<&Bson> = sample.get("hint").into_iter().collect();
    for name in ["updates", "deletes"] {
        for statement in sample.get_array(name).into_iter().flatten() {
            hints.extend(statement.as_document().and_then(|s| s.get("hint")));
        }
    }
    hints
}

/// Their top-level fields.
fn roots(paths: &[String]) -> Vec<String> {
    let root = |path: &String| path.split('.').next().unwrap_or_default().to_owned();
    let mut roots: Vec<String> = paths.iter().map(root).collect();
    roots.dedup();
    roots
}

fn id(namespace: &Namespace, action: Action, command: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::with_seed(1).build_hasher();
    hasher.write(namespace.to_string().as_bytes());
    hasher.write(action.as_str().as_bytes());
    hasher.write(command.as_bytes());
    format!("{:016x}", hasher.finish())
}

/// What the facts of a collection take to ask for.
const FACTS: Duration = Duration::from_millis(5);

/// What a sample takes.
const SAMPLING: Duration = Duration::from_millis(30);

/// Documents in a sample.
const SAMPLE: u32 = 500;

/// Shapes of a collection that are explained.
const MOST_SHAPES: usize = 32;
