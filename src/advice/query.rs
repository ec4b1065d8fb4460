//! What a command asks of an index.

use bson::{Bson, Document};

use super::filter;

/// How a path is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// One value.
    Equal,
    /// One of so many values.
    List(usize),
    /// Values in a row: comparisons, prefixes.
    Range,
    /// Something that keys can be tested for and not looked up by: `$ne`, `$exists`, most regular
    /// expressions.
    Weak,
}

impl Op {
    pub(super) fn rank(self) -> u8 {
        match self {
            Op::Equal => 0,
            Op::List(_) => 1,
            Op::Range => 2,
            Op::Weak => 3,
        }
    }
}

/// What is asked of one path.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// The path.
    pub path: String,
    /// How it is asked for.
    pub op: Op,
    /// The condition as it stands in the filter.
    pub condition: Bson,
    /// Share of the documents that match it: all of them, until [`super::Data::weigh`] says more.
    pub share: f64,
}

/// What one conjunction asks of an index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// At most one for each path.
    pub predicates: Vec<Predicate>,
    /// Path and direction.
    pub sort: Vec<(String, i32)>,
    /// It stops after so many documents.
    pub limit: Option<u64>,
    /// Only how many there are is asked: keys will do.
    pub counts: bool,
    /// Only the values of this path are asked.
    pub distinct: Option<String>,
    /// The command's own collation.
    pub collation: Option<Document>,
}

impl Query {
    /// What is asked of a path.
    #[must_use]
    pub fn on(&self, path: &str) -> Option<&Predicate> {
        self.predicates.iter().find(|p| p.path == path)
    }

    /// Share of the documents that match it, as if its predicates had nothing to do with each other.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.predicates.iter().map(|p| p.share).product()
    }

    /// Whether strings are compared, so that the collation matters.
    #[must_use]
    pub fn compares_strings(&self) -> bool {
        // A sort, and values of a distinct: nobody knows.
        !self.sort.is_empty()
            || self.distinct.is_some()
            || self.predicates.iter().any(|p| holds_string(&p.condition))
    }

    /// Every path that plays a part.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let predicates = self.predicates.iter().map(|p| p.path.as_str());
        let sort = self.sort.iter().map(|(path, _)| path.as_str());
        predicates.chain(sort).chain(self.distinct.as_deref())
    }
}

fn holds_string(value: &Bson) -> bool {
    match value {
        Bson::String(_) | Bson::RegularExpression(_) | Bson::Symbol(_) => true,
        Bson::Array(items) => items.iter().any(holds_string),
        Bson::Document(fields) => fields.iter().any(|(_, value)| holds_string(value)),
        _ => false,
    }
}

/// What a command asks: one query, or one for each branch of its `$or`. Empty if an index can't
/// help, or nobody knows how.
#[must_use]
pub fn queries(command: &Document) -> Vec<Query> {
    read(command).unwrap_or_default()
}

fn read(command: &Document) -> Option<Vec<Query>> {
    let name = command.keys().next()?.as_str();
    let none = Document::new();
    let document = |of: &Document, key: &str| of.get_document(key).cloned().ok();
    let mut query = Query {
        collation: document(command, "collation"),
        ..Query::default()
    };
    let filter = match name {
        "find" => {
            query.sort = directions(command.get_document("sort").unwrap_or(&none))?;
            query.limit = limit(command.get("limit"));
            document(command, "filter")
        }
        "count" => {
            query.counts = true;
            query.limit = limit(command.get("limit"));
            document(command, "query")
        }
        "distinct" => {
            query.distinct = Some(command.get_str("key").ok()?.to_owned());
            document(command, "query")
        }
        "findAndModify" | "findandmodify" => {
            query.sort = directions(command.get_document("sort").unwrap_or(&none))?;
            query.limit = Some(1);
            document(command, "query")
        }
        "update" | "delete" => {
            let list = command.get_array(if name == "update" {
                "updates"
            } else {
                "deletes"
            });
            let statement = list.ok()?.first()?.as_document()?;
            let one = match name {
                "update" => !statement.get_bool("multi").unwrap_or(false),
                _ => limit(statement.get("limit")) == Some(1),
            };
            query.limit = one.then_some(1);
            query.collation = document(statement, "collation");
            document(statement, "q")
        }
        "aggregate" => {
            let stages = command.get_array("pipeline").ok()?;
            Some(leading(stages, &mut query)?)
        }
        _ => return None,
    };
    let filter = filter.unwrap_or_default();
    if filter.is_empty() && query.sort.is_empty() && query.distinct.is_none() {
        // All documents are wanted.
        return None;
    }
    let branches = filter::branches(&filter)?;
    let made = branches.into_iter().map(|predicates| Query {
        predicates,
        ..query.clone()
    });
    // Looked up by _id: nothing is faster.
    let by_id = |q: &Query| q.on("_id").is_some_and(|p| p.op == Op::Equal);
    Some(made.filter(|q| !by_id(q)).collect())
}

/// The filter of the stages that begin a pipeline; their sort and limit go to the query.
fn leading(stages: &[Bson], query: &mut Query) -> Option<Document> {
    let mut filters = Vec::new();
    for stage in stages {
        let (name, body) = stage.as_document()?.iter().next()?;
        match (name.as_str(), body) {
            ("$match", Bson::Document(filter)) if query.limit.is_none() => {
                filters.push(Bson::Document(filter.clone()));
            }
            ("$sort", Bson::Document(sort)) if query.sort.is_empty() && query.limit.is_none() => {
                query.sort = directions(sort)?;
            }
            ("$limit", body) => {
                query.limit = limit(Some(body));
                break;
            }
            _ => break,
        }
    }
    match filters.as_slice() {
        [] => Some(Document::new()),
        [Bson::Document(only)] => Some(only.clone()),
        _ => Some(bson::doc! {"$and": filters}),
    }
}

/// The stages of a pipeline that choose its plan.
pub(super) fn leading_stages(stages: &[Bson]) -> Vec<Bson> {
    let leads = |stage: &&Bson| {
        let name = stage.as_document().and_then(|s| s.keys().next());
        name.is_some_and(|name| matches!(name.as_str(), "$match" | "$sort" | "$limit" | "$skip"))
    };
    stages.iter().take_while(leads).cloned().collect()
}

fn limit(value: Option<&Bson>) -> Option<u64> {
    let number = match value? {
        Bson::Int32(n) => i64::from(*n),
        Bson::Int64(n) => *n,
        #[expect(clippy::cast_possible_truncation, reason = "limits are whole numbers")]
        Bson::Double(n) => *n as i64,
        _ => return None,
    };
    Some(number.unsigned_abs()).filter(|n| *n > 0)
}

/// Paths and directions; `None` for a sort by something else (`$meta`).
fn directions(sort: &Document) -> Option<Vec<(String, i32)>> {
    let mut keys = Vec::new();
    for (path, direction) in sort {
        let down = match direction {
            Bson::Int32(n) => *n < 0,
            Bson::Int64(n) => *n < 0,
            Bson::Double(n) => *n < 0.0,
            _ => return None,
        };
        if path == "$natural" {
            return None;
        }
        keys.push((path.clone(), if down { -1 } else { 1 }));
    }
    Some(keys)
}
