//! Queries that need an index of their own: geo and text.

use bson::{Document, doc};

use super::aggregate::on;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("insert_places", |_| {
            doc! { "insert": "places", "documents": [
            { "_id": 1, "at": { "type": "Point", "coordinates": [2.35, 48.85] }, "text": "the river in Paris" },
            { "_id": 2, "at": { "type": "Point", "coordinates": [13.40, 52.52] }, "text": "a wall and a river in Berlin" },
            { "_id": 3, "at": { "type": "Point", "coordinates": [-0.12, 51.50] }, "text": "London bridges" }] }
        }),
        once("index_places", |_| {
            doc! { "createIndexes": "places", "indexes": [
            { "key": { "at": "2dsphere" }, "name": "at_2dsphere" },
            { "key": { "text": "text" }, "name": "text_text", "default_language": "english" }] }
        }),
        read("geo_near", |_| {
            doc! { "find": "places", "filter": { "at": { "$near": { "$geometry": point(2.0, 48.0), "$maxDistance": 500_000 } } } }
        }),
        read("geo_within", |_| {
            doc! { "find": "places", "filter": { "at": { "$geoWithin": { "$centerSphere": [[2.0, 48.0], 0.1] } } }, "sort": { "_id": 1 } }
        }),
        read("geo_intersects", |_| {
            doc! { "find": "places", "sort": { "_id": 1 }, "filter": { "at": { "$geoIntersects": { "$geometry": { "type": "Polygon",
            "coordinates": [[[0, 45], [10, 45], [10, 50], [0, 50], [0, 45]]] } } } } }
        }),
        read("geo_near_stage", |_| {
            on(
                "places",
                vec![
                    doc! { "$geoNear": { "near": point(0.0, 51.0), "distanceField": "far", "spherical": true } },
                    doc! { "$set": { "far": { "$round": ["$far", 0] } } },
                ],
            )
        }),
        read("text_search", |_| {
            doc! { "find": "places", "filter": { "$text": { "$search": "river" } }, "sort": { "_id": 1 } }
        }),
        read("text_score", |_| {
            doc! { "find": "places", "filter": { "$text": { "$search": "river wall" } },
            "projection": { "score": { "$meta": "textScore" } }, "sort": { "score": { "$meta": "textScore" } } }
        }),
        read("text_phrase_and_negation", |_| {
            doc! { "find": "places", "filter": { "$text": { "$search": "\"the river\" -berlin" } } }
        }),
        read("text_without_index", |_| {
            doc! { "find": "people", "filter": { "$text": { "$search": "river" } } }
        }),
        read("geo_near_without_index", |_| {
            doc! { "find": "people", "filter": { "at": { "$near": { "$geometry": point(0.0, 0.0) } } } }
        }),
    ]
}

fn point(longitude: f64, latitude: f64) -> Document {
    doc! { "type": "Point", "coordinates": [longitude, latitude] }
}
