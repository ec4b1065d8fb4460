//! One read for several who ask the same (docs/coherence.md, rule 3).
//!
//! Futures are polled by hand: one that has been polled once has done all that it can do before
//! the server answers, so the order of events is exact.

use std::pin::Pin;

use futures_util::poll;

use super::*;
use crate::pipeline::Failure;

type Asking<'a> = Pin<Box<dyn Future<Output = (Request, Document)> + 'a>>;

/// Behind a collection that is known already.
async fn known() -> Setup {
    known_with(watched_by_nobody()).await
}

async fn known_with(config: config::Cache) -> Setup {
    let s = setup_with([plain(), batch(99)], config);
    s.run(doc! {"find": "c", "filter": {"_id": 99}, "$db": "d"})
        .await;
    s
}

impl Setup {
    /// Asks, as far as it goes without an answer.
    async fn start(&self, command: Document) -> Asking<'_> {
        let mut asking: Asking<'_> = Box::pin(self.ask(command));
        assert!(poll!(&mut asking).is_pending());
        asking
    }

    fn finds(&self) -> usize {
        let asked = self.backend.asked();
        asked.iter().filter(|c| c.contains_key("find")).count() - 1
    }

    /// A write through the proxy, whose reply has come.
    async fn write(&self, command: Document) {
        let reply = doc! {"n": 1, "nModified": 1, "ok": 1.0};
        self.backend.push(Step::Reply(reply));
        self.run(command).await;
    }
}

fn first(reply: &Document) -> &Document {
    let cursor = reply.get_document("cursor").unwrap();
    let batch = cursor.get_array("firstBatch").unwrap();
    batch[0].as_document().unwrap()
}

fn by_rank() -> Document {
    doc! {"find": "c", "filter": {"rank": {"$gt": 5}}, "$db": "d"}
}

fn ranked(id: i32) -> Document {
    doc! {"cursor": {"firstBatch": [{"_id": id, "rank": 7, "v": 1}], "id": 0_i64, "ns": "d.c"}, "ok": 1.0}
}

fn set_v(id: i32) -> Document {
    doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"$set": {"v": 2}}}], "$db": "d"}
}

#[tokio::test]
async fn of_two_who_ask_at_once_one_reads_and_both_are_answered() {
    let s = known().await;
    let server = s.backend.push_later();
    let leader = s.start(find()).await;
    let waiter = s.start(find()).await;
    server.send(Ok(batch(1))).unwrap();
    let (led, one) = leader.await;
    let (joined, other) = waiter.await;
    assert!(led.trail.has(Decision::Stored) && joined.trail.has(Decision::Joined));
    assert_eq!((one, other), (batch(1), batch(1)));
    assert_eq!(
        (s.finds(), s.cache.stats().joins(), s.cache.flights()),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn of_two_who_ask_at_once_of_an_unknown_collection_one_reads() {
    let s = setup([]);
    let server = [(); 3].map(|()| s.backend.push_later());
    let one = s.start(find()).await;
    let other = s.start(find()).await;
    for (reply, later) in [plain(), plain(), batch(1)].into_iter().zip(server) {
        later.send(Ok(reply)).unwrap();
    }
    let ((_, one), (_, other)) = futures_util::join!(one, other);
    assert_eq!((one, other), (batch(1), batch(1)));
    assert_eq!(s.backend.asked().len(), 3);
}

#[tokio::test]
async fn when_the_leader_is_cancelled_one_of_the_waiters_leads_the_others() {
    let s = known().await;
    let _gone = s.backend.push_later();
    let server = s.backend.push_later();
    let leader = s.start(find()).await;
    let mut waiters = vec![s.start(find()).await, s.start(find()).await];
    drop(leader);
    for waiter in &mut waiters {
        assert!(poll!(waiter).is_pending());
    }
    assert_eq!((s.finds(), s.cache.flights()), (2, 1));
    server.send(Ok(batch(1))).unwrap();
    let answers = futures_util::future::join_all(waiters).await;
    assert!(answers.iter().all(|(_, reply)| *reply == batch(1)));
    assert_eq!(s.finds(), 2);
}

#[tokio::test]
async fn when_the_leader_panics_one_of_the_waiters_leads() {
    let s = known().await;
    let server = s.backend.push_later();
    let pipeline = Arc::clone(&s.pipeline);
    let leader = tokio::spawn(async move {
        let mut request = request(&find());
        pipeline.run(&mut request).await.map(|_| ())
    });
    while s.cache.flights() == 0 {
        tokio::task::yield_now().await;
    }
    let waiter = s.start(find()).await;
    s.backend.push(Step::Reply(batch(1)));
    drop(server);
    assert!(leader.await.unwrap_err().is_panic());
    let (led, reply) = waiter.await;
    assert!(led.trail.has(Decision::Stored));
    assert_eq!((reply, s.finds(), s.cache.flights()), (batch(1), 2, 0));
}

#[tokio::test]
async fn a_waiters_time_ends_while_the_leader_goes_on() {
    let s = known().await;
    let server = s.backend.push_later();
    let leader = s.start(find()).await;
    let mut hurried = find();
    hurried.insert("maxTimeMS", 10);
    let (_, refused) = s.ask(hurried).await;
    assert_eq!(refused.get_i32("code").unwrap(), 50, "{refused}");
    assert_eq!(refused.get_str("codeName").unwrap(), "MaxTimeMSExpired");
    server.send(Ok(batch(1))).unwrap();
    assert_eq!(leader.await.1, batch(1));
    assert_eq!(s.finds(), 1);
}

#[tokio::test]
async fn an_error_is_the_leaders_own() {
    let error = doc! {"ok": 0.0, "code": 50, "errmsg": "operation exceeded time limit"};
    for outcome in [Ok(error.clone()), Err(Failure::lost("the link"))] {
        let s = known().await;
        let server = s.backend.push_later();
        let pipeline = Arc::clone(&s.pipeline);
        let mut leads = request(&find());
        let mut leader = Box::pin(pipeline.run(&mut leads));
        assert!(poll!(&mut leader).is_pending());
        let waiter = s.start(find()).await;
        s.backend.push(Step::Reply(batch(1)));
        let fails = outcome.is_err();
        server.send(outcome).unwrap();
        let led = leader.await;
        assert_eq!(led.is_err(), fails);
        assert_eq!(waiter.await.1, batch(1));
        assert_eq!(s.finds(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_shared_releases_all_waiters_at_once() {
    let open = doc! {"cursor": {"firstBatch": [{"_id": 1}], "id": 5_i64, "ns": "d.c"}, "ok": 1.0};
    let mut large = batch(1);
    large.insert("filler", "x".repeat(2000));
    for unshared in [open, large] {
        let s = known_with(config::Cache {
            max_entry: config::ByteSize(1024),
            ..watched_by_nobody()
        })
        .await;
        let server = s.backend.push_later();
        let leader = s.start(find()).await;
        let mut waiters = vec![s.start(find()).await, s.start(find()).await];
        let own = [s.backend.push_later(), s.backend.push_later()];
        server.send(Ok(unshared.clone())).unwrap();
        assert_eq!(leader.await.1, unshared);
        for waiter in &mut waiters {
            assert!(poll!(waiter).is_pending());
        }
        assert_eq!(s.finds(), 3, "neither waits for the other");
        for server in own {
            server.send(Ok(batch(1))).unwrap();
        }
        let answers = futures_util::future::join_all(waiters).await;
        assert!(answers.iter().all(|(_, reply)| *reply == batch(1)));
    }
}

#[tokio::test]
async fn who_comes_after_a_write_does_not_join_a_read_from_before_it() {
    for done in [true, false] {
        let s = known().await;
        let old = s.backend.push_later();
        let early = s.start(find()).await;
        let on = Footprint::Namespaces(vec![Namespace::new("d", "c")]);
        let mut fence = Some(s.fences.begin(&on));
        if let Some(fence) = fence.take_if(|_| done) {
            fence.settle(Effect::Changed);
            // Such a write may have made it another collection.
            s.backend.push(Step::Reply(plain()));
        }
        let new = s.backend.push_later();
        let late = s.start(find()).await;
        assert_eq!(s.finds(), 2, "it reads by itself");
        old.send(Ok(batch(1))).unwrap();
        assert_eq!(first(&early.await.1).get_i32("_id").unwrap(), 1);
        new.send(Ok(batch(2))).unwrap();
        assert_eq!(first(&late.await.1).get_i32("_id").unwrap(), 2);
        assert_eq!(s.cache.stats().joins(), 0);
        if let Some(fence) = fence {
            fence.settle(Effect::Changed);
        }
    }
}

#[tokio::test]
async fn who_comes_after_a_write_takes_an_older_answer_only_if_it_survives() {
    // Whether the update meets the answer is known once that is there.
    for (answered, survives) in [(3, true), (4, false)] {
        let s = known().await;
        let old = s.backend.push_later();
        let early = s.start(by_rank()).await;
        s.write(set_v(4)).await;
        let late = s.start(by_rank()).await;
        assert_eq!(s.finds(), 1, "it waits");
        s.backend.push(Step::Reply(batch(77)));
        old.send(Ok(ranked(answered))).unwrap();
        early.await;
        let (request, reply) = late.await;
        assert_eq!(request.trail.has(Decision::Joined), survives);
        let id = if survives { answered } else { 77 };
        assert_eq!(first(&reply).get_i32("_id").unwrap(), id);
    }
}

#[tokio::test]
async fn a_write_after_the_joining_does_not_matter_to_the_joined() {
    let s = known().await;
    let server = s.backend.push_later();
    let leader = s.start(by_rank()).await;
    let waiter = s.start(by_rank()).await;
    s.write(set_v(4)).await;
    server.send(Ok(ranked(4))).unwrap();
    assert!(leader.await.0.trail.has(Decision::Bypassed(Bypass::Raced)));
    assert!(waiter.await.0.trail.has(Decision::Joined));
    assert_eq!(s.cache.entries(), 1, "only the one that was there before");
}

#[tokio::test]
async fn who_must_see_a_later_time_does_not_join() {
    let at = |t: u32| {
        let mut find = find();
        let after = bson::Timestamp {
            time: t,
            increment: 1,
        };
        find.insert("readConcern", doc! {"afterClusterTime": after});
        find
    };
    let s = known().await;
    let early = s.backend.push_later();
    let leader = s.start(at(10)).await;
    let same = s.start(at(9)).await;
    let late = s.backend.push_later();
    let later = s.start(at(11)).await;
    assert_eq!(s.finds(), 2);
    early.send(Ok(batch(1))).unwrap();
    late.send(Ok(batch(2))).unwrap();
    assert_eq!(leader.await.1, batch(1));
    assert_eq!(same.await.1, batch(1));
    assert_eq!(later.await.1, batch(2));
    assert_eq!(s.cache.stats().joins(), 1);
}

#[tokio::test]
async fn who_comes_when_an_answer_would_have_ended_by_its_age_does_not_take_it() {
    let config = config::Cache {
        external_writes: config::ExternalWrites::Ttl,
        ttl: Duration::ZERO,
        ..Default::default()
    };
    let s = known_with(config).await;
    let old = s.backend.push_later();
    let early = s.start(find()).await;
    let late = s.start(find()).await;
    s.backend.push(Step::Reply(batch(2)));
    old.send(Ok(batch(1))).unwrap();
    assert_eq!(early.await.1, batch(1));
    assert_eq!(late.await.1, batch(2));
}
