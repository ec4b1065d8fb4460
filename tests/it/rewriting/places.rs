//! Collections and views to ask: adversarial documents under all kinds of indexes.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, doc};
use mongodb::Database;

use crate::precision::random::Random;

/// What is asked in each round.
pub const PLACES: [&str; 7] = [
    "plain",
    "indexed",
    "compound",
    "collated",
    "clustered",
    "sparse",
    "view",
];

const DOCUMENTS: usize = 60;

/// Drops what is there and makes all of [`PLACES`] anew.
pub async fn make(db: &Database, random: &mut Random) {
    db.drop().await.unwrap();
    let run = async |command: Document| {
        db.run_command(command).await.unwrap();
    };
    run(doc! {"create": "collated", "collation": {"locale": "en", "strength": 1}}).await;
    run(doc! {"create": "clustered", "clusteredIndex": {"key": {"_id": 1}, "unique": true}}).await;
    for place in &PLACES[..PLACES.len() - 1] {
        let mut documents = documents(random);
        // (A symbol can't be indexed with a collation.)
        documents.retain(|d| *place != "collated" || !format!("{d:?}").contains("Symbol"));
        run(doc! {"insert": *place, "documents": documents}).await;
    }
    let index = async |place: &str, keys: &[Document], more: Document| {
        let indexes = keys.iter().enumerate().map(|(n, key)| {
            let mut index = doc! {"key": key, "name": format!("i{n}")};
            index.extend(more.clone());
            index
        });
        let indexes: Vec<Document> = indexes.collect();
        run(doc! {"createIndexes": place, "indexes": indexes}).await;
    };
    let single = [doc! {"a": 1}, doc! {"b": -1}, doc! {"a.b": 1}];
    index("indexed", &single, doc! {}).await;
    index("collated", &single, doc! {}).await;
    // (Only one field of a compound index may hold arrays; `_id` and `n` don't.)
    index(
        "compound",
        &[
            doc! {"a": 1, "_id": 1},
            doc! {"n": 1, "b": 1},
            doc! {"_id": 1, "n": 1},
        ],
        doc! {},
    )
    .await;
    index("clustered", &single[..1], doc! {}).await;
    index("sparse", &single[..1], doc! {"sparse": true}).await;
    let partial = doc! {"partialFilterExpression": {"b": {"$exists": true}}, "name": "p"};
    index("sparse", &[doc! {"c": 1}], partial).await;
    run(doc! {"create": "view", "viewOn": "indexed", "pipeline": [{"$addFields": {"c": "$b"}}]})
        .await;
}

fn documents(random: &mut Random) -> Vec<Document> {
    let mut ids: Vec<Bson> = (0..DOCUMENTS as i32 - 8).map(Bson::from).collect();
    ids.extend([
        Bson::Double(1.5),
        Bson::Double(f64::NAN),
        Bson::Null,
        "a".into(),
        Bson::Decimal128("0.1".parse().unwrap()),
        doc! {"a": 1}.into(),
        DateTime::from_millis(0).into(),
        ObjectId::from_bytes([1; 12]).into(),
    ]);
    let document = |(n, id): (usize, Bson)| {
        let mut document = doc! {"_id": id, "n": n as i32 % 5};
        document.extend(random.document());
        document
    };
    ids.into_iter().enumerate().map(document).collect()
}
