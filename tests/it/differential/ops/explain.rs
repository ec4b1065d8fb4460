//! explain, for each explainable command and verbosity.

use bson::{Document, doc};

use super::super::mask::Mask;
use super::{Op, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        explain("explain_find", |_| {
            planned(
                doc! { "find": "people", "filter": { "age": { "$gt": 30 } }, "sort": { "age": 1 } },
            )
        }),
        explain("explain_find_by_id", |_| {
            planned(doc! { "find": "people", "filter": { "_id": 1 } })
        }),
        explain("explain_absent_collection", |_| {
            planned(doc! { "find": "nobody", "filter": { "a": 1 } })
        }),
        explain("explain_count", |_| {
            planned(doc! { "count": "people", "query": { "city": "Paris" } })
        }),
        explain("explain_distinct", |_| {
            planned(doc! { "distinct": "people", "key": "city" })
        }),
        explain("explain_aggregate", |_| {
            planned(
                doc! { "aggregate": "people", "cursor": {}, "pipeline": [{ "$match": { "age": 25 } }, { "$group": { "_id": "$city" } }] },
            )
        }),
        explain("explain_aggregate_option", |_| {
            doc! { "aggregate": "people", "explain": true, "pipeline": [{ "$match": { "age": 25 } }] }
        }),
        explain("explain_update", |_| {
            planned(
                doc! { "update": "people", "updates": [{ "q": { "age": 25 }, "u": { "$set": { "x": 1 } } }] },
            )
        }),
        explain("explain_delete", |_| {
            planned(doc! { "delete": "people", "deletes": [{ "q": { "age": 25 }, "limit": 0 }] })
        }),
        explain("explain_find_and_modify", |_| {
            planned(
                doc! { "findAndModify": "people", "query": { "age": 25 }, "update": { "$set": { "x": 1 } } },
            )
        }),
        explain("explain_execution", |_| {
            doc! { "explain": { "find": "people", "filter": { "age": { "$gte": 25 } } }, "verbosity": "executionStats" }
        }),
        explain("explain_all_plans", |_| {
            doc! { "explain": { "find": "people", "filter": { "age": 25, "city": "London" } }, "verbosity": "allPlansExecution" }
        }),
        explain("explain_unknown_verbosity", |_| {
            doc! { "explain": { "find": "people" }, "verbosity": "everything" }
        }),
        explain("explain_unexplainable", |_| planned(doc! { "ping": 1 })),
        explain("explain_explain", |_| {
            planned(doc! { "explain": { "find": "people" } })
        }),
        read("plan_cache_clear", |_| doc! { "planCacheClear": "people" }),
        read(
            "plan_cache_of_absent",
            |_| doc! { "planCacheClear": "nobody" },
        ),
    ]
}

fn explain(name: &'static str, build: super::Build) -> Op {
    read(name, build).masking(TIMES)
}

fn planned(command: Document) -> Document {
    doc! { "explain": command, "verbosity": "queryPlanner" }
}

/// How long plans took, and how often they paused.
const TIMES: &[(&str, Mask)] = &[
    ("**.executionTimeMillis", Mask::Number),
    ("**.executionTimeMillisEstimate", Mask::Number),
    ("**.executionTimeMicros", Mask::Number),
    ("**.executionTimeNanos", Mask::Number),
    ("**.saveState", Mask::Number),
    ("**.restoreState", Mask::Number),
    ("**.needYield", Mask::Number),
    ("**.optimizationTimeMillis", Mask::Number),
    ("**.slotBasedPlan", Mask::Names),
];
