//! The bullets of rule 7.

use bson::{Bson, Document, Timestamp, doc};
use bytes::Bytes;

use super::*;
use crate::command::{Command, statements};
use crate::wire::build;
use crate::wire::op_msg::OpMsg;

mod conditions;

fn plan(mut read: Document) -> ReadPlan {
    read.insert("$db", "d");
    ReadPlan::of(&read.to_vec().unwrap()).unwrap()
}

fn find(filter: Document, more: Document) -> ReadPlan {
    let mut read = doc! {"find": "c", "filter": filter};
    read.extend(more);
    plan(read)
}

fn statement(mut write: Document) -> Statement {
    write.insert("$db", "d");
    let body = Bytes::from(write.to_vec().unwrap());
    let bytes = build::op_msg(1, 0, 0, &body);
    let msg = OpMsg::parse(&crate::wire::Frame { bytes }).unwrap();
    let mut all = statements(&Command::parse(&msg).unwrap(), &msg).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn insert(document: Document) -> Statement {
    statement(doc! {"insert": "c", "documents": [document]})
}

fn update(q: Document, u: impl Into<Bson>) -> Statement {
    statement(doc! {"update": "c", "updates": [{"q": q, "u": u.into(), "multi": true}]})
}

fn upsert(q: Document, u: impl Into<Bson>) -> Statement {
    statement(doc! {"update": "c", "updates": [{"q": q, "u": u.into(), "upsert": true}]})
}

fn delete(q: Document) -> Statement {
    statement(doc! {"delete": "c", "deletes": [{"q": q, "limit": 0}]})
}

fn set(fields: Document) -> Document {
    doc! {"$set": fields}
}

/// Whether an answer with these documents survives.
fn kept(plan: &ReadPlan, documents: &[Document], statement: &Statement) -> bool {
    let documents: Vec<_> = documents.iter().map(|d| d.to_vec().unwrap()).collect();
    let mut iter = documents.iter().map(Vec::as_slice);
    survives(plan, Some(&mut iter), statement, None, &Work::unbounded())
}

fn kept_unseen(plan: &ReadPlan, statement: &Statement) -> bool {
    survives(plan, None, statement, None, &Work::unbounded())
}

#[test]
fn an_insert_spares_reads_whose_filter_does_not_match_the_document() {
    let read = find(
        doc! {"a": 1},
        doc! {"sort": {"b": 1}, "skip": 1, "limit": 2},
    );
    assert!(kept_unseen(&read, &insert(doc! {"_id": 1, "a": 2})));
    assert!(!kept_unseen(&read, &insert(doc! {"_id": 1, "a": 1})));
    assert!(!kept_unseen(&read, &insert(doc! {"_id": 1, "a": [1, 2]})));
    for read in [
        doc! {"count": "c", "query": {"a": 1}},
        doc! {"distinct": "c", "key": "b", "query": {"a": 1}},
        doc! {"aggregate": "c", "pipeline": [{"$match": {"a": 1}}, {"$group": {"_id": "$b"}}], "cursor": {}},
    ] {
        let read = plan(read);
        assert!(kept_unseen(&read, &insert(doc! {"_id": 1, "a": 2})));
        assert!(!kept_unseen(&read, &insert(doc! {"_id": 1, "a": 1})));
    }
}

#[test]
fn what_the_server_fills_in_is_not_known_of_an_insert() {
    let zero = Bson::Timestamp(Timestamp {
        time: 0,
        increment: 0,
    });
    let by_id = find(doc! {"_id": {"$type": "objectId"}}, doc! {});
    assert!(!kept_unseen(&by_id, &insert(doc! {"a": 1})));
    assert!(kept_unseen(&by_id, &insert(doc! {"_id": 1})));
    let by_time = find(
        doc! {"t": {"$gt": Timestamp { time: 1, increment: 0 }}},
        doc! {},
    );
    assert!(!kept_unseen(&by_time, &insert(doc! {"_id": 1, "t": &zero})));
    // Where the filter refuses what is known, the rest doesn't matter.
    let by_both = find(doc! {"_id": 7, "a": 1}, doc! {});
    assert!(kept_unseen(&by_both, &insert(doc! {"a": 2, "t": &zero})));
    assert!(kept_unseen(&by_both, &insert(doc! {"t": zero})));
}

#[test]
fn an_update_of_other_paths_spares_what_does_not_show_them() {
    let write = update(doc! {}, set(doc! {"n.x": 1}));
    let shown = doc! {"projection": {"a": 1, "b": 1}, "sort": {"b": 1}, "skip": 1, "limit": 3};
    assert!(kept_unseen(&find(doc! {"a": 1}, shown), &write));
    assert!(kept_unseen(
        &find(doc! {}, doc! {"projection": {"n": 0}}),
        &write
    ));
    assert!(kept_unseen(
        &plan(doc! {"count": "c", "query": {"a": 1}}),
        &write
    ));
    assert!(kept_unseen(
        &plan(doc! {"distinct": "c", "key": "a"}),
        &write
    ));
    assert!(!kept_unseen(
        &plan(doc! {"count": "c", "query": {"n.x": 1}}),
        &write
    ));
    assert!(!kept_unseen(
        &plan(doc! {"distinct": "c", "key": "n.y"}),
        &write
    ));
    assert!(!kept_unseen(
        &find(doc! {"n": 1}, doc! {"projection": {"a": 1}}),
        &write
    ));
    let sorted = doc! {"projection": {"a": 1}, "sort": {"n.x.y": 1}};
    assert!(!kept_unseen(&find(doc! {}, sorted), &write));
    // Setting n.x may create n, so showing n.y shows the change.
    assert!(!kept_unseen(
        &find(doc! {}, doc! {"projection": {"n.y": 1}}),
        &write
    ));
    assert!(!kept_unseen(&find(doc! {}, doc! {}), &write));
}

#[test]
fn an_update_of_other_documents_spares_what_shows_none_of_them() {
    let read = find(doc! {"a": 1}, doc! {"sort": {"b": 1}, "limit": 2});
    let shown = [doc! {"_id": 1, "a": 1, "b": 3}];
    for q in [
        doc! {"_id": 2},
        doc! {"b": {"$gt": 3}},
        doc! {"a": 1, "x": 5},
    ] {
        assert!(
            kept(&read, &shown, &update(q.clone(), set(doc! {"n": 1}))),
            "{q}"
        );
    }
    for q in [
        doc! {"_id": 1},
        doc! {"b": {"$gte": 3}},
        doc! {},
        doc! {"$expr": true},
    ] {
        assert!(
            !kept(&read, &shown, &update(q.clone(), set(doc! {"n": 1}))),
            "{q}"
        );
    }
    let elsewhere = update(doc! {"_id": 2}, set(doc! {"n": 1}));
    assert!(kept(&read, &[], &elsewhere));
    assert!(
        !kept_unseen(&read, &elsewhere),
        "documents that aren't known"
    );
}

#[test]
fn an_update_that_moves_documents_into_or_within_the_filter_spares_nothing() {
    let read = find(doc! {"a": {"$gt": 1}}, doc! {"sort": {"b": 1}, "limit": 1});
    let shown = [doc! {"_id": 1, "a": 2, "b": 1}];
    for u in [
        doc! {"$inc": {"a": 1}},
        set(doc! {"a": 5}),
        set(doc! {"b": 0}),
        doc! {"$rename": {"x": "a"}},
    ] {
        assert!(
            !kept(&read, &shown, &update(doc! {"_id": 2}, u.clone())),
            "{u}"
        );
    }
    let hinted = find(doc! {}, doc! {"hint": "sparse"});
    let write = update(doc! {"_id": 2}, set(doc! {"a": 1}));
    assert!(
        !kept(&hinted, &shown, &write),
        "an index may hold it only now"
    );
}

#[test]
fn a_set_that_makes_others_leave_the_filter_spares_what_is_shown() {
    let open = doc! {"state": "open", "user": 1};
    let done = update(doc! {"_id": 2}, set(doc! {"state": "done", "at": 5}));
    let shown = [doc! {"_id": 1, "state": "open", "user": 1}];
    assert!(kept(
        &find(open.clone(), doc! {"limit": 5, "sort": {"at": 1}}),
        &shown,
        &done
    ));
    let nested = doc! {"$and": [{"state": {"$in": ["open", "new"]}}]};
    assert!(kept(&find(nested, doc! {}), &shown, &done));
    let own = update(doc! {"_id": 1}, set(doc! {"state": "done"}));
    assert!(!kept(&find(open.clone(), doc! {}), &shown, &own));
    assert!(!kept(&find(open.clone(), doc! {"skip": 1}), &shown, &done));
    assert!(!kept(
        &find(open.clone(), doc! {"hint": "x"}),
        &shown,
        &done
    ));
    assert!(!kept_unseen(
        &plan(doc! {"count": "c", "query": &open}),
        &done
    ));
    for u in [
        set(doc! {"state": "open"}),
        set(doc! {"state.x": "done"}),
        set(doc! {"state.0": "done"}),
        doc! {"$max": {"state": "done"}},
    ] {
        assert!(
            !kept(
                &find(open.clone(), doc! {}),
                &shown,
                &update(doc! {"_id": 2}, u.clone())
            ),
            "{u}"
        );
    }
    let pipeline = vec![doc! {"$set": {"state": "done"}}];
    assert!(!kept(
        &find(open, doc! {}),
        &shown,
        &update(doc! {"_id": 2}, pipeline)
    ));
}

#[test]
fn a_delete_of_other_documents_spares_lists_without_skip() {
    let shown = [doc! {"_id": 1, "a": 1}];
    let write = delete(doc! {"_id": 2});
    for more in [
        doc! {},
        doc! {"sort": {"b": 1}, "limit": 1},
        doc! {"hint": "x"},
        doc! {"skip": 0},
    ] {
        assert!(
            kept(&find(doc! {"a": 1}, more.clone()), &shown, &write),
            "{more}"
        );
    }
    assert!(!kept(
        &find(doc! {"a": 1}, doc! {"skip": 1}),
        &shown,
        &write
    ));
    assert!(!kept(
        &find(doc! {"a": 1}, doc! {}),
        &shown,
        &delete(doc! {"a": 1})
    ));
    assert!(!kept_unseen(
        &plan(doc! {"count": "c", "query": {"a": 1}}),
        &write
    ));
    assert!(!kept_unseen(
        &plan(doc! {"distinct": "c", "key": "a"}),
        &write
    ));
    let remove = statement(doc! {"findAndModify": "c", "query": {"_id": 2}, "remove": true});
    assert!(kept(&find(doc! {}, doc! {}), &shown, &remove));
}

#[test]
fn a_replacement_is_a_delete_and_an_insert() {
    let read = find(doc! {"a": 1}, doc! {});
    let shown = [doc! {"_id": 1, "a": 1}];
    assert!(kept(&read, &shown, &update(doc! {"_id": 2}, doc! {"a": 2})));
    assert!(!kept(
        &read,
        &shown,
        &update(doc! {"_id": 2}, doc! {"a": 1})
    ));
    assert!(!kept(
        &read,
        &shown,
        &update(doc! {"_id": 1}, doc! {"a": 2})
    ));
    assert!(!kept(
        &find(doc! {"a": 1}, doc! {"skip": 1}),
        &shown,
        &update(doc! {"_id": 2}, doc! {"a": 2})
    ));
    // The selector's 5 may select 5.0, which stays what it is.
    let doubles = find(doc! {"_id": {"$type": "double"}}, doc! {});
    assert!(!kept(
        &doubles,
        &[],
        &update(doc! {"_id": 5}, doc! {"a": 1})
    ));
}

#[test]
fn an_upsert_is_also_an_insert_of_what_is_certain() {
    let shown = [doc! {"_id": 1, "user": 1}];
    let read = find(doc! {"user": 1}, doc! {"projection": {"user": 1}});
    let inc = doc! {"$inc": {"n": 1}};
    assert!(kept(&read, &shown, &upsert(doc! {"user": 2}, inc.clone())));
    assert!(kept(
        &read,
        &shown,
        &upsert(doc! {"$and": [{"user": {"$eq": 2}}]}, inc.clone())
    ));
    assert!(!kept(&read, &shown, &upsert(doc! {"user": 1}, inc.clone())));
    assert!(!kept(&read, &shown, &upsert(doc! {"_id": 2}, inc.clone())));
    assert!(!kept(
        &read,
        &shown,
        &upsert(doc! {"user": {"$gt": 2}}, inc)
    ));
    // What the operators touch isn't what the selector says.
    assert!(!kept(
        &read,
        &shown,
        &upsert(doc! {"user": 2}, doc! {"$inc": {"user": -1}})
    ));
    assert!(!kept(
        &read,
        &shown,
        &upsert(doc! {"user": {"x": 2}}, set(doc! {"user.y": 1}))
    ));
    assert!(!kept(
        &read,
        &shown,
        &upsert(doc! {"user": 2}, doc! {"$setOnInsert": {"user": 1}})
    ));
    assert!(kept(
        &read,
        &shown,
        &upsert(doc! {"_id": 2}, doc! {"$setOnInsert": {"user": 2}})
    ));
    let pipeline = vec![doc! {"$project": {"user": 1}}];
    assert!(!kept(&read, &shown, &upsert(doc! {"user": 2}, pipeline)));
    // The rest of the document is anybody's guess.
    let missing = find(doc! {"b": null}, doc! {"projection": {"user": 1}});
    assert!(!kept(
        &missing,
        &[],
        &upsert(doc! {"user": 2}, set(doc! {"c": 1}))
    ));
}

#[test]
fn other_ids_spare_anything() {
    let reads = [
        find(doc! {"_id": 1, "a": 1}, doc! {"skip": 1, "sort": {"a": 1}}),
        find(doc! {"_id": {"$in": [1, 3.0]}}, doc! {"hint": "x"}),
        plan(doc! {"count": "c", "query": {"_id": 1_i64}}),
        plan(doc! {"distinct": "c", "key": "a", "query": {"_id": 1}}),
        plan(
            doc! {"aggregate": "c", "pipeline": [{"$match": {"_id": 1}}, {"$group": {"_id": 1}}], "cursor": {}},
        ),
    ];
    let a = set(doc! {"a": 1});
    for read in &reads {
        for write in [
            update(doc! {"_id": 2}, a.clone()),
            update(doc! {"_id": {"$in": [2, 4]}}, a.clone()),
            update(doc! {"_id": 2}, vec![doc! {"$project": {"a": 1}}]),
            upsert(doc! {"_id": 2}, a.clone()),
            upsert(doc! {"_id": 2}, doc! {"a": 1}),
            delete(doc! {"_id": "x", "$expr": true}),
            insert(doc! {"_id": 2, "a": 1}),
        ] {
            assert!(kept_unseen(read, &write), "{write:?}");
        }
        for write in [
            delete(doc! {"_id": 1.0}),
            delete(doc! {"_id": {"$in": [1, 2]}}),
            delete(doc! {"_id": {"$ne": 1}}),
            update(doc! {"_id": 1}, doc! {"b": 1}),
            upsert(doc! {"_id": 2}, vec![doc! {"$set": {"_id": 1}}]),
        ] {
            assert!(!kept_unseen(read, &write), "{write:?}");
        }
    }
}

#[test]
fn nothing_survives_once_the_work_is_spent() {
    let read = find(doc! {"a": 1}, doc! {});
    let write = insert(doc! {"_id": 1, "a": 2});
    let work = Work::new(100);
    let kept = (0..100)
        .filter(|_| survives(&read, None, &write, None, &work))
        .count();
    assert!((1..50).contains(&kept), "{kept}");
}

#[test]
fn an_insert_of_very_many_zero_timestamps_ends_what_it_may_match() {
    let zero = Bson::Timestamp(Timestamp {
        time: 0,
        increment: 0,
    });
    let document = |n: usize| -> Document {
        let zeros = (0..n).map(|i| (format!("t{i}"), zero.clone()));
        [("_id".to_owned(), 1.into()), ("a".to_owned(), 2.into())]
            .into_iter()
            .chain(zeros)
            .collect()
    };
    let read = find(doc! {"a": 1}, doc! {});
    assert!(kept(&read, &[], &insert(document(30))));
    assert!(!kept(&read, &[], &insert(document(1_000))));
}

#[test]
fn an_upsert_with_many_fields_inserts_the_same_as_one_with_few() {
    let fields = |name: &str, n: usize| -> Document {
        (0..n).map(|i| (format!("{name}{i}"), 1.into())).collect()
    };
    let seed = |filter: Document, set: Document| match upsert(filter, doc! {"$set": set}).inserts {
        Inserts::Seeded(seed) => Some(Document::from_reader(&*seed).unwrap().len()),
        _ => None,
    };
    assert_eq!(seed(fields("a", 100), fields("b", 100)), Some(200));
    assert_eq!(
        seed(fields("a", 100), fields("a", 50)),
        Some(50),
        "a field of both may keep either value"
    );
    assert_eq!(seed(fields("a", 300), fields("b", 10)), None);
    assert_eq!(seed(fields("a", 10), fields("b", 300)), None);
    assert_eq!(
        update(doc! {"a": 1}, set(doc! {"b": 1})).inserts,
        Inserts::Nothing
    );
}
