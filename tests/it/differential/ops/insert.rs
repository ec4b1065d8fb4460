//! insert, in all its forms. Prepares `people`, which later lists read.

use bson::{Document, doc};

use super::super::mask::Mask;
use super::{Form, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("insert_people", |_| {
            doc! { "insert": "people", "documents": people() }
        }),
        once("insert_one_without_id", |_| {
            doc! { "insert": "inserts", "documents": [{ "made": "by the server" }] }
        }),
        once("insert_ordered_stops_at_duplicate", |_| {
            doc! { "insert": "inserts", "ordered": true,
            "documents": [{ "_id": 1 }, { "_id": 2 }, { "_id": 1 }, { "_id": 3 }] }
        }),
        once("insert_unordered_goes_past_duplicates", |_| {
            doc! { "insert": "inserts", "ordered": false,
            "documents": [{ "_id": 1 }, { "_id": 4 }, { "_id": 2 }, { "_id": 5 }] }
        }),
        once("insert_duplicate_compound_id", |_| {
            doc! { "insert": "inserts",
            "documents": [{ "_id": { "a": 1, "b": "x" } }, { "_id": { "a": 1, "b": "x" } }] }
        }),
        once("insert_array_id_is_refused", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": [1, 2] }] }
        }),
        once("insert_dollar_field", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 10, "$set": 1 }] }
        }),
        once("insert_dotted_field", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 11, "a.b": 1, "": 2 }] }
        }),
        once("insert_id_is_moved_to_the_front", |_| {
            doc! { "insert": "inserts", "documents": [{ "z": 1, "_id": 12, "a": 2 }] }
        }),
        once("insert_nothing", |_| {
            doc! { "insert": "inserts", "documents": [] }
        }),
        once("insert_without_documents", |_| doc! { "insert": "inserts" }),
        once("insert_documents_of_wrong_type", |_| {
            doc! { "insert": "inserts", "documents": "three" }
        }),
        once("insert_element_of_wrong_type", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 20 }, 21] }
        }),
        once("insert_majority", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 30 }],
            "writeConcern": { "w": "majority", "wtimeout": 10_000 } }
        }),
        once("insert_journaled", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 31 }],
            "writeConcern": { "w": 1, "j": true } }
        }),
        once("insert_unsatisfiable_write_concern", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 32 }],
            "writeConcern": { "w": 7, "wtimeout": 50 } }
        }),
        once("insert_unknown_write_concern_mode", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 33 }],
            "writeConcern": { "w": "nowhere" } }
        }),
        once("insert_with_comment", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 34 }],
            "comment": { "from": "the suite" } }
        }),
        once("insert_sequence", |_| doc! { "insert": "inserts" }).with("documents", |_| {
            vec![doc! { "_id": 40 }, doc! { "_id": 41 }]
        }),
        once("insert_sequence_before_body", |_| {
            doc! { "insert": "inserts", "ordered": false }
        })
        .in_form(Form::SequenceFirst)
        .with("documents", |_| {
            vec![doc! { "_id": 42 }, doc! { "_id": 41 }]
        }),
        once("insert_empty_sequence", |_| doc! { "insert": "inserts" })
            .with("documents", |_| vec![]),
        once("insert_documents_twice", |_| {
            doc! { "insert": "inserts", "documents": [{ "_id": 43 }] }
        })
        .with("documents", |_| vec![doc! { "_id": 44 }]),
        once("insert_into_system_collection", |_| {
            doc! { "insert": "system.views2", "documents": [{ "_id": 1 }] }
        }),
        once("insert_into_dollar_collection", |_| {
            doc! { "insert": "a$b", "documents": [{ "_id": 1 }] }
        }),
        once("insert_into_empty_name", |_| {
            doc! { "insert": "", "documents": [{ "_id": 1 }] }
        }),
        once("insert_many", |_| doc! { "insert": "numbers" })
            .with("documents", |_| (0..1000).map(number).collect()),
        read("find_what_inserts_left", |_| {
            doc! { "find": "inserts", "filter": { "made": null }, "sort": { "_id": 1 } }
        }),
        read("find_server_made_id", |_| {
            doc! { "find": "inserts", "filter": { "made": "by the server" } }
        })
        .masking(&[("cursor.firstBatch.0._id", Mask::Value)]),
        read("count_numbers", |_| doc! { "count": "numbers" }),
    ]
}

fn number(n: i32) -> Document {
    doc! { "_id": n, "n": n, "square": i64::from(n) * i64::from(n), "half": f64::from(n) / 2.0,
    "even": n % 2 == 0, "mod7": n % 7, "word": format!("number {n:04}") }
}

fn people() -> Vec<Document> {
    vec![
        doc! { "_id": 1, "name": "Ada", "age": 36, "city": "London", "tags": ["math", "first"],
        "address": { "street": "St James", "zip": "SW1" }, "scores": [
            { "game": "chess", "points": 90 }, { "game": "go", "points": 70 }], "balance": 10.5 },
        doc! { "_id": 2, "name": "Bob", "age": 25, "city": "Berlin", "tags": ["music"],
        "address": { "street": "Linden", "zip": "10117" }, "scores": [
            { "game": "chess", "points": 40 }], "balance": 0 },
        doc! { "_id": 3, "name": "Chloë", "age": 41, "city": "Paris", "tags": [],
        "address": { "street": "Rivoli", "zip": "75001" }, "scores": [], "balance": -3.25 },
        doc! { "_id": 4, "name": "dan", "age": 25, "city": "London", "tags": ["math", "music"],
        "address": null, "scores": [{ "game": "go", "points": 95 }], "balance": 7_i64 },
        doc! { "_id": 5, "name": "Eve", "city": "Paris", "tags": "single", "balance": null },
        doc! { "_id": 6, "name": "Bob", "age": 61.5, "city": "berlin", "tags": ["old"],
        "address": { "zip": "10118", "street": "Linden" }, "balance": 100 },
    ]
}
