//! The comparison finds rules that are slightly wrong: one for each rule, and those that were left out
//! because some data makes them wrong.

use bson::{Bson, Document, doc};
use mongodb::Client;

use super::compare::{ask, difference};
use super::places::{self, PLACES};
use super::random::Commands;
use crate::parts::shared;
use crate::precision::random::Random;
use crate::raw::RawClient;

type Mutant = fn(&Document) -> Option<Document>;

/// A name, and a rule that looks right.
const MUTANTS: [(&str, Mutant); 10] = [
    ("no_match: a range that excludes itself", empty_range),
    ("every_match: one exception doesn't matter", one_exception),
    ("exists_implied: by any condition", exists_beside_anything),
    ("plain_equality: of an element", element),
    ("flatten: the last condition on a path counts", last_counts),
    ("or_to_in: all paths are one", one_path),
    ("sorted_in: null is never there", without_null),
    ("left out: a sort before a count", any_sort),
    ("project_before_count: any projection", any_projection),
    ("count_of_groups: any accumulator", any_accumulator),
];

/// Changed commands in which a difference must be found.
const MOST: usize = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_slightly_wrong_is_found() {
    let server = shared::rs().await;
    let mongo = Client::with_uri_str(server.uri()).await.unwrap();
    let db = mongo.database(&shared::database("mutants"));
    let mut client = RawClient::connect(&server.addresses()[0]).await.unwrap();
    let mut random = Random(5);
    places::make(&db, &mut random).await;
    let mut commands = Commands { random };
    let mut living = MUTANTS.map(|(name, mutant)| (name, mutant, 0)).to_vec();
    while !living.is_empty() {
        let mut batch = Vec::new();
        while batch.len() < 32 {
            let place = commands.random.pick(&PLACES);
            let command = commands.command(place);
            for (name, mutant, tried) in &mut living {
                if let Some(other) = mutant(&command) {
                    *tried += 1;
                    assert!(*tried < MOST, "{name} isn't found");
                    batch.push((*name, command.clone(), other));
                }
            }
        }
        let both: Vec<Document> = batch
            .iter()
            .flat_map(|(_, c, o)| [c.clone(), o.clone()])
            .collect();
        let replies = ask(&mut client, db.name(), &both).await;
        for ((name, command, other), replies) in batch.into_iter().zip(replies.chunks(2)) {
            if difference(&command, &replies[0], &replies[1]).is_some() {
                let found = living.iter().position(|(living, _, _)| *living == name);
                if let Some((name, _, tried)) = found.map(|at| living.remove(at)) {
                    println!("{name}: found in {tried}: {command} is not {other}");
                }
            }
        }
    }
    db.drop().await.unwrap();
}

/// The filter of a find or count, changed.
fn filter(command: &Document, change: impl Fn(&mut Document) -> bool) -> Option<Document> {
    let mut other = command.clone();
    let key = if other.contains_key("find") {
        "filter"
    } else {
        "query"
    };
    (change(other.get_document_mut(key).ok()?)).then_some(other)
}

/// The operators on one path, changed.
fn operators(command: &Document, change: impl Fn(&mut Document) -> bool) -> Option<Document> {
    filter(command, |filter| {
        let mut fields = filter.iter_mut().filter(|(path, _)| !path.starts_with('$'));
        fields.any(|(_, value)| value.as_document_mut().is_some_and(&change))
    })
}

fn empty_range(command: &Document) -> Option<Document> {
    filter(command, |filter| {
        let is_empty = |value: &Bson| {
            let value = value.as_document();
            let bound = |name| value.and_then(|v| v.get_i32(name).ok());
            matches!((bound("$gt"), bound("$lt")), (Some(low), Some(high)) if low >= high)
        };
        let is_empty = filter.values().any(is_empty);
        if is_empty {
            filter.insert("_id", doc! {"$in": []});
        }
        is_empty
    })
}

fn one_exception(command: &Document) -> Option<Document> {
    operators(command, |operators| {
        let one = operators
            .get_array("$nin")
            .is_ok_and(|list| list.len() == 1);
        if one {
            operators.insert("$nin", Bson::Array(vec![]));
        }
        one
    })
}

fn exists_beside_anything(command: &Document) -> Option<Document> {
    operators(command, |operators| {
        operators.len() > 1
            && operators.get_bool("$exists").is_ok_and(|is| is)
            && operators.remove("$exists").is_some()
    })
}

fn element(command: &Document) -> Option<Document> {
    operators(command, |operators| {
        let inner = operators.get_document("$elemMatch").ok();
        let value = inner.and_then(|inner| inner.get("$eq")).cloned();
        value
            .map(|value| *operators = doc! {"$eq": value})
            .is_some()
    })
}

fn last_counts(command: &Document) -> Option<Document> {
    filter(command, |filter| {
        let Ok(members) = filter.get_array("$and").cloned() else {
            return false;
        };
        filter.remove("$and");
        filter.extend(
            members
                .into_iter()
                .filter_map(|m| m.as_document().cloned())
                .flatten(),
        );
        true
    })
}

fn one_path(command: &Document) -> Option<Document> {
    filter(command, |filter| {
        let branches = filter.get_array("$or").cloned().unwrap_or_default();
        let single = |branch: &Bson| {
            let (path, value) = branch.as_document()?.iter().next()?;
            (!path.starts_with('$') && value.as_document().is_none())
                .then(|| (path.clone(), value.clone()))
        };
        let single: Option<Vec<(String, Bson)>> = branches.iter().map(single).collect();
        let Some((path, _)) = single.as_ref().and_then(|s| s.first()).cloned() else {
            return false;
        };
        let values: Vec<Bson> = single
            .into_iter()
            .flatten()
            .map(|(_, value)| value)
            .collect();
        filter.remove("$or");
        !filter.contains_key(&path) && filter.insert(path, doc! {"$in": values}).is_none()
    })
}

fn without_null(command: &Document) -> Option<Document> {
    operators(command, |operators| {
        let Ok(list) = operators.get_array_mut("$in") else {
            return false;
        };
        let before = list.len();
        list.retain(|value| *value != Bson::Null);
        list.len() < before
    })
}

fn any_sort(command: &Document) -> Option<Document> {
    pipeline(command, |stages| {
        let before = stages.len();
        stages.retain(|stage| !stage.get_document("$sort").is_ok_and(|s| s.len() > 1));
        stages.len() < before
    })
}

fn any_projection(command: &Document) -> Option<Document> {
    pipeline(command, |stages| {
        let before = stages.len();
        stages.retain(|stage| !stage.contains_key("$project"));
        stages.len() < before
    })
}

fn any_accumulator(command: &Document) -> Option<Document> {
    pipeline(command, |stages| {
        let [.., group, _] = stages.as_mut_slice() else {
            return false;
        };
        let Ok(group) = group.get_document_mut("$group") else {
            return false;
        };
        let before = group.len();
        *group = doc! {"_id": group.get("_id").cloned()};
        group.len() < before
    })
}

/// The pipeline of an aggregate that ends in a count, changed.
fn pipeline(command: &Document, change: impl Fn(&mut Vec<Document>) -> bool) -> Option<Document> {
    let stages = command.get_array("pipeline").ok()?;
    let mut stages: Vec<Document> = stages
        .iter()
        .filter_map(|s| s.as_document().cloned())
        .collect();
    if !stages.last()?.contains_key("$count") || !change(&mut stages) {
        return None;
    }
    let mut other = command.clone();
    other.insert("pipeline", stages);
    Some(other)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_out_changes_answers_on_some_data() {
    let server = shared::rs().await;
    let mongo = Client::with_uri_str(server.uri()).await.unwrap();
    let db = mongo.database(&shared::database("left_out"));
    let regex = |pattern: &str| {
        Bson::RegularExpression(bson::Regex {
            pattern: pattern.try_into().unwrap(),
            options: "".try_into().unwrap(),
        })
    };
    let documents = vec![
        doc! {"_id": 1, "s": regex("^abc.*")},
        doc! {"_id": 2, "s": "abcd"},
        doc! {"_id": 3, "a": [[5]], "b": [1]},
        doc! {"_id": 4, "a": [5], "b": [2]},
    ];
    db.run_command(doc! {"insert": "c", "documents": documents})
        .await
        .unwrap();
    let mut client = RawClient::connect(&server.addresses()[0]).await.unwrap();
    let find = |filter: Document| doc! {"find": "c", "filter": filter};
    let aggregate =
        |stages: Vec<Document>| doc! {"aggregate": "c", "pipeline": stages, "cursor": {}};
    for (what, one, other) in [
        (
            "`.*` at the end of a regular expression: it also finds a stored one that is the same",
            find(doc! {"s": regex("^abc.*")}),
            find(doc! {"s": regex("^abc")}),
        ),
        (
            "$match of the unwound path before $unwind: arrays in arrays",
            aggregate(vec![
                doc! {"$unwind": "$a"},
                doc! {"$match": {"a": 5}},
                doc! {"$count": "n"},
            ]),
            aggregate(vec![
                doc! {"$match": {"a": 5}},
                doc! {"$unwind": "$a"},
                doc! {"$match": {"a": 5}},
                doc! {"$count": "n"},
            ]),
        ),
        (
            "$match of the partition before $setWindowFields: an array there is an error",
            aggregate(vec![
                doc! {"$setWindowFields": {"partitionBy": "$a", "output": {"n": {"$count": {}}}}},
                doc! {"$match": {"a": 1}},
            ]),
            aggregate(vec![
                doc! {"$match": {"a": 1}},
                doc! {"$setWindowFields": {"partitionBy": "$a", "output": {"n": {"$count": {}}}}},
            ]),
        ),
        (
            "$sort by two paths before $count: two arrays are an error",
            aggregate(vec![doc! {"$sort": {"a": 1, "b": 1}}, doc! {"$count": "n"}]),
            aggregate(vec![doc! {"$count": "n"}]),
        ),
    ] {
        let replies = ask(&mut client, db.name(), &[one.clone(), other.clone()]).await;
        let found = difference(&one, &replies[0], &replies[1]);
        assert!(found.is_some(), "{what}");
    }
    db.drop().await.unwrap();
}
