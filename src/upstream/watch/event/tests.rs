//! Events as mongod 6.0 and 7.0 write them.

use bson::{Document, doc};

use super::*;

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().unwrap()
}

fn of(event: Document) -> Landing {
    landing(&bytes(&event))
}

fn users() -> Namespace {
    Namespace::new("d", "users")
}

fn event(operation: &str, rest: Document) -> Document {
    let mut event = doc! {
        "operationType": operation, "ns": {"db": "d", "coll": "users"}, "documentKey": {"_id": 1},
    };
    event.extend(rest);
    event
}

fn statement(statement: Statement) -> Landing {
    Landing::Footprint(Footprint::Statements(users(), Arc::new([statement])))
}

#[test]
fn writes_of_documents_are_statements() {
    let document = doc! {"_id": 1, "a": 2};
    let key = bytes(&doc! {"_id": 1});
    assert_eq!(
        of(event("insert", doc! {"fullDocument": document.clone()})),
        statement(Statement::landed_insert(&bytes(&document)))
    );
    assert_eq!(
        of(event("replace", doc! {"fullDocument": document.clone()})),
        statement(Statement::landed_replace(&key, &bytes(&document)))
    );
    assert_eq!(
        of(event("delete", doc! {})),
        statement(Statement::landed_delete(&key))
    );
}

fn update(description: Document) -> Landing {
    of(event("update", doc! {"updateDescription": description}))
}

fn updates(list: &[&str], sets: Document) -> Landing {
    let mut paths = Paths::none();
    list.iter().for_each(|path| paths.insert(path));
    let key = bytes(&doc! {"_id": 1});
    statement(Statement::landed_update(&key, paths, &bytes(&sets)))
}

#[test]
fn an_update_touches_what_it_updated_removed_and_truncated() {
    let description = doc! {
        "updatedFields": {"a.b": 2, "n": {"q": 1}}, "removedFields": ["x.y"],
        "truncatedArrays": [{"field": "t", "newSize": 2}],
    };
    assert_eq!(
        update(description),
        updates(&["a.b", "n", "x.y", "t"], doc! {"a.b": 2, "n": {"q": 1}})
    );
}

#[test]
fn a_path_is_cut_at_its_first_number_and_its_value_is_not_taken() {
    let description = doc! {
        "updatedFields": {"arr.3.x": 5, "b": 1}, "removedFields": ["c.0"],
        "truncatedArrays": [{"field": "d.1.e", "newSize": 2}],
    };
    assert_eq!(
        update(description),
        updates(&["arr", "b", "c", "d"], doc! {"b": 1})
    );
}

#[test]
fn a_field_named_by_a_number_may_be_any_field() {
    let all = Statement::landed_update(&bytes(&doc! {"_id": 1}), Paths::all(), &bytes(&doc! {}));
    assert_eq!(
        update(doc! {"updatedFields": {"0.a": 1}, "removedFields": []}),
        statement(all)
    );
}

#[test]
fn what_cannot_be_read_is_a_write_to_the_collection() {
    let collection = Landing::Footprint(Footprint::Namespaces(vec![users()]));
    assert_eq!(update(doc! {"removedFields": [5]}), collection);
    assert_eq!(of(event("update", doc! {})), collection);
    assert_eq!(of(event("insert", doc! {"fullDocument": null})), collection);
    assert_eq!(
        of(doc! {"operationType": "insert"}),
        Landing::Footprint(Footprint::Everything)
    );
}

#[test]
fn definitions_concern_their_databases_and_indexes_their_collection() {
    let databases = |names: &[&str]| {
        Landing::Footprint(Footprint::Databases(
            names.iter().map(|n| (*n).to_owned()).collect(),
        ))
    };
    for operation in ["drop", "create", "modify", "somethingNew"] {
        assert_eq!(of(event(operation, doc! {})), databases(&["d"]));
    }
    assert_eq!(
        of(doc! {"operationType": "dropDatabase", "ns": {"db": "d"}}),
        databases(&["d"])
    );
    let to = |db: &str| doc! {"to": {"db": db, "coll": "x"}};
    assert_eq!(of(event("rename", to("d"))), databases(&["d"]));
    assert_eq!(of(event("rename", to("e"))), databases(&["d", "e"]));
    for operation in ["createIndexes", "dropIndexes"] {
        assert_eq!(
            of(event(operation, doc! {})),
            Landing::Footprint(Footprint::Namespaces(vec![users()]))
        );
    }
    assert_eq!(of(doc! {"operationType": "invalidate"}), Landing::Flush);
}

#[test]
fn a_time_series_concerns_its_buckets_and_system_views_the_database() {
    let write = |collection: &str| {
        let mut event = event("insert", doc! {"fullDocument": {"_id": 1}});
        event.insert("ns", doc! {"db": "d", "coll": collection});
        of(event)
    };
    let buckets = Namespace::new("d", "system.buckets.ts");
    assert_eq!(
        write("system.buckets.ts"),
        Landing::Footprint(Footprint::Namespaces(vec![buckets]))
    );
    assert_eq!(
        write("system.views"),
        Landing::Footprint(Footprint::Databases(vec!["d".to_owned()]))
    );
}

#[test]
fn the_first_part_of_a_split_event_stands_for_all() {
    let part = |n: i32| doc! {"splitEvent": {"fragment": n, "of": 2}};
    let mut first = event(
        "update",
        doc! {"updateDescription": {"updatedFields": {"a": 1}}},
    );
    first.extend(part(1));
    assert_eq!(
        of(first),
        Landing::Footprint(Footprint::Namespaces(vec![users()]))
    );
    assert_eq!(of(part(1)), Landing::Footprint(Footprint::Everything));
    assert_eq!(of(part(2)), Landing::Footprint(Footprint::Nothing));
}

#[test]
fn a_token_holds_a_cluster_time() {
    let time = |data: &str| {
        let holder = bytes(&doc! {"t": {"_data": data}});
        token_time(doc::find(&holder, "t").unwrap())
    };
    let expected = 1_795_451_705_u64 << 32 | 12;
    assert_eq!(time("826B046B390000000C2B0229296E04"), Some(expected));
    for broken in [
        "",
        "82",
        "826B046B3900",
        "466B046B390000000C",
        "82zzzzzzzzzzzzzzzz",
        "82ééééééééé",
    ] {
        assert_eq!(time(broken), None, "{broken}");
    }
}
