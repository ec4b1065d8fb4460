//! From a command document to one that means the same: the rules put together, without any I/O.

use super::filter;
use super::glance;
use super::pipeline::{self, Stage};
use super::rules::{ON_FILTERS, ON_PIPELINES, Place, Seen, Site};
use super::{applied::Applied, fields};
use crate::command::Kind;
use crate::config::RewriteRule;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// The rules that are on.
#[derive(Clone, Copy, Debug)]
pub struct Rewriter {
    on: Applied,
}

/// A command that means the same as another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The whole command document.
    pub body: Vec<u8>,
    /// What was done.
    pub rules: Applied,
}

impl Rewriter {
    /// All rules but some.
    pub fn without(off: &[RewriteRule]) -> Rewriter {
        let on = RewriteRule::ALL.into_iter().filter(|r| !off.contains(r));
        Rewriter { on: on.collect() }
    }

    /// These rules only.
    pub fn only(on: &[RewriteRule]) -> Rewriter {
        Rewriter {
            on: on.iter().copied().collect(),
        }
    }

    /// The command in another form, if a rule applies. Quick and without allocation in most other cases.
    pub fn rewrite(&self, kind: Kind, body: &[u8]) -> Option<Rewritten> {
        if !glance::promises_within(kind, body) {
            return None;
        }
        self.rewrite_closely(kind, body)
    }

    /// The same without the quick look before.
    #[doc(hidden)]
    pub fn rewrite_closely(&self, kind: Kind, body: &[u8]) -> Option<Rewritten> {
        if self.on.is_empty() || body.len() > LARGEST || !fields::allow(kind, body) {
            return None;
        }
        if doc::find(body, "sort").is_some_and(|sort| may_fail(&sort)) {
            return None;
        }
        let mut out = DocBuf::with_capacity(body.len() + 64);
        let mut rules = Applied::default();
        for element in doc::elements(body) {
            let element = element.ok()?;
            let done = match (kind, element.key) {
                (Kind::Find, "filter") => self.filter(&element, seen_by_find(body), &mut out),
                (Kind::Distinct, "query") => self.filter(&element, Seen::InPart, &mut out),
                (Kind::Count, "query") => self.filter(&element, Seen::Counted, &mut out),
                (Kind::Aggregate, "pipeline") => self.pipeline(&element, &mut out),
                _ => None,
            };
            match done {
                Some(done) => rules = rules.and(done),
                None => {
                    out.append_raw(element.raw);
                }
            }
        }
        let body = out.finish();
        (!rules.is_empty()).then_some(Rewritten { body, rules })
    }

    /// Writes the filter in another form, or nothing.
    fn filter(&self, filter: &Element<'_>, seen: Seen, out: &mut DocBuf) -> Option<Applied> {
        let place = Place::First;
        let site = Site { place, seen };
        let (filtered, rules) = self.conditions(filter.as_document()?, site)?;
        out.append_doc(filter.key, &filtered);
        Some(rules)
    }

    fn conditions(&self, filter: &[u8], site: Site) -> Option<(Vec<u8>, Applied)> {
        let mut nodes = filter::parse(filter)?;
        let mut rules = Applied::default();
        for _ in 0..MOST_ROUNDS {
            let mut changed = false;
            for (rule, apply) in ON_FILTERS {
                if self.on.has(rule) && apply(&mut nodes, site) {
                    rules = rules.and([rule].into_iter().collect());
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        if rules.is_empty() {
            return None;
        }
        if site.seen == Seen::InPart && filter::asks_for_id(&nodes) {
            // The server's shortest way reads the document; an index that begins with `_id` may show
            // null for what is missing.
            return None;
        }
        let mut out = DocBuf::with_capacity(filter.len() + 32);
        filter::emit(&nodes, &mut out);
        let out = out.finish();
        (out != filter).then_some((out, rules))
    }

    fn pipeline(&self, pipeline: &Element<'_>, out: &mut DocBuf) -> Option<Applied> {
        let mut stages = pipeline::parse(pipeline)?;
        let sorts = stages.iter().filter(|stage| stage.name == "$sort");
        if sorts.filter_map(Stage::spec).any(|keys| may_fail(&keys)) {
            return None;
        }
        let mut rules = Applied::default();
        loop {
            let before = stages.len();
            for (rule, apply) in ON_PIPELINES {
                if self.on.has(rule) && apply(&mut stages) {
                    rules = rules.and([rule].into_iter().collect());
                }
            }
            if stages.len() == before {
                break;
            }
        }
        let seen = seen_by(&stages);
        for (n, stage) in stages.iter_mut().enumerate() {
            let place = if n == 0 { Place::First } else { Place::Later };
            if let Some(done) = self.matching(stage, Site { place, seen }) {
                rules = rules.and(done);
            }
        }
        if rules.is_empty() {
            return None;
        }
        out.append_array(pipeline.key, |list| {
            for stage in &stages {
                list.push_doc(&stage.document);
            }
        });
        Some(rules)
    }

    /// Changes the filter of a `$match`.
    fn matching(&self, stage: &mut Stage<'_>, site: Site) -> Option<Applied> {
        let spec = stage.spec().filter(|spec| spec.key == "$match")?;
        let (filter, rules) = self.conditions(spec.as_document()?, site)?;
        let mut out = DocBuf::with_capacity(filter.len() + 16);
        out.append_doc("$match", &filter);
        stage.document = out.finish().into();
        Some(rules)
    }
}

/// Whether a sort may refuse a document. MongoDB can't sort by two arrays of one document, nor by a path whose number
/// is both a position in an array and a field of its elements. A rewritten filter may be answered without sorting (by
/// `_id`, or without reading anything), and the error would be lost. `_id` is never an array.
fn may_fail(sort: &Element<'_>) -> bool {
    let keys = doc::elements(sort.as_document().unwrap_or_default());
    let mut keys = keys.filter(|key| !matches!(key, Ok(key) if key.key == "_id"));
    match (keys.next(), keys.next()) {
        (None, _) => false,
        (Some(Ok(key)), None) => has_position(key.key),
        _ => true,
    }
}

/// Whether a component after the first may be a position in an array.
fn has_position(path: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    path.split('.').skip(1).any(digits)
}

/// Whether a find shows its documents whole (or only `_id`, which all of them have).
fn seen_by_find(body: &[u8]) -> Seen {
    let projection = doc::find(body, "projection").and_then(|p| p.as_document());
    let mut fields = projection.into_iter().flat_map(doc::elements);
    let is_id = |field: Element<'_>| field.key == "_id" && field.as_i64() == Some(1);
    if fields.all(|field| field.is_ok_and(is_id)) {
        Seen::Whole
    } else {
        Seen::InPart
    }
}

/// What a pipeline shows of the documents that are read.
fn seen_by(stages: &[Stage<'_>]) -> Seen {
    let lets_through = |stage: &Stage<'_>, names: &[&str]| names.contains(&stage.name);
    let counted = pipeline::first_count(stages).and_then(|at| stages.get(..at));
    if counted.is_some_and(|before| before.iter().all(|s| lets_through(s, &["$match"]))) {
        return Seen::Counted;
    }
    let whole = ["$match", "$sort", "$skip", "$limit"];
    if stages.iter().all(|stage| lets_through(stage, &whole)) {
        return Seen::Whole;
    }
    Seen::InPart
}

/// Rules let others apply: `$or` of equalities becomes `$in`, which is flattened, and so on.
const MOST_ROUNDS: usize = 8;
/// Larger commands aren't looked at: what they hold is lists of values, and the time goes elsewhere.
const LARGEST: usize = 128 << 10;
