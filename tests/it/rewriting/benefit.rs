//! What each rule saves, as the server itself counts it.

use bson::{Bson, Document, doc};
use mongodb::{Client, Database};
use petiole::config::RewriteRule;
use petiole::stages::rewrite::Rewriter;

use super::differential::rewritten;
use crate::parts::shared;

const DOCUMENTS: i32 = 5_000;

/// Keys, documents and stages of one execution.
#[derive(Debug, Default)]
struct Cost {
    keys: i64,
    documents: i64,
    stages: Vec<String>,
}

async fn explain(db: &Database, command: &Document) -> Cost {
    let explain = doc! {"explain": command, "verbosity": "executionStats"};
    let reply = db.run_command(explain).await.unwrap();
    let mut cost = Cost::default();
    read(&Bson::Document(reply), &mut cost);
    cost
}

fn read(value: &Bson, cost: &mut Cost) {
    match value {
        Bson::Document(document) => {
            for (key, value) in document {
                let number = || {
                    value
                        .as_i64()
                        .or(value.as_i32().map(i64::from))
                        .unwrap_or(0)
                };
                match key.as_str() {
                    "totalKeysExamined" => cost.keys += number(),
                    "totalDocsExamined" => cost.documents += number(),
                    "stage" => cost.stages.extend(value.as_str().map(str::to_owned)),
                    "rejectedPlans" => {}
                    _ => read(value, cost),
                }
            }
        }
        Bson::Array(values) => values.iter().for_each(|value| read(value, cost)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_saves_what_its_page_says() {
    let server = shared::rs().await;
    let mongo = Client::with_uri_str(server.uri()).await.unwrap();
    let db = mongo.database(&shared::database("benefit"));
    let documents: Vec<Document> = (0..DOCUMENTS)
        .map(|n| doc! {"_id": n, "a": n % 500, "b": n % 100, "g": n % 37, "s": format!("name {n}")})
        .collect();
    db.collection("c").insert_many(documents).await.unwrap();
    let indexes = vec![
        doc! {"key": {"a": 1}, "name": "a"},
        doc! {"key": {"b": 1, "a": 1}, "name": "b"},
    ];
    db.run_command(doc! {"createIndexes": "c", "indexes": indexes})
        .await
        .unwrap();
    let find = |filter: Document| doc! {"find": "c", "filter": filter};
    let count = |query: Document| doc! {"count": "c", "query": query};
    let aggregate =
        |stages: Vec<Document>| doc! {"aggregate": "c", "pipeline": stages, "cursor": {}};
    let nothing = doc! {"g": {"$in": []}};
    let cases = [
        (RewriteRule::NoMatch, find(nothing.clone())),
        (RewriteRule::NoMatch, count(nothing.clone())),
        (
            RewriteRule::NoMatch,
            doc! {"distinct": "c", "key": "s", "query": &nothing},
        ),
        (
            RewriteRule::NoMatch,
            aggregate(vec![doc! {"$match": &nothing}]),
        ),
        (
            RewriteRule::NoMatch,
            find(doc! {"$or": [&nothing, {"a": 7}]}),
        ),
        (RewriteRule::NoMatch, find(doc! {"a": 7, "g": {"$in": []}})),
        (
            RewriteRule::EveryMatch,
            count(doc! {"b": 7, "g": {"$nin": []}}),
        ),
        (
            RewriteRule::ExistsImplied,
            count(doc! {"b": {"$exists": true, "$gte": 95}}),
        ),
        (RewriteRule::PlainEquality, find(doc! {"_id": {"$in": [7]}})),
        (RewriteRule::PlainEquality, find(doc! {"_id": {"$eq": 7}})),
        (RewriteRule::Flatten, find(doc! {"$and": [{"_id": 7}]})),
        (
            RewriteRule::ProjectBeforeCount,
            aggregate(vec![
                doc! {"$match": {"b": {"$lt": 50}}},
                doc! {"$project": {"s": 1}},
                doc! {"$group": {"_id": Bson::Null, "n": {"$sum": 1}}},
            ]),
        ),
        (
            RewriteRule::CountOfGroups,
            aggregate(vec![
                doc! {"$group": {"_id": "$a", "n": {"$sum": 1}, "best": {"$max": "$g"}}},
                doc! {"$count": "n"},
            ]),
        ),
    ];
    println!("rule | command | keys before, after | documents before, after | plan before, after");
    for (rule, command) in cases {
        let (other, _) = rewritten(&Rewriter::only(&[rule]), &command).expect("it applies");
        let (before, after) = (explain(&db, &command).await, explain(&db, &other).await);
        println!(
            "{} | {command} | {}, {} | {}, {} | {}, {}",
            rule.as_str(),
            before.keys,
            after.keys,
            before.documents,
            after.documents,
            before.stages.join("<"),
            after.stages.join("<"),
        );
        let is_id = |cost: &Cost| cost.stages.contains(&"IDHACK".to_owned());
        let is_shorter = !is_id(&before) && is_id(&after);
        let fewer = after.documents < before.documents;
        assert!(
            fewer || is_shorter,
            "{} of {command}: {before:?}, {after:?}",
            rule.as_str()
        );
    }
    db.drop().await.unwrap();
}
