//! A mongod 6.0.5, its links, its clients and the proxy before it, killed at any point of a batch's life.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use petiole::embedded::{Deployment, MongodOptions};

use super::{Seen, Work, batched, check, lives, load, retry_open, until_acknowledged};
use crate::batch::ON;
use crate::parts::proxy::Proxy;
use crate::parts::wait;

async fn deployment() -> Deployment {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    Deployment::start(options).await.unwrap()
}

/// With `$inc`s batched too: exact as long as the proxy lives.
const ALWAYS: (&str, &str) = ("batch.retryable_updates", "\"always\"");

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_ask_again_get_their_write_done_once() {
    for work in [Work::Insert, Work::Increment] {
        let deployment = deployment().await;
        let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ALWAYS]);
        let seen = Arc::new(Seen::default());
        let tasks = load(proxy.address(), &seen, true, work);
        until_acknowledged(&seen, 1500).await;
        seen.stop.store(true, Relaxed);
        let lives = lives(tasks).await;
        check(&deployment, &lives, work).await;
        batched(&proxy);
        let answers = proxy.count("/batch/journal_answers");
        assert!(answers > 0, "{}", proxy.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_and_errors_at_any_point_lose_and_double_nothing() {
    trouble("insert", Work::Insert).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_and_errors_at_any_point_lose_and_double_no_increment() {
    trouble("update", Work::Increment).await;
}

async fn trouble(command: &str, work: Work) {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON, ALWAYS]);
    let direct = Client::with_uri_str(deployment.uri()).await.unwrap();
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, true, work);
    let fail = |data: Document| doc! {"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data};
    let commands = &[command];
    let commands = commands.as_slice();
    let labels = ["RetryableWriteError"].as_slice();
    let after = |data: Document| doc! {"configureFailPoint": "onPrimaryTransactionalWrite", "mode": {"times": 2}, "data": data};
    let troubles = [
        fail(doc! {"failCommands": commands, "closeConnection": true}),
        fail(doc! {"failCommands": commands, "errorCode": 91, "errorLabels": labels}),
        fail(doc! {"failCommands": commands, "errorCode": 11602}),
        fail(
            doc! {"failCommands": commands, "writeConcernError": {"code": 91, "errmsg": "x"}, "errorLabels": labels},
        ),
        after(doc! {"closeConnection": true}),
        after(doc! {"closeConnection": false, "failBeforeCommitExceptionCode": 11602}),
        after(doc! {"closeConnection": true, "failBeforeCommitExceptionCode": 11602}),
    ];
    for round in 0..6 {
        for trouble in &troubles {
            direct
                .database("admin")
                .run_command(trouble.clone())
                .await
                .unwrap();
            until_acknowledged(&seen, 60 + round).await;
        }
    }
    seen.stop.store(true, Relaxed);
    let lives = lives(tasks).await;
    check(&deployment, &lives, work).await;
    batched(&proxy);
    let retried = proxy.count("/retry/write_retries");
    assert!(retried > 0, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_killed_in_mid_load_loses_and_doubles_no_acknowledged_write() {
    for work in [Work::Insert, Work::Increment] {
        let deployment = deployment().await;
        let settings = [ON, ALWAYS, ("upstream.failover_wait", "\"30s\"")];
        let proxy = Proxy::start(&deployment.seed_uri(), &settings);
        let seen = Arc::new(Seen::default());
        let tasks = load(proxy.address(), &seen, true, work);
        for _ in 0..2 {
            until_acknowledged(&seen, 300).await;
            deployment.kill(0).unwrap();
            deployment.restart(0).await.unwrap();
            deployment
                .wait_for_primary(Duration::from_secs(30))
                .await
                .unwrap();
        }
        until_acknowledged(&seen, 300).await;
        seen.stop.store(true, Relaxed);
        let lives = lives(tasks).await;
        check(&deployment, &lives, work).await;
        batched(&proxy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_answers_what_it_has_begun() {
    for work in [Work::Insert, Work::Increment] {
        let deployment = deployment().await;
        let mut proxy = Proxy::start(&deployment.seed_uri(), &[ON, ALWAYS]);
        let seen = Arc::new(Seen::default());
        let tasks = load(proxy.address(), &seen, false, work);
        until_acknowledged(&seen, 500).await;
        batched(&proxy);
        proxy.signal("TERM");
        let lives = lives(tasks).await;
        wait::until("the proxy ends", || proxy.ended().is_some());
        assert!(proxy.ended().unwrap().success(), "{}", proxy.log());
        check(&deployment, &lives, work).await;
        // What was cut off was never begun.
        let again = Proxy::start(&deployment.seed_uri(), &[ON]);
        retry_open(&again, &lives, |reply| reply.get_i32("n").ok() == Some(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_loses_no_acknowledged_write_and_a_retry_applies_nothing_twice() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, false, Work::Insert);
    until_acknowledged(&seen, 500).await;
    batched(&proxy);
    proxy.signal("KILL");
    let lives = lives(tasks).await;
    check(&deployment, &lives, Work::Insert).await;
    // As the config says: done once, and at worst called a duplicate of itself.
    let again = Proxy::start(&deployment.seed_uri(), &[ON]);
    retry_open(&again, &lives, |reply| {
        let errors = reply.get_array("writeErrors");
        let code = errors
            .ok()
            .and_then(|e| e[0].as_document()?.get_i32("code").ok());
        reply.get_i32("n").ok() == Some(1) || code == Some(11000)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_that_may_be_sent_again_go_alone_and_outlive_a_killed_proxy() {
    let deployment = deployment().await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[ON]);
    let seen = Arc::new(Seen::default());
    let tasks = load(proxy.address(), &seen, false, Work::Increment);
    until_acknowledged(&seen, 300).await;
    assert!(proxy.count("/batch/sent_alone/retryable") >= 300);
    proxy.signal("KILL");
    let mut lives = lives(tasks).await;
    let again = Proxy::start(&deployment.seed_uri(), &[ON]);
    retry_open(&again, &lives, |reply| reply.get_i32("n").ok() == Some(1)).await;
    for life in &mut lives {
        if life.open.take().is_some() {
            life.acknowledged.push(0);
        }
    }
    check(&deployment, &lives, Work::Increment).await;
}
