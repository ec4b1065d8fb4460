//! Limits on what is under way, and clients that leave.

use std::time::Duration;

use bson::doc;

use super::{Asker, Place, labels};
use crate::parts::proxy::Proxy;
use crate::parts::{running, shared, wait};
use crate::raw::{Section, encode};

fn slow_find(db: &str) -> bson::Document {
    let slow = doc! {"$where": "sleep(60000) || true"};
    doc! {"find": "c", "filter": slow, "$db": db}
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
    let body = encode(&slow_find(&db));
    leaver.0.send(0, &[Section::Body(body)]).await.unwrap();
    let namespace = format!("{db}.c");
    running::until_running(&place.address, &namespace).await;
    drop(leaver);
    running::until_ended(&place.address, &namespace).await;
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
    let slow = doc! {"q": {"$where": "sleep(3000) || true"}, "u": {"$set": {"done": true}}};
    let update = doc! {"update": "c", "updates": [slow], "$db": &db};
    let mut leaver = Asker::connect(place.proxy.address()).await;
    leaver
        .0
        .send(0, &[Section::Body(encode(&update))])
        .await
        .unwrap();
    running::until_running(&place.address, &format!("{db}.c")).await;
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
    let body = encode(&slow_find(&db));
    first.0.send(0, &[Section::Body(body)]).await.unwrap();
    running::until_running(&rs.addresses()[0], &format!("{db}.c")).await;
    let mut second = Asker::connect(proxy.address()).await;
    let reply = second.ask(&doc! {"find": "c", "$db": &db}).await;
    assert_eq!(reply.get_i32("code").ok(), Some(462), "{reply}");
    assert_eq!(labels(&reply), ["SystemOverloadedError", "RetryableError"]);
    assert_eq!(proxy.count("/admission/rejected"), 1);
    drop(first);
}
