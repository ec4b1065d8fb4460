//! The stage before a backend that plays a script; what rules do, and what they leave alone.

use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document, doc};

use super::*;
use crate::config::RewriteRule;
use crate::pipeline::scripted::{Scripted, request};
use crate::pipeline::{Fences, Pipeline};

/// A command in its other form, and the rules that made it.
fn done(command: &Document) -> Option<(Document, Vec<&'static str>)> {
    let body = command.to_vec().unwrap();
    let kind = Kind::of(command.keys().next().unwrap());
    let done = Rewriter::without(&[]).rewrite(kind, &body)?;
    let document = Document::from_reader(&mut done.body.as_slice()).unwrap();
    Some((
        document,
        done.rules.iter().map(RewriteRule::as_str).collect(),
    ))
}

fn filter(filter: Document) -> Option<Document> {
    let (command, _) = done(&doc! {"find": "c", "filter": filter, "$db": "d"})?;
    Some(command.get_document("filter").unwrap().clone())
}

#[test]
fn a_sort_that_may_refuse_a_document_keeps_the_filter_as_it_came() {
    let find = |sort: Document| {
        done(&doc! {"find": "c", "filter": {"_id": {"$in": [1]}}, "sort": sort, "$db": "d"})
    };
    assert_eq!(find(doc! {"a": 1, "e": 1}), None);
    assert_eq!(find(doc! {"a.0": 1}), None);
    assert_eq!(find(doc! {"_id": 1, "a.b.10.c": -1}), None);
    assert!(find(doc! {"0.a": 1}).is_some());
    assert!(find(doc! {"a.b0": 1}).is_some());
    assert!(find(doc! {"a": 1, "_id": 1}).is_some());
    assert!(find(doc! {"a": 1}).is_some());
    let aggregate = |sort: Document| {
        let pipeline = [doc! {"$match": {"_id": {"$in": [1]}}}, doc! {"$sort": sort}];
        done(&doc! {"aggregate": "c", "pipeline": pipeline.to_vec(), "cursor": {}, "$db": "d"})
    };
    assert_eq!(aggregate(doc! {"a": 1, "e": 1}), None);
    assert_eq!(aggregate(doc! {"a.0": 1}), None);
    assert!(aggregate(doc! {"a": 1, "_id": 1}).is_some());
}

#[test]
fn filters_become_what_they_mean() {
    for (came, expected) in [
        (doc! {"a": {"$eq": 1}}, doc! {"a": 1}),
        (
            doc! {"a": {"$in": [1]}, "b": {"$all": ["x"]}},
            doc! {"a": 1, "b": "x"},
        ),
        (
            doc! {"$and": [{"a": 1}, {"$and": [{"b": 2}]}]},
            doc! {"a": 1, "b": 2},
        ),
        (
            doc! {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]},
            doc! {"a": {"$gt": 1, "$lt": 5}},
        ),
        (
            doc! {"$or": [{"a": 2}, {"a": 1}, {"a": {"$in": [3]}}]},
            doc! {"a": {"$in": [1, 2, 3]}},
        ),
        (
            doc! {"$or": [{"$or": [{"a": 1}, {"b": 1}]}, {"c": 1}]},
            doc! {"$or": [{"a": 1}, {"b": 1}, {"c": 1}]},
        ),
        (doc! {"a": {"$in": [2, 1, 2]}}, doc! {"a": {"$in": [1, 2]}}),
        (doc! {"a": 1, "b": {"$nin": []}}, doc! {"a": 1}),
        (
            doc! {"a": {"$exists": true, "$gt": 1}},
            doc! {"a": {"$gt": 1}},
        ),
        (
            doc! {"a": {"$in": []}},
            doc! {"_id": {"$in": []}, "a": {"$in": []}},
        ),
        (doc! {"$or": [{"a": {"$in": []}}, {"b": 1}]}, doc! {"b": 1}),
        (
            doc! {"$expr": false},
            doc! {"_id": {"$in": []}, "$expr": false},
        ),
    ] {
        assert_eq!(filter(came.clone()), Some(expected), "{came}");
    }
}

#[test]
fn what_a_rule_is_not_certain_of_stays() {
    let regex = Bson::RegularExpression(bson::Regex {
        pattern: "a".try_into().unwrap(),
        options: "".try_into().unwrap(),
    });
    for left in [
        doc! {"a": 1, "b": {"$gt": 1, "$lt": 5}},
        doc! {"a": {"$eq": &regex}},
        doc! {"a": {"$in": [&regex]}},
        doc! {"a": {"$eq": {"b": 1}}},
        doc! {"a": {"$exists": true, "$ne": 1}},
        doc! {"a": {"$exists": true, "$eq": Bson::Null}},
        doc! {"a": {"$nin": [1]}},
        doc! {"a": {"$gt": 5, "$lt": 3}},
        doc! {"a": {"$elemMatch": {"$eq": 1}}},
        doc! {"$or": [{"a": 1}, {"b": 1}]},
        doc! {"$or": [{"a": 1}, {"a": {"$gt": 1}}]},
        doc! {"_id": {"$in": []}},
        doc! {"$text": {"$search": "x"}, "a": {"$eq": 1}},
        doc! {"$where": "1", "a": {"$in": []}},
    ] {
        assert_eq!(filter(left.clone()), None, "{left}");
    }
}

#[test]
fn no_command_is_rewritten_in_which_the_filter_means_more() {
    let plain = doc! {"find": "c", "filter": {"a": {"$eq": 1}}, "$db": "d"};
    assert!(done(&plain).is_some());
    for more in [
        doc! {"hint": "a_1"},
        doc! {"min": {"a": 1}},
        doc! {"projection": {"a.$": 1}},
        doc! {"sort": {"$natural": 1}},
        doc! {"tailable": true},
        doc! {"returnKey": true},
        doc! {"apiStrict": true},
        doc! {"frobnicate": 1},
    ] {
        let mut command = plain.clone();
        command.extend(more.clone());
        assert_eq!(done(&command), None, "{more}");
    }
    for (key, value) in [
        ("find", Bson::from(1)),
        ("find", "system.js".into()),
        ("$db", "admin".into()),
    ] {
        let mut command = plain.clone();
        command.insert(key, value.clone());
        assert_eq!(done(&command), None, "{key}: {value}");
    }
}

#[test]
fn conditions_stay_where_documents_are_seen_in_part() {
    let condition = doc! {"a": 1, "b": {"$nin": []}};
    let mut find = doc! {"find": "c", "filter": &condition, "projection": {"a": 1}, "$db": "d"};
    assert_eq!(done(&find), None);
    find.insert("projection", doc! {"_id": 1});
    assert!(done(&find).is_some());
    assert_eq!(
        done(&doc! {"distinct": "c", "key": "a", "query": &condition, "$db": "d"}),
        None
    );
    let aggregate = |last: Document| doc! {"aggregate": "c", "pipeline": [{"$match": &condition}, last], "cursor": {}};
    assert_eq!(done(&aggregate(doc! {"$project": {"a": 1}})), None);
    assert!(done(&aggregate(doc! {"$count": "n"})).is_some());
    assert!(done(&aggregate(doc! {"$limit": 5})).is_some());
    // A count of everything isn't made of a count of something.
    assert_eq!(
        done(&doc! {"count": "c", "query": {"b": {"$nin": []}}, "$db": "d"}),
        None
    );
}

#[test]
fn what_stands_before_a_count_is_left_out_unless_it_may_fail() {
    let pipeline = |stages: &[Document]| {
        let command = doc! {"aggregate": "c", "pipeline": stages, "cursor": {}, "$db": "d"};
        let (command, _) = done(&command)?;
        let stages = command.get_array("pipeline").unwrap();
        Some(
            stages
                .iter()
                .map(|s| s.as_document().unwrap().clone())
                .collect::<Vec<_>>(),
        )
    };
    let count = doc! {"$count": "n"};
    let sort = doc! {"$sort": {"a": 1}};
    let group = doc! {"$group": {"_id": "$a", "n": {"$sum": 1}}};
    let project = doc! {"$project": {"a": 1, "_id": 0}};
    let skip = doc! {"$skip": 1};
    assert_eq!(
        pipeline(&[skip.clone(), project.clone(), count.clone()]),
        Some(vec![skip.clone(), count.clone()])
    );
    assert_eq!(
        pipeline(&[skip.clone(), group.clone(), count.clone()]),
        Some(vec![skip, doc! {"$group": {"_id": "$a"}}, count.clone()])
    );
    // What is left out decides by which plan the stages before are run and what they're shown; a sort fails by
    // some and not by others.
    for last in [&group, &project] {
        let before = [sort.clone(), last.clone(), count.clone()];
        assert_eq!(pipeline(&before), None);
    }
    // Next to `$or`, 6.0.5 counts one group where a sort between them makes it count all.
    assert_eq!(
        pipeline(&[group.clone(), sort.clone(), count.clone()]),
        None
    );
    for stays in [
        sort,
        doc! {"$project": {"a": {"$divide": [1, 0]}}},
        doc! {"$project": {"a.b": 1, "a": 1}},
        doc! {"$group": {"_id": "$a", "all": {"$push": "$b"}}},
        doc! {"$unwind": "$a"},
        doc! {"$addFields": {"a": 1}},
        doc! {"$lookup": {"from": "d", "as": "x", "pipeline": []}},
    ] {
        assert_eq!(pipeline(&[stays.clone(), count.clone()]), None, "{stays}");
    }
    assert_eq!(pipeline(&[project, doc! {"$group": {"_id": "$a"}}]), None);
}

fn stage(toml: &str) -> (Arc<Rewrite>, Pipeline, Arc<Scripted>) {
    let config: config::Rewrite = toml::from_str(toml).unwrap();
    let rewrite = Arc::new(Rewrite::new(&config));
    let ok = doc! {"cursor": {"firstBatch": [], "id": 0_i64, "ns": "d.c"}, "ok": 1.0};
    let backend = Arc::new(Scripted::replies(vec![ok; 8]));
    let fences = Fences::new(Duration::from_secs(1));
    let stages: Vec<Box<dyn Stage>> = vec![Box::new(Arc::clone(&rewrite))];
    let pipeline = Pipeline::new(stages, Arc::clone(&backend) as _, fences);
    (rewrite, pipeline, backend)
}

#[tokio::test]
async fn the_backend_sees_the_other_form_and_whoever_asked_the_one_that_came() {
    let (rewrite, pipeline, backend) = stage("");
    let sorted = doc! {"aggregate": "c", "pipeline": [{"$sort": {"a": 1}}, {"$count": "n"}], "cursor": {}, "$db": "d"};
    pipeline.run(&mut request(&sorted)).await.unwrap();
    assert_eq!(backend.asked()[0], sorted, "off by default");
    let command =
        doc! {"find": "c", "filter": {"$and": [{"a": {"$eq": 1}}]}, "lsid": {"id": 1}, "$db": "d"};
    let mut asked = request(&command);
    let bytes = asked.frame.bytes.clone();
    pipeline.run(&mut asked).await.unwrap();
    assert_eq!(
        backend.asked()[1].get_document("filter").unwrap(),
        &doc! {"a": 1}
    );
    assert_eq!(asked.frame.bytes, bytes);
    assert!(asked.trail.has(Decision::Rewritten));
    let by_rule: Vec<u64> = rewrite.stats().by_rule().map(|(_, n)| n).collect();
    assert_eq!((rewrite.stats().rewritten(), by_rule.iter().sum()), (1, 2));
    let plain = doc! {"find": "c", "filter": {"a": 1}, "$db": "d"};
    let mut asked = request(&plain);
    pipeline.run(&mut asked).await.unwrap();
    assert_eq!(asked.trail.iter().count(), 0);
}

#[tokio::test]
async fn rewrites_are_switched_off_one_by_one_or_all() {
    let command = doc! {"find": "c", "filter": {"$and": [{"a": {"$eq": 1}}]}, "$db": "d"};
    for (toml, filter) in [
        ("off = [\"flatten\"]", doc! {"$and": [{"a": 1}]}),
        ("off = [\"plain_equality\"]", doc! {"a": {"$eq": 1}}),
        ("enabled = false", doc! {"$and": [{"a": {"$eq": 1}}]}),
    ] {
        let (_, pipeline, backend) = stage(toml);
        pipeline.run(&mut request(&command)).await.unwrap();
        assert_eq!(
            backend.asked()[0].get_document("filter").unwrap(),
            &filter,
            "{toml}"
        );
    }
}

#[tokio::test]
async fn the_first_rule_that_fits_changes_a_command_or_denies_it() {
    let (rewrite, pipeline, backend) = stage(
        r#"
        [[rules]]
        name = "closed"
        namespace = "d.secret"
        deny = "ask somebody"
        [[rules]]
        namespace = "d.*"
        command = "find"
        filter = ["a"]
        hint = "a_1"
        max_time = "2s"
        max_limit = 10
        read_preference = "secondaryPreferred"
        [[rules]]
        namespace = "d.*"
        command = "aggregate"
        max_limit = 5
        "#,
    );
    let reply = pipeline
        .run(&mut request(&doc! {"count": "secret", "$db": "d"}))
        .await
        .unwrap();
    let reply = Document::from_reader(&mut reply.body()).unwrap();
    assert_eq!(reply.get_i32("code").unwrap(), 13);
    assert!(
        reply
            .get_str("errmsg")
            .unwrap()
            .contains("\"closed\": ask somebody")
    );
    let find =
        doc! {"find": "c", "filter": {"a": {"$eq": 1}}, "limit": 50, "maxTimeMS": 100, "$db": "d"};
    pipeline.run(&mut request(&find)).await.unwrap();
    let expected = doc! {
        "find": "c", "filter": {"a": {"$eq": 1}}, "limit": 10_i64, "maxTimeMS": 100, "$db": "d",
        "hint": "a_1", "$readPreference": {"mode": "secondaryPreferred"},
    };
    assert_eq!(backend.asked()[0], expected);
    let inside = doc! {
        "find": "c", "filter": {"a": 1}, "hint": "b_1", "limit": 3, "maxTimeMS": 9_000,
        "lsid": {"id": 1}, "txnNumber": 1_i64, "autocommit": false, "$db": "d",
    };
    pipeline.run(&mut request(&inside)).await.unwrap();
    let mut expected = inside;
    expected.insert("maxTimeMS", 2_000_i64);
    assert_eq!(backend.asked()[1], expected);
    let aggregate = doc! {"aggregate": "c", "pipeline": [{"$match": {}}], "cursor": {}, "$db": "d"};
    pipeline.run(&mut request(&aggregate)).await.unwrap();
    let stages = backend.asked()[2].get_array("pipeline").unwrap().clone();
    assert_eq!(
        stages,
        [doc! {"$match": {}}.into(), doc! {"$limit": 5_i64}.into()]
    );
    let writes = doc! {"aggregate": "c", "pipeline": [{"$out": "x"}], "cursor": {}, "$db": "d"};
    pipeline.run(&mut request(&writes)).await.unwrap();
    assert_eq!(backend.asked()[3], writes);
    let counts: Vec<u64> = rewrite.user_rules().map(|(_, n)| n).collect();
    assert_eq!((counts, rewrite.stats().denied()), (vec![1, 2, 1], 1));
}
