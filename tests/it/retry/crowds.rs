//! Limits on what is under way, and clients that leave.

use std::time::Duration;

use bson::doc;

use super::{Asker, Place, labels};
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait;
use crate::raw::{Section, encode};

fn slow_find(db: &str, mark: &str) -> bson::Document {
    let slow = doc! {"$where": "sleep(60000) || true"};
    doc! {"find": "c", "filter": slow, "comment": mark, "$db": db}
}

/// Operations with this comment that the server is running.
async fn running(direct: &mut Asker, mark: &str) -> usize {
    let pipeline = [
        doc! {"$currentOp": {}},
        doc! {"$match": {"command.comment": mark, "command.find": "c"}},
    ];
    let reply = direct
        .ask(&doc! {"aggregate": 1, "pipeline": pipeline.to_vec(), "cursor": {}, "$db": "admin"})
        .await;
    reply
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap()
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_client_has_left_costs_the_server_nothing_more() {
    let mut place = Place::new().await;
    let db = shared::database("left");
    place
        .through
        .ask(&doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    let mut leaver = Asker::connect(place.proxy.address()).await;
    let body = encode(&slow_find(&db, "left"));
    leaver.0.send(0, &[Section::Body(body)]).await.unwrap();
    let direct = &mut place.direct;
    while running(direct, "left").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(leaver);
    let left = std::time::Instant::now();
    while running(direct, "left").await > 0 {
        assert!(left.elapsed() < wait::PATIENCE, "it still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wait::until("it is counted", || {
        place.proxy.count("/clients/given_up") == 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_client_has_left_runs_on() {
    let mut place = Place::new().await;
    let db = shared::database("stays");
    place
        .through
        .ask(&doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    let slow = doc! {"q": {"$where": "sleep(1000) || true"}, "u": {"$set": {"done": true}}};
    let update = doc! {"update": "c", "updates": [slow], "$db": &db};
    let mut leaver = Asker::connect(place.proxy.address()).await;
    leaver
        .0
        .send(0, &[Section::Body(encode(&update))])
        .await
        .unwrap();
    wait::until("it is under way", || {
        place.proxy.count("/pool/links") > place.proxy.count("/pool/idle")
    });
    drop(leaver);
    let find = doc! {"count": "c", "query": {"done": true}, "$db": &db};
    let left = std::time::Instant::now();
    while place.direct.ask(&find).await.get_i32("n").ok() != Some(1) {
        assert!(left.elapsed() < wait::PATIENCE, "it was given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_a_limit_is_refused_and_says_so() {
    let rs = shared::rs().await;
    let settings = [
        ("cache.enabled", "false"),
        ("admission.max_per_client", "1"),
    ];
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let db = shared::database("limits");
    let mut first = Asker::connect(proxy.address()).await;
    first
        .ask(&doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    let body = encode(&slow_find(&db, "limits"));
    first.0.send(0, &[Section::Body(body)]).await.unwrap();
    wait::until("it is under way", || {
        proxy.count("/pool/links") > proxy.count("/pool/idle")
    });
    let mut second = Asker::connect(proxy.address()).await;
    let reply = second.ask(&doc! {"find": "c", "$db": &db}).await;
    assert_eq!(reply.get_i32("code").ok(), Some(462), "{reply}");
    assert_eq!(labels(&reply), ["SystemOverloadedError", "RetryableError"]);
    assert_eq!(proxy.count("/admission/rejected"), 1);
    drop(first);
}
