//! The conditions that the bullets of rule 7 come with, and what shapes alone tell.

use super::*;

#[test]
fn the_selector_is_judged_only_by_fields_that_are_shown_whole() {
    let write = |q: Document| update(q, set(doc! {"a": 1}));
    let shown = |projection: Document| find(doc! {}, doc! {"projection": projection});
    let document = [doc! {"_id": 1, "a": 1}];
    assert!(kept(
        &shown(doc! {"a": 1}),
        &document,
        &write(doc! {"_id": 2, "b": 1})
    ));
    assert!(kept(
        &shown(doc! {"a": 1}),
        &document,
        &write(doc! {"a": 2})
    ));
    assert!(!kept(
        &shown(doc! {"a": 1}),
        &document,
        &write(doc! {"b": 2})
    ));
    assert!(kept(
        &shown(doc! {"b": 0}),
        &document,
        &write(doc! {"c": 2})
    ));
    assert!(!kept(
        &shown(doc! {"b": 0}),
        &document,
        &write(doc! {"b": 2})
    ));
    assert!(!kept(
        &shown(doc! {"a": 1, "_id": 0}),
        &[doc! {"a": 1}],
        &write(doc! {"_id": 2})
    ));
    for odd in [
        doc! {"a": {"$slice": 1}},
        doc! {"a": {"$elemMatch": {"b": 1}}},
        doc! {"a.$": 1},
        doc! {"a": "$b"},
        doc! {"a.b": 1},
        doc! {"a": {"b": 1}},
        doc! {"a": {"$meta": "indexKey"}},
    ] {
        assert!(
            !kept(&shown(odd.clone()), &document, &write(doc! {"a": 2})),
            "{odd}"
        );
        assert!(
            kept(&shown(odd.clone()), &document, &write(doc! {"_id": 2})),
            "{odd}"
        );
    }
    // An expression may look at any field.
    let elsewhere = update(doc! {}, set(doc! {"z": 1}));
    assert!(!kept(
        &shown(doc! {"x": {"$add": ["$z", 1]}}),
        &document,
        &elsewhere
    ));
    assert!(kept(&shown(doc! {"a": 1}), &document, &elsewhere));
    for odd in [doc! {"returnKey": true}, doc! {"showRecordId": true}] {
        assert!(
            !kept(
                &find(doc! {}, odd.clone()),
                &document,
                &write(doc! {"_id": 2})
            ),
            "{odd}"
        );
    }
}

#[test]
fn positions_are_dropped_or_cut_off() {
    let read = |filter: Document| find(filter, doc! {"projection": {"x": 1}});
    let writes = |path: &str| update(doc! {}, set(doc! {path: 1}));
    for path in ["a.0.b", "a.$.b", "a.$[].b", "a.$[i].b", "a.0", "a"] {
        assert!(
            !kept_unseen(&read(doc! {"a.b": 1}), &writes(path)),
            "{path}"
        );
        assert!(
            !kept_unseen(&read(doc! {"a.1.b": 1}), &writes(path)),
            "{path}"
        );
        assert!(kept_unseen(&read(doc! {"b": 1}), &writes(path)), "{path}");
    }
    // A new element makes others: a.5 fills the array up with nulls.
    assert!(!kept_unseen(&read(doc! {"a.c": null}), &writes("a.5.b")));
    assert!(kept_unseen(&read(doc! {"a.c": null}), &writes("a.$[].b")));
    assert!(!kept_unseen(&read(doc! {"b": 1}), &writes("0.b")));
    let rename = update(doc! {}, doc! {"$rename": {"a": "b"}});
    for path in ["a", "b"] {
        assert!(!kept_unseen(&read(doc! {path: 1}), &rename));
    }
    // A pipeline's $set of a.b replaces an a that isn't a document.
    let pipeline = update(doc! {}, vec![doc! {"$set": {"a.b": 1}}]);
    assert!(!kept_unseen(&read(doc! {"a.c": null}), &pipeline));
    assert!(kept_unseen(&read(doc! {"b": null}), &pipeline));
}

#[test]
fn aggregations_depend_on_what_their_stages_look_at() {
    let write = update(doc! {}, set(doc! {"n": 1}));
    let read =
        |stages: Vec<Document>| plan(doc! {"aggregate": "c", "pipeline": stages, "cursor": {}});
    let group = doc! {"$group": {"_id": "$a", "sum": {"$sum": "$b"}}};
    for stages in [
        vec![doc! {"$match": {"x": 1}}, group.clone()],
        vec![doc! {"$unwind": "$a"}, doc! {"$sortByCount": "$a"}],
        vec![
            doc! {"$sort": {"a": 1}},
            doc! {"$project": {"a": 1, "x": "$b.c"}},
        ],
        vec![
            doc! {"$set": {"x": {"$add": ["$a", 1]}}},
            doc! {"$match": {"x": 1}},
            doc! {"$count": "m"},
        ],
        vec![
            doc! {"$project": {"a": 1}},
            doc! {"$project": {"x": "$$ROOT"}},
        ],
    ] {
        assert!(kept_unseen(&read(stages.clone()), &write), "{stages:?}");
        assert!(
            !kept_unseen(&read(stages.clone()), &update(doc! {}, set(doc! {"a": 1}))),
            "{stages:?}"
        );
        assert!(
            !kept_unseen(&read(stages.clone()), &delete(doc! {"_id": 1})),
            "{stages:?}"
        );
    }
    for stages in [
        vec![doc! {"$match": {"n": 1}}, group.clone()],
        vec![
            doc! {"$match": {"x": 1}},
            doc! {"$match": {"n": 1}},
            group.clone(),
        ],
        vec![doc! {"$sort": {"n": 1}}, doc! {"$limit": 1}, group.clone()],
        vec![doc! {"$project": {"a": 0}}],
        vec![doc! {"$set": {"a": 1}}],
        vec![doc! {"$replaceWith": "$n"}, group],
        vec![doc! {"$group": {"_id": {"$getField": "n"}}}],
        vec![doc! {"$group": {"_id": "$a", "d": {"$push": "$$ROOT"}}}],
        vec![doc! {"$facet": {"x": [{"$count": "m"}]}}],
    ] {
        assert!(!kept_unseen(&read(stages.clone()), &write), "{stages:?}");
    }
    for list in [
        vec![doc! {"$match": {"a": 1}}],
        vec![
            doc! {"$match": {"a": 1}},
            doc! {"$sort": {"b": 1}},
            doc! {"$limit": 1},
            doc! {"$project": {"a": 1}},
        ],
    ] {
        let list = read(list);
        assert!(kept(
            &list,
            &[doc! {"_id": 1, "a": 1}],
            &delete(doc! {"_id": 2})
        ));
        assert!(!kept(
            &list,
            &[doc! {"_id": 1, "a": 1}],
            &delete(doc! {"_id": 1})
        ));
    }
}

#[test]
fn reach_tells_by_shape_alone() {
    let entries = |by_filter, by_sets, by_document, by_id| Reach::Entries {
        by_filter,
        by_sets,
        by_document,
        by_id,
        by_pre_image: false,
    };
    let user = find(doc! {"user": 1}, doc! {});
    let of = |read: &ReadPlan, write: &Statement| reach(read.shape(), write, None);
    let n = set(doc! {"n": 1});
    assert_eq!(
        of(&user, &insert(doc! {"_id": 1, "user": 2})),
        entries(true, false, false, false)
    );
    assert_eq!(
        of(&user, &update(doc! {"_id": 1}, n.clone())),
        entries(false, false, true, false)
    );
    assert_eq!(
        of(&user, &delete(doc! {"_id": 1})),
        entries(false, false, true, false)
    );
    assert_eq!(
        of(&user, &update(doc! {"_id": 1}, set(doc! {"user": 2}))),
        entries(false, true, true, false)
    );
    assert_eq!(
        of(&user, &update(doc! {"_id": 1}, doc! {"$inc": {"user": 2}})),
        Reach::Everything
    );
    assert_eq!(
        of(&user, &upsert(doc! {"user": 1}, n.clone())),
        entries(true, false, true, false)
    );
    assert_eq!(
        of(&user, &upsert(doc! {"_id": 1}, n.clone())),
        entries(true, false, true, false)
    );
    let shown = find(doc! {"user": 1}, doc! {"projection": {"user": 1}});
    assert_eq!(of(&shown, &update(doc! {}, n.clone())), Reach::Nothing);
    let count = plan(doc! {"count": "c", "query": {"user": 1}});
    assert_eq!(of(&count, &delete(doc! {"_id": 1})), Reach::Everything);
    let by_id = plan(doc! {"count": "c", "query": {"_id": 1, "a": 1}});
    assert_eq!(by_id.shape().anchor(), ["_id"]);
    assert_eq!(
        of(&by_id, &delete(doc! {"_id": 1})),
        entries(false, false, false, true)
    );
    let hidden = find(doc! {"user": 1}, doc! {"projection": {"_id": 0, "n": 1}});
    assert_eq!(of(&hidden, &update(doc! {"_id": 1}, n)), Reach::Everything);
}

/// The best of a guild.
fn leaderboard(guild: impl Into<Bson>) -> ReadPlan {
    let more = doc! {"sort": {"score": -1}, "limit": 10};
    find(doc! {"guild": guild.into()}, more)
}

fn kept_knowing(plan: &ReadPlan, write: &Statement, pre_image: Document) -> bool {
    survives(
        plan,
        None,
        write,
        Some(&pre_image.to_vec().unwrap()),
        &Work::unbounded(),
    )
}

#[test]
fn what_is_known_of_the_only_document_and_stays_spares_reads_that_refuse_it() {
    let scored = update(doc! {"_id": 1}, doc! {"$inc": {"score": 5}});
    let known = doc! {"_id": 1, "guild": 7};
    assert!(!kept_unseen(&leaderboard(8), &scored));
    assert!(kept_knowing(&leaderboard(8), &scored, known.clone()));
    assert!(!kept_knowing(&leaderboard(7), &scored, known.clone()));
    assert!(!kept_knowing(&leaderboard(7.0), &scored, known.clone()));
    let several = doc! {"_id": 1, "guild": [7, 8]};
    assert!(!kept_knowing(&leaderboard(8), &scored, several.clone()));
    assert!(kept_knowing(&leaderboard(9), &scored, several));
    let other = doc! {"_id": 1, "name": "x"};
    assert!(!kept_knowing(&leaderboard(8), &scored, other));
    for read in [
        doc! {"count": "c", "query": {"guild": 8, "score": {"$gt": 5}}},
        doc! {"aggregate": "c", "pipeline": [{"$match": {"guild": 8}}, {"$group": {"_id": 1, "all": {"$sum": "$score"}}}], "cursor": {}},
        doc! {"find": "c", "filter": {"guild": 8}, "sort": {"score": 1}, "skip": 3},
    ] {
        let read = plan(read);
        assert!(!kept_unseen(&read, &scored));
        assert!(kept_knowing(&read, &scored, known.clone()));
    }
    // What an upsert may insert is another matter.
    let upserted = upsert(doc! {"_id": 1}, doc! {"$inc": {"score": 5}});
    assert!(!kept_knowing(&leaderboard(8), &upserted, known));
}

#[test]
fn a_pre_image_reaches_the_reads_that_want_its_values() {
    let scored = update(doc! {"_id": 1}, doc! {"$inc": {"score": 5}});
    let knowing = |read: &ReadPlan, pre_image: Document| {
        reach(read.shape(), &scored, Some(&pre_image.to_vec().unwrap()))
    };
    let by_pre_image = Reach::Entries {
        by_filter: false,
        by_sets: false,
        by_document: false,
        by_id: false,
        by_pre_image: true,
    };
    let board = leaderboard(7);
    assert_eq!(knowing(&board, doc! {"guild": 7}), by_pre_image);
    assert_eq!(knowing(&board, doc! {"other": 7}), Reach::Everything);
    let whole = find(doc! {}, doc! {"sort": {"score": -1}});
    assert_eq!(knowing(&whole, doc! {"guild": 7}), Reach::Everything);
    assert_eq!(telling_fields(board.shape(), &scored), ["guild"]);
    assert!(telling_fields(whole.shape(), &scored).is_empty());
    let moved = update(doc! {"_id": 1}, set(doc! {"guild.x": 8}));
    assert!(telling_fields(board.shape(), &moved).is_empty());
}

#[test]
fn strings_under_a_collation_prove_nothing() {
    let collation = doc! {"locale": "en", "strength": 1};
    let collated = find(doc! {"_id": "a"}, doc! {"collation": &collation});
    assert!(!kept_unseen(&collated, &delete(doc! {"_id": "A"})));
    assert!(!kept_unseen(&collated, &insert(doc! {"_id": "A"})));
    let read = find(doc! {"_id": "a"}, doc! {});
    assert!(kept_unseen(&read, &delete(doc! {"_id": "A"})));
    let by_collation = statement(
        doc! {"delete": "c", "deletes": [{"q": {"_id": "A"}, "limit": 1, "collation": collation}]},
    );
    assert!(!kept(&read, &[doc! {"_id": "a"}], &by_collation));
}
