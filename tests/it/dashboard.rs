//! The dashboard: what its paths answer, and the page in a real browser before a proxy under load
//! (`tests/browser/dashboard.mjs`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;

use crate::parts::proxy::{Proxy, http};
use crate::parts::{node, shared, wait};

/// Slow queries and advice come soon.
const SETTINGS: [(&str, &str); 3] = [
    ("profile.slow_threshold", "\"50ms\""),
    ("advice.interval", "\"1s\""),
    ("advice.explain_share", "1.0"),
];
/// How long the browser's script may take: many times what it needs.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_to_anybody_with_a_strict_policy_and_no_data() {
    let settings = [("admin.token", "\"open-sesame-open\"")];
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    let answer = raw(proxy.admin(), "/");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let policy = "content-security-policy: default-src 'none'; style-src 'sha256-";
    assert!(head.contains(policy) && !head.contains("unsafe"), "{head}");
    for header in ["x-content-type-options: nosniff", "frame-ancestors 'none'"] {
        assert!(head.contains(header), "{header} is missing in {head}");
    }
    assert!(!head.contains("access-control"), "{head}");
    assert!(!body.contains("sesame"));
    for path in ["/api/events", "/api/history", "/api/snapshot"] {
        assert_eq!(http(proxy.admin(), "GET", path, &[]).0, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_once_a_second_and_the_past_is_kept() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let mut socket = ask(proxy.admin(), "/api/events");
    let wait = Some(Duration::from_secs(30));
    socket.set_read_timeout(wait).expect("a timeout");
    let lines = BufReader::new(&mut socket).lines();
    let events = lines.map_while(Result::ok).filter_map(|line| {
        let data = line.strip_prefix("data: ")?.to_owned();
        serde_json::from_str::<serde_json::Value>(&data).ok()
    });
    let events: Vec<_> = events.take(3).collect();
    let times: Vec<u64> = events.iter().filter_map(|e| e["at"].as_u64()).collect();
    assert!(times.len() == 3 && times.is_sorted(), "{times:?}");
    assert!(events[2]["sample"]["requests"].is_number(), "{}", events[2]);
    assert!(events[2]["status"]["version"].is_string());
    let (_, history) = http(proxy.admin(), "GET", "/api/history", &[]);
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    let kept = history["fine"]["at"].as_array().expect("times");
    assert!(
        times.iter().all(|t| kept.contains(&(*t).into())),
        "{history}"
    );
    let columns = history["fine"]["series"].as_object().expect("series");
    assert!(
        columns
            .values()
            .all(|c| c.as_array().map(Vec::len) == Some(kept.len()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_live_viewers_is_bounded() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let mut viewers: Vec<TcpStream> = Vec::new();
    for _ in 0..32 {
        let mut viewer = ask(proxy.admin(), "/api/events");
        let mut first = [0; 12];
        viewer.read_exact(&mut first).expect("a status line");
        assert_eq!(&first, b"HTTP/1.1 200");
        viewers.push(viewer);
    }
    let refused = || raw(proxy.admin(), "/api/events").starts_with("HTTP/1.1 503");
    assert!(refused());
    drop(viewers);
    wait::until("a seat is free again", || {
        let mut viewer = ask(proxy.admin(), "/api/events");
        let mut first = [0; 12];
        viewer.read_exact(&mut first).is_ok() && &first == b"HTTP/1.1 200"
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_a_proxy_under_load() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &SETTINGS);
    in_a_browser(&proxy, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_asks_for_the_token() {
    let token = ("admin.token", "\"open-secret-sesame\"");
    let settings: Vec<_> = SETTINGS.into_iter().chain([token]).collect();
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    in_a_browser(&proxy, Some("open-secret-sesame")).await;
}

/// Runs the script while an application works through the proxy.
async fn in_a_browser(proxy: &Proxy, token: Option<&str>) {
    let load = tokio::spawn(work(proxy.uri()));
    let mut arguments = vec![
        script_path(),
        chromium(),
        format!("http://{}/", proxy.admin()),
        proxy.pid().to_string(),
    ];
    arguments.extend(token.map(str::to_owned));
    let mut command = tokio::task::spawn_blocking(node::with_browser)
        .await
        .expect("node is prepared");
    command.args(&arguments).stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("the browser isn't done within {PATIENCE:?}"))
        .expect("node runs");
    load.abort();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.trim_end().ends_with(" sections ok"),
        "{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A small application: reads that repeat, reads that lack an index, writes, and now and then something slow.
async fn work(uri: String) {
    let client = Client::with_uri_str(uri).await.expect("a client");
    let db = client.database(&shared::database("dashboard"));
    let users = db.collection::<Document>("users");
    let orders = db.collection::<Document>("orders_of_all_regions_and_all_seasons");
    let order = |n: i32| doc! {"customer": n % 700, "total": n, "note": "x".repeat(100)};
    let _ = orders.insert_many((0..4000).map(order)).await;
    for turn in 0_i32.. {
        let id = turn % 50;
        let set = doc! {"$set": {"n": turn}};
        let _ = users.find_one(doc! {"_id": id % 7}).await;
        if turn % 10 == 0 {
            let _ = users.update_one(doc! {"_id": id}, set).upsert(true).await;
            let _ = users.insert_one(doc! {"of": id}).await;
        }
        if turn % 4 == 0 {
            let of = doc! {"customer": turn % 700, "total": {"$gt": turn % 900}};
            let _ = orders.find_one(of).sort(doc! {"total": -1}).await;
        }
        if turn % 200 == 50 {
            let slow = doc! {"_id": 0, "$where": "sleep(80) || true"};
            let _ = users.find_one(slow).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Where Chromium is.
fn chromium() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .expect("no Chromium on the PATH; on Debian: apt-get install chromium")
        .display()
        .to_string()
}

fn script_path() -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/tests/browser/dashboard.mjs")
}

/// A socket that a GET was just written to.
fn ask(address: &str, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the admin HTTP listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    socket
}

/// A whole answer with its head.
fn raw(address: &str, path: &str) -> String {
    let mut answer = String::new();
    let mut socket = ask(address, path);
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}
