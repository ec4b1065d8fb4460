//! Whatever happens to the deployment, no write is missed without a flush.

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::{Client, Collection};
use petiole::config::{self, UpstreamTlsMode, UpstreamUri};
use petiole::embedded::{Deployment, MongodOptions, Signal, TlsFiles};
use petiole::pipeline::WatchState;
use tokio::time::Instant;

use super::listener::{Listener, MAX_LAG};
use crate::parts::shared;
use crate::parts::tls::Certificates;
use crate::parts::wait::{PATIENCE, until};

pub async fn deployment(options: MongodOptions) -> Deployment {
    let options = options.set_parameter("enableTestCommands", "1");
    Deployment::start(options).await.unwrap()
}

async fn collection(deployment: &Deployment) -> Collection<Document> {
    let mut options = ClientOptions::parse(deployment.uri()).await.unwrap();
    options.write_concern = Some(WriteConcern::majority());
    let client = Client::with_options(options).unwrap();
    client.database("d").collection("c")
}

/// Inserts `_id`s one after the other, retrying until it's acknowledged.
async fn insert(c: &Collection<Document>, ids: std::ops::Range<i32>) {
    for id in ids {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = c.insert_one(doc! {"_id": id}).await {
            if error.to_string().contains("E11000") {
                break;
            }
            assert!(Instant::now() < deadline, "{error}");
        }
    }
}

fn has_all(listener: &Listener, ids: std::ops::Range<i32>) -> bool {
    let heard = listener.inserts("d");
    ids.into_iter().all(|id| heard.contains(&Bson::Int32(id)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_when_mongod_is_killed_and_restarted() {
    let rs = deployment(MongodOptions::default()).await;
    let c = collection(&rs).await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    insert(&c, 0..20).await;
    rs.restart(0).await.unwrap();
    insert(&c, 20..40).await;
    until("all is heard", || has_all(&listener, 0..40));
    listener.wait_for(WatchState::Watching);
    assert_eq!(listener.flushes(), 1, "at the start only");
    assert!(listener.horizon.counts().reopenings > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_when_the_primary_steps_down() {
    let rs = deployment(MongodOptions::replica_set(3)).await;
    let c = collection(&rs).await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    insert(&c, 0..20).await;
    rs.step_down(Duration::from_secs(20)).await.unwrap();
    insert(&c, 20..40).await;
    until("all is heard", || has_all(&listener, 0..40));
    listener.wait_for(WatchState::Watching);
    until("the new term is noticed", || listener.terms() > 0);
    assert_eq!(listener.flushes(), 1, "at the start only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_majority_blinds_the_watch_within_max_lag() {
    let rs = deployment(MongodOptions::replica_set(3)).await;
    be_patient(&rs).await;
    let c = collection(&rs).await;
    let listener = Listener::start(&rs.uri());
    insert(&c, 0..3).await;
    listener.wait_for(WatchState::Watching);
    let primary = rs.primary_index().await.unwrap();
    let others: Vec<usize> = (0..3).filter(|&i| i != primary).collect();
    for &other in &others {
        rs.signal(other, Signal::Stop).unwrap();
    }
    // They take a moment to fall asleep: the first writes may still be seen by them.
    let mut id = 3;
    while listener.horizon.state() != WatchState::Blind {
        let one = WriteConcern::nodes(1);
        let unseen = c.insert_one(doc! {"_id": id}).write_concern(one);
        unseen.await.unwrap();
        let bound = listener.horizon.clock().now();
        let bound = bound.after(MAX_LAG + Duration::from_nanos(1));
        until("it is heard, or the watch is blind", || {
            // Polls that are sent from now on must not make it fresh, whatever they say.
            if listener.horizon.fresh(bound) {
                assert!(has_all(&listener, id..id + 1), "unseen, and fresh");
            }
            has_all(&listener, id..id + 1) || listener.horizon.state() == WatchState::Blind
        });
        id += 1;
    }
    assert!(!has_all(&listener, id - 1..id), "blind for no reason");
    for &other in &others {
        rs.signal(other, Signal::Cont).unwrap();
    }
    listener.wait_for(WatchState::Watching);
    assert!(has_all(&listener, 0..id));
    assert_eq!(listener.flushes(), 1, "at the start only");
}

/// The primary isn't to notice that it's alone.
pub async fn be_patient(rs: &Deployment) {
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let admin = client.database("admin");
    let reply = admin.run_command(doc! {"replSetGetConfig": 1}).await;
    let mut config = reply.unwrap().get_document("config").unwrap().clone();
    let settings = config.get_document_mut("settings").unwrap();
    settings.insert("electionTimeoutMillis", 60_000);
    let version = config.get_i32("version").unwrap();
    config.insert("version", version + 1);
    let reconfigure = doc! {"replSetReconfig": config};
    admin.run_command(reconfigure).await.unwrap();
}

/// Makes the server refuse the watch's next commands with this error.
async fn refuse(rs: &Deployment, commands: &[&str], code: i32, times: i32) {
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let fail = doc! {
        "configureFailPoint": "failCommand", "mode": {"times": times},
        "data": {"failCommands": commands, "errorCode": code, "appName": "petiole-watch"},
    };
    client.database("admin").run_command(fail).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_and_events_that_are_too_large_flush_everything() {
    let rs = deployment(MongodOptions::default()).await;
    let c = collection(&rs).await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    const HISTORY_LOST: i32 = 286;
    const CURSOR_NOT_FOUND: i32 = 43;
    const TOO_LARGE: i32 = 10334;
    let mut expected = 1;
    for (id, (commands, code, flushes)) in (0..).zip([
        (&["getMore"][..], HISTORY_LOST, 1),
        (&["getMore"], TOO_LARGE, 1),
        (&["getMore"], CURSOR_NOT_FOUND, 0),
        // It's found out when the stream is resumed.
        (&["getMore", "aggregate"], HISTORY_LOST, 1),
    ]) {
        let reopenings = listener.horizon.counts().reopenings;
        refuse(&rs, commands, code, commands.len() as i32).await;
        until("another stream", || {
            listener.horizon.counts().reopenings > reopenings
        });
        expected += flushes;
        assert_eq!(listener.flushes(), expected, "{commands:?} {code}");
        insert(&c, id..id + 1).await;
        until("what follows is heard", || has_all(&listener, id..id + 1));
        listener.wait_for(WatchState::Watching);
    }
    assert_eq!(listener.horizon.counts().flushes as usize, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_or_a_replica_set_the_watch_is_off() {
    let auth = shared::auth().await;
    let nobody = format!("mongodb://{}/", auth.addresses().join(","));
    for uri in [&nobody, &shared::standalone().await.uri()] {
        let listener = Listener::start(uri);
        listener.wait_for(WatchState::Off);
        assert!(!listener.horizon.fresh(listener.horizon.clock().now()));
        until("what is stored is void", || listener.flushes() == 1);
    }
    Listener::start(&auth.uri()).wait_for(WatchState::Watching);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_speaks_tls_as_the_links_do() {
    let certificates = Certificates::new();
    let rs = deployment(MongodOptions {
        tls: Some(TlsFiles {
            certificate_key: certificates.server(),
            ca: certificates.ca(),
            require_client_certificate: true,
        }),
        ..Default::default()
    })
    .await;
    let mut upstream = config::Upstream {
        uri: UpstreamUri::new(format!("mongodb://{}/", rs.addresses().join(","))),
        ..Default::default()
    };
    upstream.tls.mode = UpstreamTlsMode::On;
    upstream.tls.ca = Some(certificates.ca());
    upstream.tls.certificate = Some(certificates.client());
    Listener::with(&upstream).wait_for(WatchState::Watching);
    // The driver takes both from one file only.
    let (certificate, key) = certificates.client_parts();
    upstream.tls.certificate = Some(certificate);
    upstream.tls.key = Some(key);
    Listener::with(&upstream).wait_for(WatchState::Off);
}
