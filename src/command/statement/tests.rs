use bson::{Bson, Document, doc};
use bytes::Bytes;

use super::*;
use crate::wire::{Frame, build};

fn parse(body: &Document, sequences: &[(&str, Vec<Document>)]) -> Option<Vec<Statement>> {
    let body = Bytes::from(body.to_vec().unwrap());
    let sequences: Vec<(&str, Vec<u8>)> = sequences
        .iter()
        .map(|(name, list)| {
            (
                *name,
                list.iter().flat_map(|d| d.to_vec().unwrap()).collect(),
            )
        })
        .collect();
    let sequences: Vec<(&str, &[u8])> = sequences.iter().map(|(n, d)| (*n, d.as_slice())).collect();
    let bytes = build::op_msg_with_sequences(1, 0, 0, &body, &sequences);
    let msg = OpMsg::parse(&Frame { bytes }).unwrap();
    statements(&Command::parse(&msg).unwrap(), &msg)
}

fn update(statement: Document) -> Statement {
    parse(
        &doc! {"update": "c", "updates": [statement], "$db": "d"},
        &[],
    )
    .unwrap()
    .remove(0)
}

fn modified(u: impl Into<Bson>) -> Option<Vec<String>> {
    match update(doc! {"q": {}, "u": u.into()}).change {
        Change::Paths { paths, .. } if paths.is_all() => None,
        Change::Paths { paths, .. } => Some(paths.iter().map(str::to_owned).collect()),
        other => panic!("{other:?}"),
    }
}

fn document(bytes: &[u8]) -> Document {
    Document::from_reader(bytes).unwrap()
}

#[test]
fn statements_come_from_the_body_and_from_sequences() {
    let insert = doc! {"insert": "c", "$db": "d"};
    let two = [("documents", vec![doc! {"_id": 1}, doc! {"_id": 2}])];
    assert_eq!(parse(&insert, &two).unwrap().len(), 2);
    let delete = doc! {"delete": "c", "deletes": [{"q": {"a": 1}, "limit": 0}], "$db": "d"};
    let deletes = parse(&delete, &[("deletes", vec![doc! {"q": {}, "limit": 1}])]).unwrap();
    assert_eq!(deletes.len(), 2);
    assert!(
        deletes
            .iter()
            .all(|s| s.change == Change::Removes && s.inserts == Inserts::Nothing)
    );
}

#[test]
fn what_cannot_be_read_or_is_too_much_has_no_statements() {
    let many: Vec<_> = (0..1_001).map(|n| doc! {"_id": n}).collect();
    for write in [
        doc! {"insert": "c", "documents": many},
        doc! {"insert": "c", "documents": [1]},
        doc! {"update": "c", "updates": [{"q": {}}]},
        doc! {"update": "c", "updates": [{"q": {}, "u": "x"}]},
        doc! {"update": "c", "updates": [{"q": 5, "u": {}}]},
        doc! {"delete": "c", "deletes": 5},
        doc! {"findAndModify": "c", "query": {}},
        doc! {"insert": "c", "documents": [{}], "encryptionInformation": {}},
        doc! {"drop": "c"},
    ] {
        let mut command = write.clone();
        command.insert("$db", "d");
        assert_eq!(parse(&command, &[]), None, "{write}");
    }
}

#[test]
fn a_write_of_more_bytes_than_are_analysed_has_no_statements() {
    let text = |bytes: usize| "x".repeat(bytes);
    let writes = |bytes: usize| {
        [
            doc! {"update": "c", "updates": [{"q": {"a": text(bytes)}, "u": {"$set": {"b": 1}}}], "$db": "d"},
            doc! {"update": "c", "updates": [{"q": {"a": 1}, "u": {"$set": {"b": text(bytes)}}}], "$db": "d"},
            doc! {"delete": "c", "deletes": vec![doc! {"q": {"a": text(bytes / 2)}, "limit": 1}; 2], "$db": "d"},
            doc! {"findAndModify": "c", "query": {"a": 1}, "update": {"$set": {"b": text(bytes)}}, "$db": "d"},
        ]
    };
    for write in writes(MOST_BYTES / 2) {
        assert!(parse(&write, &[]).is_some());
    }
    for write in writes(MOST_BYTES) {
        assert_eq!(parse(&write, &[]), None);
    }
    let insert = |bytes: usize| doc! {"insert": "c", "documents": [{"a": text(bytes)}], "$db": "d"};
    assert!(parse(&insert(MOST_INSERTED / 2), &[]).is_some());
    assert_eq!(parse(&insert(MOST_INSERTED), &[]), None);
}

#[test]
fn every_operator_names_its_paths() {
    for operator in [
        "$set",
        "$unset",
        "$inc",
        "$mul",
        "$min",
        "$max",
        "$push",
        "$pull",
        "$pullAll",
        "$addToSet",
        "$pop",
        "$bit",
        "$currentDate",
    ] {
        assert_eq!(
            modified(doc! {operator: {"a.b": 1}}),
            Some(vec!["a.b".into()]),
            "{operator}"
        );
    }
    assert_eq!(
        modified(doc! {"$rename": {"a": "b.c"}}),
        Some(vec!["a".into(), "b.c".into()])
    );
    assert_eq!(modified(doc! {"$setOnInsert": {"a": 1}}), Some(vec![]));
    assert_eq!(
        modified(doc! {"$set": {"a": 1}, "$unknown": {"b": 1}}),
        None
    );
    assert_eq!(modified(doc! {"$set": 5}), None);
    assert_eq!(modified(doc! {"$rename": {"a": 5}}), None);
}

#[test]
fn pipelines_name_their_top_level_targets() {
    let stages = vec![
        doc! {"$set": {"a.b": 1}},
        doc! {"$unset": ["c", "d.e"]},
        doc! {"$addFields": {"f": 1}},
    ];
    assert_eq!(
        modified(stages),
        Some(["a", "c", "d", "f"].map(str::to_owned).to_vec())
    );
    for stage in [
        doc! {"$project": {"a": 1}},
        doc! {"$replaceWith": "$a"},
        doc! {"$replaceRoot": {"newRoot": "$a"}},
        doc! {"$set": {"0": 1}},
        doc! {"$set": 5},
        doc! {"$set": {"a": 1}, "$unset": "b"},
    ] {
        assert_eq!(modified(vec![stage.clone()]), None, "{stage}");
    }
}

#[test]
fn modified_paths_lose_their_positions() {
    for (path, expected) in [
        ("a", Some("a")),
        ("a.$.b", Some("a.b")),
        ("a.$[].b.$[x]", Some("a.b")),
        ("a.b.0.c", Some("a.b")),
        ("a.$.0.c", Some("a")),
        ("a.$id.b", Some("a")),
        ("0", None),
        ("$.a", Some("a")),
        ("", None),
    ] {
        assert_eq!(modified_path(path).as_deref(), expected, "{path}");
    }
}

#[test]
fn plain_sets_are_kept_with_their_values() {
    let u = doc! {"$set": {"a.b": 1, "c.0": 2, "d.$[]": 3, "e": "x"}, "$inc": {"f": 1}};
    let Change::Paths { sets, .. } = update(doc! {"q": {}, "u": u}).change else {
        panic!();
    };
    assert_eq!(document(&sets), doc! {"a.b": 1, "e": "x"});
}

#[test]
fn an_upsert_seeds_the_certain_equalities_that_the_update_leaves_alone() {
    let seed =
        |q: Document, u: Document| match update(doc! {"q": q, "u": u, "upsert": true}).inserts {
            Inserts::Seeded(seed) => document(&seed),
            other => panic!("{other:?}"),
        };
    let inc = doc! {"$inc": {"n": 1}};
    let q = doc! {
        "_id": 5, "a": {"$eq": 1, "$gt": 0}, "b": {"x": 1}, "c.d": 1, "e": {"$gt": 1}, "n": 1,
        "r": bson::Regex { pattern: "x".try_into().unwrap(), options: "".try_into().unwrap() },
        "$and": [{"f": [1]}, {"g": 1}, {"$and": [{"h": null}]}], "$or": [{"i": 1}],
    };
    assert_eq!(
        seed(q, inc.clone()),
        doc! {"_id": 5, "a": 1, "b": {"x": 1}, "f": [1], "g": 1, "h": null}
    );
    assert_eq!(seed(doc! {"a": 1, "$and": [{"a": 1}]}, inc), doc! {});
    let set = doc! {"$set": {"a": 2, "b.c": 1}, "$setOnInsert": {"d": 4}};
    assert_eq!(
        seed(doc! {"a": 1, "b": {}, "e": 5}, set),
        doc! {"e": 5, "d": 4}
    );
    assert_eq!(
        seed(doc! {"_id": 1}, doc! {"$set": {"a": 2}}),
        doc! {"_id": 1, "a": 2}
    );
    let pipeline = vec![doc! {"$unset": "a"}];
    let by_pipeline = update(doc! {"q": {"a": 1, "b": 2}, "u": pipeline, "upsert": true});
    assert_eq!(
        by_pipeline.inserts,
        Inserts::Seeded(doc! {"b": 2}.to_vec().unwrap().into())
    );
    assert_eq!(
        update(doc! {"q": {"b": 2}, "u": {"$set": {"a": 1}}}).inserts,
        Inserts::Nothing
    );
}

#[test]
fn a_replacement_takes_the_id_of_its_selector() {
    let inserted = |q: Document, u: Document| match update(doc! {"q": q, "u": u}) {
        Statement {
            change: Change::Replaces,
            inserts: Inserts::Document(d),
            ..
        } => document(&d),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        inserted(doc! {"_id": 5}, doc! {"a": 1}),
        doc! {"_id": 5, "a": 1}
    );
    assert_eq!(
        inserted(doc! {"_id": {"$in": [5]}}, doc! {"a": 1}),
        doc! {"a": 1}
    );
    assert_eq!(inserted(doc! {"_id": 5}, doc! {"_id": 6}), doc! {"_id": 6});
    assert_eq!(inserted(doc! {}, doc! {}), doc! {});
    // Under a collation "X" may select "x", which keeps its `_id`.
    let collated = doc! {"q": {"_id": "X"}, "u": {"a": 1}, "collation": {"locale": "en"}};
    let whole = doc! {"a": 1}.to_vec().unwrap();
    assert_eq!(update(collated).inserts, Inserts::Document(whole.into()));
}

#[test]
fn values_that_are_not_certain_are_not_told() {
    let zero = Bson::Timestamp(bson::Timestamp {
        time: 0,
        increment: 0,
    });
    let inserts =
        Statement::landed_insert(&doc! {"a": {"b": 1}, "t": zero}.to_vec().unwrap()).inserts;
    assert_eq!(inserts.values_at("a.b").unwrap().values.len(), 1);
    assert_eq!(inserts.values_at("c"), Some(Reached::default()));
    assert_eq!(
        (inserts.values_at("_id"), inserts.values_at("t")),
        (None, None)
    );
    let seeded = Inserts::Seeded(doc! {"a": 1}.to_vec().unwrap().into());
    assert!(seeded.values_at("a").is_some() && seeded.values_at("b").is_none());
    assert_eq!(Inserts::Anything.values_at("a"), None);
    let change = update(doc! {"q": {}, "u": {"$set": {"a.b": [1, 2]}}}).change;
    assert_eq!(change.values_at("a.b").unwrap().values.len(), 2);
    assert_eq!(change.values_at("a"), None);
}

#[test]
fn change_events_select_by_id_alone() {
    let key = doc! {"shard": 3, "_id": "x"}.to_vec().unwrap();
    let deleted = Statement::landed_delete(&key);
    let filter = document(&deleted.selects.unwrap().filter);
    assert_eq!(filter, doc! {"_id": {"$eq": "x"}});
    let without_id = Statement::landed_delete(&doc! {}.to_vec().unwrap());
    assert_eq!(document(&without_id.selects.unwrap().filter), doc! {});
}

#[test]
fn a_reply_tells_whether_an_upsert_inserted() {
    let id = doc! {"x": 7}.to_vec().unwrap();
    let id = doc::find(&id, "x").unwrap();
    let inserts = |q: Document, u: Bson, upserted| {
        update(doc! {"q": q, "u": u, "upsert": true})
            .answered(upserted)
            .inserts
    };
    let set: Bson = doc! {"$set": {"a": 1}}.into();
    let seeded = |d: Document| Inserts::Seeded(d.to_vec().unwrap().into());
    assert_eq!(inserts(doc! {"b": 2}, set.clone(), None), Inserts::Nothing);
    assert_eq!(
        inserts(doc! {"b": 2}, set, Some(&id)),
        seeded(doc! {"_id": 7, "b": 2, "a": 1})
    );
    let pipeline: Bson = vec![doc! {"$project": {"a": 1}}].into();
    assert_eq!(
        inserts(doc! {"b": 2}, pipeline, Some(&id)),
        seeded(doc! {"_id": 7})
    );
    let whole = |d: Document| Inserts::Document(d.to_vec().unwrap().into());
    assert_eq!(
        inserts(doc! {}, doc! {"a": 1}.into(), Some(&id)),
        whole(doc! {"_id": 7, "a": 1})
    );
    assert_eq!(
        inserts(doc! {}, doc! {"a": 1}.into(), None),
        whole(doc! {"a": 1})
    );
}
