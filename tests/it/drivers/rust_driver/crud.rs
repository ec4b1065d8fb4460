//! Reads and writes.

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{InsertOneModel, ReturnDocument, UpdateOneModel, WriteModel};

use super::{Outcome, Suite, all, fails_with, numbered, pluck};

pub async fn insert(s: &Suite) -> Outcome {
    let items = s.items("items");
    let one = items.insert_one(doc! {"_id": "one", "n": 1}).await?;
    assert_eq!(one.inserted_id, Bson::from("one"));
    let given = items.insert_one(doc! {"n": 2}).await?.inserted_id;
    assert!(given.as_object_id().is_some(), "{given:?}");
    let found = items.find_one(doc! {"_id": given.clone()}).await?;
    assert_eq!(found, Some(doc! {"_id": given, "n": 2}));
    let docs = (0..100).map(|i| doc! {"_id": i, "n": i, "even": i % 2 == 0});
    assert_eq!(items.insert_many(docs).await?.inserted_ids.len(), 100);
    assert_eq!(items.count_documents(doc! {}).await?, 102);
    fails_with(items.insert_one(doc! {"_id": "one"}).await, 11000);
    Ok(())
}

pub async fn find(s: &Suite) -> Outcome {
    let items = s.items("items");
    assert_eq!(items.find_one(doc! {"_id": "absent"}).await?, None);
    assert_eq!(
        items.find_one(doc! {"_id": 7}).await?,
        Some(doc! {"_id": 7, "n": 7, "even": false})
    );
    let filter = doc! {"even": true, "n": {"$gte": 10, "$lt": 20}};
    let even = all(items.find(filter).sort(doc! {"n": -1}).await?).await?;
    assert_eq!(pluck(&even, "n"), [18, 16, 14, 12, 10]);
    let page = items
        .find(doc! {"even": {"$exists": true}})
        .projection(doc! {"_id": 0, "n": 1})
        .sort(doc! {"n": 1})
        .skip(40)
        .limit(3)
        .await?;
    assert_eq!(
        all(page).await?,
        [doc! {"n": 40}, doc! {"n": 41}, doc! {"n": 42}]
    );
    // The same read, again and again, before and after writes: it must follow the writes.
    for n in [1000, 1001] {
        items
            .update_one(doc! {"_id": 7}, doc! {"$set": {"n": n}})
            .await?;
        for _ in 0..3 {
            let found = items.find_one(doc! {"_id": 7}).await?;
            assert_eq!(found, Some(doc! {"_id": 7, "n": n, "even": false}));
        }
    }
    Ok(())
}

pub async fn update(s: &Suite) -> Outcome {
    let items = s.items("updates");
    items
        .insert_many((0..10).map(|i| doc! {"_id": i, "n": i, "tags": ["a"]}))
        .await?;
    let by = |id: i32| doc! {"_id": id};
    let one = items.update_one(by(1), doc! {"$inc": {"n": 10}}).await?;
    assert_eq!((one.matched_count, one.modified_count), (1, 1));
    let same = items.update_one(by(1), doc! {"$set": {"n": 11}}).await?;
    assert_eq!((same.matched_count, same.modified_count), (1, 0));
    let none = items.update_one(by(99), doc! {"$set": {"n": 0}}).await?;
    assert_eq!((none.matched_count, none.upserted_id), (0, None));
    let change = doc! {"$push": {"tags": "b"}, "$unset": {"n": ""}};
    let many = items.update_many(doc! {"_id": {"$gte": 5}}, change).await?;
    assert_eq!((many.matched_count, many.modified_count), (5, 5));
    assert_eq!(
        items.find_one(by(9)).await?,
        Some(doc! {"_id": 9, "tags": ["a", "b"]})
    );
    let fresh = doc! {"$setOnInsert": {"fresh": true}};
    let up = items.update_one(by(50), fresh).upsert(true).await?;
    assert_eq!(up.upserted_id, Some(Bson::Int32(50)));
    let replaced = items.replace_one(by(50), doc! {"other": 5_i64}).await?;
    assert_eq!((replaced.matched_count, replaced.modified_count), (1, 1));
    assert_eq!(
        items.find_one(by(50)).await?,
        Some(doc! {"_id": 50, "other": 5_i64})
    );
    let up = items
        .replace_one(by(51), doc! {"n": 1})
        .upsert(true)
        .await?;
    assert_eq!(up.upserted_id, Some(Bson::Int32(51)));
    let pipeline = vec![doc! {"$set": {"double": {"$multiply": ["$n", 2]}}}];
    items.update_one(by(2), pipeline).await?;
    assert_eq!(
        items.find_one(by(2)).await?,
        Some(doc! {"_id": 2, "n": 2, "tags": ["a"], "double": 4})
    );
    items
        .update_one(by(9), doc! {"$set": {"tags.$[t]": "c"}})
        .array_filters([doc! {"t": "b"}])
        .await?;
    assert_eq!(
        items.find_one(by(9)).await?,
        Some(doc! {"_id": 9, "tags": ["a", "c"]})
    );
    Ok(())
}

pub async fn find_and_modify(s: &Suite) -> Outcome {
    let items = s.items("modify");
    items.insert_many(numbered(0..5)).await?;
    let add = || doc! {"$inc": {"n": 5}};
    let before = items.find_one_and_update(doc! {"_id": 0}, add()).await?;
    assert_eq!(before, Some(doc! {"_id": 0, "n": 0}));
    let after = items
        .find_one_and_update(doc! {"_id": 0}, add())
        .return_document(ReturnDocument::After)
        .await?;
    assert_eq!(after, Some(doc! {"_id": 0, "n": 10}));
    let fresh = items
        .find_one_and_update(doc! {"_id": 9}, add())
        .upsert(true)
        .return_document(ReturnDocument::After)
        .await?;
    assert_eq!(fresh, Some(doc! {"_id": 9, "n": 5}));
    let replaced = items
        .find_one_and_replace(doc! {"_id": 1}, doc! {"m": 1})
        .await?;
    assert_eq!(replaced, Some(doc! {"_id": 1, "n": 1}));
    assert_eq!(
        items.find_one(doc! {"_id": 1}).await?,
        Some(doc! {"_id": 1, "m": 1})
    );
    let deleted = items
        .find_one_and_delete(doc! {"n": {"$lt": 5}})
        .sort(doc! {"n": -1})
        .await?;
    assert_eq!(deleted, Some(doc! {"_id": 4, "n": 4}));
    assert_eq!(items.find_one(doc! {"_id": 4}).await?, None);
    Ok(())
}

pub async fn delete(s: &Suite) -> Outcome {
    let items = s.items("deletes");
    items
        .insert_many((0..20).map(|i| doc! {"_id": i, "even": i % 2 == 0}))
        .await?;
    let even = || doc! {"even": true};
    assert_eq!(items.delete_one(even()).await?.deleted_count, 1);
    let absent = items.delete_one(doc! {"_id": "absent"}).await?;
    assert_eq!(absent.deleted_count, 0);
    assert_eq!(items.delete_many(even()).await?.deleted_count, 9);
    assert_eq!(items.count_documents(doc! {}).await?, 10);
    assert_eq!(items.delete_many(doc! {}).await?.deleted_count, 10);
    assert_eq!(all(items.find(doc! {}).await?).await?, []);
    Ok(())
}

pub async fn count_and_distinct(s: &Suite) -> Outcome {
    let items = s.items("counts");
    assert_eq!(items.count_documents(doc! {}).await?, 0);
    assert_eq!(items.estimated_document_count().await?, 0);
    let kinds = ["a", "b", "c"];
    items
        .insert_many((0..30_usize).map(|i| doc! {"_id": i as i32, "kind": kinds[i % 3]}))
        .await?;
    assert_eq!(items.count_documents(doc! {"kind": "b"}).await?, 10);
    let page = items.count_documents(doc! {"kind": "b"}).skip(2).limit(5);
    assert_eq!(page.await?, 5);
    assert_eq!(items.estimated_document_count().await?, 30);
    let found = items.distinct("kind", doc! {}).await?;
    assert_eq!(found, kinds.map(Bson::from));
    let some = items
        .distinct("kind", doc! {"_id": {"$in": [0, 1]}})
        .await?;
    assert_eq!(some, ["a", "b"].map(Bson::from));
    Ok(())
}

pub async fn aggregate(s: &Suite) -> Outcome {
    let orders = s.items("orders");
    let users = s.items("users");
    orders
        .insert_many((0..12).map(|i| doc! {"_id": i, "user": i % 3, "total": i * 10}))
        .await?;
    users
        .insert_many((0..3).map(|i| doc! {"_id": i, "name": format!("user {i}")}))
        .await?;
    let totals = orders
        .aggregate([
            doc! {"$match": {"total": {"$gte": 30}}},
            doc! {"$group": {"_id": "$user", "sum": {"$sum": "$total"}}},
            doc! {"$sort": {"_id": 1}},
        ])
        .await?;
    assert_eq!(
        all(totals).await?,
        [
            doc! {"_id": 0, "sum": 180},
            doc! {"_id": 1, "sum": 210},
            doc! {"_id": 2, "sum": 240}
        ]
    );
    let joined = || {
        orders.aggregate([
            doc! {"$match": {"_id": 4}},
            doc! {"$lookup": {"from": "users", "localField": "user", "foreignField": "_id", "as": "who"}},
            doc! {"$unwind": "$who"},
            doc! {"$project": {"name": "$who.name"}},
        ])
    };
    assert_eq!(
        all(joined().await?).await?,
        [doc! {"_id": 4, "name": "user 1"}]
    );
    users
        .update_one(doc! {"_id": 1}, doc! {"$set": {"name": "renamed"}})
        .await?;
    assert_eq!(
        all(joined().await?).await?,
        [doc! {"_id": 4, "name": "renamed"}]
    );
    let top = vec![
        doc! {"$sort": {"total": -1}},
        doc! {"$limit": 2},
        doc! {"$project": {"_id": 1}},
    ];
    let facets = orders
        .aggregate([doc! {"$facet": {"count": [{"$count": "n"}], "top": top}}])
        .await?;
    assert_eq!(
        all(facets).await?,
        [doc! {"count": [{"n": 12}], "top": [{"_id": 11}, {"_id": 10}]}]
    );
    let batches = orders
        .aggregate([doc! {"$sort": {"_id": 1}}])
        .batch_size(2)
        .await?;
    let expected: Vec<i32> = (0..12).collect();
    assert_eq!(pluck(&all(batches).await?, "_id"), expected);
    Ok(())
}

pub async fn out_and_merge(s: &Suite) -> Outcome {
    let orders = s.items("orders");
    let copies = s.items("copies");
    let merged = s.other.collection::<Document>("merged");
    assert_eq!(copies.count_documents(doc! {}).await?, 0);
    for (filter, count) in [(doc! {"user": 0}, 4), (doc! {"user": {"$ne": 0}}, 8)] {
        let written = orders
            .aggregate([doc! {"$match": filter}, doc! {"$out": "copies"}])
            .await?;
        assert_eq!(all(written).await?, []);
        assert_eq!(copies.count_documents(doc! {}).await?, count);
    }
    let totals = async || -> anyhow::Result<Vec<i32>> {
        let found = merged.find(doc! {}).sort(doc! {"_id": 1}).await?;
        Ok(pluck(&all(found).await?, "total"))
    };
    assert!(totals().await?.is_empty());
    let into = doc! {"$merge": {
        "into": {"db": s.other.name(), "coll": "merged"}, "whenMatched": "replace",
    }};
    let some = doc! {"$match": {"_id": {"$lt": 2}}};
    orders.aggregate([some, into.clone()]).await?;
    assert_eq!(totals().await?, [0, 10]);
    let one = [
        doc! {"$match": {"_id": 1}},
        doc! {"$set": {"total": 99}},
        into,
    ];
    orders.aggregate(one).await?;
    assert_eq!(totals().await?, [0, 99]);
    Ok(())
}

pub async fn bulk_write(s: &Suite) -> Outcome {
    let items = s.items("bulk");
    items.insert_one(doc! {"_id": 3}).await?;
    let docs = || (0..6).map(|i| doc! {"_id": i});
    let indexes = |error: mongodb::error::Error| match *error.kind {
        ErrorKind::InsertMany(many) => {
            let errors = many.write_errors.unwrap_or_default();
            assert!(errors.iter().all(|e| e.code == 11000), "{errors:?}");
            errors.iter().map(|e| e.index).collect::<Vec<_>>()
        }
        other => panic!("another error: {other:?}"),
    };
    let ordered = items.insert_many(docs()).await.expect_err("3 is taken");
    assert_eq!(indexes(ordered), [3]);
    assert_eq!(items.count_documents(doc! {}).await?, 4);
    let unordered = items.insert_many(docs()).ordered(false).await;
    assert_eq!(
        indexes(unordered.expect_err("0 to 3 are taken")),
        [0, 1, 2, 3]
    );
    assert_eq!(items.count_documents(doc! {}).await?, 6);
    // Several statements in one command, as other drivers' bulk writes send them.
    let updates = vec![
        doc! {"q": {"_id": 0}, "u": {"$set": {"n": 1}}},
        doc! {"q": {"_id": {"$gt": 3}}, "u": {"$set": {"n": 2}}, "multi": true},
        doc! {"q": {"_id": 9}, "u": {"$set": {"n": 3}}, "upsert": true},
    ];
    let reply =
        s.db.run_command(doc! {"update": "bulk", "updates": updates})
            .await?;
    assert_eq!((reply.get_i32("n")?, reply.get_i32("nModified")?), (4, 3));
    assert_eq!(
        reply.get_array("upserted")?,
        &[Bson::from(doc! {"index": 2, "_id": 9})]
    );
    let deletes = vec![
        doc! {"q": {"_id": 0}, "limit": 1},
        doc! {"q": {"n": 2}, "limit": 0},
    ];
    let reply =
        s.db.run_command(doc! {"delete": "bulk", "deletes": deletes})
            .await?;
    assert_eq!(reply.get_i32("n")?, 3);
    let left = all(items.find(doc! {}).sort(doc! {"_id": 1}).await?).await?;
    assert_eq!(pluck(&left, "_id"), [1, 2, 3, 9]);
    Ok(())
}

pub async fn client_bulk_write(s: &Suite) -> Outcome {
    let left = s.items("left");
    let right = s.other.collection::<Document>("right");
    let models: Vec<WriteModel> = vec![
        left.insert_one_model(doc! {"_id": 1})?.into(),
        InsertOneModel::builder()
            .namespace(right.namespace())
            .document(doc! {"_id": 1})
            .build()
            .into(),
        UpdateOneModel::builder()
            .namespace(right.namespace())
            .filter(doc! {"_id": 1})
            .update(doc! {"$set": {"n": 1}})
            .build()
            .into(),
    ];
    let result = s.client.bulk_write(models).await;
    if s.wire < 25 {
        // The bulkWrite command came with MongoDB 8.0: the driver refuses.
        let error = result.expect_err("the driver refuses");
        let kind = error.kind.as_ref();
        assert!(
            matches!(kind, ErrorKind::IncompatibleServer { .. }),
            "{kind:?}"
        );
        return Ok(());
    }
    let result = result?;
    assert_eq!((result.inserted_count, result.modified_count), (2, 1));
    assert_eq!(
        right.find_one(doc! {}).await?,
        Some(doc! {"_id": 1, "n": 1})
    );
    Ok(())
}
