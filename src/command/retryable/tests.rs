use bson::{Document, doc};

use super::*;
use crate::wire::build;
use crate::wire::frame::Frame;

fn parsed(document: Document) -> (Command, OpMsg) {
    let bytes = build::op_msg(1, 0, 0, &document.to_vec().unwrap());
    let msg = OpMsg::parse(&Frame { bytes }).unwrap();
    (Command::parse(&msg).unwrap(), msg)
}

fn of(document: Document) -> Repeatable {
    repeatable(&parsed(document).0)
}

fn takes_number(document: Document) -> bool {
    let (command, msg) = parsed(document);
    may_be_numbered(&command, &msg)
}

#[test]
fn reads_may_be_repeated_but_not_what_goes_on_or_writes() {
    let pipeline = |stage: &str| doc! {"aggregate": "c", "pipeline": [{stage: {}}], "$db": "d"};
    for read in [
        doc! {"find": "c", "$db": "d"},
        doc! {"count": "c", "$db": "d"},
        doc! {"distinct": "c", "$db": "d"},
        doc! {"listCollections": 1, "$db": "d"},
        pipeline("$match"),
    ] {
        assert_eq!(of(read.clone()), Repeatable::Read, "{read}");
    }
    for other in [
        doc! {"getMore": 1_i64, "collection": "c", "$db": "d"},
        doc! {"mapReduce": "c", "$db": "d"},
        doc! {"serverStatus": 1, "$db": "admin"},
        doc! {"insert": "c", "$db": "d"},
        doc! {"find": "c", "lsid": {}, "txnNumber": 1_i64, "autocommit": false, "$db": "d"},
        pipeline("$out"),
        pipeline("$merge"),
    ] {
        assert_eq!(of(other.clone()), Repeatable::Never, "{other}");
    }
}

#[test]
fn writes_may_be_repeated_under_their_number_only() {
    let insert = doc! {"insert": "c", "lsid": {}, "txnNumber": 1_i64, "$db": "d"};
    assert_eq!(of(insert.clone()), Repeatable::Numbered);
    let mut inside = insert.clone();
    inside.insert("autocommit", false);
    assert_eq!(of(inside), Repeatable::Never);
    let mut unacknowledged = insert;
    unacknowledged.insert("writeConcern", doc! {"w": 0});
    assert_eq!(of(unacknowledged), Repeatable::Never);
    for end in ["commitTransaction", "abortTransaction"] {
        let end =
            doc! {end: 1, "lsid": {}, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"};
        assert_eq!(of(end), Repeatable::Numbered);
    }
}

#[test]
fn a_number_is_given_to_writes_of_single_documents_only() {
    let update = |multi: bool| doc! {"update": "c", "updates": [{"q": {}, "u": {}, "multi": multi}], "$db": "d"};
    let delete =
        |limit: i32| doc! {"delete": "c", "deletes": [{"q": {}, "limit": limit}], "$db": "d"};
    assert!(takes_number(update(false)) && !takes_number(update(true)));
    assert!(takes_number(delete(1)) && !takes_number(delete(0)));
    assert!(takes_number(doc! {"findAndModify": "c", "$db": "d"}));
    let id = bson::Uuid::from_bytes([1; 16]);
    let insert = doc! {"insert": "c", "lsid": {"id": id}, "$db": "d"};
    assert!(takes_number(insert.clone()));
    for (key, value) in [
        ("writeConcern", bson::bson!({"w": 0})),
        ("txnNumber", bson::bson!(1_i64)),
        ("stmtIds", bson::bson!([1])),
        ("txnNumber", bson::bson!("one")),
        ("lsid", bson::bson!({"id": 1})),
        ("lsid", bson::bson!(1)),
        ("lsid", bson::bson!({"id": id, "uid": 1})),
        ("$db", bson::bson!("config")),
        ("insert", bson::bson!("system.views")),
    ] {
        let mut other = insert.clone();
        other.insert(key, value);
        assert!(!takes_number(other.clone()), "{other}");
    }
    assert!(!takes_number(doc! {"find": "c", "$db": "d"}));
}

#[test]
fn statements_in_a_sequence_are_looked_at_too() {
    let many = doc! {"q": {}, "u": {}, "multi": true}.to_vec().unwrap();
    let one = doc! {"q": {}, "u": {}}.to_vec().unwrap();
    let takes = |statements: &[u8]| {
        let body = doc! {"update": "c", "$db": "d"}.to_vec().unwrap();
        let bytes = build::op_msg_with_sequences(1, 0, 0, &body, &[("updates", statements)]);
        let msg = OpMsg::parse(&Frame { bytes }).unwrap();
        may_be_numbered(&Command::parse(&msg).unwrap(), &msg)
    };
    assert!(takes(&one));
    assert!(!takes(&[one.clone(), many].concat()));
}

fn asks(what: Repeatable, reply: Document) -> Plea {
    plea(what, &ReplyView::read(&reply.to_vec().unwrap()))
}

#[test]
fn codes_ask_for_reads_and_labels_for_writes() {
    for code in RETRYABLE_READS {
        let error = doc! {"ok": 0.0, "code": code};
        assert_eq!(asks(Repeatable::Read, error.clone()), Plea::Again, "{code}");
        assert_eq!(asks(Repeatable::Numbered, error), Plea::None, "{code}");
    }
    let labelled = doc! {"ok": 0.0, "code": 1, "errorLabels": ["RetryableWriteError"]};
    assert_eq!(asks(Repeatable::Numbered, labelled.clone()), Plea::Again);
    assert_eq!(asks(Repeatable::Read, labelled.clone()), Plea::None);
    assert_eq!(asks(Repeatable::Never, labelled), Plea::None);
    let concern = doc! {"ok": 1.0, "n": 1, "writeConcernError": {"code": 91}, "errorLabels": ["RetryableWriteError"]};
    assert_eq!(asks(Repeatable::Numbered, concern), Plea::Again);
}

#[test]
fn overload_asks_for_anything_but_later_and_only_with_both_labels() {
    let error = |labels: &[&str]| doc! {"ok": 0.0, "code": 462, "errorLabels": labels.to_vec()};
    let both = error(&["SystemOverloadedError", "RetryableError"]);
    for what in [Repeatable::Read, Repeatable::Numbered, Repeatable::Never] {
        assert_eq!(asks(what, both.clone()), Plea::Later);
        assert_eq!(asks(what, error(&["SystemOverloadedError"])), Plea::None);
        assert_eq!(asks(what, error(&["RetryableError"])), Plea::None);
    }
    let write = error(&["SystemOverloadedError", "RetryableWriteError"]);
    assert_eq!(asks(Repeatable::Numbered, write), Plea::Later);
}

#[test]
fn what_an_error_says_of_the_servers_part() {
    let says = |reply: Document| standing(&ReplyView::read(&reply.to_vec().unwrap()));
    assert_eq!(says(doc! {"ok": 0.0, "code": 10107}), Standing::NotPrimary);
    assert_eq!(says(doc! {"ok": 0.0, "code": 11600}), Standing::Recovering);
    assert_eq!(says(doc! {"ok": 0.0, "code": 11000}), Standing::Unchanged);
    let concern = doc! {"ok": 1.0, "writeConcernError": {"code": 91}};
    assert_eq!(says(concern), Standing::Recovering);
    let inner = doc! {"ok": 1.0, "writeErrors": [{"code": 10107}]};
    assert_eq!(says(inner), Standing::Unchanged);
}
