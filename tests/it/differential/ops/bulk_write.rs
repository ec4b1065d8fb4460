//! The bulkWrite command (MongoDB 8.0, SecantusDB); older servers refuse it.

use bson::{Bson, Document, doc};

use super::{Ctx, Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("bulk_write_mixed", |c| {
            bulk(c, vec![
                doc! { "insert": 0, "document": { "_id": 1, "n": 1 } },
                doc! { "insert": 1, "document": { "_id": 1, "n": 10 } },
                doc! { "update": 0, "filter": { "_id": 1 }, "updateMods": { "$inc": { "n": 1 } } },
                doc! { "update": 0, "filter": { "_id": 2 }, "updateMods": { "$set": { "n": 2 } }, "upsert": true },
                doc! { "delete": 1, "filter": { "_id": 1 } },
            ])
        })
        .on_admin(),
        once("bulk_write_ordered_error", |c| {
            bulk(c, vec![
                doc! { "insert": 0, "document": { "_id": 1 } },
                doc! { "insert": 0, "document": { "_id": 3 } },
            ])
        })
        .on_admin(),
        once("bulk_write_unordered_errors", |c| {
            let mut command = bulk(c, vec![
                doc! { "insert": 0, "document": { "_id": 1 } },
                doc! { "insert": 0, "document": { "_id": 4 } },
            ]);
            command.insert("ordered", false);
            command
        })
        .on_admin(),
        once("bulk_write_errors_only", |c| {
            let mut command = bulk(c, vec![doc! { "insert": 0, "document": { "_id": 5 } }]);
            command.insert("errorsOnly", true);
            command
        })
        .on_admin(),
        once("bulk_write_sequences", |c| {
            doc! { "bulkWrite": 1, "nsInfo": [{ "ns": format!("{}.bulk_a", c.database) }] }
        })
        .on_admin()
        .with("ops", |_| vec![doc! { "insert": 0, "document": { "_id": 6 } }]),
        once("bulk_write_elsewhere_is_refused", |c| {
            bulk(c, vec![doc! { "insert": 0, "document": { "_id": 7 } }])
        }),
        once("bulk_write_bad_namespace_index", |c| {
            bulk(c, vec![doc! { "insert": 9, "document": { "_id": 8 } }])
        })
        .on_admin(),
        once("bulk_write_nothing", |c| bulk(c, vec![])).on_admin(),
        read("find_after_bulk_write", |_| doc! { "find": "bulk_a", "sort": { "_id": 1 } }),
        read("find_after_bulk_write_in_second", |_| doc! { "find": "bulk_b", "sort": { "_id": 1 } }),
    ]
}

fn bulk(c: &mut Ctx, ops: Vec<Document>) -> Document {
    let namespace = |name: &str| Bson::from(doc! { "ns": format!("{}.{name}", c.database) });
    let namespaces = vec![namespace("bulk_a"), namespace("bulk_b")];
    doc! { "bulkWrite": 1, "ops": ops, "nsInfo": namespaces }
}
