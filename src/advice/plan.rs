//! What an explain says, and how to ask for one.

use bson::{Bson, Document, doc};

use super::query::leading_stages;

/// What a command examined for its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explained {
    /// Documents examined, or keys where they are more (without those that were only stepped
    /// over); `None` if it wasn't executed.
    pub examined: Option<f64>,
    /// Documents that were found; for a count, how many were counted.
    pub returned: Option<f64>,
    /// Names of the indexes of the plan.
    pub indexes: Vec<String>,
    /// Whether the collection is scanned.
    pub scans: bool,
    /// Whether documents are sorted.
    pub sorts: bool,
}

/// The command that is explained for a sample: of an aggregation, its leading stages.
#[must_use]
pub fn explainable(sample: &Document) -> Option<Document> {
    let mut command = sample.clone();
    for key in [
        "$db",
        "apiVersion",
        "apiStrict",
        "apiDeprecationErrors",
        "batchSize",
    ] {
        command.remove(key);
    }
    if let Ok(stages) = command.get_array("pipeline") {
        let leading = leading_stages(stages);
        if leading.is_empty() {
            return None;
        }
        command.insert("pipeline", leading);
        command.insert("cursor", doc! {});
        command.remove("explain");
    }
    Some(command)
}

/// Reads an explain's reply, of any command and of either engine, also behind mongos.
#[must_use]
pub fn explained(reply: &Document) -> Explained {
    let mut found = Explained::default();
    let mut sums = Sums::default();
    visit(reply, &mut found, &mut sums, Place::Outside);
    if sums.executed {
        let keys = (sums.keys - sums.seeks).max(0.0);
        found.examined = Some(sums.documents.max(keys));
        found.returned = Some(sums.returned.max(sums.affected));
    }
    found
}

#[derive(Default)]
struct Sums {
    executed: bool,
    documents: f64,
    keys: f64,
    seeks: f64,
    returned: f64,
    affected: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    Plan,
    Execution,
}

fn visit(document: &Document, found: &mut Explained, sums: &mut Sums, place: Place) {
    let number = |key: &str| match document.get(key) {
        Some(Bson::Int32(n)) => f64::from(*n),
        Some(Bson::Int64(n)) => *n as f64,
        Some(Bson::Double(n)) => *n,
        _ => 0.0,
    };
    if place == Place::Plan {
        match document.get_str("stage") {
            Ok("COLLSCAN") => found.scans = true,
            Ok("SORT") => found.sorts = true,
            _ => {}
        }
        if let Ok(name) = document.get_str("indexName")
            && !found.indexes.iter().any(|known| known == name)
        {
            found.indexes.push(name.to_owned());
        }
    }
    if place == Place::Execution {
        sums.seeks += number("seeks");
        for key in ["nCounted", "nMatched", "nWouldDelete"] {
            sums.affected += number(key);
        }
    }
    for (key, value) in document {
        let inside = match key.as_str() {
            "rejectedPlans" | "slotBasedPlan" | "allPlansExecution" | "parsedQuery" | "command" => {
                continue;
            }
            "winningPlan" => Place::Plan,
            "executionStats" => {
                if let Ok(stats) = document.get_document(key)
                    && stats.get_bool("executionSuccess").ok() != Some(false)
                    && !stats.contains_key("shards")
                {
                    sums.executed = true;
                    let number = |key: &str| match stats.get(key) {
                        Some(Bson::Int32(n)) => f64::from(*n),
                        Some(Bson::Int64(n)) => *n as f64,
                        _ => 0.0,
                    };
                    sums.documents += number("totalDocsExamined");
                    sums.keys += number("totalKeysExamined");
                    sums.returned += number("nReturned");
                }
                Place::Execution
            }
            _ => place,
        };
        match value {
            Bson::Document(inner) => visit(inner, found, sums, inside),
            Bson::Array(items) => {
                for item in items.iter().filter_map(Bson::as_document) {
                    visit(item, found, sums, inside);
                }
            }
            _ => {}
        }
    }
}
