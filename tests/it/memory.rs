//! Memory on a running proxy: under a limit, and when something leaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use petiole::config::Config;
use petiole::memory::Kind;

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};

const LIMIT: u64 = 192 << 20;
/// Documents from 100 B to 100 KB, as many of each magnitude.
const DOCUMENTS: i32 = 1500;
/// Each in so many wordings, each an answer of its own: together more than 2 GiB.
const WORDINGS: i32 = 100;

fn size(id: i32) -> usize {
    (100.0 * 1000_f64.powf(f64::from(id * 7 % DOCUMENTS) / f64::from(DOCUMENTS))) as usize
}

/// A small answer.
fn hot(db: &str) -> Document {
    doc! {"find": "c", "filter": {"_id": 0}, "$db": db}
}

/// About 12 MB, or as many as there are.
fn large(db: &str) -> Document {
    doc! {"find": "c", "filter": {}, "sort": {"_id": 1}, "batchSize": 100_000, "limit": 900, "$db": db}
}

fn aggregate(db: &str) -> Document {
    doc! {"aggregate": "c", "pipeline": [{"$sort": {"_id": -1}}, {"$limit": 500}],
    "cursor": {"batchSize": 100_000}, "$db": db}
}

/// What the load has come to.
#[derive(Default)]
struct Load {
    done: AtomicU64,
    refused: AtomicU64,
    /// Bytes of small answers, all different: what a cache without a bound would hold.
    different: AtomicU64,
    over: AtomicBool,
}

/// Readers of large replies and of the working set, until it is over.
async fn load(address: String, db: String, load: Arc<Load>) {
    let mut tasks = Vec::new();
    for reader in 0..8 {
        let (address, db, load) = (address.clone(), db.clone(), Arc::clone(&load));
        tasks.push(tokio::spawn(async move {
            let mut asker = Asker::connect(&address).await;
            let mut turn = reader;
            while !load.over.load(Relaxed) {
                turn += 8;
                let (id, wording) = (turn % DOCUMENTS, turn / DOCUMENTS % WORDINGS);
                let command = match reader {
                    0 => large(&db),
                    1 => aggregate(&db),
                    _ => {
                        doc! {"find": "c", "filter": {"_id": id, "w": {"$ne": wording}}, "$db": &db}
                    }
                };
                let reply = asker.reply(&command).await;
                match reply.get_i32("code") {
                    Err(_) => load.done.fetch_add(1, Relaxed),
                    // The last resort, which says what to do.
                    Ok(146) => load.refused.fetch_add(1, Relaxed),
                    Ok(_) => panic!("{reply}"),
                };
                if reader > 1 {
                    load.different.fetch_add(size(id) as u64, Relaxed);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// The most that the process has had, bytes.
fn peak(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches("kB").trim();
    kib.parse::<u64>().unwrap() * 1024
}

/// It takes as long as it takes to read more than the limit; `PETIOLE_MEMORY_SECS=600` makes it ten
/// minutes at least.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_limit_the_proxy_stays_below_it_and_keeps_answering() {
    let seconds = std::env::var("PETIOLE_MEMORY_SECS").ok();
    let seconds: u64 = seconds.map_or(10, |s| s.parse().expect("seconds"));
    let rs = shared::rs().await;
    let db = shared::database("limit");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    for chunk in (0..DOCUMENTS).collect::<Vec<_>>().chunks(100) {
        let document = |id: &i32| doc! {"_id": id, "filler": "x".repeat(size(*id))};
        let documents: Vec<Document> = chunk.iter().map(document).collect();
        direct
            .ask(&doc! {"insert": "c", "documents": documents, "$db": &db})
            .await;
    }
    let none = ("cache.external_writes", "\"none\"");
    let proxy = Proxy::start(&rs.seed_uri(), &[none, ("memory.limit", "\"192MiB\"")]);
    let made = Arc::new(Load::default());
    let loading = tokio::spawn(load(
        proxy.address().to_owned(),
        db.clone(),
        Arc::clone(&made),
    ));
    let mut asker = Asker::connect(proxy.address()).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until || made.different.load(Relaxed) < LIMIT {
        // In the midst of it all, others are served.
        assert_eq!(asker.ask(&hot(&db)).await.batch().len(), 1);
        assert!(peak(&proxy) < LIMIT, "{} bytes", peak(&proxy));
    }
    made.over.store(true, Relaxed);
    loading.await.unwrap();
    let (done, refused) = (made.done.load(Relaxed), made.refused.load(Relaxed));
    println!(
        "{seconds} s: at most {} of 192 MiB; {done} answered, {refused} refused, {} MiB different; {}",
        peak(&proxy) >> 20,
        made.different.load(Relaxed) >> 20,
        proxy.status()["memory"],
    );
    println!("{}", proxy.log());
    assert!(done > 0, "{done} answered, {refused} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaks_is_named_within_its_window_and_what_does_not_is_not() {
    let rs = shared::rs().await;
    let db = shared::database("leak");
    let mut config = Config::default();
    config.upstream.uri = petiole::config::UpstreamUri::new(rs.seed_uri());
    config.server.listen = petiole::proxy::any_port();
    config.admin.listen = None;
    config.cache.external_writes = petiole::config::ExternalWrites::None;
    config.memory.leak_window = Duration::from_secs(10);
    let proxy = petiole::proxy::Proxy::start(config).await.unwrap();
    assert!(proxy.ready(Duration::from_secs(10)).await);
    let address = proxy.address().to_string();
    let memory = Arc::clone(&proxy.shared().memory);
    let leaking = [
        Kind::Clients,
        Kind::Leases,
        Kind::Cursors,
        Kind::Flights,
        Kind::Fences,
        Kind::Batches,
        Kind::Transactions,
    ];
    let named = || -> Vec<&'static str> {
        let leaks = memory.report().leaks;
        leaks
            .iter()
            .map(|leak| leak.kind)
            .filter(|kind| *kind != "other")
            .collect()
    };
    // The same traffic, first without a leak.
    let mut turn = 0;
    let sound = Instant::now();
    while sound.elapsed() < Duration::from_secs(12) {
        traffic(&address, &db, &mut turn).await;
        assert!(named().is_empty(), "{:?}", named());
    }
    for kind in leaking {
        memory.leak(kind);
    }
    let began = Instant::now();
    let mut missing: Vec<&str> = leaking.iter().map(|kind| kind.as_str()).collect();
    while !missing.is_empty() && began.elapsed() < wait::PATIENCE {
        traffic(&address, &db, &mut turn).await;
        let named = named();
        missing.retain(|kind| !named.contains(kind));
    }
    println!("all named after {:?}", began.elapsed());
    assert!(
        missing.is_empty(),
        "{missing:?} aren't named: {:?}",
        memory.report()
    );
    assert!(!named().contains(&"links"), "links don't leak");
}

/// A bit of everything: connections, misses, cursors, writes, transactions.
async fn traffic(address: &str, db: &str, turn: &mut i32) {
    *turn += 1;
    let mut asker = Asker::connect(address).await;
    let base = *turn * 10;
    for id in base..base + 5 {
        let insert = doc! {"insert": "c", "documents": [{"_id": id, "a": id}], "$db": db};
        asker.ask(&insert).await;
    }
    let find = doc! {"find": "c", "filter": {"_id": {"$gte": base, "$lt": base + 5}}, "batchSize": 100, "$db": db};
    asker.ask(&find).await;
    let mut begun = find.clone();
    begun.insert("batchSize", 2);
    let cursor = asker.ask(&begun).await.cursor();
    if cursor != 0 {
        asker
            .ask(&doc! {"killCursors": "c", "cursors": [cursor], "$db": db})
            .await;
    }
    let lsid = doc! {"id": bson::Uuid::new()};
    let statement = doc! {"update": "c", "updates": [{"q": {"_id": base}, "u": {"$set": {"b": 1}}}], "lsid": &lsid,
    "txnNumber": 1_i64, "autocommit": false, "startTransaction": true, "$db": db};
    asker.ask(&statement).await;
    asker
        .ask(&doc! {"commitTransaction": 1, "lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"})
        .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
}
