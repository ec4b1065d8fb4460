//! What the answer of a read depends on (docs/coherence.md, rule 7): its filter, and by which paths its
//! answer is made of the documents that match.
//!
//! Made once per stored answer, from the canonical command. The [`ReadShape`] is the part without
//! values, which many entries share.
//!
//! Invariants: a plan never depends on less than the read does. What it can't follow it depends on
//! whole; what can't be followed at all has no plan.
//!
//! Absent on purpose: whether a collection has a default collation. Strings count as
//! [`Strings::Simple`] when the command names no collation, so plans are only for collections
//! that are known to have none.

use super::matcher::{self, Equality};
use super::path::Paths;
use super::projection::{Fields, Projection};
use super::value::Strings;
use crate::wire::build::DocBuf;
use crate::wire::doc;

mod pipeline;

/// What a read's answer depends on.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    shape: ReadShape,
    filter: Box<[u8]>,
    anchor: Vec<Equality>,
    strings: Strings,
}

/// A plan without values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadShape {
    /// Paths that decide which documents match.
    pub(super) filter: Paths,
    /// Paths that decide their order, or which of them the read comes across.
    pub(super) order: Paths,
    /// What the answer shows of them.
    pub(super) projection: Projection,
    /// Whether the answer is made of documents one by one. Otherwise it depends on all that match,
    /// and can't be read as documents.
    pub(super) lists: bool,
    /// Whether it leaves documents out that come before those it shows.
    pub(super) skips: bool,
    /// Whether an index is prescribed, which may not hold all documents.
    pub(super) hinted: bool,
    /// The paths of [`ReadPlan::anchor`].
    pub(super) anchor: Vec<String>,
}

impl ReadShape {
    /// The paths of [`ReadPlan::anchor`], in its order.
    pub fn anchor(&self) -> &[String] {
        &self.anchor
    }

    /// Whether every result document holds the top-level field of `path` whole, or lacks it
    /// because its document does: only then can it be found by its value there.
    pub fn tells(&self, path: &str) -> bool {
        let mut paths = Paths::none();
        paths.insert(path);
        self.lists && self.projection.tells(&paths)
    }
}

impl ReadPlan {
    /// The plan of a find, count, distinct or aggregate: a command document whose first key is
    /// the command's name. `None` if it can't be reasoned about, or is longer than 128 KiB: then any write to the collection
    /// may change its answer.
    pub fn of(command: &[u8]) -> Option<ReadPlan> {
        if command.len() > LONGEST {
            return None;
        }
        doc::check(command).ok()?;
        let first = doc::elements(command).next()?.ok()?;
        first.as_str()?;
        let mut read = Parts::default();
        for field in doc::elements(command).skip(1) {
            read.note(&field.ok()?)?;
        }
        match first.key {
            "find" => Some(read.find()),
            "count" => Some(read.summary(Fields::none())),
            "distinct" => {
                let key = super::statement::top_level(read.key?).to_owned();
                Some(read.summary(Fields::Only(vec![key])))
            }
            "aggregate" => pipeline::plan(read),
            _ => None,
        }
    }

    /// The plan without values.
    pub fn shape(&self) -> &ReadShape {
        &self.shape
    }

    /// The filter.
    pub fn filter(&self) -> &[u8] {
        &self.filter
    }

    /// The values that the filter wants at some paths, sorted by path: only `_id`, if that is one
    /// of them.
    pub fn anchor(&self) -> &[Equality] {
        &self.anchor
    }

    /// How the read compares strings.
    pub fn strings(&self) -> Strings {
        self.strings
    }
}

/// The fields of a command.
#[derive(Default)]
struct Parts<'a> {
    filter: Option<&'a [u8]>,
    sort: Option<&'a [u8]>,
    projection: Option<&'a [u8]>,
    pipeline: Option<&'a [u8]>,
    key: Option<&'a str>,
    skips: bool,
    hinted: bool,
    odd_results: bool,
    collated: bool,
}

impl<'a> Parts<'a> {
    fn note(&mut self, field: &doc::Element<'a>) -> Option<()> {
        match field.key {
            "filter" | "query" if field.is_null() => {}
            "filter" | "query" => self.filter = Some(field.as_document()?),
            "sort" => self.sort = Some(field.as_document()?),
            "projection" => self.projection = Some(field.as_document()?),
            "pipeline" => self.pipeline = Some(field.as_array()?),
            "key" => self.key = Some(field.as_str()?),
            "skip" => self.skips |= field.is_truthy(),
            "hint" | "min" | "max" => self.hinted = true,
            "returnKey" | "showRecordId" => self.odd_results |= field.is_truthy(),
            "collation" => self.collated = true,
            _ => {}
        }
        Some(())
    }

    fn find(&self) -> ReadPlan {
        let projection = match self.projection {
            _ if self.odd_results => Projection::summary(Fields::all()),
            Some(projection) => Projection::of(projection),
            None => Projection::everything(),
        };
        self.plan(projection, true)
    }

    fn summary(&self, depends: Fields) -> ReadPlan {
        self.plan(Projection::summary(depends), false)
    }

    fn plan(&self, projection: Projection, lists: bool) -> ReadPlan {
        let filter = match self.filter {
            Some(filter) => filter.into(),
            None => DocBuf::new().finish().into_boxed_slice(),
        };
        let strings = if self.collated {
            Strings::Collated
        } else {
            Strings::Simple
        };
        let mut anchor = matcher::equalities(&filter, strings);
        if anchor.iter().any(|equality| equality.path == "_id") {
            anchor.retain(|equality| equality.path == "_id");
            anchor.truncate(1);
        }
        anchor.sort_by(|a, b| a.path.cmp(&b.path));
        // A hinted index may be sparse or partial: any path may decide what is in it.
        let order = if self.hinted {
            Paths::all()
        } else {
            order(self.sort)
        };
        ReadPlan {
            shape: ReadShape {
                filter: matcher::paths(&filter),
                order,
                projection,
                lists,
                skips: self.skips,
                hinted: self.hinted,
                anchor: anchor.iter().map(|e| e.path.clone()).collect(),
            },
            filter,
            anchor,
            strings,
        }
    }
}

/// The paths of a sort.
fn order(sort: Option<&[u8]>) -> Paths {
    let mut paths = Paths::none();
    for key in doc::elements(sort.unwrap_or_default()).map_while(Result::ok) {
        if key.key.starts_with('$') || key.as_f64().is_none() {
            return Paths::all();
        }
        paths.insert(key.key);
    }
    paths
}

/// A longer command isn't reasoned about: its answer ends with any write to the collection. Each write that may affect
/// it would read it again.
const LONGEST: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn plan(read: Document) -> Option<ReadPlan> {
        ReadPlan::of(&read.to_vec().unwrap())
    }

    #[test]
    fn reads_that_differ_in_values_share_their_shape() {
        let find = |a: i32, limit: i32| {
            doc! {"find": "c", "filter": {"a": a, "b": {"$gt": a}}, "sort": {"x": a}, "limit": limit}
        };
        let (one, two) = (plan(find(1, 5)).unwrap(), plan(find(-1, 6)).unwrap());
        assert_eq!(one.shape(), two.shape());
        assert_ne!(one.anchor(), two.anchor());
        for other in [
            doc! {"find": "c", "filter": {"a": 1}, "sort": {"x": 1}},
            doc! {"find": "c", "filter": {"a": 1, "b": 1}, "sort": {"y": 1}},
            doc! {"count": "c", "query": {"a": 1, "b": 1}},
        ] {
            assert_ne!(one.shape(), plan(other).unwrap().shape());
        }
    }

    #[test]
    fn the_anchor_is_sorted_by_path_and_an_id_is_anchor_enough() {
        let anchor = |filter: Document| {
            let plan = plan(doc! {"find": "c", "filter": filter}).unwrap();
            plan.shape().anchor().to_vec()
        };
        assert_eq!(
            anchor(doc! {"b": 1, "a": {"$in": [1, 2]}, "c": {"$gt": 1}}),
            ["a", "b"]
        );
        assert_eq!(anchor(doc! {"b": 1, "_id": 1}), ["_id"]);
        assert_eq!(anchor(doc! {}), Vec::<String>::new());
    }

    #[test]
    fn a_hint_makes_any_path_decide_what_is_found() {
        for more in [
            doc! {"hint": "x"},
            doc! {"min": {"a": 1}},
            doc! {"max": {"a": 1}},
        ] {
            let mut find = doc! {"find": "c"};
            find.extend(more);
            assert!(plan(find).unwrap().shape().order.is_all());
        }
        let natural = plan(doc! {"find": "c", "sort": {"$natural": 1}}).unwrap();
        assert!(natural.shape().order.is_all());
    }

    #[test]
    fn what_cannot_be_reasoned_about_has_no_plan() {
        let aggregate =
            |stage: Document| doc! {"aggregate": "c", "pipeline": [{"$match": {}}, stage]};
        for read in [
            doc! {"find": "c", "filter": 5},
            doc! {"find": "c", "sort": "a"},
            doc! {"distinct": "c"},
            doc! {"aggregate": 1, "pipeline": []},
            doc! {"aggregate": "c"},
            doc! {"listIndexes": "c"},
            doc! {},
            aggregate(doc! {"$lookup": {"from": "d", "as": "x"}}),
            aggregate(doc! {"$unionWith": "d"}),
            aggregate(doc! {"$graphLookup": {"from": "d"}}),
            aggregate(doc! {"$facet": {"x": [{"$match": {}}, {"$lookup": {"from": "d"}}]}}),
            aggregate(doc! {"$merge": "d"}),
            aggregate(doc! {"$out": "d"}),
            aggregate(doc! {"$sample": {"size": 1}}),
            aggregate(doc! {"$newStage": {}}),
            aggregate(doc! {}),
        ] {
            assert!(plan(read.clone()).is_none(), "{read}");
        }
    }

    #[test]
    fn any_collation_makes_strings_incomparable() {
        let find = doc! {"find": "c", "filter": {"a": "x"}};
        assert_eq!(plan(find.clone()).unwrap().strings(), Strings::Simple);
        let mut collated = find;
        collated.insert("collation", doc! {"locale": "en"});
        let collated = plan(collated).unwrap();
        assert_eq!(collated.strings(), Strings::Collated);
        assert_eq!(collated.anchor(), []);
    }
}
