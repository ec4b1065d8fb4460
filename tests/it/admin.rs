//! Who may ask the admin side, and what it never says.

use crate::parts::proxy::{Proxy, http};
use crate::parts::shared;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PATHS: [&str; 7] = [
    "/api/status",
    "/api/config",
    "/api/memory",
    "/api/shapes",
    "/api/slow",
    "/metrics",
    "/health",
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_are_refused_and_answers_are_sealed() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let ask =
        |method, headers: &[(&str, &str)]| http(proxy.admin(), method, "/api/status", headers).0;
    assert_eq!(ask("GET", &[]), 200);
    for foreign in [
        ("Host", "evil.example"),
        ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_eq!(ask("GET", &[foreign]), 403, "{foreign:?}");
        let flush = http(proxy.admin(), "POST", "/api/cache/flush", &[JSON, foreign]);
        assert_eq!(flush.0, 403, "{foreign:?}");
    }
    for path in PATHS {
        let answer = raw(&proxy, path);
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        assert!(!head.contains("access-control"), "{path}: {head}");
        for seal in [
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
            "x-frame-options: deny",
            "cache-control: no-store",
        ] {
            assert!(head.contains(seal), "{path} without {seal}: {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_by_asking() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let (code, _) = http(proxy.admin(), method, "/api/cache/flush", &[JSON]);
        assert_eq!(code, 405, "{method}");
    }
    // What a form of another site can send.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let (code, _) = http(
            proxy.admin(),
            "POST",
            "/api/cache/flush",
            &[("Content-Type", kind)],
        );
        assert_eq!(code, 415, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_answer_or_in_the_log() {
    let deployment = shared::auth().await;
    let uri = deployment.uri();
    let (user, password) = shared::ROOT;
    let settings = [("admin.token", "\"open-sesame-open\"")];
    let proxy = Proxy::start(&uri, &settings);
    let bearer = ("Authorization", "Bearer open-sesame-open");
    for path in PATHS {
        let (code, body) = http(proxy.admin(), "GET", path, &[bearer]);
        assert_eq!(code, 200, "{path}");
        let written = [password, "p%40ss", "sesame"];
        for secret in written {
            assert!(
                !body.contains(secret),
                "{path} tells {secret} of {user}: {body}"
            );
        }
    }
    let log = proxy.log();
    assert!(!log.contains("sesame") && !log.contains("p%40ss"), "{log}");
}

#[test]
fn another_address_than_loopback_needs_a_token() {
    let check = |token: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_petiole"));
        command.args(["check", "--admin", "0.0.0.0:9216"]);
        if !token.is_empty() {
            command.args(["--set", &format!("admin.token={token:?}")]);
        }
        command.output().expect("it runs")
    };
    let refused = check("");
    assert_eq!(refused.status.code(), Some(78));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("admin.token"), "{told}");
    assert!(check("open-sesame-open").status.success());
}

/// A whole answer, with its head.
fn raw(proxy: &Proxy, path: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(proxy.admin()).expect("it listens");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        proxy.admin()
    );
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}
