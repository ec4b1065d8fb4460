//! Statistics by shape and the slow log, from the outside.

use bson::{Document, doc};
use serde_json::Value;

use crate::parts::asker::Asker;
use crate::parts::proxy::{Proxy, http};
use crate::parts::shared;

fn get(proxy: &Proxy, path: &str) -> Value {
    let (code, body) = http(proxy.admin(), "GET", path, &[]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn shape_of<'a>(shapes: &'a Value, namespace: &str, text: &str) -> &'a Value {
    let list = shapes["shapes"].as_array().expect("a list");
    let found = list
        .iter()
        .find(|s| s["namespace"] == namespace && s["shape"] == text);
    found.unwrap_or_else(|| panic!("no {text} in {shapes}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_tell_how_often_how_long_and_what_the_cache_did() {
    let rs = shared::rs().await;
    let db = shared::database("profile");
    let proxy = Proxy::start(&rs.seed_uri(), &[("cache.external_writes", "\"none\"")]);
    let mut asker = Asker::connect(proxy.address()).await;
    let documents: Vec<Document> = (0..10).map(|n| doc! {"_id": n, "a": n % 2}).collect();
    asker
        .ask(&doc! {"insert": "c", "documents": documents, "$db": &db})
        .await;
    for n in [0, 0, 1, 0] {
        asker
            .ask(&doc! {"find": "c", "filter": {"a": n}, "sort": {"_id": -1}, "$db": &db})
            .await;
    }
    asker
        .reply(&doc! {"find": "c", "filter": {"$nonsense": 1}, "$db": &db})
        .await;
    let shapes = get(&proxy, "/api/shapes");
    let namespace = format!("{db}.c");
    let found = shape_of(&shapes, &namespace, "{filter: {a: ?}, sort: {_id: -1}}");
    assert_eq!(found["command"], "find");
    assert_eq!(found["count"], 4);
    assert_eq!(found["documents"], 20);
    assert_eq!(
        found["cache"],
        serde_json::json!({"hit": 2, "miss": 2, "joined": 0, "bypass": 0})
    );
    assert!(found["bytes"].as_u64().unwrap() > 400);
    assert!(found["latency_ms"]["max"].as_f64() >= found["latency_ms"]["p50"].as_f64());
    assert!(found["last_seen"].as_str().unwrap().ends_with('Z'));
    let insert = shape_of(&shapes, &namespace, "{documents: [?]}");
    assert_eq!(
        (&insert["count"], &insert["documents"]),
        (&1.into(), &10.into())
    );
    let wrong = shape_of(&shapes, &namespace, "{filter: {$nonsense: ?}}");
    assert_eq!(wrong["errors"], 1);
    let totals: Vec<f64> = shapes["shapes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["total_ms"].as_f64().unwrap())
        .collect();
    assert!(totals.is_sorted_by(|a, b| a >= b), "{totals:?}");
    assert!(proxy.count("/profile/shapes") >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_logged_as_json_without_values() {
    let rs = shared::rs().await;
    let db = shared::database("slow");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slow.jsonl");
    let settings = [
        ("profile.slow_file", &*format!("{file:?}")),
        ("profile.slow_threshold", "\"50ms\""),
        ("log.format", "\"json\""),
        ("cache.external_writes", "\"none\""),
    ];
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let mut asker = Asker::connect(proxy.address()).await;
    asker
        .ask(&doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    let sleeps = "sleep(80) || true /* a secret */";
    asker
        .ask(&doc! {"find": "c", "filter": {"$where": sleeps}, "$db": &db})
        .await;
    let slow = get(&proxy, "/api/slow");
    assert_eq!(slow["threshold_ms"], 50.0);
    let namespace = format!("{db}.c");
    let of_ours = |line: &&Value| line["namespace"] == *namespace && line["command"] == "find";
    let ours = slow["slow"].as_array().unwrap().iter().find(of_ours);
    let ours = ours.unwrap_or_else(|| panic!("none in {slow}"));
    assert_eq!(ours["shape"], "{filter: {$where: ?}}");
    assert!(ours["ms"].as_f64().unwrap() >= 80.0);
    assert_eq!(
        (&ours["documents"], &ours["cache"]),
        (&1.into(), &"bypass".into())
    );
    assert_eq!(ours["text"], Value::Null);
    let log = proxy.log();
    let file = std::fs::read_to_string(file).unwrap();
    for text in [&log, &file] {
        let line: Option<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .find(|line: &Value| line["target"] == "petiole::slow" && line["command"] == "find");
        let line = line.unwrap_or_else(|| panic!("no line in {text}"));
        assert_eq!(line["shape"], "{filter: {$where: ?}}");
        assert!(!text.contains("secret"), "{text}");
    }
    let others = file.lines().filter(|line| !line.contains("petiole::slow"));
    assert_eq!(others.count(), 0, "{file}");
}

/// Distinct shapes asked, and by how many clients.
const SHAPES: usize = 100_000;
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_shapes_take_no_more_memory_than_some_thousands() {
    let rs = shared::rs().await;
    let db = shared::database("shapes");
    // (Without a cache, whose own tables would grow meanwhile.)
    let settings = [("cache.enabled", "false"), ("advice.interval", "\"1h\"")];
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let ask = async |from: usize, to: usize| {
        let clients = (0..CLIENTS).map(|client| {
            let (address, db) = (proxy.address().to_owned(), db.clone());
            tokio::spawn(async move {
                let mut asker = Asker::connect(&address).await;
                for n in (from..to).filter(|n| n % CLIENTS == client) {
                    // (A digit as a path component would be one shape.)
                    let field = format!("some_field_{n}_of_many");
                    asker
                        .ask(&doc! {"find": "none", "filter": {field: 1}, "$db": &db})
                        .await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    };
    ask(0, SHAPES / 20).await;
    let before = proxy.rss();
    ask(SHAPES / 20, SHAPES).await;
    let after = proxy.rss();
    println!(
        "resident after {} shapes: {before}, after {SHAPES}: {after}",
        SHAPES / 20
    );
    assert_eq!(proxy.count("/profile/shapes"), 512);
    assert!(proxy.count("/profile/dropped") as usize > SHAPES * 9 / 10);
    assert!(after < before + (8 << 20), "{before} to {after}");
}
