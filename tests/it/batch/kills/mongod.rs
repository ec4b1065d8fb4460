//! A mongod 6.0.5, its links, its clients and the proxy before it, killed at any point of a batch's
//! life. It runs a numbered write once, however often it comes and whatever was killed in between.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use petiole::embedded::{Deployment, MongodOptions};

use super::numbered::{
    Work, all_are_answered, is_done, is_done_or_duplicate, none_is_its_own_duplicate, retry_open,
};
use super::scenes::{self, Server};
use super::unnumbered::{Changes, check_nothing_was_begun};
use super::{ALWAYS, Load, Manner, Seen, batched, crowd, stop, until_acknowledged};
use crate::batch::{ERRORS, ON};
use crate::parts::proxy::Proxy;

async fn deployment() -> (Deployment, Server) {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    let deployment = Deployment::start(options).await.unwrap();
    let server = Server {
        seed_uri: deployment.seed_uri(),
        uri: deployment.uri(),
    };
    (deployment, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_ask_again_get_their_write_done_once() {
    for work in [Work::Insert, Work::Increment, Work::Assign] {
        let (_deployment, server) = deployment().await;
        let (proxy, lives) = scenes::clients_drop(&server, work, 1500).await;
        none_is_its_own_duplicate(&lives);
        let answers = proxy.count("/batch/journal_answers");
        assert!(answers > 0, "{}", proxy.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_do_not_ask_again_get_no_reply_of_others() {
    let (_deployment, server) = deployment().await;
    scenes::clients_drop(&server, Changes, 1500).await;
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
    let (_deployment, server) = deployment().await;
    let proxy = Proxy::start(&server.seed_uri, &[ON, ALWAYS, ERRORS]);
    let direct = Client::with_uri_str(&server.uri).await.unwrap();
    let seen = Arc::new(Seen::default());
    let tasks = crowd(work, proxy.address(), &seen, Manner::Restless);
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
    let lives = stop(&seen, tasks).await;
    work.check(&server.uri, &lives).await;
    none_is_its_own_duplicate(&lives);
    batched(&proxy);
    let retried = proxy.count("/retry/write_retries");
    assert!(retried > 0, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_killed_in_mid_load_loses_and_doubles_no_acknowledged_write() {
    for work in [Work::Insert, Work::Increment] {
        let (deployment, server) = deployment().await;
        let lives = killed(&deployment, &server, work).await;
        none_is_its_own_duplicate(&lives);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_killed_under_writes_without_numbers_did_what_it_had_acknowledged_and_no_more() {
    let (deployment, server) = deployment().await;
    killed(&deployment, &server, Changes).await;
}

async fn killed<L: Load>(deployment: &Deployment, server: &Server, load: L) -> Vec<L::Life> {
    scenes::server_is_killed(server, load, &[], async || {
        deployment.kill(0).unwrap();
        deployment.restart(0).await.unwrap();
        let patience = Duration::from_secs(30);
        deployment.wait_for_primary(patience).await.unwrap();
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_answers_what_it_has_begun() {
    for work in [Work::Insert, Work::Increment] {
        let (_deployment, server) = deployment().await;
        let lives = scenes::proxy_drains(&server, work).await;
        none_is_its_own_duplicate(&lives);
        // What was cut off was never begun.
        let again = Proxy::start(&server.seed_uri, &[ON]);
        retry_open(&again, &lives, is_done).await;
    }
    let (_deployment, server) = deployment().await;
    let lives = scenes::proxy_drains(&server, Changes).await;
    check_nothing_was_begun(&server.uri, &lives).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_loses_no_acknowledged_write_and_a_retry_applies_nothing_twice() {
    let (_deployment, server) = deployment().await;
    let lives = scenes::proxy_is_killed(&server, Work::Insert, batched).await;
    Work::Insert.check(&server.uri, &lives).await;
    none_is_its_own_duplicate(&lives);
    // As the config says: done once, and at worst called a duplicate of itself.
    let again = Proxy::start(&server.seed_uri, &[ON]);
    retry_open(&again, &lives, is_done_or_duplicate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_that_may_be_sent_again_go_alone_and_outlive_a_killed_proxy() {
    let (_deployment, server) = deployment().await;
    let alone = |proxy: &Proxy| assert!(proxy.count("/batch/sent_alone/retryable") >= 300);
    let mut lives = scenes::proxy_is_killed(&server, Work::Increment, alone).await;
    let again = Proxy::start(&server.seed_uri, &[ON]);
    retry_open(&again, &lives, is_done).await;
    all_are_answered(&mut lives);
    Work::Increment.check(&server.uri, &lives).await;
}
