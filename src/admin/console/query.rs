//! find, count, distinct, and pipelines that say the same in stages.
//!
//! Filters are judged by the matcher of the cache (`command/matcher`): what it isn't sure of is an
//! error here, never a guess.

use bson::{Bson, Document, doc};

use super::order::{Direction, Sort, at, compare};
use super::project::Projection;
use crate::command::matcher::matches;
use crate::command::{ErrorReply, Strings, Tri, codes};

/// What can't be answered, and why.
#[derive(Debug)]
pub(super) struct Refused {
    code: (i32, &'static str),
    reason: String,
}

impl Refused {
    pub fn new(code: (i32, &'static str), reason: impl std::fmt::Display) -> Refused {
        Refused {
            code,
            reason: reason.to_string(),
        }
    }
}

impl From<Refused> for ErrorReply {
    fn from(refused: Refused) -> ErrorReply {
        ErrorReply::new(refused.code, refused.reason)
    }
}

/// A question to one collection: steps that each take and give documents.
#[derive(Debug)]
pub(super) struct Query {
    steps: Vec<Step>,
    batch: Batch,
}

#[derive(Debug)]
enum Step {
    /// A filter, as BSON.
    Match(Vec<u8>),
    Sort(Sort),
    Skip(usize),
    Limit(usize),
    Project(Projection),
    /// One document with the number of those that came, under a name.
    Count(String),
    /// What drivers make of `countDocuments`: `{$group: {_id: …, n: {$sum: 1}}}`.
    Sum(Bson, String),
}

/// How much of a result comes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// So many, and a cursor for the rest.
    Of(usize),
    /// So many, and no more.
    Single(usize),
}

impl Query {
    /// Reads a `find`.
    pub fn of_find(body: &Document) -> Result<Query, Refused> {
        only_known(body, &FIND)?;
        let mut steps = Vec::new();
        if let Some(filter) = document(body, "filter")? {
            steps.push(filtered(filter)?);
        }
        if let Some(sort) = document(body, "sort")? {
            steps.push(Step::Sort(read_sort(sort)?));
        }
        if let Some(skip) = number(body, "skip")? {
            steps.push(Step::Skip(natural("skip", skip)?));
        }
        let limit = number(body, "limit")?.unwrap_or(0);
        if limit != 0 {
            steps.push(Step::Limit(magnitude(limit)));
        }
        if let Some(projection) = document(body, "projection")? {
            steps.push(Step::Project(Projection::read(projection)?));
        }
        let size = number(body, "batchSize")?;
        let size = size.map_or(Ok(FIRST_BATCH), |n| natural("batchSize", n))?;
        // (A negative limit is the old way to say "and close the cursor".)
        let single = limit < 0 || body.get_bool("singleBatch").unwrap_or(false);
        let batch = match single {
            true => Batch::Single(if limit == 0 { size } else { magnitude(limit) }),
            false => Batch::Of(size),
        };
        Ok(Query { steps, batch })
    }

    /// Reads an `aggregate` of the stages that `find` and `count` know too.
    pub fn of_aggregate(body: &Document) -> Result<Query, Refused> {
        only_known(body, &AGGREGATE)?;
        let stages = body
            .get_array("pipeline")
            .map_err(|_| Refused::new(codes::BAD_VALUE, "pipeline must be an array"))?;
        let steps: Result<Vec<Step>, Refused> = stages.iter().map(stage).collect();
        let cursor = document(body, "cursor")?;
        let size = cursor.map_or(Ok(None), |cursor| number(cursor, "batchSize"))?;
        let size = size.map_or(Ok(FIRST_BATCH), |n| natural("batchSize", n))?;
        Ok(Query {
            steps: steps?,
            batch: Batch::Of(size),
        })
    }

    /// Reads a `count`; the documents that [`Query::run`] returns are to be counted.
    pub fn of_count(body: &Document) -> Result<Query, Refused> {
        only_known(body, &COUNT)?;
        let mut query = Query::filter_only(document(body, "query")?)?;
        if let Some(skip) = number(body, "skip")? {
            query.steps.push(Step::Skip(natural("skip", skip)?));
        }
        if let Some(limit) = number(body, "limit")?.filter(|&n| n != 0) {
            query.steps.push(Step::Limit(magnitude(limit)));
        }
        Ok(query)
    }

    /// The answer to a `distinct`.
    pub fn distinct(body: &Document, rows: Vec<Document>) -> Result<Document, Refused> {
        only_known(body, &DISTINCT)?;
        let key = body
            .get_str("key")
            .map_err(|_| Refused::new(codes::BAD_VALUE, "key must be a string"))?;
        let found = Query::filter_only(document(body, "query")?)?.run(rows)?;
        let values = found.iter().filter_map(|row| at(row, key));
        let mut values: Vec<Bson> = values
            .flat_map(|value| match value {
                Bson::Array(list) => list.clone(),
                other => vec![other.clone()],
            })
            .collect();
        values.sort_by(|a, b| compare(Some(a), Some(b)));
        values.dedup_by(|a, b| compare(Some(a), Some(b)).is_eq());
        Ok(doc! { "values": values })
    }

    /// All that a filter matches.
    pub fn filter_only(filter: Option<&Document>) -> Result<Query, Refused> {
        let steps = filter.map(filtered).transpose()?.into_iter().collect();
        Ok(Query {
            steps,
            batch: Batch::Of(FIRST_BATCH),
        })
    }

    /// How much of the result comes at once.
    pub fn batch(&self) -> Batch {
        self.batch
    }

    /// The documents that are asked for.
    pub fn run(&self, mut rows: Vec<Document>) -> Result<Vec<Document>, Refused> {
        for step in &self.steps {
            rows = step.run(rows)?;
        }
        Ok(rows)
    }
}

impl Step {
    fn run(&self, mut rows: Vec<Document>) -> Result<Vec<Document>, Refused> {
        match self {
            Step::Match(filter) => {
                let mut kept = Vec::with_capacity(rows.len());
                for row in rows {
                    let bytes = row
                        .to_vec()
                        .map_err(|e| Refused::new(codes::BAD_VALUE, e))?;
                    match matches(filter, &bytes, Strings::Simple) {
                        Tri::Yes => kept.push(row),
                        Tri::No => {}
                        Tri::Unknown => return Err(Refused::new(codes::BAD_VALUE, UNSURE)),
                    }
                }
                return Ok(kept);
            }
            Step::Sort(sort) => sort.apply(&mut rows),
            Step::Skip(n) => drop(rows.drain(..(*n).min(rows.len()))),
            Step::Limit(n) => rows.truncate(*n),
            Step::Project(projection) => {
                return Ok(rows.into_iter().map(|row| projection.apply(row)).collect());
            }
            Step::Count(_) | Step::Sum(..) if rows.is_empty() => {}
            Step::Count(name) => return Ok(vec![doc! { name: super::size(rows.len()) }]),
            Step::Sum(id, name) => {
                return Ok(vec![doc! { "_id": id, name: super::size(rows.len()) }]);
            }
        }
        Ok(rows)
    }
}

fn stage(stage: &Bson) -> Result<Step, Refused> {
    let one = stage.as_document().filter(|stage| stage.len() == 1);
    let (name, value) = one
        .and_then(|stage| stage.iter().next())
        .ok_or_else(|| Refused::new(codes::BAD_VALUE, "a stage is a document of one field"))?;
    let integer = || match value {
        Bson::Int32(n) => natural(name, i64::from(*n)),
        Bson::Int64(n) => natural(name, *n),
        Bson::Double(n) if n.fract() == 0.0 => natural(name, *n as i64),
        _ => Err(Refused::new(
            codes::BAD_VALUE,
            format_args!("{name} takes a number"),
        )),
    };
    match (name.as_str(), value) {
        ("$match", Bson::Document(filter)) => filtered(filter),
        ("$sort", Bson::Document(sort)) => Ok(Step::Sort(read_sort(sort)?)),
        ("$project", Bson::Document(projection)) => {
            Ok(Step::Project(Projection::read(projection)?))
        }
        ("$skip", _) => integer().map(Step::Skip),
        ("$limit", _) => integer().map(Step::Limit),
        ("$count", Bson::String(name)) => Ok(Step::Count(name.clone())),
        ("$group", Bson::Document(group)) => count_group(group),
        _ => Err(no_such_stage(name)),
    }
}

fn count_group(group: &Document) -> Result<Step, Refused> {
    let mut fields = group.iter();
    let (Some(("_id", id)), Some((name, sum)), None) = (
        fields.next().map(|(k, v)| (k.as_str(), v)),
        fields.next(),
        fields.next(),
    ) else {
        return Err(no_such_stage("$group"));
    };
    let one = sum.as_document().and_then(|sum| sum.get("$sum"));
    let is_one = matches!(one, Some(Bson::Int32(1) | Bson::Int64(1)));
    let constant = matches!(
        id,
        Bson::Null | Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_)
    );
    match is_one && constant {
        true => Ok(Step::Sum(id.clone(), name.clone())),
        false => Err(no_such_stage("$group")),
    }
}

fn no_such_stage(name: &str) -> Refused {
    let text = format_args!(
        "the console has no {name} of this kind; its pipelines are made of $match, $sort, $skip, $limit, $project with \
         names of fields, and $count. Ask with find and work on the documents in the client"
    );
    Refused::new(codes::BAD_VALUE, text)
}

fn filtered(filter: &Document) -> Result<Step, Refused> {
    let filter = filter
        .to_vec()
        .map_err(|e| Refused::new(codes::BAD_VALUE, e))?;
    Ok(Step::Match(filter))
}

fn read_sort(sort: &Document) -> Result<Sort, Refused> {
    let by = |(path, direction): (&String, &Bson)| {
        let direction = match direction {
            Bson::Int32(1) | Bson::Int64(1) => Direction::Ascending,
            Bson::Int32(-1) | Bson::Int64(-1) => Direction::Descending,
            Bson::Double(n) if *n == 1.0 => Direction::Ascending,
            Bson::Double(n) if *n == -1.0 => Direction::Descending,
            _ => {
                let text = format_args!("sort {path:?} by 1 or -1");
                return Err(Refused::new(codes::BAD_VALUE, text));
            }
        };
        Ok((path.clone(), direction))
    };
    let natural = |path: &str| path == "$natural";
    let fields = sort.iter().filter(|(path, _)| !natural(path));
    fields.map(by).collect::<Result<_, _>>().map(Sort)
}

fn only_known(body: &Document, known: &[&str]) -> Result<(), Refused> {
    let strange = body.iter().skip(1).find(|(key, value)| {
        let empty = matches!(value, Bson::Boolean(false) | Bson::Null)
            || value.as_document().is_some_and(Document::is_empty);
        !known.contains(&key.as_str()) && !EVERYWHERE.contains(&key.as_str()) && !empty
    });
    match strange {
        Some((key, _)) => {
            let text = format_args!("the console doesn't know {key:?}; leave it out");
            Err(Refused::new(codes::BAD_VALUE, text))
        }
        None => Ok(()),
    }
}

fn document<'a>(body: &'a Document, key: &str) -> Result<Option<&'a Document>, Refused> {
    match body.get(key) {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::Document(document)) => Ok(Some(document)),
        Some(_) => {
            let text = format_args!("{key} must be a document");
            Err(Refused::new(codes::BAD_VALUE, text))
        }
    }
}

fn number(body: &Document, key: &str) -> Result<Option<i64>, Refused> {
    match body.get(key) {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::Int32(n)) => Ok(Some(i64::from(*n))),
        Some(Bson::Int64(n)) => Ok(Some(*n)),
        Some(Bson::Double(n)) if n.fract() == 0.0 => Ok(Some(*n as i64)),
        Some(_) => {
            let text = format_args!("{key} must be a whole number");
            Err(Refused::new(codes::BAD_VALUE, text))
        }
    }
}

fn natural(key: &str, n: i64) -> Result<usize, Refused> {
    usize::try_from(n)
        .map_err(|_| Refused::new(codes::BAD_VALUE, format_args!("{key} may not be negative")))
}

fn magnitude(n: i64) -> usize {
    usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX)
}

/// What drivers get in a first batch if they don't say.
const FIRST_BATCH: usize = 101;

const UNSURE: &str = "the console can't judge this filter; it knows comparisons, $in, $exists, $and, $or, $not, \
    and regular expressions without wildcards";

const FIND: [&str; 9] = [
    "filter",
    "sort",
    "skip",
    "limit",
    "projection",
    "batchSize",
    "singleBatch",
    "hint",
    "noCursorTimeout",
];
const AGGREGATE: [&str; 4] = ["pipeline", "cursor", "hint", "bypassDocumentValidation"];
const COUNT: [&str; 5] = ["query", "skip", "limit", "hint", "fields"];
const DISTINCT: [&str; 2] = ["key", "query"];
/// Fields of any command that make no difference here.
const EVERYWHERE: [&str; 12] = [
    "$db",
    "lsid",
    "$clusterTime",
    "$readPreference",
    "readConcern",
    "maxTimeMS",
    "comment",
    "apiVersion",
    "apiStrict",
    "apiDeprecationErrors",
    "allowDiskUse",
    "writeConcern",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Document> {
        (0..200)
            .map(|i| doc! {"_id": i, "half": i / 2, "name": format!("n{}", i % 3)})
            .collect()
    }

    fn ids(query: &Query) -> Vec<i32> {
        let rows = query.run(rows()).unwrap();
        rows.iter().map(|row| row.get_i32("_id").unwrap()).collect()
    }

    #[test]
    fn find_filters_sorts_skips_limits_and_projects() {
        let find = doc! {"find": "shapes", "filter": {"name": "n1", "half": {"$lt": 10}}, "sort": {"_id": -1},
        "skip": 1, "limit": 2, "projection": {"_id": 1}, "$db": "petiole", "lsid": {"id": 1}};
        let query = Query::of_find(&find).unwrap();
        assert_eq!(ids(&query), [16, 13]);
        assert_eq!(query.run(rows()).unwrap()[0], doc! {"_id": 16});
    }

    #[test]
    fn a_pipeline_of_the_same_steps_says_the_same() {
        let pipeline = doc! {"aggregate": "shapes", "pipeline": [
        {"$match": {"name": "n1"}}, {"$sort": {"_id": -1}}, {"$skip": 1}, {"$limit": 2}], "cursor": {}};
        assert_eq!(ids(&Query::of_aggregate(&pipeline).unwrap()), [196, 193]);
        for (last, counted) in [
            (doc! {"$count": "many"}, doc! {"many": 66}),
            (
                doc! {"$group": {"_id": 1, "n": {"$sum": 1}}},
                doc! {"_id": 1, "n": 66},
            ),
        ] {
            let pipeline = doc! {"aggregate": "c", "pipeline": [{"$match": {"name": "n2"}}, last]};
            let query = Query::of_aggregate(&pipeline).unwrap();
            assert_eq!(query.run(rows()).unwrap(), [counted]);
        }
    }

    #[test]
    fn count_and_distinct_answer() {
        let count = doc! {"count": "c", "query": {"name": "n0"}, "limit": 5};
        assert_eq!(
            Query::of_count(&count).unwrap().run(rows()).unwrap().len(),
            5
        );
        let distinct = doc! {"distinct": "c", "key": "name"};
        let expected = doc! {"values": ["n0", "n1", "n2"]};
        assert_eq!(Query::distinct(&distinct, rows()).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_answered_is_refused_and_not_guessed() {
        for find in [
            doc! {"find": "c", "collation": {"locale": "de"}},
            doc! {"find": "c", "tailable": true},
            doc! {"find": "c", "filter": 5},
            doc! {"find": "c", "sort": {"a": "up"}},
            doc! {"find": "c", "skip": -1},
        ] {
            assert!(Query::of_find(&find).is_err(), "{find}");
        }
        let unsure = doc! {"find": "c", "filter": {"$where": "true"}};
        assert!(Query::of_find(&unsure).unwrap().run(rows()).is_err());
        let stage = doc! {"aggregate": "c", "pipeline": [{"$lookup": {}}]};
        assert!(Query::of_aggregate(&stage).is_err());
    }

    #[test]
    fn a_negative_limit_closes_the_cursor() {
        let query = Query::of_find(&doc! {"find": "c", "limit": -3}).unwrap();
        assert_eq!(query.batch(), Batch::Single(3));
        let query = Query::of_find(&doc! {"find": "c", "batchSize": 7}).unwrap();
        assert_eq!(query.batch(), Batch::Of(7));
    }
}
