use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Bson, Document, doc};

use super::*;

/// A collection of so many documents, of which some are made by `make`.
fn data(documents: u32, paths: &[&str], make: impl Fn(i32) -> Document) -> Data {
    let sample = (0..500).map(make).collect();
    Data::of(f64::from(documents), sample, None, paths.iter().copied())
}

/// Users in guilds; the sample has 500 of 100,000 and each guild about once.
fn users() -> Data {
    let paths = [
        "user_id",
        "guild_id",
        "balance",
        "last_claim",
        "status",
        "name",
    ];
    data(100_000, &paths, |n| {
        doc! {
            "user_id": n * 200, "guild_id": n * 7 % 1000, "balance": n * 37 % 10_000,
            "last_claim": n, "status": if n % 10 == 0 { "new" } else { "active" }, "name": format!("user {n}"),
        }
    })
}

/// What a command examined, scanning.
fn need(command: Document, returned: f64) -> Need {
    let mut queries = queries(&command);
    assert_eq!(queries.len(), 1, "{command}");
    Need {
        query: queries.remove(0),
        returned,
        examined: 100_000.0,
        sorts: command.contains_key("sort"),
        uses: Vec::new(),
        calls: 1000,
    }
}

fn find(filter: Document) -> Document {
    doc! {"find": "users", "filter": filter, "$db": "game"}
}

fn sorted(filter: Document, sort: Document, limit: i32) -> Document {
    doc! {"find": "users", "filter": filter, "sort": sort, "limit": limit, "$db": "game"}
}

/// The keys that are advised, such as `user_id 1, at -1`.
fn advised(needs: &[Need], existing: &[Index], data: &Data) -> BTreeSet<String> {
    let show = |choice: &Choice| {
        let keys: Vec<String> = choice
            .keys
            .iter()
            .map(|(p, d)| format!("{p} {d}"))
            .collect();
        let hidden = choice
            .hidden
            .as_ref()
            .map_or(String::new(), |name| format!("unhide {name}: "));
        format!("{hidden}{}", keys.join(", "))
    };
    choose(needs, existing, data, 0).iter().map(show).collect()
}

fn set(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn index(spec: Document) -> Index {
    Index::read(&spec).expect("an index")
}

fn plain(name: &str, key: Document) -> Index {
    index(doc! {"v": 2, "key": key, "name": name})
}

#[test]
fn equalities_come_first_then_the_sort_then_ranges() {
    let one = need(
        sorted(
            doc! {"balance": {"$gt": 5}, "guild_id": 3},
            doc! {"last_claim": -1},
            10,
        ),
        10.0,
    );
    assert_eq!(
        advised(&[one], &[], &users()),
        set(&["guild_id 1, last_claim -1, balance 1"])
    );
}

#[test]
fn the_more_selective_of_two_equalities_leads() {
    let one = need(find(doc! {"status": "active", "user_id": 200}), 1.0);
    assert_eq!(
        advised(&[one], &[], &users()),
        set(&["user_id 1, status 1"])
    );
}

#[test]
fn one_index_serves_several_shapes_where_it_can() {
    let needs = [
        need(find(doc! {"user_id": 200, "guild_id": 7}), 1.0),
        need(find(doc! {"user_id": 400}), 1.0),
        need(sorted(doc! {"guild_id": 7}, doc! {"balance": -1}, 10), 10.0),
        need(find(doc! {"guild_id": 14, "balance": {"$gte": 100}}), 50.0),
    ];
    assert_eq!(
        advised(&needs, &[], &users()),
        set(&["user_id 1", "guild_id 1, balance -1"]),
        "a user is in one guild, as far as is known"
    );
}

#[test]
fn equalities_are_ordered_so_that_others_share_the_beginning() {
    let needs = [
        need(
            find(doc! {"user_id": 200, "guild_id": 7, "name": "user 1"}),
            1.0,
        ),
        need(sorted(doc! {"guild_id": 7}, doc! {"name": 1}, 5), 5.0),
    ];
    let advised = advised(&needs, &[], &users());
    assert!(advised.len() <= 2, "{advised:?}");
    assert!(
        advised
            .iter()
            .any(|keys| keys.starts_with("guild_id 1, name 1")),
        "{advised:?}"
    );
}

#[test]
fn a_list_stands_before_a_sort_when_it_is_short_and_after_it_when_it_is_long() {
    let list = |n: i32| doc! {"guild_id": {"$in": (0..n).map(|i| i * 7).collect::<Vec<_>>()}};
    let short = need(sorted(list(3), doc! {"balance": -1}, 10), 10.0);
    assert_eq!(
        advised(&[short], &[], &users()),
        set(&["guild_id 1, balance -1"])
    );
    let long = need(sorted(list(150), doc! {"balance": -1}, 10), 10.0);
    assert_eq!(
        advised(&[long], &[], &users()),
        set(&["balance -1, guild_id 1"])
    );
    let unsorted = need(
        find(doc! {"guild_id": {"$in": [7, 14]}, "user_id": 200}),
        1.0,
    );
    assert_eq!(
        advised(&[unsorted], &[], &users()),
        set(&["user_id 1, guild_id 1"])
    );
}

#[test]
fn every_branch_of_an_or_gets_an_index() {
    let command = find(doc! {"$or": [{"user_id": 200}, {"guild_id": 7, "balance": {"$gt": 9000}}]});
    let each = queries(&command);
    let needs: Vec<Need> = each
        .into_iter()
        .map(|query| Need {
            query,
            returned: 5.0,
            examined: 100_000.0,
            sorts: false,
            uses: Vec::new(),
            calls: 100,
        })
        .collect();
    assert_eq!(
        advised(&needs, &[], &users()),
        set(&["user_id 1", "guild_id 1, balance 1"])
    );
}

#[test]
fn updates_deletes_counts_distincts_and_aggregations_are_understood() {
    let commands = [
        (
            doc! {"update": "users", "updates": [{"q": {"user_id": 200}, "u": {"$inc": {"balance": 1}}}]},
            1.0,
            "user_id 1",
        ),
        (
            doc! {"delete": "users", "deletes": [{"q": {"last_claim": {"$lt": 3}}, "limit": 0}]},
            600.0,
            "last_claim 1",
        ),
        (
            doc! {"count": "users", "query": {"status": "new"}},
            10_000.0,
            "status 1",
        ),
        (
            doc! {"distinct": "users", "key": "name", "query": {"guild_id": 7}},
            100.0,
            "guild_id 1, name 1",
        ),
        (doc! {"distinct": "users", "key": "status"}, 2.0, "status 1"),
        (
            doc! {"findAndModify": "users", "query": {"guild_id": 7}, "sort": {"balance": -1, "last_claim": 1}, "update": {"$set": {"a": 1}}},
            1.0,
            "guild_id 1, balance -1, last_claim 1",
        ),
        (
            doc! {"aggregate": "users", "pipeline": [{"$match": {"guild_id": 7}}, {"$group": {"_id": "$status"}}], "cursor": {}},
            100.0,
            "guild_id 1",
        ),
        (
            doc! {"aggregate": "users", "pipeline": [{"$match": {"guild_id": 7}}, {"$sort": {"balance": -1}}, {"$limit": 5}, {"$project": {"a": 1}}], "cursor": {}},
            5.0,
            "guild_id 1, balance -1",
        ),
    ];
    for (command, returned, keys) in commands {
        let one = need(command.clone(), returned);
        assert_eq!(advised(&[one], &[], &users()), set(&[keys]), "{command}");
    }
}

#[test]
fn what_an_index_cannot_help_gets_no_advice() {
    for filter in [
        doc! {"name": {"$regex": "something"}},
        doc! {"status": {"$ne": "active"}},
        doc! {"$where": "true"},
        doc! {"$text": {"$search": "x"}},
        doc! {"$expr": {"$gt": ["$a", "$b"]}},
        doc! {"_id": 5},
        doc! {},
    ] {
        let needs: Vec<Need> = queries(&find(filter.clone()))
            .into_iter()
            .map(|query| Need {
                query,
                returned: 1.0,
                examined: 100_000.0,
                sorts: false,
                uses: Vec::new(),
                calls: 100,
            })
            .collect();
        assert_eq!(advised(&needs, &[], &users()), set(&[]), "{filter}");
    }
}

#[test]
fn an_answer_that_is_most_of_the_collection_gets_no_index() {
    let most = need(find(doc! {"status": "active"}), 90_000.0);
    assert_eq!(advised(&[most], &[], &users()), set(&[]));
}

#[test]
fn an_index_that_writes_cost_more_than_reads_save_is_not_advised() {
    let mut rare = need(find(doc! {"user_id": 200}), 1.0);
    rare.calls = 3;
    let rare = [rare];
    assert_eq!(choose(&rare, &[], &users(), 1_000).len(), 1);
    assert_eq!(choose(&rare, &[], &users(), 1_000_000).len(), 0);
    let mut once = rare;
    once[0].calls = 1;
    assert_eq!(choose(&once, &[], &users(), 0).len(), 0, "once is no habit");
}

#[test]
fn what_exists_in_effect_is_not_advised() {
    let one = [need(find(doc! {"user_id": 200, "guild_id": 7}), 1.0)];
    for existing in [
        doc! {"user_id": 1, "guild_id": 1},
        doc! {"guild_id": 1, "user_id": 1},
        doc! {"user_id": -1, "guild_id": 1, "more": 1},
        doc! {"user_id": 1},
    ] {
        let existing = plain("there", existing);
        assert_eq!(
            advised(&one, std::slice::from_ref(&existing), &users()),
            set(&[]),
            "{existing:?}"
        );
    }
    // But one that is too little by far, as it was measured, is.
    let mut measured = need(find(doc! {"status": "new", "user_id": 200}), 1.0);
    measured.examined = 10_000.0;
    measured.uses = vec!["status_1".to_owned()];
    let existing = [plain("status_1", doc! {"status": 1})];
    assert_eq!(advised(&[measured], &existing, &users()).len(), 1);
}

#[test]
fn a_hidden_index_that_would_serve_is_to_be_shown_again() {
    let one = [need(find(doc! {"user_id": 200}), 1.0)];
    let hidden = index(doc! {"key": {"user_id": 1}, "name": "by_user", "hidden": true});
    assert_eq!(
        advised(&one, &[hidden], &users()),
        set(&["unhide by_user: user_id 1"])
    );
}

#[test]
fn partial_sparse_collated_and_special_indexes_serve_only_what_they_hold() {
    let serves = |spec: Document, filter: Document| {
        let one = [need(find(filter), 1.0)];
        advised(&one, &[index(spec)], &users()).is_empty()
    };
    let partial = |expression: Document| doc! {"key": {"user_id": 1}, "name": "p", "partialFilterExpression": expression};
    assert!(serves(
        partial(doc! {"status": "new"}),
        doc! {"user_id": 200, "status": "new"}
    ));
    assert!(!serves(
        partial(doc! {"status": "new"}),
        doc! {"user_id": 200, "status": "active"}
    ));
    assert!(!serves(
        partial(doc! {"status": "new"}),
        doc! {"user_id": 200}
    ));
    assert!(serves(
        partial(doc! {"user_id": {"$exists": true}}),
        doc! {"user_id": 200}
    ));
    assert!(serves(
        partial(doc! {"user_id": {"$gt": 100}}),
        doc! {"user_id": 200}
    ));
    assert!(!serves(
        partial(doc! {"user_id": {"$gt": 300}}),
        doc! {"user_id": 200}
    ));
    let sparse = doc! {"key": {"user_id": 1}, "name": "s", "sparse": true};
    assert!(serves(sparse.clone(), doc! {"user_id": 200}));
    assert!(!serves(sparse, doc! {"user_id": Bson::Null}));
    let collated =
        doc! {"key": {"name": 1}, "name": "c", "collation": {"locale": "en", "strength": 2}};
    assert!(!serves(collated.clone(), doc! {"name": "user 1"}));
    let numbers = doc! {"key": {"user_id": 1}, "name": "c", "collation": {"locale": "en"}};
    assert!(
        serves(numbers, doc! {"user_id": 200}),
        "numbers have no collation"
    );
    assert!(!serves(
        doc! {"key": {"user_id": "hashed"}, "name": "h"},
        doc! {"user_id": 200}
    ));
}

#[test]
fn a_command_with_a_collation_gets_an_index_with_it() {
    let mut command = find(doc! {"name": "USER 1"});
    command.insert("collation", doc! {"locale": "en", "strength": 2});
    let needs = [need(command, 1.0)];
    let choices = choose(&needs, &[], &users(), 0);
    assert_eq!(
        choices[0].collation,
        Some(doc! {"locale": "en", "strength": 2})
    );
    let namespace = crate::command::Namespace::new("game", "users");
    let words = create(&namespace, &choices[0], &needs, &[], &users(), 1.5, &[]);
    assert_eq!(
        words.command,
        "db.getSiblingDB(\"game\").getCollection(\"users\").createIndex({ \"name\": 1 }, { \"collation\": { \"locale\": \"en\", \"strength\": 2 }, \"name\": \"name_1_en_2\" })"
    );
    // The same keys with another collation are advised as well: each has its own name, and none is that of an index.
    let name = |existing: &[Index], taken: &[&str]| {
        let taken: Vec<String> = taken.iter().map(ToString::to_string).collect();
        let words = create(
            &namespace,
            &choices[0],
            &needs,
            existing,
            &users(),
            1.5,
            &taken,
        );
        words.index_name()
    };
    assert_eq!(name(&[], &["name_1", "name_1_fr_1"]), "name_1_en_2");
    assert_eq!(name(&[], &["name_1_en_2"]), "name_1_en_2_advised");
    let there = Index::read(&doc! {"key": {"name": 1}, "name": "name_1_en_2_advised"}).unwrap();
    assert_eq!(name(&[there], &["name_1_en_2"]), "name_1_en_2_advised_2");
    assert!(
        words
            .why
            .contains("1,000 calls examined 100,000 documents each"),
        "{}",
        words.why
    );
    assert!(
        words.cost.contains("MiB") && words.cost.contains("1.5 writes"),
        "{}",
        words.cost
    );
}

#[test]
fn two_arrays_never_stand_in_one_index() {
    let posts = data(
        100_000,
        &["tags", "likes", "items.sku", "items.n", "author"],
        |n| {
            doc! {"tags": [n, n + 1], "likes": [n * 3], "items": [{"sku": n, "n": 1}], "author": n / 50}
        },
    );
    let both = need(find(doc! {"tags": 7, "likes": 21}), 1.0);
    let keys = advised(&[both], &[], &posts);
    assert_eq!(
        keys.iter()
            .map(|k| k.split(',').count())
            .collect::<Vec<_>>(),
        [1]
    );
    let one_array = need(
        find(doc! {"items": {"$elemMatch": {"sku": 7, "n": {"$gt": 0}}}, "author": 0}),
        1.0,
    );
    let keys = advised(&[one_array], &[], &posts);
    let fields: BTreeSet<&str> = keys.iter().flat_map(|k| k.split(", ")).collect();
    assert_eq!(
        fields,
        BTreeSet::from(["author 1", "items.n 1", "items.sku 1"])
    );
    // And an array gives no order.
    let by_tag = need(sorted(doc! {"author": 0}, doc! {"tags": 1}, 10), 10.0);
    assert_eq!(advised(&[by_tag], &[], &posts), set(&["author 1"]));
}

#[test]
fn no_index_has_more_than_sixteen_fields() {
    let paths: Vec<String> = (0..30).map(|n| format!("f{n}x")).collect();
    let filter: Document = paths.iter().map(|p| (p.clone(), Bson::Int32(1))).collect();
    let wide = data(
        100_000,
        &paths.iter().map(String::as_str).collect::<Vec<_>>(),
        |n| {
            paths
                .iter()
                .map(|p| (p.clone(), Bson::Int32(n % 3)))
                .collect()
        },
    );
    let one = [need(find(filter), 1.0)];
    let choices = choose(&one, &[], &wide, 0);
    assert!(choices.iter().all(|c| c.keys.len() <= MOST_FIELDS));
}

fn used(seconds: u64) -> impl Fn(&str) -> Option<Use> {
    move |_| {
        Some(Use {
            unused_for: Duration::from_secs(seconds),
        })
    }
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn goes(
    existing: &[Index],
    unused: u64,
    shard_key: Option<&Document>,
    hinted: &[String],
) -> BTreeSet<String> {
    let found = surplus(existing, &used(unused), &users(), shard_key, hinted, WEEK);
    found
        .iter()
        .map(|s| format!("{} {}", s.action.as_str(), s.name))
        .collect()
}

#[test]
fn a_redundant_beginning_goes_and_is_hidden_first_while_it_is_in_use() {
    let both = [
        plain("short", doc! {"guild_id": 1}),
        plain("long", doc! {"guild_id": 1, "balance": -1}),
    ];
    assert_eq!(goes(&both, 0, None, &[]), set(&["hide short"]));
    assert_eq!(goes(&both, 3600, None, &[]), set(&["drop short"]));
    assert_eq!(
        goes(&both, 3600, None, &["short".to_owned()]),
        set(&[]),
        "somebody hints at it"
    );
    let other_way = [plain("short", doc! {"guild_id": -1}), both[1].clone()];
    assert_eq!(goes(&other_way, 3600, None, &[]), set(&["drop short"]));
    let other_order = [plain("other", doc! {"balance": 1}), both[1].clone()];
    assert_eq!(goes(&other_order, 3600, None, &[]), set(&[]));
}

#[test]
fn a_beginning_that_does_what_the_longer_index_does_not_stays() {
    let long = doc! {"key": {"guild_id": 1, "balance": -1}, "name": "long"};
    let short = doc! {"key": {"guild_id": 1}, "name": "short"};
    let with = |base: &Document, key: &str, value: Bson| {
        let mut spec = base.clone();
        spec.insert(key, value);
        index(spec)
    };
    let yes = Bson::Boolean(true);
    let partial = Bson::Document(doc! {"a": 1});
    let english = Bson::Document(doc! {"locale": "en"});
    for (key, value) in [
        ("unique", &yes),
        ("sparse", &yes),
        ("partialFilterExpression", &partial),
        ("collation", &english),
        ("expireAfterSeconds", &Bson::Int32(5)),
    ] {
        let pair = [with(&short, key, value.clone()), index(long.clone())];
        assert_eq!(goes(&pair, 3600, None, &[]), set(&[]), "short with {key}");
    }
    for (key, value) in [
        ("sparse", &yes),
        ("partialFilterExpression", &partial),
        ("collation", &english),
        ("hidden", &yes),
    ] {
        let pair = [index(short.clone()), with(&long, key, value.clone())];
        assert_eq!(goes(&pair, 3600, None, &[]), set(&[]), "long with {key}");
    }
    // Whether a further field is an array isn't known, or it is.
    let unknown = [
        index(short.clone()),
        plain("long", doc! {"guild_id": 1, "never_seen": 1}),
    ];
    assert_eq!(goes(&unknown, 3600, None, &[]), set(&[]));
    let shard_key = doc! {"guild_id": 1};
    assert_eq!(
        goes(&[index(short), index(long)], 3600, Some(&shard_key), &[]),
        set(&[])
    );
}

#[test]
fn an_unused_index_goes_unless_it_is_needed_otherwise() {
    let month = 30 * 86_400;
    let specs = [
        doc! {"key": {"_id": 1}, "name": "_id_"},
        doc! {"key": {"name": 1}, "name": "unique", "unique": true},
        doc! {"key": {"last_claim": 1}, "name": "ttl", "expireAfterSeconds": 60},
        doc! {"key": {"guild_id": 1, "user_id": 1}, "name": "shard"},
        doc! {"key": {"status": 1}, "name": "hinted"},
        doc! {"key": {"balance": 1}, "name": "unused"},
        doc! {"key": {"balance": "text"}, "name": "text"},
    ];
    let all: Vec<Index> = specs.into_iter().map(index).collect();
    let shard_key = doc! {"guild_id": 1};
    let hinted = ["hinted".to_owned()];
    assert_eq!(
        goes(&all, month, Some(&shard_key), &hinted),
        set(&["drop text", "drop unused"])
    );
    assert_eq!(
        goes(&all, 6 * 86_400, Some(&shard_key), &hinted),
        set(&[]),
        "not long enough"
    );
    let unknown = surplus(&all, &|_| None, &users(), None, &[], WEEK);
    assert_eq!(unknown, [], "not every server could be asked");
}

#[test]
fn an_index_is_not_replaced_by_one_that_goes_itself() {
    let both = [
        plain("short", doc! {"guild_id": 1}),
        plain("long", doc! {"guild_id": 1, "balance": -1}),
    ];
    let uses = |name: &str| {
        let days = if name == "long" { 30 } else { 0 };
        Some(Use {
            unused_for: Duration::from_secs(days * 86_400),
        })
    };
    let found = surplus(&both, &uses, &users(), None, &[], WEEK);
    let names: Vec<&str> = found.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["long"]);
}

#[test]
fn an_explain_tells_what_was_examined_by_which_plan() {
    let reply = doc! {
        "queryPlanner": {"winningPlan": {"stage": "SORT", "inputStage": {"stage": "FETCH",
            "inputStage": {"stage": "IXSCAN", "indexName": "a_1"}}},
            "rejectedPlans": [{"stage": "COLLSCAN"}]},
        "executionStats": {"executionSuccess": true, "nReturned": 10, "totalKeysExamined": 40, "totalDocsExamined": 30,
            "executionStages": {"stage": "SORT", "nReturned": 10, "inputStage": {"stage": "IXSCAN", "seeks": 4}}},
        "ok": 1.0,
    };
    let found = explained(&reply);
    assert_eq!((found.examined, found.returned), (Some(36.0), Some(10.0)));
    assert!(found.sorts && !found.scans);
    assert_eq!(found.indexes, ["a_1"]);
    let planned = doc! {"queryPlanner": {"winningPlan": {"stage": "COLLSCAN"}}};
    let found = explained(&planned);
    assert!(found.scans && found.examined.is_none());
    let count = doc! {"executionStats": {"executionSuccess": true, "nReturned": 0, "totalKeysExamined": 101, "totalDocsExamined": 0,
    "executionStages": {"stage": "COUNT", "nCounted": 100, "inputStage": {"stage": "COUNT_SCAN"}}}};
    assert_eq!(explained(&count).returned, Some(100.0));
}

#[test]
fn what_is_explained_is_the_command_without_what_explain_refuses() {
    let find =
        doc! {"find": "c", "filter": {"a": 1}, "batchSize": 5, "apiVersion": "1", "$db": "d"};
    assert_eq!(
        explainable(&find),
        Some(doc! {"find": "c", "filter": {"a": 1}})
    );
    let aggregate = doc! {"aggregate": "c", "pipeline": [{"$match": {"a": 1}}, {"$group": {"_id": "$b"}}, {"$out": "x"}], "cursor": {"batchSize": 5}, "$db": "d"};
    assert_eq!(
        explainable(&aggregate),
        Some(doc! {"aggregate": "c", "pipeline": [{"$match": {"a": 1}}], "cursor": {}})
    );
    let writes = doc! {"aggregate": "c", "pipeline": [{"$out": "x"}], "cursor": {}};
    assert_eq!(explainable(&writes), None, "and nothing is written");
}
