//! `/metrics`: clean by promtool's own rules, and all that the Grafana dashboard asks for.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use bson::{Document, doc};
use mongodb::Client;

use crate::parts::proxy::{Proxy, http};
use crate::parts::{shared, wait};

/// What a proxy that has done a bit of everything says.
async fn metrics() -> (Proxy, String) {
    // (A watch that is on, so that its lag is there.)
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    wait::until("it watches", || {
        proxy.status()["watch"]["state"] == "watching"
    });
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let c = client
        .database(&shared::database("metrics"))
        .collection::<Document>("c");
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    for _ in 0..10 {
        c.find_one(doc! {"_id": 1}).await.unwrap();
    }
    let (code, text) = http(proxy.admin(), "GET", "/metrics", &[]);
    assert_eq!(code, 200);
    (proxy, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say() {
    let (_proxy, text) = metrics().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, which is in Debian's package prometheus (apt-get install prometheus)");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let told = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_may_ask_for_openmetrics() {
    let (proxy, _) = metrics().await;
    let accept = ("Accept", "application/openmetrics-text; version=1.0.0");
    let (_, text) = http(proxy.admin(), "GET", "/metrics", &[accept]);
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE petiole_cache_hits counter"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_are_told_by_command_and_outcome() {
    let (_proxy, text) = metrics().await;
    for series in [
        "petiole_request_duration_seconds_count{command=\"find\",outcome=\"",
        "petiole_request_duration_seconds_count{command=\"insert\",outcome=\"pass\"} 1",
        "petiole_request_duration_seconds_bucket{le=\"+Inf\",command=\"insert\",outcome=\"pass\"} 1",
    ] {
        assert!(text.contains(series), "no {series} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_grafana_dashboard_exists() {
    let (_proxy, text) = metrics().await;
    let dashboard = include_str!("../../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let asked = named(&expressions(&dashboard).join("\n"));
    let told = named(&text);
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<&String> = asked.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?} aren't in {told:?}");
}

/// Every `expr` of a dashboard.
fn expressions(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key == "expr" => vec![text.clone()],
                value => expressions(value),
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

/// Every word of a text that is a metric of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("petiole_"));
    ours.map(str::to_owned).collect()
}
