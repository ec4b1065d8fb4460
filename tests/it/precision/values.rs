//! Every kind of value against every other under each comparison, on a real mongod: numbers at
//! the edges of their types above all. Random tests meet these too seldom.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, Timestamp, doc, oid::ObjectId};
use mongodb::Client;
use petiole::command::matcher::{equalities, matches};
use petiole::command::{Strings, Tri, ValueKey};
use petiole::wire::doc::find;

use crate::parts::shared;

#[tokio::test(flavor = "multi_thread")]
async fn any_two_values_compare_as_they_do_on_the_server() {
    let client = Client::with_uri_str(shared::rs().await.uri())
        .await
        .unwrap();
    let db = client.database(&shared::database("values"));
    let values = values();
    let documents: Vec<Document> = values
        .iter()
        .enumerate()
        .map(|(id, value)| doc! {"_id": id as i32, "v": value})
        .collect();
    let bytes: Vec<Vec<u8>> = documents.iter().map(|d| d.to_vec().unwrap()).collect();
    db.run_command(doc! {"insert": "c", "documents": &documents})
        .await
        .unwrap();
    for value in &values {
        for operator in ["$eq", "$lt", "$lte", "$gt", "$gte", "$in"] {
            let operand = match operator {
                "$in" => Bson::Array(vec![value.clone()]),
                _ => value.clone(),
            };
            let filter = doc! {"v": {operator: operand}};
            let raw = filter.to_vec().unwrap();
            let find =
                doc! {"find": "c", "filter": &filter, "projection": {"_id": 1}, "batchSize": 1_000};
            let reply = db.run_command(find).await.unwrap();
            let found = reply.get_document("cursor").unwrap();
            let found = found.get_array("firstBatch").unwrap();
            for (id, (document, bytes)) in documents.iter().zip(&bytes).enumerate() {
                let is = found.contains(&doc! {"_id": id as i32}.into());
                let said = matches(&raw, bytes, Strings::Simple);
                assert_ne!(said, Tri::from(!is), "{filter} on {document}");
                let hard = is_hard(value) || is_hard(&values[id]);
                assert!(said != Tri::Unknown || hard, "{filter} on {document}");
                if operator == "$eq" {
                    same_key(&raw, bytes, is, document);
                }
            }
        }
    }
}

/// Values with keys are equal exactly if their keys are.
fn same_key(filter: &[u8], document: &[u8], is: bool, shown: &Document) {
    let equal = equalities(filter, Strings::Simple);
    let key = ValueKey::of(&find(document, "v").unwrap(), Strings::Simple);
    if let (Some(equal), Some(key)) = (equal.first(), key) {
        assert_eq!(equal.values == [key], is, "{equal:?} on {shown}");
    }
}

fn values() -> Vec<Bson> {
    let mut values: Vec<Bson> = Vec::new();
    let big = 1_i64 << 53;
    for n in [
        0,
        1,
        -1,
        5,
        big - 1,
        big,
        big + 1,
        -big - 1,
        i64::MAX,
        i64::MIN,
    ] {
        values.push(n.into());
        values.push((n as f64).into());
        values.extend(i32::try_from(n).ok().map(Bson::from));
        values.push(Bson::Decimal128(n.to_string().parse().unwrap()));
    }
    for n in [
        -0.0,
        0.1,
        -0.1,
        0.3,
        0.5,
        1.5,
        1e-22,
        1e-300,
        1e22,
        1e300,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ] {
        values.push(n.into());
    }
    let decimals = [
        "-0",
        "0E-9",
        "5.00",
        "50E-1",
        "0.5",
        "1.5",
        "0.1",
        "-0.1",
        "0.3",
        "1E-22",
        "NaN",
        "Infinity",
        "-Infinity",
        "12.34",
        "1234567.891",
    ];
    for n in decimals.into_iter().chain(HARD) {
        values.push(Bson::Decimal128(n.parse().unwrap()));
    }
    for text in ["", "a", "A", "ab", "b", "a\0", "é", "\u{1f33f}", "5"] {
        values.push(text.into());
    }
    for millis in [-1, 0, 1, i64::MIN] {
        values.push(DateTime::from_millis(millis).into());
    }
    for (subtype, bytes) in [(0, "a"), (0, "b"), (4, "a"), (0, "aa"), (128, "")] {
        values.push(Bson::Binary(Binary {
            subtype: BinarySubtype::from(subtype),
            bytes: bytes.into(),
        }));
    }
    values.extend([1, 2, 0xff].map(|byte| Bson::from(ObjectId::from_bytes([byte; 12]))));
    values.extend(
        [(0, 1), (1, 0), (u32::MAX, 1)]
            .map(|(time, increment)| Timestamp { time, increment }.into()),
    );
    values.extend([Bson::Null, true.into(), false.into()]);
    values.extend([
        doc! {}.into(),
        doc! {"a": 1}.into(),
        doc! {"a": 1.0}.into(),
        doc! {"a": "1"}.into(),
    ]);
    values
}

/// True for what may be Unknown: bounds of null and of documents, decimals of many digits.
fn is_hard(value: &Bson) -> bool {
    match value {
        Bson::Null | Bson::Document(_) => true,
        Bson::Decimal128(n) => HARD.iter().any(|hard| n == &hard.parse().unwrap()),
        _ => false,
    }
}

const HARD: [&str; 12] = [
    "-9223372036854775808",
    "1E-23",
    "1E22",
    "1E300",
    "9223372036854775808",
    "1E-6176",
    "9007199254740993.5",
    "4503599627370496.5",
    "123456789.123456789",
    "0.1000000000000000055511151231257827",
    "0.3000000000000000000000000000000001",
    "-1E6000",
];
