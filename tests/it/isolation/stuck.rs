//! A worker thread that stands still: nothing else tells an operator why its clients wait.

use std::sync::{Arc, Mutex, mpsc};

use bson::doc;
use petiole::admin::Admin;
use petiole::config::{Config, HostPort, UpstreamUri};
use petiole::pipeline::Request;
use petiole::server::{Clients, Console, Shared};

use crate::parts::proxy::http;
use crate::parts::{shared, wait};
use crate::raw::{RawClient, Section, encode};

/// Stands still, on the worker's thread, at the command `standStill`, until it is let go.
struct Still(Mutex<mpsc::Receiver<()>>);

impl Console for Still {
    fn answer(&self, _: &Shared, request: &Request) -> Option<Vec<u8>> {
        if request.command.name() == "standStill" {
            // (An error is the test's end.)
            let _ = self.0.lock().unwrap().recv();
        }
        None
    }

    fn amend(&self, _: &Request, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_fails_while_a_worker_stands_still_and_no_longer() {
    let (go_on, still) = mpsc::channel();
    let mut config = Config::default();
    config.server.listen = HostPort::new("127.0.0.1", 0);
    config.server.threads = 2;
    config.upstream.uri = UpstreamUri::new(shared::standalone().await.uri());
    let console = Arc::new(Still(Mutex::new(still)));
    let clients = Clients::start(config, Some(console)).await.unwrap();
    let shared = Arc::clone(&clients.shared);
    let any = HostPort::new("127.0.0.1", 0);
    let admin = Admin::start(&any, None, shared).await.unwrap();
    let ask = |path: &'static str| {
        let address = admin.address.to_string();
        tokio::task::spawn_blocking(move || http(&address, "GET", path, &[]))
    };
    let healthy = async || ask("/health").await.unwrap();
    assert_eq!(healthy().await, (200, "ok\n".to_owned()));
    let mut stuck = RawClient::connect(&clients.address.to_string())
        .await
        .unwrap();
    let command = encode(&doc! {"standStill": "c", "filter": {"coins": 5}, "$db": "game"});
    stuck.send(0, &[Section::Body(command)]).await.unwrap();
    wait::until_async("it is noticed", async || healthy().await.0 == 503).await;
    let (_, text) = healthy().await;
    assert!(text.starts_with("worker 0 has been stuck for "), "{text}");
    let (_, status) = ask("/api/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["workers"]["count"], 2);
    assert_eq!(status["workers"]["stuck"][0]["worker"], 0, "{status}");
    let (_, metrics) = ask("/metrics").await.unwrap();
    assert!(metrics.contains("petiole_workers_stuck 1"), "{metrics}");
    // Clients of the other worker are served.
    let mut other = RawClient::connect(&clients.address.to_string())
        .await
        .unwrap();
    other
        .command(&doc! {"ping": 1, "$db": "admin"})
        .await
        .unwrap();
    go_on.send(()).unwrap();
    stuck.receive().await.unwrap();
    wait::until_async("it turns again", async || healthy().await.0 == 200).await;
}
