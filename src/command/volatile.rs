//! Which reads give another answer without any write (docs/coherence.md, rule 11), and what they read.
//!
//! A name that a read mentions may be a view: its definition is part of the read, and is looked into in the same way
//! ([`check_definition`]).

use super::{Bypass, Command, Kind};
use crate::wire::doc;

/// Looks into a read once, before its answer is stored: the names of its database that it reads besides its own collection.
/// `Err` when the answer may change without a write to what it reads.
pub fn check_read(command: &Command) -> Result<Vec<String>, Bypass> {
    let db = command.db();
    let Some(collection) = command.collection() else {
        return Err(Bypass::Namespace);
    };
    if matches!(db, "admin" | "config" | "local" | "") || is_system(collection) {
        return Err(Bypass::Namespace);
    }
    let mut sources = Vec::new();
    for element in doc::elements(command.body()) {
        let Ok(element) = element else {
            return Err(Bypass::UnknownField);
        };
        let holds_values = matches!(
            element.key,
            "filter" | "query" | "sort" | "projection" | "let" | "min" | "max" | "pipeline"
        );
        if holds_values && is_volatile(&element, 0) {
            return Err(Bypass::Volatile);
        }
        if element.key == "pipeline" && command.kind == Kind::Aggregate {
            let stages = element.as_array().ok_or(Bypass::PipelineStage)?;
            check_pipeline(stages, 0, &mut sources)?;
        }
    }
    Ok(sources)
}

/// The same for the definition of a view: the names that it reads, the one that it is `on` first.
pub fn check_definition(on: &str, pipeline: &doc::Element<'_>) -> Result<Vec<String>, Bypass> {
    let mut sources = Vec::new();
    note(on, &mut sources)?;
    if is_volatile(pipeline, 0) {
        return Err(Bypass::Volatile);
    }
    let stages = pipeline.as_array().ok_or(Bypass::PipelineStage)?;
    check_pipeline(stages, 0, &mut sources)?;
    Ok(sources)
}

/// The server writes some of these by itself.
fn is_system(collection: &str) -> bool {
    collection.starts_with("system.")
}

fn note(name: &str, sources: &mut Vec<String>) -> Result<(), Bypass> {
    if is_system(name) {
        return Err(Bypass::Namespace);
    }
    if !sources.iter().any(|known| known == name) {
        if sources.len() >= MOST_SOURCES {
            return Err(Bypass::PipelineStage);
        }
        sources.push(name.to_owned());
    }
    Ok(())
}

/// Every stage must be one that is known, also in pipelines within.
fn check_pipeline(stages: &[u8], depth: u32, sources: &mut Vec<String>) -> Result<(), Bypass> {
    if depth > MAX_DEPTH {
        return Err(Bypass::PipelineStage);
    }
    for stage in doc::elements(stages) {
        let stage = stage.ok().and_then(|s| s.as_document());
        let first = stage.and_then(|s| doc::elements(s).next()?.ok());
        let Some(stage) = first else {
            return Err(Bypass::PipelineStage);
        };
        match stage.key {
            "$lookup" | "$unionWith" | "$graphLookup" => {
                if let Some(name) = stage.as_str() {
                    note(name, sources)?;
                }
                let spec = stage.as_document();
                for element in spec.into_iter().flat_map(doc::elements) {
                    let element = element.map_err(|_| Bypass::PipelineStage)?;
                    match element.key {
                        // A collection of another database, or none.
                        "from" | "coll" => {
                            let name = element.as_str().ok_or(Bypass::Namespace)?;
                            note(name, sources)?;
                        }
                        "db" => return Err(Bypass::Namespace),
                        "pipeline" => {
                            let inner = element.as_array().ok_or(Bypass::PipelineStage)?;
                            check_pipeline(inner, depth + 1, sources)?;
                        }
                        _ => {}
                    }
                }
            }
            "$facet" => {
                let spec = stage.as_document().ok_or(Bypass::PipelineStage)?;
                for inner in doc::elements(spec) {
                    let inner = inner.ok().and_then(|e| e.as_array());
                    let inner = inner.ok_or(Bypass::PipelineStage)?;
                    check_pipeline(inner, depth + 1, sources)?;
                }
            }
            key if PURE_STAGES.contains(&key) => {}
            _ => return Err(Bypass::PipelineStage),
        }
    }
    Ok(())
}

/// Whether an operator or variable in here gives another answer by itself.
fn is_volatile(element: &doc::Element<'_>, depth: u32) -> bool {
    if depth > MAX_DEPTH || VOLATILE_OPERATORS.contains(&element.key) {
        return true;
    }
    if let Some(text) = element.as_str() {
        return VOLATILE_VARIABLES.iter().any(|v| text.starts_with(v));
    }
    // JavaScript, with or without a scope.
    if matches!(element.kind, 0x0d | 0x0f) {
        return true;
    }
    match element.as_document().or(element.as_array()) {
        Some(inner) => {
            doc::elements(inner).any(|e| e.is_ok_and(|e| is_volatile(&e, depth + 1)))
                || doc::elements(inner).any(|e| e.is_err())
        }
        None => false,
    }
}

/// Stages whose output depends on nothing but their input.
const PURE_STAGES: [&str; 21] = [
    "$addFields",
    "$bucket",
    "$bucketAuto",
    "$count",
    "$densify",
    "$fill",
    "$geoNear",
    "$group",
    "$limit",
    "$match",
    "$project",
    "$redact",
    "$replaceRoot",
    "$replaceWith",
    "$set",
    "$setWindowFields",
    "$skip",
    "$sort",
    "$sortByCount",
    "$unset",
    "$unwind",
];

/// A read of more names isn't followed.
pub const MOST_SOURCES: usize = 20;

/// MongoDB's own limit on nesting.
const MAX_DEPTH: u32 = 180;

const VOLATILE_OPERATORS: [&str; 8] = [
    "$createObjectId",
    "$where",
    "$function",
    "$accumulator",
    "$rand",
    "$sampleRate",
    "$sample",
    "$search",
];

const VOLATILE_VARIABLES: [&str; 4] = ["$$NOW", "$$CLUSTER_TIME", "$$USER_ROLES", "$$SEARCH_META"];

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};
    use bytes::Bytes;

    use super::*;

    fn command(document: Document) -> Command {
        Command::parse_body(&Bytes::from(document.to_vec().unwrap())).unwrap()
    }

    #[test]
    fn volatile_operators_are_found_at_any_depth() {
        let check = |filter: Document| {
            check_read(&command(doc! {"find": "c", "filter": filter, "$db": "d"}))
        };
        assert_eq!(check(doc! {"a": 1, "s": "$$ROOT"}), Ok(vec![]));
        for filter in [
            doc! {"$where": "true"},
            doc! {"$and": [{"a": {"$not": {"$where": "true"}}}]},
            doc! {"$expr": {"$lt": ["$a", "$$NOW"]}},
            doc! {"$expr": {"$lt": ["$a", "$$NOW.x"]}},
            doc! {"$expr": {"$lt": [{"$rand": {}}, 0.5]}},
            doc! {"$sampleRate": 0.3},
            doc! {"a": Bson::JavaScriptCode("1".into())},
        ] {
            assert_eq!(check(filter.clone()), Err(Bypass::Volatile), "{filter}");
        }
        assert_eq!(
            check_read(&command(doc! {"find": "system.views", "$db": "d"})),
            Err(Bypass::Namespace)
        );
        assert_eq!(
            check_read(&command(doc! {"find": "c", "$db": "admin"})),
            Err(Bypass::Namespace)
        );
    }

    #[test]
    fn a_definition_is_looked_into_like_a_read() {
        let check = |pipeline: Vec<Document>| {
            let definition = doc! {"pipeline": pipeline}.to_vec().unwrap();
            check_definition("on", &doc::find(&definition, "pipeline").unwrap())
        };
        let lookup = |from: &str| doc! {"$lookup": {"from": from, "pipeline": [{"$unionWith": "z"}], "as": "y"}};
        let names = ["on", "x", "z", "y"].map(str::to_owned).to_vec();
        assert_eq!(check(vec![lookup("x"), lookup("y")]), Ok(names));
        let now = doc! {"$match": {"$expr": {"$gt": ["$until", "$$NOW"]}}};
        assert_eq!(check(vec![now]), Err(Bypass::Volatile));
        let deep = doc! {"$facet": {"a": [{"$unionWith": {"coll": "x", "pipeline": [{"$sample": {"size": 1}}]}}]}};
        assert_eq!(check(vec![deep]), Err(Bypass::Volatile));
        assert_eq!(
            check(vec![doc! {"$collStats": {}}]),
            Err(Bypass::PipelineStage)
        );
        let many = (0..21).map(|i| lookup(&format!("c{i}"))).collect();
        assert_eq!(check(many), Err(Bypass::PipelineStage));
    }

    #[test]
    fn a_pipeline_is_cacheable_when_every_stage_in_it_is_known() {
        let check = |pipeline: Vec<Document>| {
            check_read(&command(
                doc! {"aggregate": "c", "pipeline": pipeline, "cursor": {}, "$db": "d"},
            ))
        };
        assert_eq!(check(vec![]), Ok(vec![]));
        assert_eq!(
            check(vec![doc! {"$match": {}}, doc! {"$group": {"_id": null}}]),
            Ok(vec![])
        );
        let lookup = doc! {"$lookup": {"from": "x", "pipeline": [{"$match": {}}], "as": "y"}};
        assert_eq!(check(vec![lookup]), Ok(vec!["x".to_owned()]));
        assert_eq!(
            check(vec![doc! {"$unionWith": "x"}]),
            Ok(vec!["x".to_owned()])
        );
        assert_eq!(
            check(vec![doc! {"$facet": {"a": [{"$unionWith": "x"}]}}]),
            Ok(vec!["x".to_owned()])
        );
        for (stage, why) in [
            (doc! {"$collStats": {}}, Bypass::PipelineStage),
            (doc! {"$frobnicate": {}}, Bypass::PipelineStage),
            (
                doc! {"$facet": {"a": [{"$indexStats": {}}]}},
                Bypass::PipelineStage,
            ),
            (
                doc! {"$lookup": {"from": "x", "pipeline": [{"$listSessions": {}}], "as": "y"}},
                Bypass::PipelineStage,
            ),
            (
                doc! {"$lookup": {"from": {"db": "e", "coll": "x"}, "as": "y"}},
                Bypass::Namespace,
            ),
            (doc! {"$unionWith": "system.profile"}, Bypass::Namespace),
            (
                doc! {"$graphLookup": {"from": "system.views", "as": "y"}},
                Bypass::Namespace,
            ),
            (doc! {"$sample": {"size": 1}}, Bypass::Volatile),
            (doc! {"$project": {"t": "$$NOW"}}, Bypass::Volatile),
            (
                doc! {"$group": {"_id": null, "x": {"$accumulator": {}}}},
                Bypass::Volatile,
            ),
        ] {
            assert_eq!(check(vec![stage.clone()]), Err(why), "{stage}");
        }
    }
}
