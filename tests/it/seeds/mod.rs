//! Connection strings that name several servers, some of them dead, or none but a name in DNS.

mod dns;

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bson::doc;
use petiole::config::{Config, HostPort, UpstreamUri};
use petiole::embedded::{Deployment, MongodOptions, free_ports};

use crate::parts::asker::Asker;
use crate::parts::in_process;
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};

/// An address where nobody listens.
fn nobody() -> String {
    format!("127.0.0.1:{}", free_ports(1).unwrap()[0])
}

async fn answers(address: &str) {
    let find = doc! {"find": "c", "$db": "seeds"};
    Asker::connect(address).await.ask(&find).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_first_seed_of_a_replica_set_is_forgotten() {
    let set = shared::rs().await;
    let uri = format!(
        "mongodb://{},{}/?replicaSet=rs0",
        nobody(),
        set.addresses()[0]
    );
    let proxy = Proxy::start(&uri, &[]);
    answers(proxy.address()).await;
    wait::until("the primary's list is taken", || {
        proxy.status()["upstream"]["servers"]
            .as_array()
            .unwrap()
            .len()
            == 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_first_mongos_is_passed_over() {
    let set = shared::rs().await;
    let mongos = Proxy::start(&set.seed_uri(), &[]);
    let uri = format!("mongodb://{},{}/", nobody(), mongos.address());
    let proxy = Proxy::start(&uri, &[]);
    for _ in 0..5 {
        answers(proxy.address()).await;
    }
    let servers = proxy.status()["upstream"]["servers"].clone();
    assert_eq!(servers.as_array().unwrap().len(), 2, "{servers}");
    assert_eq!(servers[0]["role"], serde_json::Value::Null, "{servers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_do_not_notice_that_one_of_several_mongos_dies() {
    let set = shared::rs().await;
    let mut mongos =
        [0, 1, 2].map(|_| Some(Proxy::start(&set.seed_uri(), &[("cache.enabled", "false")])));
    let addresses = mongos
        .each_ref()
        .map(|m| m.as_ref().unwrap().address().to_owned());
    let uri = format!("mongodb://{}/", addresses.join(","));
    let wide = ("upstream.local_threshold", "\"10s\"");
    let proxy = Proxy::start(&uri, &[wide, ("cache.enabled", "false")]);
    let db = shared::database("seeds");
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let client = |n: i64| {
        let (address, db) = (proxy.address().to_owned(), db.clone());
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        tokio::spawn(async move {
            let mut client = Asker::connect(&address).await;
            let mut number = 0_i64;
            while !stop.load(Relaxed) {
                number += 1;
                let increment = doc! {"q": {"_id": n}, "u": {"$inc": {"n": 1}}, "upsert": true};
                let update = doc! {
                    "update": "c", "updates": [increment], "lsid": {"id": bson::Uuid::new()}, "txnNumber": 1_i64, "$db": &db,
                };
                client.ask(&update).await;
                let find = doc! {"find": "c", "filter": {"_id": n}, "$db": &db};
                let found = client.ask(&find).await.batch();
                assert_eq!(found[0].get_i32("n").ok().map(i64::from), Some(number));
                done.fetch_add(1, Relaxed);
            }
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    for dying in [0, 1] {
        let before = done.load(Relaxed);
        wait::until_async("they work", async || done.load(Relaxed) >= before + 40).await;
        mongos[dying] = None;
    }
    let before = done.load(Relaxed);
    wait::until_async("they go on", async || done.load(Relaxed) >= before + 40).await;
    stop.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

/// In a network and with an `/etc/resolv.conf` of the test's own, since the resolver of the official
/// driver can't be pointed elsewhere: the test runs itself again there, with a name server.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_dns_gives_the_servers_and_options() {
    if std::env::var_os(INSIDE).is_some() {
        return look_up().await;
    }
    // (Found and fetched outside: inside there's no way out.)
    Deployment::start(MongodOptions::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let resolv = dir.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
    let script = r#"ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@""#;
    let run = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "--net",
            "sh",
            "-c",
            script,
        ])
        .arg(&resolv)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "seeds::a_name_in_dns_gives_the_servers_and_options",
        ])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) and ip (iproute2) are installed");
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}\n(It needs user namespaces: sysctl kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns.)"
    );
}

const INSIDE: &str = "PETIOLE_TEST_INSIDE";

async fn look_up() {
    let set = Deployment::start(MongodOptions::default()).await.unwrap();
    let port = |address: &str| address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (alive, dead) = (port(&set.addresses()[0]), port(&nobody()));
    let mut zone = dns::Zone::default()
        .address("a.petiole.test")
        .address("b.petiole.test")
        .text("cluster.petiole.test", "replicaSet=rs0&authSource=admin")
        .text("wrong.petiole.test", "replicaSet=other")
        .text("balanced.petiole.test", "loadBalanced=true")
        .service("cluster.petiole.test", "a.petiole.test", dead);
    for name in ["cluster", "wrong", "balanced"] {
        zone = zone.service(&format!("{name}.petiole.test"), "b.petiole.test", alive);
    }
    dns::serve(UdpSocket::bind("127.0.0.1:53").unwrap(), zone);

    let proxy = in_process::start("mongodb+srv://cluster.petiole.test/?tls=false", |_| {}).await;
    answers(&proxy.address().to_string()).await;

    // A set of another name than TXT says isn't ours.
    let wrong = start("mongodb+srv://wrong.petiole.test/?tls=false")
        .await
        .unwrap();
    let why = Some("replicaSet=other is wanted, the server's setName is rs0");
    wait::until("it is told why", || {
        let servers = wrong.shared().upstream.servers();
        servers[0].error.as_deref() == why
    });
    assert!(!wrong.ready(Duration::from_secs(1)).await);

    for (name, why) in [
        ("balanced", "loadBalanced=true is not supported"),
        ("missing", "upstream.uri"),
    ] {
        let uri = format!("mongodb+srv://{name}.petiole.test/?tls=false");
        let refused = start(&uri)
            .await
            .err()
            .expect("it isn't usable")
            .to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

async fn start(uri: &str) -> Result<petiole::proxy::Proxy, petiole::proxy::ProxyError> {
    let mut config = Config::default();
    config.server.listen = HostPort::new("127.0.0.1", 0);
    config.admin.listen = None;
    config.upstream.uri = UpstreamUri::new(uri);
    petiole::proxy::Proxy::start(config).await
}
