//! Links that break, at every moment of an exchange, and a server that is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use petiole::config::{Config, LostUpstream};
use petiole::proxy::Proxy;
use petiole::upstream::{Act, Role, Rule};

use super::{Asker, is_ok};
use crate::parts::in_process::{self, faults};
use crate::parts::{shared, wait};

async fn in_process(change: impl FnOnce(&mut Config)) -> Proxy {
    in_process::start(&shared::rs().await.seed_uri(), |config| {
        config.server.lost_upstream = LostUpstream::Error;
        change(config);
    })
    .await
}

async fn client(proxy: &Proxy) -> Asker {
    Asker::connect(&proxy.address().to_string()).await
}

fn increment(db: &str) -> Document {
    doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"v": 1}}, "upsert": true}], "$db": db}
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_link_breaks_a_write_takes_effect_once_and_a_read_is_answered() {
    let proxy = in_process(|config| config.batch.enabled = false).await;
    let db = shared::database("breaks");
    let mut client = client(&proxy).await;
    let mut wanted = 0;
    for act in [
        Act::DropBeforeSending,
        Act::CutRequest,
        Act::DropReply,
        Act::CutReply,
    ] {
        faults(&proxy).arm(Rule::times(1, act, |p| p.command.name() == "update"));
        let reply = client.ask(&increment(&db)).await;
        assert!(is_ok(&reply), "{act:?}: {reply}");
        wanted += 1;
        faults(&proxy).arm(Rule::times(1, act, |p| p.command.name() == "find"));
        let found = client.ask(&doc! {"find": "c", "$db": &db}).await;
        let batch = found
            .get_document("cursor")
            .unwrap()
            .get_array("firstBatch")
            .unwrap();
        let value = batch[0].as_document().unwrap().get_i32("v").ok();
        assert_eq!(value, Some(wanted), "{act:?}");
    }
    assert_eq!(proxy.shared().pipeline.fences().quarantined(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_server_stays_in_use_whatever_its_breaker_says() {
    let proxy = in_process(|config| {
        config.upstream.breaker_failures = 1;
        config.retry.enabled = false;
        config.batch.enabled = false;
    })
    .await;
    let mut client = client(&proxy).await;
    let find = doc! {"find": "c", "$db": shared::database("breaker")};
    let breaker = || proxy.shared().upstream.servers()[0].breaker.as_str();
    faults(&proxy).arm(Rule::times(1, Act::DropReply, |p| {
        p.command.name() == "find"
    }));
    assert!(!is_ok(&client.ask(&find).await));
    assert_eq!(breaker(), "open");
    let before = faults(&proxy).exchanges();
    assert!(is_ok(&client.ask(&find).await), "it is the only choice");
    assert_eq!(faults(&proxy).exchanges(), before + 1);
    assert_eq!(breaker(), "closed");
}

/// A command on which the server closes its connection, again and again, says nothing of other commands.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_kills_its_connection_keeps_nobody_from_the_server() {
    let proxy = in_process(|config| {
        config.upstream.failover_wait = Duration::from_secs(3);
        config.retry.enabled = false;
        config.batch.enabled = false;
    })
    .await;
    let db = shared::database("poison");
    faults(&proxy).arm(Rule::every(Act::DropReply, |p| {
        p.command.collection() == Some("poison")
    }));
    let over = Arc::new(AtomicBool::new(false));
    let lost = Arc::new(AtomicUsize::new(0));
    let poisoners: Vec<_> = (0..4)
        .map(|_| {
            let (address, db) = (proxy.address().to_string(), db.clone());
            let (over, lost) = (Arc::clone(&over), Arc::clone(&lost));
            tokio::spawn(async move {
                let mut client = Asker::connect(&address).await;
                while !over.load(Relaxed) {
                    let reply = client.ask(&doc! {"find": "poison", "$db": &db}).await;
                    assert!(!is_ok(&reply));
                    lost.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    wait::until("the breaker would be open", || lost.load(Relaxed) > 40);
    let mut client = client(&proxy).await;
    let before = lost.load(Relaxed);
    for n in 0..50 {
        let find = doc! {"find": "c", "filter": {"n": n}, "$db": &db};
        assert!(is_ok(&client.ask(&find).await), "find {n}");
    }
    wait::until("the others were lost beside them", || {
        lost.load(Relaxed) > before
    });
    over.store(true, Relaxed);
    for one in poisoners {
        one.await.unwrap();
    }
    assert_eq!(
        proxy.shared().upstream.servers()[0].role,
        Some(Role::Primary)
    );
}

/// A namespace that has become slow holds its share of the links only; one whose every request fails
/// costs the upstream what the budget allows.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_namespace_neither_multiplies_its_load_nor_holds_up_others() {
    let proxy = in_process(|config| {
        config.upstream.max_links = 8;
        config.batch.enabled = false;
        config.retry.budget = 10;
    })
    .await;
    let db = shared::database("slow");
    faults(&proxy).arm(Rule::every(Act::Delay(Duration::from_millis(100)), |p| {
        p.command.collection() == Some("slow")
    }));
    let address = proxy.address().to_string();
    let served = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..32)
        .map(|_| {
            let (address, db, served) = (address.clone(), db.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = Asker::connect(&address).await;
                for _ in 0..10 {
                    assert!(is_ok(&client.ask(&doc! {"find": "slow", "$db": &db}).await));
                    served.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let queued = || proxy.shared().upstream.admission().queued;
    wait::until("the slow namespace has its share", || queued() > 20);
    let mut client = client(&proxy).await;
    let (mut most, mut asked) = (0, 0);
    while queued() > 0 && asked < 100 {
        let before = served.load(Relaxed);
        assert!(is_ok(
            &client.ask(&doc! {"find": "quick", "$db": &db}).await
        ));
        most = most.max(served.load(Relaxed) - before);
        asked += 1;
    }
    // In the queue of the slow namespace it would have been more than twenty.
    assert!(most < 16, "{most} slow ones were served before a quick one");
    assert!(asked > 5, "asked {asked}");
    for one in crowd {
        one.await.unwrap();
    }
    faults(&proxy).clear();
    let (before, began) = (faults(&proxy).exchanges(), Instant::now());
    faults(&proxy).arm(Rule::every(Act::DropReply, |p| {
        p.command.collection() == Some("broken")
    }));
    let sent = 100;
    for n in 0..sent {
        client
            .ask(&doc! {"find": "broken", "filter": {"n": n}, "$db": &db})
            .await;
        client.ask(&doc! {"find": "quick", "$db": &db}).await;
    }
    let upstream = faults(&proxy).exchanges() - before;
    // (An empty budget grants one retry a second.)
    let took = began.elapsed();
    let share = (upstream as f64 - took.as_secs_f64()) / f64::from(2 * sent);
    assert!(
        share <= 1.2,
        "{upstream} exchanges for {} requests in {took:?}",
        2 * sent
    );
}
