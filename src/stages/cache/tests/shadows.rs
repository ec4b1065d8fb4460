//! Hits that are compared with the server's own answer.

use super::*;

async fn compared() -> Setup {
    let config = config::Cache {
        shadow_share: 1.0,
        ..watched_by_nobody()
    };
    let s = setup_with([plain(), batch(1), batch(5)], config);
    s.run(find()).await;
    s.run(doc! {"find": "c", "filter": {"_id": 5}, "$db": "d"})
        .await;
    assert_eq!(s.cache.entries(), 2);
    s
}

#[tokio::test]
async fn an_answer_that_differs_without_a_write_is_counted_and_flushes_its_namespace() {
    let s = compared().await;
    s.backend.push(Step::Reply(batch(2)));
    let (hit, reply) = s.ask(find()).await;
    assert!(hit.trail.has(Decision::Hit) && hit.trail.has(Decision::Mismatch));
    assert_eq!(reply, batch(2), "the server's answer");
    let stats = s.cache.stats();
    assert_eq!((stats.compares(), stats.mismatches()), (1, 1));
    assert_eq!(s.cache.entries(), 0);
    s.backend.push(Step::Reply(plain()));
    s.backend.push(Step::Reply(batch(2)));
    assert!(s.run(find()).await.trail.has(Decision::Stored));
}

#[tokio::test]
async fn an_answer_that_differs_because_of_a_write_meanwhile_is_no_mismatch() {
    for effect in [Some(Effect::Changed), None] {
        let s = compared().await;
        let fences = Arc::clone(&s.fences);
        let standing = Arc::new(parking_lot::Mutex::new(None));
        let kept = Arc::clone(&standing);
        let write = move || {
            let on = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
            let fence = fences.begin(&on);
            match effect {
                Some(effect) => fence.settle(effect),
                None => *kept.lock() = Some(fence),
            }
        };
        s.backend.push(Step::During(Box::new(write), batch(2)));
        assert_eq!(s.ask(find()).await.1, batch(2));
        let stats = s.cache.stats();
        assert_eq!((stats.compares(), stats.mismatches()), (1, 0));
        if let Some(fence) = standing.lock().take() {
            fence.settle(Effect::Changed);
        }
    }
}

#[tokio::test]
async fn an_answer_that_agrees_in_another_order_is_no_mismatch_and_the_entry_stays() {
    let two = |a: i32, b: i32| doc! {"cursor": {"firstBatch": [{"_id": a}, {"_id": b}], "id": 0_i64, "ns": "d.c"}, "ok": 1.0};
    let s = compared().await;
    let all = doc! {"find": "c", "filter": {"a": {"$gt": 0}}, "$db": "d"};
    s.backend.push(Step::Reply(two(1, 2)));
    s.run(all.clone()).await;
    for _ in 0..2 {
        s.backend.push(Step::Reply(two(2, 1)));
        let (hit, reply) = s.ask(all.clone()).await;
        assert!(hit.trail.has(Decision::Hit));
        assert_eq!(reply, two(2, 1));
    }
    let stats = s.cache.stats();
    assert_eq!((stats.compares(), stats.mismatches()), (2, 0));
    assert_eq!(s.cache.entries(), 3);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_leaves_the_hit_its_answer() {
    let s = compared().await;
    let (hit, reply) = s.ask(find()).await;
    assert!(hit.trail.has(Decision::Hit));
    assert_eq!(reply, batch(1));
    assert_eq!(s.cache.stats().compares(), 0);
}

#[tokio::test]
async fn the_configured_share_of_the_hits_is_compared() {
    let config = config::Cache {
        shadow_share: 0.25,
        ..watched_by_nobody()
    };
    let s = setup_with([plain(), batch(1), batch(1), batch(1)], config);
    s.run(find()).await;
    for _ in 0..8 {
        assert!(s.run(find()).await.trail.has(Decision::Hit));
    }
    assert_eq!(s.cache.stats().compares(), 2);
}

#[tokio::test]
async fn where_others_are_watched_a_difference_counts_once_the_watch_has_passed_it() {
    for written in [false, true] {
        let config = config::Cache {
            shadow_share: 1.0,
            ..Default::default()
        };
        let at = |time: u32| u64::from(time) << 32;
        let horizon = Horizon::starting(Duration::from_secs(60));
        horizon.begun(at(1));
        horizon.polled(horizon.clock().now(), at(1));
        let s = setup_under([plain(), batch(1)], config, Arc::clone(&horizon));
        s.run(find()).await;
        let mut fresh = batch(2);
        let time = bson::Timestamp {
            time: 2,
            increment: 0,
        };
        fresh.insert("operationTime", time);
        s.backend.push(Step::Reply(fresh.clone()));
        assert_eq!(s.ask(find()).await.1, fresh, "the client doesn't wait");
        s.cache.sweep();
        assert_eq!(s.cache.stats().mismatches(), 0, "it may have been a write");
        if written {
            let on = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
            s.fences.landed(&on, at(2));
        }
        horizon.advance(at(2));
        s.cache.sweep();
        assert_eq!(s.cache.stats().mismatches(), u64::from(!written));
        assert_eq!(s.cache.entries(), 0);
    }
}
