use bson::{Bson, Document, doc};

use super::super::path::Paths;
use super::*;
use crate::wire::build::DocBuf;

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().unwrap()
}

fn ask(filter: &Document, document: &Document) -> Tri {
    matches(&bytes(filter), &bytes(document), Strings::Simple)
}

fn all_are(wanted: Tri, document: &Document, filters: Vec<Document>) {
    for filter in filters {
        assert_eq!(ask(&filter, document), wanted, "{filter} on {document}");
    }
}

fn regex(pattern: &str, options: &str) -> Bson {
    Bson::RegularExpression(bson::Regex {
        pattern: pattern.try_into().unwrap(),
        options: options.try_into().unwrap(),
    })
}

#[test]
fn scalars_match_by_value_and_type() {
    let document = doc! {"a": 5, "s": "abc", "n": Bson::Null, "d": {"x": 1, "y": "z"}};
    all_are(
        Tri::Yes,
        &document,
        vec![
            doc! {},
            doc! {"a": 5.0},
            doc! {"a": {"$eq": 5_i64}, "s": "abc"},
            doc! {"a": {"$gt": 4, "$lt": 6}},
            doc! {"a": {"$in": ["x", 5, Bson::Null]}},
            doc! {"a": {"$nin": [1, 2]}},
            doc! {"a": {"$not": {"$gt": 5}}},
            doc! {"a": {"$mod": [3, 2]}},
            doc! {"a": {"$type": "number"}},
            doc! {"a": {"$type": ["string", 16]}},
            doc! {"d": {"x": 1, "y": "z"}, "d.x": 1},
            doc! {"n": Bson::Null, "m": Bson::Null, "a.b": Bson::Null},
            doc! {"m": {"$exists": false}, "a": {"$exists": true}},
            doc! {"$or": [{"a": 1}, {"s": {"$gte": "abc"}}], "$comment": "x"},
            doc! {"$nor": [{"a": 1}, {"b": 1}]},
            doc! {"$and": [{"a": 5}, {"$and": [{"s": "abc"}]}]},
            doc! {"s": regex("^ab", ""), "a": {"$ne": 1}},
            doc! {"s": {"$regex": "bc"}},
        ],
    );
    all_are(
        Tri::No,
        &document,
        vec![
            doc! {"a": "5"},
            doc! {"a": {"$gt": 5}},
            doc! {"a": {"$gt": "4"}},
            doc! {"a": {"$exists": false}},
            doc! {"d": {"y": "z", "x": 1}},
            doc! {"d": {"x": 1}},
            doc! {"a": Bson::Null},
            doc! {"a": regex("5", "i")},
            doc! {"s": regex("^bc", "")},
            doc! {"a": 4, "$where": "true"},
            doc! {"a": {"$all": []}},
        ],
    );
}

#[test]
fn arrays_match_by_their_elements_and_as_a_whole() {
    let document = doc! {
        "a": [1, 2, [3, 4], {"b": 5}], "e": [], "o": [{"b": 1, "c": 1}, {"b": 2, "c": 2}],
    };
    all_are(
        Tri::Yes,
        &document,
        vec![
            doc! {"a": 1},
            doc! {"a": [3, 4]},
            doc! {"a": {"$size": 4}},
            doc! {"a": {"$all": [1, 2]}},
            doc! {"a.b": 5},
            doc! {"a.0": 1},
            doc! {"a.2.1": 4},
            doc! {"a.3.b": 5},
            doc! {"a.0": {"$exists": true}},
            doc! {"e": []},
            doc! {"e.b": {"$exists": false}},
            doc! {"a": {"$elemMatch": {"$gt": 1, "$lt": 3}}},
            doc! {"o": {"$elemMatch": {"b": 1, "c": 1}}},
            doc! {"o.b": 1, "o.c": 2},
            doc! {"a": {"$type": "array"}},
            doc! {"o": {"$not": {"$elemMatch": {"b": 1, "c": 2}}}},
        ],
    );
    all_are(
        Tri::No,
        &document,
        vec![
            doc! {"a": 3},
            doc! {"a": {"$ne": 1}},
            doc! {"a": {"$nin": [1]}},
            doc! {"a": {"$not": {"$gt": 1}}},
            doc! {"e": Bson::Null},
            doc! {"e.b": Bson::Null},
            doc! {"a.2": 3},
            doc! {"o": {"$elemMatch": {"b": 1, "c": 2}}},
            doc! {"a": {"$size": 3}},
        ],
    );
}

#[test]
fn what_is_not_certain_is_unknown() {
    let document = doc! {"a": 5, "s": "abc", "u": Bson::Undefined};
    all_are(
        Tri::Unknown,
        &document,
        vec![
            doc! {"$expr": true},
            doc! {"$where": "true"},
            doc! {"$text": {"$search": "abc"}},
            doc! {"$jsonSchema": {}},
            doc! {"a": {"$bitsAllSet": 1}},
            doc! {"a": {"$geoWithin": {}}},
            doc! {"a": {"$gte": Bson::Null}},
            doc! {"b": {"$lt": Bson::MaxKey}},
            doc! {"a": {"$gt": 1, "$id": 1, "$ref": "x"}},
            doc! {"s": regex("a.c", "")},
            doc! {"s": regex("abc", "i")},
            doc! {"u": Bson::Null},
            doc! {"a": Bson::Undefined},
            doc! {"a..b": 1},
            doc! {"a.$id": 1},
            doc! {"": 1},
            doc! {"$or": []},
            doc! {"$and": 5},
            doc! {"a": {"$in": [{"$gt": 1}]}},
            doc! {"a": {"$not": {}}},
            doc! {"a": {"$type": "thing"}},
        ],
    );
    let (filter, document) = (bytes(&doc! {"s": "ABC"}), bytes(&document));
    assert_eq!(matches(&filter, &document, Strings::Collated), Tri::Unknown);
}

#[test]
fn broken_bytes_and_endless_nesting_are_unknown() {
    let (filter, document) = (
        bytes(&doc! {"b": 1}),
        bytes(&doc! {"a": [{"b": "x"}], "b": 2}),
    );
    for cut in 0..document.len() {
        let broken = &document[..cut];
        assert_eq!(matches(&filter, broken, Strings::Simple), Tri::Unknown);
        let _ = values_at(broken, "a.b");
    }
    for at in 0..document.len() {
        for byte in [0, 1, 4, 0xff] {
            let mut wrong = document.clone();
            wrong[at] = byte;
            let _ = matches(&filter, &wrong, Strings::Simple);
            let _ = matches(&wrong, &document, Strings::Simple);
            let _ = (paths(&wrong), equalities(&wrong, Strings::Simple));
            let _ = matches_partial(&wrong, &wrong, Strings::Simple);
        }
    }
    for operator in ["$and", "$not", "$elemMatch"] {
        let mut deep = filter.clone();
        let mut nested = document.clone();
        for _ in 0..1_000 {
            let mut outer = DocBuf::new();
            if operator == "$and" {
                outer.append_array(operator, |array| {
                    array.push_doc(&deep);
                });
            } else {
                outer.append_doc(operator, &deep);
            }
            deep = outer.finish();
            let mut outer = DocBuf::new();
            outer.append_raw_array("a", &nested);
            nested = outer.finish();
        }
        if operator != "$and" {
            let mut outer = DocBuf::new();
            outer.append_doc("a", &deep);
            deep = outer.finish();
        }
        assert_eq!(matches(&deep, &nested, Strings::Simple), Tri::Unknown);
        assert_eq!(matches(&nested, &nested, Strings::Simple), Tri::Unknown);
        assert!(paths(&deep).is_all());
        assert!(equalities(&deep, Strings::Simple).is_empty());
        assert!(values_at(&nested, &["a"; 1_000].join(".")).unsure);
    }
}

#[test]
fn too_much_work_is_unknown() {
    let many: Vec<i32> = (0..3_000).collect();
    let filter = doc! {"a": {"$in": many.iter().map(|n| n + 10_000).collect::<Vec<_>>()}};
    assert_eq!(ask(&filter, &doc! {"a": many}), Tri::Unknown);
}

#[test]
fn looking_for_fields_of_a_wide_document_is_work_too() {
    let document: Document = (0..2_000).map(|i| (format!("f{i}"), i.into())).collect();
    let filter: Document = (0..2_000).map(|i| (format!("f{i}"), i.into())).collect();
    assert_eq!(ask(&filter, &document), Tri::Unknown);
    let few: Document = (0..20).map(|i| (format!("f{i}"), i.into())).collect();
    assert_eq!(ask(&few, &document), Tri::Yes);
}

#[test]
fn work_is_shared_by_the_questions_that_belong_together() {
    let (filter, document) = (bytes(&doc! {"a": 1}), bytes(&doc! {"a": 1}));
    let work = Work::new(1_000);
    let answers = (0..1_000).map(|_| matches_within(&filter, &document, Strings::Simple, &work));
    let answers: Vec<Tri> = answers.collect();
    assert_eq!(
        (answers.first(), answers.last()),
        (Some(&Tri::Yes), Some(&Tri::Unknown))
    );
    assert!(work.is_spent());
}

#[test]
fn of_a_partial_document_only_its_own_fields_are_known() {
    let seed = bytes(&doc! {"a": 5, "d": {"x": 1}});
    let partial = |filter: Document| matches_partial(&bytes(&filter), &seed, Strings::Simple);
    assert_eq!(partial(doc! {"a": 4, "b": 1}), Tri::No);
    assert_eq!(partial(doc! {"a": 5, "b": 1}), Tri::Unknown);
    assert_eq!(partial(doc! {"b": {"$exists": false}}), Tri::Unknown);
    assert_eq!(partial(doc! {"d.y": {"$exists": true}}), Tri::No);
    assert_eq!(partial(doc! {"$or": [{"a": 5}, {"b": 1}]}), Tri::Yes);
    assert_eq!(partial(doc! {"$or": [{"a": 4}, {"b": 1}]}), Tri::Unknown);
    assert_eq!(partial(doc! {"$nor": [{"a": 5}, {"b": 1}]}), Tri::No);
}

#[test]
fn a_filter_depends_on_the_paths_it_names() {
    let of = |filter: Document| paths(&bytes(&filter));
    let list = |paths: &Paths| paths.iter().map(str::to_owned).collect::<Vec<_>>();
    let filter = doc! {
        "a.0.b": 1, "$or": [{"c": {"$not": {"$gt": 1}}}, {"d": {"e": {"$x": 1}}}],
        "f": {"$elemMatch": {"g": 1, "h.3.i": 2}}, "j": {"$elemMatch": {"$gt": 1}},
        "k": {"$all": [{"$elemMatch": {"l": 1}}]}, "m": {"$elemMatch": {}}, "n": regex("x", ""),
    };
    let expected = ["a.b", "c", "d", "f.g", "f.h.i", "j", "k.l", "m", "n"];
    assert_eq!(list(&of(filter)), expected);
    assert!(of(doc! {}).is_empty());
    for all in [
        doc! {"a": 1, "$expr": {}},
        doc! {"a": {"$near": []}},
        doc! {"$nor": [{"$where": "x"}]},
        doc! {"a": {"$elemMatch": {"$expr": 1}}},
        doc! {"a": {"$not": {"$elemMatch": {"b": {"$new": 1}}}}},
    ] {
        assert!(of(all.clone()).is_all(), "{all}");
    }
}

#[test]
fn equalities_are_those_no_match_can_do_without() {
    let of = |filter: Document| {
        let found = equalities(&bytes(&filter), Strings::Simple);
        let sizes = found.into_iter().map(|e| (e.path, e.values.len()));
        sizes.collect::<Vec<_>>()
    };
    let some = |path: &str, n: usize| (path.to_owned(), n);
    assert_eq!(
        of(doc! {"a": 1, "b.c": "x"}),
        [some("a", 1), some("b.c", 1)]
    );
    assert_eq!(
        of(doc! {"a": {"$in": [1, 2]}, "$and": [{"b": {"$eq": 1, "$gt": 0}}], "$expr": 1}),
        [some("a", 2), some("b", 1)]
    );
    for none in [
        doc! {"a": Bson::Null},
        doc! {"a": {"$gt": 1}},
        doc! {"a": {"$in": []}},
        doc! {"a": {"$in": [1, Bson::Null]}},
        doc! {"a": {"$in": (0..65).collect::<Vec<_>>()}},
        doc! {"a": {"$not": {"$eq": 1}}},
        doc! {"$or": [{"a": 1}]},
        doc! {"a.0": 1},
        doc! {"a": regex("x", "")},
        doc! {"a": {"b": 1}},
        doc! {"a": {"$eq": 1, "$ref": "c", "$id": 1}},
    ] {
        assert_eq!(of(none.clone()), [], "{none}");
    }
}

#[test]
fn of_many_equalities_some_are_told_and_always_that_on_the_id() {
    let mut filter: Document = (0..1_000).map(|i| (format!("f{i}"), i.into())).collect();
    filter.insert("_id", 5);
    let found = equalities(&bytes(&filter), Strings::Simple);
    assert_eq!(found.len(), 33);
    assert_eq!(found.last().map(|e| e.path.as_str()), Some("_id"));
    let ids = (0..1_000).map(|i| doc! {"_id": i}).collect::<Vec<_>>();
    let found = equalities(&bytes(&doc! {"$and": ids}), Strings::Simple);
    assert_eq!(found.len(), 32);
}

#[test]
fn equalities_reach_into_arrays() {
    let document = doc! {"a": [1, [2], {"b": [3, {"c": 4}]}, {"b": {"c": "x"}}], "n": Bson::Null};
    let at = |path: &str| {
        let reached = values_at(&bytes(&document), path);
        (reached.values.len(), reached.unsure)
    };
    assert_eq!(at("a"), (1, false));
    assert_eq!(at("a.b"), (1, false));
    assert_eq!(at("a.b.c"), (2, false));
    assert_eq!(at("n"), (0, false));
    assert_eq!(at("x.y"), (0, false));
    let many: Vec<i32> = (0..2_000).collect();
    assert!(values_at(&bytes(&doc! {"a": many}), "a").unsure);
    let digits: bson::Decimal128 = "1.2345678901234567890".parse().unwrap();
    assert!(values_at(&bytes(&doc! {"a": digits}), "a").unsure);
}
