//! The machine was suspended: what was young by a clock that stood still is old.

use futures_util::poll;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn sleeping(
    config: config::Cache,
    script: impl IntoIterator<Item = Document>,
) -> (Setup, Arc<Horizon>) {
    let horizon = Horizon::off();
    (setup_under(script, config, Arc::clone(&horizon)), horizon)
}

fn for_an_hour() -> config::Cache {
    config::Cache {
        external_writes: config::ExternalWrites::Ttl,
        ttl: HOUR,
        ..Default::default()
    }
}

#[tokio::test]
async fn an_entry_ends_by_its_time_while_the_machine_sleeps() {
    let (s, horizon) = sleeping(for_an_hour(), [plain(), batch(1)]);
    s.run(find()).await;
    assert!(s.run(find()).await.trail.has(Decision::Hit));
    horizon.clock().sleep(HOUR);
    // What the name means isn't believed any more either.
    for reply in [plain(), batch(2)] {
        s.backend.push(Step::Reply(reply));
    }
    let (request, reply) = s.ask(find()).await;
    assert!(request.trail.has(Decision::Miss));
    assert_eq!((reply, s.backend.asked().len()), (batch(2), 4));
}

#[tokio::test]
async fn rights_are_not_believed_for_longer_because_the_machine_sleeps() {
    let (s, horizon) = sleeping(watched_by_nobody(), [plain(), batch(1)]);
    let user = Arc::new(Principal {
        id: 7,
        name: "d.user".to_owned(),
    });
    s.ask_as(&user, find()).await;
    let (hit, _) = s.ask_as(&user, find()).await;
    assert!(hit.trail.has(Decision::Hit));
    let mut cursor = find();
    cursor.insert("batchSize", 0);
    let (_, opened) = s.ask_as(&user, cursor).await;
    let opened = opened.get_document("cursor").unwrap();
    horizon.clock().sleep(HOUR);
    let refusal =
        doc! {"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "not authorized"};
    s.backend.push(Step::Reply(refusal));
    let more = doc! {"getMore": opened.get_i64("id").unwrap(), "collection": "c", "$db": "d"};
    let (_, refused) = s.ask_as(&user, more).await;
    assert_eq!(refused.get_i32("code").unwrap(), 13, "{refused}");
    for reply in [plain(), batch(2)] {
        s.backend.push(Step::Reply(reply));
    }
    assert_eq!(s.ask_as(&user, find()).await.1, batch(2));
}

#[tokio::test]
async fn a_read_from_before_the_sleep_is_not_shared_with_one_from_after_it() {
    let (s, horizon) = sleeping(for_an_hour(), [plain(), batch(1)]);
    s.run(doc! {"find": "c", "filter": {"_id": 99}, "$db": "d"})
        .await;
    let early = s.backend.push_later();
    let mut leader = Box::pin(s.ask(find()));
    assert!(poll!(&mut leader).is_pending());
    horizon.clock().sleep(HOUR);
    let mut joiner = Box::pin(s.ask(find()));
    assert!(poll!(&mut joiner).is_pending());
    early.send(Ok(batch(1))).unwrap();
    assert_eq!(leader.await.1, batch(1));
    for reply in [plain(), batch(2)] {
        s.backend.push(Step::Reply(reply));
    }
    let (request, reply) = joiner.await;
    assert!(!request.trail.has(Decision::Joined));
    assert_eq!(reply, batch(2));
}

#[tokio::test]
async fn the_watch_is_blind_when_the_machine_wakes_until_the_primary_has_answered_again() {
    let horizon = Horizon::starting(Duration::from_secs(60));
    horizon.begun(9);
    horizon.polled(horizon.clock().now(), 9);
    let s = setup_under(
        [plain(), batch(1)],
        config::Cache::default(),
        Arc::clone(&horizon),
    );
    s.run(find()).await;
    assert!(s.run(find()).await.trail.has(Decision::Hit));
    let asked = horizon.clock().now();
    horizon.clock().sleep(HOUR);
    s.backend.push(Step::Reply(batch(1)));
    let read = s.run(find()).await;
    assert!(read.trail.has(Decision::Bypassed(Bypass::Blind)));
    horizon.polled(asked, 9);
    s.backend.push(Step::Reply(batch(1)));
    let read = s.run(find()).await;
    assert!(
        read.trail.has(Decision::Bypassed(Bypass::Blind)),
        "it was asked before the sleep"
    );
    horizon.polled(horizon.clock().now(), 9);
    assert!(s.run(find()).await.trail.has(Decision::Hit));
}
