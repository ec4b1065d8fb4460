//! A SecantusDB 0.7, whose updates and deletes leave as one `bulkWrite`, killed in the same ways.
//!
//! What it keeps was found by asking it directly (0.7.0b3):
//! - An `insert`, `update` or `delete` that comes again under its numbers gets its first reply, if
//!   that one was done and had no error. Two at the same time are both run (24 at once were run four
//!   times), and so is one that comes after a restart: the numbers are forgotten. On inserts it
//!   ignores `stmtIds`.
//! - A `bulkWrite` under numbers is run as often as it comes; one with `stmtIds` is refused. So a
//!   batch of them is sent once, and when it is lost its clients are told so.
//! - Killed, it has each `insert` and `update` that it acknowledged with `j: true`, but loses the last
//!   `bulkWrite`s (149 of 6,482 acknowledged operations), as if `j` hadn't been said; with
//!   `--sync-on-commit` it loses nothing.
//!
//! So here a write that is sent again by its client may be called a duplicate of itself (an insert)
//! or be run twice (an increment) if a client drops its connection or the server is killed while it
//! is under way, as without a proxy. Everything else is held to: each client has a reply, of its
//! own write; what was acknowledged is there; what may not be run twice and can't be protected by a
//! number isn't sent twice; cut links double nothing.

use std::sync::Arc;

use bson::doc;
use petiole::upstream::{Act, Rule};

use super::numbered::{
    Work, all_are_answered, is_done, is_done_or_duplicate, none_is_its_own_duplicate, retry_open,
};
use super::scenes::{self, Server};
use super::unnumbered::{Changes, check_nothing_was_begun};
use super::{Load, Manner, Seen, batched, crowd, stop, until_acknowledged};
use crate::batch::{ON, ask};
use crate::parts::in_process::{self, faults};
use crate::parts::proxy::Proxy;
use crate::parts::secantus::Secantus;
use crate::parts::wait;
use crate::raw::RawClient;

async fn secantus() -> (Secantus, Server) {
    start(Secantus::start).await
}

async fn start(how: fn() -> Secantus) -> (Secantus, Server) {
    let secantus = tokio::task::spawn_blocking(how).await.unwrap();
    let server = Server {
        seed_uri: secantus.uri(),
        uri: secantus.uri(),
    };
    (secantus, server)
}

/// Writes of clients that drop their connections. (It is slower than mongod.)
const ENOUGH: usize = 500;

/// Updates or deletes have left as one `bulkWrite`.
fn bulk_written(proxy: &Proxy) {
    batched(proxy);
    assert!(proxy.count("/batch/kinds/update/batched") > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_ask_again_lose_nothing() {
    for work in [Work::Insert, Work::Assign] {
        let (_secantus, server) = secantus().await;
        let (proxy, _) = scenes::clients_drop(&server, work, ENOUGH).await;
        let answers = proxy.count("/batch/journal_answers");
        assert!(answers > 0, "{}", proxy.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connection_and_do_not_ask_again_get_no_reply_of_others() {
    let (_secantus, server) = secantus().await;
    let (proxy, _) = scenes::clients_drop(&server, Changes, ENOUGH).await;
    bulk_written(&proxy);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_at_any_point_lose_and_double_nothing() {
    for work in [Work::Insert, Work::Increment, Work::Assign] {
        let lives = links_are_cut(work).await;
        none_is_its_own_duplicate(&lives);
    }
    links_are_cut(Changes).await;
}

async fn links_are_cut<L: Load>(load: L) -> Vec<L::Life> {
    let (_secantus, server) = secantus().await;
    let proxy = in_process::start(&server.seed_uri, |config| {
        config.batch.enabled = true;
        config.server.lost_upstream = petiole::config::LostUpstream::Error;
    })
    .await;
    let seen = Arc::new(Seen::default());
    let address = proxy.address().to_string();
    let tasks = crowd(load, &address, &seen, Manner::Calm);
    let acts = [
        Act::DropBeforeSending,
        Act::CutRequest,
        Act::DropReply,
        Act::CutReply,
    ];
    for _ in 0..2 {
        for act in acts {
            for name in ["bulkWrite", "insert", "update", "delete"] {
                let is_it = move |command: &str| command == name;
                faults(&proxy).arm(Rule::times(1, act, move |p| is_it(p.command.name())));
            }
            until_acknowledged(&seen, 60).await;
        }
    }
    let lives = stop(&seen, tasks).await;
    load.check(&server.uri, &lives).await;
    lives
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secantusdb_killed_in_mid_load_has_what_it_acknowledged() {
    for work in [Work::Insert, Work::Assign] {
        killed(work, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secantusdb_killed_under_writes_without_numbers_did_what_it_had_acknowledged_and_no_more()
{
    // With a number of the proxy's own, a single write would be sent again to a server that has
    // forgotten it.
    killed(Changes, &[("retry.number_writes", "false")]).await;
}

async fn killed<L: Load>(load: L, settings: &[(&str, &str)]) {
    let (mut secantus, server) = start(|| Secantus::start_with(&["--sync-on-commit"])).await;
    scenes::server_is_killed(&server, load, settings, async || {
        tokio::task::block_in_place(|| secantus.kill_and_restart());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_answers_what_it_has_begun() {
    for work in [Work::Insert, Work::Assign] {
        let (_secantus, server) = secantus().await;
        let lives = scenes::proxy_drains(&server, work).await;
        none_is_its_own_duplicate(&lives);
        // What was cut off was never begun.
        let again = Proxy::start(&server.seed_uri, &[ON]);
        retry_open(&again, &lives, is_done).await;
    }
    let (_secantus, server) = secantus().await;
    let lives = scenes::proxy_drains(&server, Changes).await;
    check_nothing_was_begun(&server.uri, &lives).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_loses_no_acknowledged_write() {
    for work in [Work::Insert, Work::Assign] {
        let (secantus, server) = secantus().await;
        let mut lives = scenes::proxy_is_killed(&server, work, batched).await;
        at_rest(&secantus).await;
        work.check(&server.uri, &lives).await;
        let again = Proxy::start(&server.seed_uri, &[ON]);
        retry_open(&again, &lives, is_done_or_duplicate).await;
        all_are_answered(&mut lives);
        work.check(&server.uri, &lives).await;
    }
    let (secantus, server) = secantus().await;
    let lives = scenes::proxy_is_killed(&server, Changes, bulk_written).await;
    at_rest(&secantus).await;
    Changes.check(&server.uri, &lives).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_that_may_be_sent_again_go_alone_and_outlive_a_killed_proxy() {
    let (secantus, server) = secantus().await;
    let alone = |proxy: &Proxy| assert!(proxy.count("/batch/sent_alone/retryable") >= 300);
    let mut lives = scenes::proxy_is_killed(&server, Work::Increment, alone).await;
    // It would run what it is still running once more.
    at_rest(&secantus).await;
    let again = Proxy::start(&server.seed_uri, &[ON]);
    retry_open(&again, &lives, is_done).await;
    all_are_answered(&mut lives);
    Work::Increment.check(&server.uri, &lives).await;
}

/// All connections but the one that asks have ended, and with them what they were about.
async fn at_rest(secantus: &Secantus) {
    let mut client = RawClient::connect(secantus.address()).await.unwrap();
    let deadline = tokio::time::Instant::now() + wait::PATIENCE;
    loop {
        let question = doc! {"serverStatus": 1, "$db": "admin"};
        let status = ask(&mut client, &question).await.unwrap();
        let connections = status.get_document("connections").unwrap();
        if connections.get_i32("current").ok() == Some(1) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{connections}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
