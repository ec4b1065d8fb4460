//! Results of several batches: into the cache and out of it.

use super::super::cursors;
use super::*;

fn documents(ids: std::ops::Range<i32>) -> Vec<Document> {
    ids.map(|id| doc! {"_id": id, "a": 1}).collect()
}

fn opened(ids: std::ops::Range<i32>, cursor: i64) -> Document {
    doc! {"cursor": {"firstBatch": documents(ids), "id": cursor, "ns": "d.c"}, "ok": 1.0}
}

fn continued(ids: std::ops::Range<i32>, cursor: i64) -> Document {
    doc! {"cursor": {"nextBatch": documents(ids), "id": cursor, "ns": "d.c"}, "ok": 1.0}
}

fn more(cursor: i64) -> Document {
    doc! {"getMore": cursor, "collection": "c", "$db": "d"}
}

fn in_batches_of(size: i32) -> Document {
    let mut find = find();
    find.insert("batchSize", size);
    find
}

fn cursor(reply: &Document) -> i64 {
    reply.get_document("cursor").unwrap().get_i64("id").unwrap()
}

/// A result of ten documents, drained by a client in batches of four.
async fn drained() -> Setup {
    let s = setup([
        plain(),
        opened(0..4, 5),
        continued(4..8, 5),
        continued(8..10, 0),
    ]);
    s.run(in_batches_of(4)).await;
    s.run(more(5)).await;
    assert_eq!(s.cache.entries(), 0);
    s.run(more(5)).await;
    assert_eq!((s.cache.entries(), s.backend.asked().len()), (1, 4));
    s
}

#[tokio::test]
async fn a_drained_result_is_replayed_in_batches_of_any_size() {
    let s = drained().await;
    let (hit, reply) = s.ask(in_batches_of(7)).await;
    assert!(hit.trail.has(Decision::Hit));
    let id = cursor(&reply);
    assert_eq!(reply, opened(0..7, id));
    assert!(id > 0 && s.cache.cursors() == 1);
    assert_eq!(s.ask(more(id)).await.1, continued(7..10, 0));
    assert_eq!(s.cache.cursors(), 0);
    assert_eq!(s.ask(find()).await.1, opened(0..10, 0));
    let (_, none) = s.ask(in_batches_of(0)).await;
    assert_eq!(none, opened(0..0, cursor(&none)));
    assert_eq!(s.ask(more(cursor(&none))).await.1, continued(0..10, 0));
    assert_eq!((s.cache.cursors(), s.backend.asked().len()), (0, 4));
}

#[tokio::test]
async fn a_cursor_that_is_left_alone_ends_after_its_idle_time() {
    let s = drained().await;
    s.ask(in_batches_of(1)).await;
    let opened = tokio::time::Instant::now();
    s.cache
        .cursors
        .sweep(opened + cursors::IDLE - Duration::from_secs(1));
    assert_eq!(s.cache.cursors(), 1);
    s.cache.cursors.sweep(opened + cursors::IDLE);
    assert_eq!(s.cache.cursors(), 0);
}

#[tokio::test]
async fn a_result_is_not_stored_when_a_write_met_what_was_already_fetched() {
    for (id, stored) in [(2, 0), (500, 1)] {
        let s = setup([plain(), opened(0..4, 5)]);
        let ranked = doc! {"find": "c", "filter": {"a": {"$gt": 0}}, "batchSize": 4, "$db": "d"};
        s.run(ranked).await;
        let update = doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"$set": {"v": 2}}}], "$db": "d"};
        s.backend
            .push(Step::Reply(doc! {"n": 1, "nModified": 1, "ok": 1.0}));
        s.run(update).await;
        s.backend.push(Step::Reply(continued(4..10, 0)));
        s.run(more(5)).await;
        assert_eq!(s.cache.entries(), stored, "{id}");
    }
}

#[tokio::test]
async fn a_result_whose_batches_grow_too_large_or_fail_is_not_stored() {
    let failed = doc! {"ok": 0.0, "code": 43, "codeName": "CursorNotFound"};
    for last in [continued(8..100, 0), failed] {
        let config = config::Cache {
            max_entry: config::ByteSize(1024),
            ..watched_by_nobody()
        };
        let s = setup_with([plain(), opened(0..4, 5), last], config);
        s.run(in_batches_of(4)).await;
        s.run(more(5)).await;
        assert_eq!(s.cache.entries(), 0);
    }
}

#[tokio::test]
async fn a_cursor_goes_on_showing_its_answer_after_a_write_and_a_new_find_does_not() {
    let s = drained().await;
    let (_, reply) = s.ask(in_batches_of(4)).await;
    s.backend
        .push(Step::Reply(doc! {"n": 1, "nModified": 1, "ok": 1.0}));
    s.run(update()).await;
    let id = cursor(&reply);
    assert_eq!(s.ask(more(id)).await.1, continued(4..10, 0));
    s.backend.push(Step::Reply(opened(0..3, 0)));
    assert_eq!(s.ask(find()).await.1, opened(0..3, 0));
}

#[tokio::test]
async fn a_cursor_is_of_its_principal_alone() {
    let s = drained().await;
    let (_, reply) = s.ask(in_batches_of(4)).await;
    let id = cursor(&reply);
    let stranger = Arc::new(Principal {
        id: 8,
        name: "d.stranger".to_owned(),
    });
    let (_, refused) = s.ask_as(&stranger, more(id)).await;
    assert_eq!(refused.get_i32("code").unwrap(), 13, "{refused}");
    s.backend.push(Step::Reply(
        doc! {"cursorsKilled": [], "cursorsNotFound": [id], "ok": 1.0},
    ));
    let kill = doc! {"killCursors": "c", "cursors": [id], "$db": "d"};
    s.ask_as(&stranger, kill).await;
    assert_eq!(s.ask(more(id)).await.1, continued(4..10, 0));
}
