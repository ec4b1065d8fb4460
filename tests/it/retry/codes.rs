//! Every code and label of the specifications, given by the real server's failCommand.

use bson::{Document, doc};

use super::{Place, is_ok, labels};
use crate::parts::shared;

const RETRYABLE_READS: [i32; 13] = [
    6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436,
];
/// What the server itself labels RetryableWriteError.
const RETRYABLE_WRITES: [i32; 12] = [
    6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436,
];
const OVERLOAD: [&str; 2] = ["SystemOverloadedError", "RetryableError"];

fn code(reply: &Document) -> Option<i32> {
    reply.get_i32("code").ok()
}

fn increment(db: &str) -> Document {
    doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"v": 1}}, "upsert": true}], "$db": db}
}

/// The same with a number of this session.
fn numbered(mut command: Document, session: bson::Uuid, number: i64) -> Document {
    command.insert("lsid", doc! {"id": session});
    command.insert("txnNumber", number);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_retried_once_on_each_listed_code_and_on_no_other() {
    let mut place = Place::new().await;
    let find = doc! {"find": "c", "filter": {}, "$db": shared::database("codes")};
    for listed in RETRYABLE_READS {
        let (reply, tries) = place.tries(&find, doc! {"errorCode": listed}).await;
        assert_eq!((code(&reply), tries), (Some(listed), 2), "{reply}");
        place
            .fail(&["find"], Some(1), doc! {"errorCode": listed})
            .await;
        let reply = place.through.ask(&find).await;
        assert!(is_ok(&reply), "{listed}: {reply}");
    }
    for other in [2, 13, 26, 43, 50, 112, 11601] {
        let (reply, tries) = place.tries(&find, doc! {"errorCode": other}).await;
        assert_eq!((code(&reply), tries), (Some(other), 1), "{reply}");
    }
    let (reply, tries) = place.tries(&find, doc! {"closeConnection": true}).await;
    assert_eq!((code(&reply), tries), (Some(6), 2), "{reply}");
    place.recover().await;
    assert!(is_ok(&place.through.ask(&find).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn which_commands_are_retried() {
    let mut place = Place::new().await;
    let db = shared::database("commands");
    let insert =
        doc! {"insert": "c", "documents": [{"_id": 1}, {"_id": 2}, {"_id": 3}], "$db": &db};
    place.through.ask(&insert).await;
    let mut opened = place
        .through
        .ask(&doc! {"find": "c", "batchSize": 1, "$db": &db})
        .await;
    let cursor = opened
        .get_document_mut("cursor")
        .unwrap()
        .get_i64("id")
        .unwrap();
    let many = doc! {"q": {}, "u": {"$set": {"a": 1}}, "multi": true};
    let all = doc! {"q": {}, "limit": 0};
    for (tries_wanted, command) in [
        (2, doc! {"find": "c", "$db": &db}),
        (
            2,
            doc! {"aggregate": "c", "pipeline": [], "cursor": {}, "$db": &db},
        ),
        (2, doc! {"count": "c", "$db": &db}),
        (2, doc! {"distinct": "c", "key": "a", "$db": &db}),
        (2, doc! {"listCollections": 1, "$db": &db}),
        (2, doc! {"listIndexes": "c", "$db": &db}),
        (2, doc! {"listDatabases": 1, "$db": "admin"}),
        (1, doc! {"getMore": cursor, "collection": "c", "$db": &db}),
        (
            1,
            doc! {"aggregate": "c", "pipeline": [{"$out": "other"}], "cursor": {}, "$db": &db},
        ),
        (1, doc! {"serverStatus": 1, "$db": "admin"}),
        (
            1,
            doc! {"update": "c", "updates": [many.clone()], "$db": &db},
        ),
        (1, doc! {"delete": "c", "deletes": [all], "$db": &db}),
        (1, doc! {"create": "new", "$db": &db}),
    ] {
        let (reply, tries) = place.tries(&command, doc! {"errorCode": 91}).await;
        assert_eq!(
            (code(&reply), tries),
            (Some(91), tries_wanted),
            "{command}: {reply}"
        );
        // Refused for overload, nothing was executed: three tries of anything.
        let how = doc! {"errorCode": 462, "errorLabels": OVERLOAD.to_vec()};
        let (reply, tries) = place.tries(&command, how).await;
        assert_eq!((code(&reply), tries), (Some(462), 3), "{command}: {reply}");
        assert_eq!(labels(&reply), OVERLOAD, "labels are relayed");
    }
    for labels in [&OVERLOAD[..1], &OVERLOAD[1..]] {
        let how = doc! {"errorCode": 462, "errorLabels": labels.to_vec()};
        let update = doc! {"update": "c", "updates": [many.clone()], "$db": &db};
        assert_eq!(place.tries(&update, how).await.1, 1, "{labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_retried_once_on_each_labelled_error_and_take_effect_once() {
    let mut place = Place::new().await;
    let db = shared::database("writes");
    let (session, mut number) = (bson::Uuid::new(), 0);
    let mut next = || {
        number += 1;
        number
    };
    let mut wanted = 0;
    for listed in RETRYABLE_WRITES {
        let own = numbered(increment(&db), session, next());
        let (reply, tries) = place.tries(&own, doc! {"errorCode": listed}).await;
        assert_eq!((code(&reply), tries), (Some(listed), 2), "{reply}");
        assert_eq!(labels(&reply), ["RetryableWriteError"], "{listed}");
        let (reply, tries) = place
            .tries(&increment(&db), doc! {"errorCode": listed})
            .await;
        assert_eq!((code(&reply), tries), (Some(listed), 2), "{reply}");
        assert!(labels(&reply).is_empty(), "it had no number: {reply}");
        for command in [numbered(increment(&db), session, next()), increment(&db)] {
            place
                .fail(&["update"], Some(1), doc! {"errorCode": listed})
                .await;
            assert!(is_ok(&place.through.ask(&command).await));
            wanted += 1;
        }
    }
    for other in [50, 112, 11601] {
        let (reply, tries) = place
            .tries(&increment(&db), doc! {"errorCode": other})
            .await;
        assert_eq!((code(&reply), tries), (Some(other), 1), "{reply}");
    }
    // Without the label nothing is sent again, whatever the code.
    let how = doc! {"errorCode": 91, "errorLabels": []};
    assert_eq!(place.tries(&increment(&db), how).await.1, 1);
    let (reply, tries) = place
        .tries(&increment(&db), doc! {"closeConnection": true})
        .await;
    assert_eq!((code(&reply), tries), (Some(6), 2), "{reply}");
    place
        .fail(&["update"], Some(1), doc! {"closeConnection": true})
        .await;
    assert!(is_ok(&place.through.ask(&increment(&db)).await));
    wanted += 1;
    assert_eq!(value(&mut place, &db).await, wanted);
}

async fn value(place: &mut Place, db: &str) -> i32 {
    let found = place
        .direct
        .ask(&doc! {"find": "c", "filter": {"_id": 1}, "$db": db})
        .await;
    let batch = found
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap();
    batch[0].as_document().unwrap().get_i32("v").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_executed_before_its_error_takes_effect_once_and_shows_no_marks() {
    let mut place = Place::new().await;
    let db = shared::database("executed");
    let concern = doc! {"code": 91, "errmsg": "on purpose", "errorLabels": ["RetryableWriteError"]};
    let how = doc! {"writeConcernError": concern};
    for (at, command) in [
        numbered(increment(&db), bson::Uuid::new(), 1),
        increment(&db),
    ]
    .into_iter()
    .enumerate()
    {
        place.fail(&["update"], Some(1), how.clone()).await;
        let reply = place.through.ask(&command).await;
        assert!(
            is_ok(&reply) && !reply.contains_key("writeConcernError"),
            "{reply}"
        );
        assert_eq!(reply.contains_key("retriedStmtIds"), at == 0, "{reply}");
        assert_eq!(value(&mut place, &db).await, at as i32 + 1);
    }
    let modify = doc! {"findAndModify": "c", "query": {"_id": 1}, "update": {"$inc": {"v": 1}}, "new": true, "$db": &db};
    place.fail(&["findAndModify"], Some(1), how).await;
    let reply = place.through.ask(&modify).await;
    assert!(
        is_ok(&reply) && !reply.contains_key("retriedStmtId"),
        "{reply}"
    );
    assert_eq!(
        reply.get_document("value").unwrap().get_i32("v").ok(),
        Some(3)
    );
    assert_eq!(value(&mut place, &db).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_transaction_are_sent_once_and_its_end_once_more() {
    let mut place = Place::new().await;
    let db = shared::database("transactions");
    place.through.ask(&increment(&db)).await;
    let id = bson::Uuid::new();
    let part = |mut command: Document| {
        command.extend(doc! {"lsid": {"id": id}, "txnNumber": 1_i64, "autocommit": false});
        command
    };
    let mut first = part(increment(&db));
    first.insert("startTransaction", true);
    assert!(is_ok(&place.through.ask(&first).await));
    for inside in [increment(&db), doc! {"find": "c", "$db": &db}] {
        let (reply, tries) = place.tries(&part(inside), doc! {"errorCode": 91}).await;
        assert_eq!((code(&reply), tries), (Some(91), 1), "{reply}");
    }
    let commit = part(doc! {"commitTransaction": 1, "$db": "admin"});
    let (reply, tries) = place.tries(&commit, doc! {"errorCode": 91}).await;
    assert_eq!((code(&reply), tries), (Some(91), 2), "{reply}");
    place
        .fail(
            &["commitTransaction"],
            Some(1),
            doc! {"closeConnection": true},
        )
        .await;
    let abort = part(doc! {"abortTransaction": 1, "$db": "admin"});
    let (_, tries) = place.tries(&abort, doc! {"errorCode": 91}).await;
    assert_eq!(tries, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drivers_retry_of_what_the_proxy_has_retried_is_sent_once() {
    let mut place = Place::new().await;
    let db = shared::database("drivers");
    let write = numbered(increment(&db), bson::Uuid::new(), 1);
    let how = doc! {"errorCode": 91};
    assert_eq!(place.tries(&write, how.clone()).await.1, 2);
    assert_eq!(
        place.tries(&write, how.clone()).await.1,
        1,
        "its driver's retry"
    );
    let mut read = doc! {"find": "c", "$db": &db};
    read.insert("lsid", doc! {"id": bson::Uuid::new()});
    assert_eq!(place.tries(&read, how.clone()).await.1, 2);
    assert_eq!(place.tries(&read, how.clone()).await.1, 1);
    assert_eq!(place.tries(&read, how).await.1, 2, "another read");
    let status = place.proxy.status();
    assert_eq!(
        status.pointer("/retry/write_retries").unwrap(),
        1,
        "{status}"
    );
    assert_eq!(
        status.pointer("/retry/read_retries").unwrap(),
        2,
        "{status}"
    );
}
