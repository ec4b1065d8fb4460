//! What a read promises of its answer: what the data decide, and what they leave open.

use super::{Grounds, plain_equality};
use crate::wire::doc::{self, Element, kind};

/// What two answers to one read of the same data have in common: at least as many documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// Nothing else.
    pub number_only: bool,
    /// Values may differ as computed ones do.
    pub computed: bool,
    /// Fields that depend on the order in which documents were read.
    pub ignored: Vec<String>,
    /// No more than so many are shown.
    pub limit: Option<u64>,
    /// The first ones are left out.
    pub skips: bool,
    /// Whatever was left out, the data decided it.
    pub decided: bool,
    /// The data decide the order.
    total: bool,
    /// At most one document has ever come.
    single: bool,
    /// No two documents have the same `_id`, and a document's `_id` decides which one it is.
    pub unique_ids: bool,
    /// The fields that they are sorted by, where these are shown.
    pub order: Vec<String>,
    /// Strings, and so sort keys, are equal if their bytes are.
    pub comparable: bool,
}

/// What a find or an aggregate promises; `None`: nothing.
pub(super) fn promise(command: &[u8], grounds: &Grounds) -> Option<Promise> {
    let field = |name| doc::find(command, name);
    let truthy = |name| field(name).is_some_and(|f| f.is_truthy());
    let mut promise = Promise {
        // (What a view computes, it doesn't say.)
        computed: !grounds.plain,
        unique_ids: grounds.plain,
        comparable: grounds.plain && field("collation").is_none(),
        decided: true,
        number_only: false,
        ignored: Vec::new(),
        limit: None,
        skips: false,
        total: false,
        single: false,
        order: Vec::new(),
    };
    if let Some(pipeline) = field("pipeline").and_then(|p| p.as_array()) {
        for (place, stage) in doc::elements(pipeline).flatten().enumerate() {
            let stage = doc::elements(stage.as_document()?).next()?.ok()?;
            if place == 0 && stage.key == "$match" {
                promise.select(stage.as_document()?, grounds);
            }
            promise.pass(&stage, grounds)?;
        }
        return Some(promise);
    }
    let size = |name| field(name).and_then(|f| f.as_i64()).map(i64::unsigned_abs);
    let most = field("filter")
        .and_then(|f| f.as_document())
        .and_then(|f| promise.select(f, grounds));
    if let Some(sort) = field("sort").and_then(|s| s.as_document()) {
        promise.sort(sort, grounds);
    }
    if size("skip").is_some_and(|n| n > 0) {
        promise.leave_out();
        promise.skips = true;
    }
    let single_batch = truthy("singleBatch").then(|| size("batchSize").unwrap_or(101));
    let limits = [size("limit").filter(|&n| n > 0), single_batch];
    if let Some(limit) = limits.into_iter().flatten().min()
        && most.is_none_or(|most| most > limit)
    {
        promise.leave_out();
        promise.limit = Some(limit);
    }
    if let Some(projection) = field("projection").and_then(|p| p.as_document()) {
        promise.project(projection);
    }
    // Keys of an index say which index was used.
    promise.number_only |= truthy("returnKey");
    Some(promise)
}

impl Promise {
    /// Whether the data decide which documents have come so far, and all of what is in them.
    fn is_exact(&self) -> bool {
        let whole = self.decided || (self.limit.is_none() && !self.skips);
        whole && !self.is_vague()
    }

    /// What stages compute from the documents isn't decided.
    fn is_vague(&self) -> bool {
        self.number_only || !self.ignored.is_empty()
    }

    /// The next documents are left out.
    fn leave_out(&mut self) {
        self.decided &= self.total;
    }

    fn pass(&mut self, stage: &Element<'_>, grounds: &Grounds) -> Option<()> {
        let document = stage.as_document();
        match stage.key {
            "$match" => self.is_exact().then_some(())?,
            "$sort" => {
                let whole = self.decided || (self.limit.is_none() && !self.skips);
                self.sort(document?, grounds);
                if !whole {
                    self.order.clear();
                }
            }
            "$limit" => {
                let most = stage.as_i64().and_then(|n| u64::try_from(n).ok())?;
                self.leave_out();
                self.limit = Some(self.limit.map_or(most, |limit| limit.min(most)));
            }
            "$skip" => {
                self.leave_out();
                self.skips = true;
            }
            "$project" => {
                self.number_only |= self.is_vague();
                self.project(document?);
            }
            "$addFields" | "$set" | "$unset" | "$replaceRoot" | "$replaceWith" => {
                self.number_only |= self.is_vague();
                let is_id = |key: &str| touches(key, "_id");
                let adds = matches!(stage.key, "$addFields" | "$set");
                let fields = document.into_iter().flat_map(doc::elements).flatten();
                self.unique_ids &= adds && !fields.into_iter().any(|f| is_id(f.key));
                self.order.clear();
            }
            "$unwind" | "$redact" => {
                self.is_exact().then_some(())?;
                self.leave_documents();
            }
            "$lookup" | "$graphLookup" => {
                self.number_only |= self.is_vague();
                self.computed = true;
                let into = document
                    .and_then(|d| doc::find(d, "as"))
                    .and_then(|a| a.as_str())?;
                if document.is_some_and(|d| doc::find(d, "pipeline").is_some()) {
                    // (A pipeline may leave documents out.)
                    self.ignore(into);
                }
                self.unique_ids &= !touches(into, "_id");
                self.order.clear();
            }
            "$group" => {
                self.is_exact().then_some(())?;
                self.leave_documents();
                self.computed = true;
                self.unique_ids = self.comparable;
                // Strings that a collation finds equal are one group, under the name of the first.
                self.number_only = !self.comparable;
                for field in doc::elements(document?).flatten() {
                    let accumulator = field
                        .as_document()
                        .and_then(|d| doc::elements(d).next()?.ok());
                    let decided = accumulator.is_some_and(|a| DECIDED.contains(&a.key));
                    if field.key != "_id" && !decided {
                        self.ignore(field.key);
                    }
                }
            }
            "$sortByCount" | "$bucket" | "$bucketAuto" | "$facet" => {
                self.is_exact().then_some(())?;
                self.leave_documents();
                self.number_only = true;
            }
            "$count" => {
                // (Documents that an undecided limit lets through are as many.)
                self.leave_documents();
                self.number_only = false;
                self.ignored.clear();
                self.computed = true;
                (self.limit, self.skips, self.decided) = (None, false, true);
            }
            "$setWindowFields" | "$fill" | "$geoNear" => {
                self.leave_documents();
                self.number_only = true;
            }
            _ => return None,
        }
        Some(())
    }

    fn ignore(&mut self, path: &str) {
        match path.split_once('.') {
            Some(_) => self.number_only = true,
            None => self.ignored.push(path.to_owned()),
        }
    }

    fn leave_documents(&mut self) {
        (self.unique_ids, self.total, self.single) = (false, false, false);
        self.order.clear();
    }

    /// A filter that comes first; how many documents it lets through at most, if that is known.
    fn select(&mut self, filter: &[u8], grounds: &Grounds) -> Option<u64> {
        let most = self
            .comparable
            .then(|| most_by_id(filter, grounds))
            .flatten();
        self.single = most.is_some_and(|most| most <= 1);
        self.total |= self.single;
        most
    }

    fn sort(&mut self, sort: &[u8], grounds: &Grounds) {
        self.order = doc::elements(sort)
            .flatten()
            .map(|f| f.key.to_owned())
            .collect();
        let has = |name: &str| self.order.iter().any(|path| path == name);
        let by_index = || {
            grounds
                .unique
                .iter()
                .any(|fields| fields.iter().all(|f| has(f)))
        };
        let total = has("_id") || (!self.computed && by_index());
        self.total = self.single || (self.unique_ids && self.comparable && total);
        let vague = |path: &String| self.ignored.iter().any(|field| touches(path, field));
        let scored = doc::elements(sort)
            .flatten()
            .any(|f| f.as_document().is_some());
        if scored || self.number_only || self.order.iter().any(vague) {
            // (There is nothing to compare.)
            self.total = self.single;
            self.order.clear();
        }
    }

    fn project(&mut self, projection: &[u8]) {
        for field in doc::elements(projection).flatten() {
            let plain = field.as_f64().is_some() || field.kind == kind::BOOL;
            if touches(field.key, "_id") && (!plain || field.key != "_id") {
                self.unique_ids = false;
            }
            if !plain && self.order.iter().any(|path| touches(path, field.key)) {
                self.order.clear();
            }
            // (Of an index key, the index that was used decides.)
            let first = field
                .as_document()
                .and_then(|d| doc::elements(d).next()?.ok());
            self.number_only |= first.is_some_and(|f| f.key == "$meta");
        }
    }
}

/// Whether one path is the other, or leads into it.
fn touches(a: &str, b: &str) -> bool {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    long.strip_prefix(short)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// How many documents a filter lets through at most, by `_id` or a unique index.
fn most_by_id(filter: &[u8], grounds: &Grounds) -> Option<u64> {
    let mut equal = Vec::new();
    let mut most = None;
    collect(filter, &mut equal, &mut most);
    let has = |name: &str| equal.iter().any(|known| known == name);
    let unique = grounds
        .unique
        .iter()
        .any(|fields| fields.iter().all(|f| has(f)));
    if has("_id") || unique { Some(1) } else { most }
}

fn collect(filter: &[u8], equal: &mut Vec<String>, most: &mut Option<u64>) {
    for condition in doc::elements(filter).flatten() {
        if condition.key == "$and" {
            let branches = condition
                .as_array()
                .into_iter()
                .flat_map(doc::elements)
                .flatten();
            for branch in branches.filter_map(|b| b.as_document()) {
                collect(branch, equal, most);
            }
        } else if plain_equality(&condition).is_some() {
            equal.push(condition.key.to_owned());
        } else if condition.key == "_id"
            && let Some(list) = condition
                .as_document()
                .and_then(|d| doc::find(d, "$in")?.as_array())
            && doc::elements(list).flatten().all(|v| v.kind != kind::REGEX)
        {
            *most = Some(doc::elements(list).count() as u64);
        }
    }
}

/// Accumulators whose result the documents decide, in whatever order they come.
const DECIDED: [&str; 6] = ["$sum", "$avg", "$min", "$max", "$count", "$addToSet"];
