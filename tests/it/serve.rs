//! `petiole serve` from the outside: ready line, health, drain, exit codes.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;

use crate::parts::proxy::{Proxy, http};
use crate::parts::{running, shared, wait};

#[tokio::test(flavor = "multi_thread")]
async fn health_ready_status_metrics_and_config_answer() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    wait::until("ready", || {
        http(proxy.admin(), "GET", "/ready", &[]).0 == 200
    });
    assert_eq!(
        http(proxy.admin(), "GET", "/health", &[]),
        (200, "ok\n".to_owned())
    );
    let status = proxy.status();
    for pointer in [
        "/cache/hits",
        "/cache/misses",
        "/cache/bypasses",
        "/cache/entries",
        "/cache/bytes",
        "/cache/invalidations",
        "/batch/client_writes",
        "/batch/upstream_commands",
        "/pool/links",
        "/pool/clients",
        "/watch/state",
        "/watch/lag_ms",
        "/memory/rss",
        "/memory/limit",
        "/memory/pressure",
    ] {
        assert!(status.pointer(pointer).is_some(), "{pointer} in {status}");
    }
    let (code, metrics) = http(proxy.admin(), "GET", "/metrics", &[]);
    assert!(
        code == 200 && metrics.contains("petiole_cache_hits_total 0"),
        "{metrics}"
    );
    let (code, config) = http(proxy.admin(), "GET", "/api/config", &[]);
    assert!(
        code == 200 && config.contains("\"max_links\":64"),
        "{config}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_is_a_post_of_json_and_another_sites_name_is_refused() {
    // (Others load this server: a watch may lag, and nothing be cached for a moment.)
    let proxy = Proxy::start(
        &shared::rs().await.seed_uri(),
        &[("cache.external_writes", "\"none\"")],
    );
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let c = client
        .database(&shared::database("flush"))
        .collection::<Document>("c");
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    c.find_one(doc! {}).await.unwrap();
    assert_eq!(proxy.count("/cache/entries"), 1);
    assert_eq!(http(proxy.admin(), "GET", "/api/cache/flush", &[]).0, 405);
    assert_eq!(http(proxy.admin(), "POST", "/api/cache/flush", &[]).0, 415);
    assert_eq!(
        http(
            proxy.admin(),
            "GET",
            "/api/status",
            &[("Host", "evil.example")]
        )
        .0,
        403
    );
    let json = ("Content-Type", "application/json");
    assert_eq!(
        http(proxy.admin(), "POST", "/api/cache/flush", &[json]),
        (200, "{\"flushed\":1}".to_owned())
    );
    assert_eq!(proxy.count("/cache/entries"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_everything_but_health() {
    let proxy = Proxy::start(
        &shared::rs().await.seed_uri(),
        &[("admin.token", "\"open-sesame-open\"")],
    );
    assert_eq!(http(proxy.admin(), "GET", "/health", &[]).0, 200);
    for path in ["/api/status", "/metrics", "/api/config"] {
        assert_eq!(http(proxy.admin(), "GET", path, &[]).0, 401, "{path}");
        assert_eq!(
            http(
                proxy.admin(),
                "GET",
                path,
                &[("Authorization", "Bearer open-sesamf")]
            )
            .0,
            401
        );
        let (code, body) = http(
            proxy.admin(),
            "GET",
            path,
            &[("Authorization", "Bearer open-sesame-open")],
        );
        assert_eq!(code, 200, "{path}");
        assert!(!body.contains("sesame"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_request_under_way_finish_and_exits_with_0() {
    let rs = shared::rs().await;
    let mut proxy = Proxy::start(&rs.seed_uri(), &[]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let db = client.database(&shared::database("drain"));
    let namespace = format!("{}.c", db.name());
    db.collection::<Document>("c")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let slow = tokio::spawn(async move {
        let filter = doc! {"$where": "sleep(3000) || true"};
        db.collection::<Document>("c").find_one(filter).await
    });
    running::until_running(&rs.addresses()[0], &namespace).await;
    proxy.signal("TERM");
    assert_eq!(slow.await.unwrap().unwrap(), Some(doc! {"_id": 1}));
    let mut ended = None;
    wait::until("the proxy ends", || {
        ended = proxy.ended();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|e| e.code()), Some(0), "{}", proxy.log());
    assert!(std::net::TcpStream::connect(proxy.address()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_host_name_of_the_upstream_reaches_a_client() {
    let rs = shared::rs().await;
    let real = rs.addresses().remove(0);
    for posture in ["auto", "mongos", "replica-set", "standalone"] {
        let proxy = Proxy::start(
            &rs.seed_uri(),
            &[("server.posture", &format!("\"{posture}\""))],
        );
        let uri = format!("mongodb://{}/?directConnection=true", proxy.address());
        let client = Client::with_uri_str(uri).await.unwrap();
        let admin = client.database("admin");
        for command in [
            doc! {"hello": 1},
            doc! {"isMaster": 1},
            doc! {"replSetGetStatus": 1},
            doc! {"replSetGetConfig": 1},
            doc! {"serverStatus": 1},
            doc! {"getCmdLineOpts": 1},
            doc! {"connPoolStats": 1},
            doc! {"explain": {"find": "c"}},
        ] {
            let reply = match admin.run_command(command.clone()).await {
                Ok(reply) => reply.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(
                !reply.contains(&real),
                "{posture}: {command} answers {reply}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_gets_clients_an_error_and_not_a_closed_socket() {
    let deployment = petiole::embedded::Deployment::start(Default::default())
        .await
        .unwrap();
    let settings = [
        ("upstream.failover_wait", "\"300ms\""),
        ("server.lost_upstream", "\"error\""),
    ];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let db = client.database("d");
    db.run_command(doc! {"ping": 1}).await.unwrap();
    deployment.kill(0).unwrap();
    // The first may find its link broken; from then on there is no primary.
    let mut codes = Vec::new();
    for _ in 0..3 {
        let error = db.run_command(doc! {"ping": 1}).await.unwrap_err();
        match error.kind.as_ref() {
            mongodb::error::ErrorKind::Command(e) => codes.push(e.code),
            other => panic!("not a reply: {other:?}"),
        }
    }
    assert!(codes.iter().all(|c| matches!(c, 6 | 133)), "{codes:?}");
    deployment.restart(0).await.unwrap();
    wait::until_async("it works again", async || {
        db.run_command(doc! {"ping": 1}).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_election_requests_wait_for_the_new_primary() {
    let options = petiole::embedded::MongodOptions::replica_set(3);
    let deployment = petiole::embedded::Deployment::start(options).await.unwrap();
    let proxy = Proxy::start(
        &deployment.seed_uri(),
        &[("upstream.failover_wait", "\"30s\"")],
    );
    let client = Client::with_uri_str(format!(
        "{}?retryWrites=false&retryReads=false",
        proxy.uri()
    ))
    .await
    .unwrap();
    let c = client.database("d").collection::<Document>("c");
    c.insert_one(doc! {"_id": 0}).await.unwrap();
    deployment.step_down(Duration::from_secs(60)).await.unwrap();
    let mut failures = 0;
    for i in 1..50 {
        if c.insert_one(doc! {"_id": i}).await.is_err() {
            failures += 1;
        }
    }
    // A write that was under way when its link broke may be answered with an error;
    // the ones after it wait.
    assert!(failures <= 2, "{failures} of 49 writes failed");
}
