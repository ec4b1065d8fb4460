//! A workload before a proxy: commands that are asked again and again, and what is measured of them.

use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use petiole::embedded::Deployment;
use serde_json::Value;

use crate::parts::asker::Asker;
use crate::parts::node;
use crate::parts::proxy::{Proxy, http};

/// A command in different values, and what it is called.
pub struct Ask {
    pub name: &'static str,
    pub make: fn(&str, u64) -> Document,
}

/// One test loads its server at a time.
pub static ONE_BY_ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What one kind of command costs.
#[derive(Debug)]
pub struct Measured {
    pub name: &'static str,
    pub ratio: f64,
    pub median: Duration,
}

/// Time in which advice must have come. On a machine to itself half a minute will do; the time that it took
/// is printed. (What may be asked is a share of the load, and a busy machine carries less of it.)
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A proxy that looks often. Reads aren't cached: what is measured is the server's work.
pub fn proxy(deployment: &Deployment) -> Proxy {
    let settings = [
        ("cache.enabled", "false"),
        ("advice.interval", "\"2s\""),
        (
            "log.level",
            "\"info,petiole::advice=debug,petiole::slow=off\"",
        ),
    ];
    Proxy::start(&deployment.seed_uri(), &settings)
}

/// The advice that stands.
pub fn advice(proxy: &Proxy) -> Vec<Value> {
    report(proxy)["advice"].as_array().expect("a list").clone()
}

pub fn report(proxy: &Proxy) -> Value {
    let (code, body) = http(proxy.admin(), "GET", "/api/advice", &[]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Each piece of advice as `create namespace {"a":1}`, sorted.
pub fn summary(advice: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = advice
        .iter()
        .map(|one| {
            let word = |key: &str| one[key].as_str().expect("a word").to_owned();
            let namespace = word("namespace");
            let collection = namespace.split_once('.').expect("a namespace").1;
            // (The command has the keys in their order.)
            let command = word("command");
            let keys = command.rsplit_once("Index(").expect("a command").1;
            format!(
                "{} {collection} {}",
                word("action"),
                keys.trim_end_matches(')')
            )
        })
        .collect();
    lines.sort();
    lines
}

/// Some clients ask all, in turn, until `enough` says so of the advice.
pub async fn until_advised(
    proxy: &Proxy,
    db: &str,
    asks: &'static [Ask],
    mut enough: impl FnMut(&[Value]) -> bool,
) -> Vec<Value> {
    let begin = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let (address, db) = (proxy.address().to_owned(), db.to_owned());
        tokio::spawn(async move {
            let mut asker = Asker::connect(&address).await;
            for seed in (client..).step_by(CLIENTS) {
                for ask in asks {
                    asker.ask(&(ask.make)(&db, mix(seed as u64))).await;
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let advice = loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let advice = advice(proxy);
        if enough(&advice) {
            break advice;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "not in time; advice: {:#?}\n{} explains\nlog: {}",
            summary(&advice),
            report(proxy)["explained"],
            proxy.log()
        );
    };
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    let report = report(proxy);
    println!(
        "{:.1} s of load by {CLIENTS} clients, {} explains, {:.3} % of the time upstream",
        begin.elapsed().as_secs_f64(),
        report["explained"],
        report["explain_share"].as_f64().unwrap() * 100.0
    );
    advice
}

/// Runs `petiole advice --script` in mongosh, directly on the server.
pub async fn follow(proxy: &Proxy, deployment: &Deployment) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_petiole"));
    command.args(["advice", "--script", "--admin", proxy.admin()]);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let script = String::from_utf8(output.stdout).expect("UTF-8");
    println!("{script}");
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("advice.js");
    std::fs::write(&file, script).expect("a file");
    let uri = deployment.uri().to_owned();
    let done = tokio::task::spawn_blocking(move || {
        node::mongosh(home.path())
            .args(["--quiet", &uri, "--file"])
            .arg(&file)
            .output()
    });
    let output = done.await.expect("it ends").expect("mongosh runs");
    assert!(output.status.success(), "{output:?}");
}

/// Explains and times every command directly on the server.
pub async fn measure(deployment: &Deployment, db: &str, asks: &[Ask]) -> Vec<Measured> {
    let mut direct = Asker::connect(&deployment.addresses()[0]).await;
    let mut all = Vec::new();
    for ask in asks {
        let (mut examined, mut returned) = (0.0, 0.0);
        let mut times = Vec::new();
        for n in 0..ROUNDS {
            let command = (ask.make)(db, mix(1_000_000 + n));
            let mut inner = command.clone();
            inner.remove("$db");
            if let Ok(stages) = inner.get_array_mut("pipeline") {
                // How documents are found; what is made of them isn't an index's matter.
                stages.truncate(1);
            }
            let explain = doc! {"explain": inner, "verbosity": "executionStats", "$db": db};
            let reply = direct.ask(&explain).await.reply;
            let (documents, keys, found) = totals(&reply);
            // A count looks at keys only; keys stepped over aren't examined documents.
            examined += if documents == 0.0 { keys } else { documents };
            returned += found;
            let begin = Instant::now();
            direct.ask(&command).await;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        all.push(Measured {
            name: ask.name,
            ratio: examined / f64::max(returned, 1.0),
            median: times[times.len() / 2],
        });
    }
    all
}

/// Documents and keys examined, and documents found, of an explain.
fn totals(reply: &Document) -> (f64, f64, f64) {
    let (mut documents, mut keys, mut found) = (0.0, 0.0, 0.0);
    let mut affected: f64 = 0.0;
    visit(reply, &mut |name, value| match name {
        "totalDocsExamined" => documents += value,
        "totalKeysExamined" => keys += value,
        "nCounted" | "nMatched" | "nWouldDelete" => affected += value,
        _ => {}
    });
    if let Some(stats) = stats(reply) {
        found = number(stats.get("nReturned"));
    }
    (documents, keys, f64::max(found, affected))
}

fn stats(of: &Document) -> Option<&Document> {
    of.iter().find_map(|(key, value)| match value {
        Bson::Document(inner) if key == "executionStats" => Some(inner),
        Bson::Document(inner) => stats(inner),
        Bson::Array(items) => items.iter().find_map(|i| stats(i.as_document()?)),
        _ => None,
    })
}

fn visit(of: &Document, see: &mut impl FnMut(&str, f64)) {
    for (key, value) in of {
        match value {
            Bson::Document(inner) => visit(inner, see),
            Bson::Array(items) => items
                .iter()
                .filter_map(Bson::as_document)
                .for_each(|inner| visit(inner, see)),
            value => see(key, number(Some(value))),
        }
    }
}

fn number(value: Option<&Bson>) -> f64 {
    match value {
        Some(Bson::Int32(n)) => f64::from(*n),
        Some(Bson::Int64(n)) => *n as f64,
        Some(Bson::Double(n)) => *n,
        _ => 0.0,
    }
}

/// Loads `count` documents in batches, directly.
pub async fn fill(
    deployment: &Deployment,
    db: &str,
    collection: &str,
    count: u64,
    make: impl Fn(u64) -> Document,
) {
    let mut direct = Asker::connect(&deployment.addresses()[0]).await;
    for from in (0..count).step_by(BATCH) {
        let to = count.min(from + BATCH as u64);
        let documents: Vec<Document> = (from..to).map(&make).collect();
        direct
            .ask(&doc! {"insert": collection, "documents": documents, "ordered": false, "$db": db})
            .await;
    }
}

/// Numbers in no order, the same in every run (splitmix64).
pub fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `bound` that depends on `seed` and `salt`.
pub fn below(bound: u64, seed: u64, salt: u64) -> i64 {
    i64::try_from(mix(seed ^ mix(salt)) % bound).expect("a small number")
}

/// A time so many seconds after the beginning of the data.
pub fn at(seconds: i64) -> bson::DateTime {
    bson::DateTime::from_millis(1_700_000_000_000 + seconds * 1000)
}

/// Clients that ask at the same time.
const CLIENTS: usize = 4;

/// Documents in an insert.
const BATCH: usize = 5_000;

/// Explains and timings of each kind of command.
const ROUNDS: u64 = 15;
