use bson::{Bson, Document, doc};

use super::*;

fn body(documents: &[Document]) -> Vec<u8> {
    let batch: Vec<Bson> = documents.iter().cloned().map(Bson::Document).collect();
    doc! {"cursor": {"firstBatch": batch, "id": 0_i64, "ns": "d.c"}, "ok": 1.0}
        .to_vec()
        .unwrap()
}

fn plain() -> Grounds {
    Grounds {
        plain: true,
        unique: vec![vec!["email".to_owned()]],
    }
}

fn of(command: &Document, kept: &[Document], fresh: &[Document], grounds: &Grounds) -> Verdict {
    let kind = match command.contains_key("pipeline") {
        true => Kind::Aggregate,
        false => Kind::Find,
    };
    let command = command.to_vec().unwrap();
    judge(&command, kind, &body(kept), &body(fresh), grounds)
}

fn player(id: i32, coins: i32) -> Document {
    doc! {"_id": id, "coins": coins}
}

#[test]
fn what_a_limit_cannot_have_cut_is_compared() {
    let (old, new) = ([player(1, 5)], [player(1, 6)]);
    let other = [player(2, 5)];
    for (find, grounds, differs) in [
        (doc! {"find": "c", "limit": 2}, Grounds::default(), true),
        (doc! {"find": "c", "limit": 1}, Grounds::default(), false),
        (
            doc! {"find": "c", "filter": {"_id": 1}, "limit": 1},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "filter": {"_id": {"$eq": 1}}, "limit": 1},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "filter": {"$and": [{"_id": 1}]}, "limit": 1},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "filter": {"_id": {"$in": [1]}}, "limit": 1},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "filter": {"_id": {"$in": [1, 2]}}, "limit": 1},
            plain(),
            false,
        ),
        (
            doc! {"find": "c", "filter": {"_id": {"$gt": 0}}, "limit": 1},
            plain(),
            false,
        ),
        (
            doc! {"find": "c", "filter": {"_id": null}, "limit": 1},
            plain(),
            false,
        ),
        (
            doc! {"find": "c", "filter": {"_id": "a"}, "limit": 1, "collation": {"locale": "en"}},
            plain(),
            false,
        ),
        (
            doc! {"find": "c", "filter": {"email": "a"}, "limit": 1},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "filter": {"name": "a"}, "limit": 1},
            plain(),
            false,
        ),
        (
            doc! {"find": "c", "limit": 1, "sort": {"_id": 1}},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "limit": 1, "sort": {"email": 1}},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "limit": 1, "skip": 1, "sort": {"email": 1, "x": 1}},
            plain(),
            true,
        ),
        (
            doc! {"find": "c", "limit": 1, "sort": {"name": 1}},
            plain(),
            false,
        ),
        (
            doc! {"find": "c", "batchSize": 1, "singleBatch": true},
            plain(),
            false,
        ),
    ] {
        let verdict = of(&find, &old, &other, &grounds);
        assert_eq!(verdict == Verdict::Differ, differs, "{find}");
        if grounds.plain {
            let verdict = of(&find, &old, &new, &grounds);
            assert_eq!(
                verdict,
                Verdict::Differ,
                "one document, two contents: {find}"
            );
        }
        assert_eq!(of(&find, &old, &old, &grounds), Verdict::Agree, "{find}");
        assert_eq!(of(&find, &old, &[], &grounds), Verdict::Differ, "{find}");
    }
}

#[test]
fn of_ties_the_keys_and_what_lies_before_them_are_compared() {
    let top = doc! {"find": "c", "sort": {"coins": -1}, "limit": 3};
    let kept = [player(1, 9), player(2, 7), player(3, 5)];
    for (fresh, verdict) in [
        ([player(1, 9), player(2, 7), player(4, 5)], Verdict::Open),
        ([player(1, 9), player(4, 7), player(3, 5)], Verdict::Differ),
        ([player(4, 9), player(2, 7), player(3, 5)], Verdict::Differ),
        ([player(1, 9), player(2, 7), player(4, 6)], Verdict::Differ),
        ([player(2, 7), player(1, 9), player(3, 5)], Verdict::Differ),
    ] {
        assert_eq!(of(&top, &kept, &fresh, &plain()), verdict, "{fresh:?}");
    }
    let mut page = top.clone();
    page.insert("skip", 1);
    let tied_before = [player(4, 9), player(2, 7), player(3, 5)];
    assert_eq!(of(&page, &kept, &tied_before, &plain()), Verdict::Open);
    // What isn't sorted, or isn't compared by bytes, has no order.
    let all = doc! {"find": "c"};
    let turned = [player(3, 5), player(1, 9), player(2, 7)];
    assert_eq!(of(&all, &kept, &turned, &plain()), Verdict::Agree);
    let mut collated = top.clone();
    collated.insert("collation", doc! {"locale": "en"});
    let renamed = |n: &str| {
        [
            doc! {"_id": 1, "coins": n},
            doc! {"_id": 2, "coins": n},
            doc! {"_id": 3, "coins": "c"},
        ]
    };
    assert_eq!(
        of(
            &collated,
            &renamed("a"),
            &renamed("A")[..],
            &Grounds::default()
        ),
        Verdict::Open
    );
    // A key that is computed for show, or lies in an array, says nothing of the order.
    let mut computed = top.clone();
    computed.insert("projection", doc! {"coins": {"$abs": "$x"}});
    let (a, b) = (
        [player(1, 1), player(2, 2), player(3, 3)],
        [player(1, 1), player(2, 2), player(4, 4)],
    );
    assert_eq!(of(&computed, &a, &b, &plain()), Verdict::Open);
    let lists = |n: i32| {
        [
            doc! {"_id": n, "coins": [n, 9]},
            doc! {"_id": 8, "coins": [1]},
            doc! {"_id": 9, "coins": [1]},
        ]
    };
    assert_eq!(of(&top, &lists(1), &lists(2), &plain()), Verdict::Open);
    // Numbers of several types tie.
    let wide = [player(1, 9), player(2, 7), doc! {"_id": 5, "coins": 5.0}];
    assert_eq!(of(&top, &kept, &wide, &plain()), Verdict::Open);
}

#[test]
fn groups_are_a_set_and_sums_may_end_in_other_digits() {
    let group = |accumulator: Document| doc! {"aggregate": "c", "pipeline": [{"$group": {"_id": "$guild", "x": accumulator}}]};
    let g = |id: i32, x: Bson| doc! {"_id": id, "x": x};
    let sum = group(doc! {"$sum": "$coins"});
    let kept = [g(1, 5.into()), g(2, 0.3.into())];
    for (fresh, verdict) in [
        (
            [g(2, 0.300_000_000_000_000_04.into()), g(1, 5.into())],
            Verdict::Agree,
        ),
        ([g(1, 6.into()), g(2, 0.3.into())], Verdict::Differ),
        ([g(3, 5.into()), g(2, 0.3.into())], Verdict::Differ),
        ([g(1, 5.into()), g(2, 0.31.into())], Verdict::Differ),
    ] {
        assert_eq!(of(&sum, &kept, &fresh, &plain()), verdict, "{fresh:?}");
    }
    let big = |n: i64| [g(1, n.into())];
    assert_eq!(
        of(
            &sum,
            &big(1_000_000_000_001),
            &big(1_000_000_000_002),
            &plain()
        ),
        Verdict::Differ
    );
    let sets = |a: i32, b: i32| [g(1, vec![a, b].into())];
    let set = group(doc! {"$addToSet": "$coins"});
    assert_eq!(of(&set, &sets(1, 2), &sets(2, 1), &plain()), Verdict::Agree);
    assert_eq!(
        of(&set, &sets(1, 2), &sets(2, 3), &plain()),
        Verdict::Differ
    );
    // What the order decides isn't looked at, all else is.
    let first = group(doc! {"$first": "$coins"});
    assert_eq!(
        of(&first, &[g(1, 5.into())], &[g(1, 6.into())], &plain()),
        Verdict::Agree
    );
    assert_eq!(
        of(&first, &[g(1, 5.into())], &[g(2, 5.into())], &plain()),
        Verdict::Differ
    );
    // Where strings don't compare by bytes, a group has any of their names.
    let named = |n: &str| [doc! {"_id": n, "x": 1}];
    assert_eq!(
        of(&sum, &named("a"), &named("A"), &Grounds::default()),
        Verdict::Agree
    );
}

#[test]
fn pipelines_promise_what_their_stages_leave() {
    let kept = [player(1, 9), player(2, 7)];
    let other = [player(1, 9), player(3, 7)];
    for (pipeline, verdict) in [
        (vec![doc! {"$match": {"guild": 1}}], Verdict::Differ),
        (
            vec![doc! {"$match": {"guild": 1}}, doc! {"$limit": 3}],
            Verdict::Differ,
        ),
        (
            vec![doc! {"$match": {"guild": 1}}, doc! {"$limit": 2}],
            Verdict::Open,
        ),
        (
            vec![doc! {"$match": {"_id": 1}}, doc! {"$limit": 2}],
            Verdict::Differ,
        ),
        (
            vec![doc! {"$sort": {"_id": 1}}, doc! {"$limit": 2}],
            Verdict::Differ,
        ),
        (
            vec![
                doc! {"$sort": {"_id": 1}},
                doc! {"$sort": {"coins": -1}},
                doc! {"$limit": 2},
            ],
            Verdict::Open,
        ),
        (
            vec![
                doc! {"$sort": {"_id": 1}},
                doc! {"$limit": 2},
                doc! {"$sort": {"coins": 1}},
            ],
            Verdict::Differ,
        ),
        (
            vec![
                doc! {"$sort": {"coins": -1}},
                doc! {"$limit": 2},
                doc! {"$project": {"coins": 1}},
            ],
            Verdict::Open,
        ),
        // Which documents come isn't decided: neither is what becomes of them.
        (
            vec![doc! {"$limit": 5}, doc! {"$match": {"guild": 1}}],
            Verdict::Agree,
        ),
        (
            vec![doc! {"$limit": 5}, doc! {"$group": {"_id": "$guild"}}],
            Verdict::Agree,
        ),
        (
            vec![doc! {"$limit": 2}, doc! {"$sort": {"coins": 1}}],
            Verdict::Open,
        ),
        (
            vec![
                doc! {"$group": {"_id": "$x", "coins": {"$last": "$y"}}},
                doc! {"$match": {"coins": 1}},
            ],
            Verdict::Agree,
        ),
        (
            vec![
                doc! {"$group": {"_id": "$x", "coins": {"$max": "$y"}}},
                doc! {"$limit": 3},
            ],
            Verdict::Differ,
        ),
        (
            vec![
                doc! {"$group": {"_id": "$x", "coins": {"$max": "$y"}}},
                doc! {"$limit": 2},
            ],
            Verdict::Open,
        ),
        (
            vec![
                doc! {"$lookup": {"from": "x", "as": "y", "localField": "a", "foreignField": "b"}},
            ],
            Verdict::Differ,
        ),
        (vec![doc! {"$facet": {"a": []}}], Verdict::Agree),
        (vec![doc! {"$bucketAuto": {}}], Verdict::Agree),
        (vec![doc! {"$densify": {}}], Verdict::Agree),
    ] {
        let aggregate = doc! {"aggregate": "c", "pipeline": pipeline};
        assert_eq!(
            of(&aggregate, &kept, &other, &plain()),
            verdict,
            "{aggregate}"
        );
    }
    let cut_then_matched =
        doc! {"aggregate": "c", "pipeline": [{"$limit": 5}, {"$match": {"guild": 1}}]};
    assert_eq!(
        of(&cut_then_matched, &kept, &[], &plain()),
        Verdict::Agree,
        "its number neither"
    );
    let count = doc! {"aggregate": "c", "pipeline": [{"$limit": 5}, {"$count": "n"}]};
    assert_eq!(
        of(&count, &[doc! {"n": 4}], &[doc! {"n": 5}], &plain()),
        Verdict::Differ
    );
}

#[test]
fn the_server_says_what_the_collection_is() {
    let listed = |definition: Document| body(&[definition]);
    let indexes = body(&[
        doc! {"key": {"_id": 1}, "name": "_id_"},
        doc! {"key": {"email": 1}, "unique": true},
        doc! {"key": {"a": 1, "b": 1}, "unique": true},
        doc! {"key": {"x": 1}, "unique": true, "sparse": true},
        doc! {"key": {"y": 1}, "unique": true, "partialFilterExpression": {"z": 1}},
        doc! {"key": {"z": 1}},
    ]);
    let known = grounds(
        Some(&listed(doc! {"type": "collection", "options": {}})),
        Some(&indexes),
    );
    let unique: Vec<_> = known.unique.iter().map(|f| f.join(",")).collect();
    assert_eq!(
        (known.plain, unique.join(" ").as_str()),
        (true, "email a,b")
    );
    for definition in [
        doc! {"type": "view", "options": {"viewOn": "c", "pipeline": []}},
        doc! {"type": "collection", "options": {"collation": {"locale": "en"}}},
        doc! {"type": "collection"},
        doc! {"type": "timeseries", "options": {}},
    ] {
        let known = grounds(Some(&listed(definition)), Some(&indexes));
        assert_eq!(known, Grounds::default());
    }
}
