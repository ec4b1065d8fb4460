//! Large replies and a working set of many times the limit: the proxy stays below it, answers, and
//! hits stay fast.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use parking_lot::Mutex;
use tokio::sync::RwLock;

use super::documents::{self, DOCUMENTS, find, size};
use super::hits::{Compared, Pair, median};
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::RawClient;

const LIMIT: u64 = 192 << 20;
/// Together with [`DOCUMENTS`] more than 2 GiB.
const WORDINGS: i32 = 100;
const READERS: i32 = 8;

/// A small answer.
fn hot(db: &str) -> Document {
    doc! {"find": "c", "filter": {"_id": 0}, "$db": db}
}

/// About 12 MB.
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
    answered: AtomicU64,
    /// Errors by code.
    errors: Mutex<BTreeMap<i32, u64>>,
    /// Bytes of small answers, all different: what a cache without a bound would hold.
    different: AtomicU64,
    over: AtomicBool,
    /// Readers hold it while they ask: whoever has it all to himself has silence.
    gate: RwLock<()>,
}

/// One of the readers, until it is over: two read large replies, the others the working set. Each
/// asks the other proxy the same in turn. (Replies aren't decoded: that takes longer than to get them.)
async fn read([watched, other]: [String; 2], db: String, load: Arc<Load>, reader: i32) {
    let mut watched = RawClient::connect(&watched).await.unwrap();
    let mut other = RawClient::connect(&other).await.unwrap();
    let mut turn = reader;
    while !load.over.load(Relaxed) {
        let _open = load.gate.read().await;
        turn += READERS;
        let (id, wording) = (turn % DOCUMENTS, turn / DOCUMENTS % WORDINGS);
        let command = match reader {
            0 => large(&db),
            1 => aggregate(&db),
            _ => find(&db, id, wording),
        };
        let reply = watched.command(&command).await.expect("a reply");
        match reply.get_i32("code") {
            Err(_) => drop(load.answered.fetch_add(1, Relaxed)),
            Ok(code) => *load.errors.lock().entry(code).or_default() += 1,
        }
        other.command(&command).await.expect("a reply");
        if reader > 1 {
            load.different.fetch_add(size(id) as u64, Relaxed);
        }
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
/// minutes at least. How fast hits are is printed, and not asserted: beside a proxy without a limit,
/// with a cache of the same size and under the same load, before that load, in breaks of it, and amid it.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_stays_below_it_and_keeps_answering() {
    let seconds = std::env::var("PETIOLE_MEMORY_SECS").ok();
    let seconds: u64 = seconds.map_or(10, |s| s.parse().expect("seconds"));
    let rs = shared::rs().await;
    let db = shared::database("limit");
    documents::write(&db).await;
    let none = ("cache.external_writes", "\"none\"");
    let all_hits = ("cache.shadow_share", "0.0");
    let limited = ("memory.limit", "\"192MiB\"");
    let proxy = Proxy::start(&rs.seed_uri(), &[none, all_hits, limited]);
    let same_size = ("cache.max_size", "\"86MiB\"");
    let other = Proxy::start(&rs.seed_uri(), &[none, all_hits, same_size]);
    let mut pair = Pair::connect(proxy.address(), other.address(), &hot(&db)).await;
    let before = pair.compare(TURNS * 4).await;

    let load = Arc::new(Load::default());
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let both = [proxy.address().to_owned(), other.address().to_owned()];
            tokio::spawn(read(both, db.clone(), Arc::clone(&load), reader))
        })
        .collect();
    let mut asker = Asker::connect(proxy.address()).await;
    let (mut amid, mut breaks, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    while Instant::now() < until || load.different.load(Relaxed) < LIMIT {
        let stretch = Instant::now();
        while stretch.elapsed() < STRETCH {
            // In the midst of it all, others are served.
            assert_eq!(asker.ask(&hot(&db)).await.batch().len(), 1);
            assert!(peak(&proxy) < LIMIT, "{} bytes", peak(&proxy));
            resident.push(proxy.rss() as f64);
            tokio::time::sleep(SAMPLE).await;
        }
        amid.push(pair.compare(TURNS).await);
        let _silence = load.gate.write().await;
        breaks.push(pair.compare(TURNS * 2).await);
    }
    load.over.store(true, Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }

    let errors = load.errors.lock().clone();
    let answered = load.answered.load(Relaxed);
    println!(
        "{:.0} s under 192 MiB: at most {} MiB resident, {:.0} MiB in the middle of {} samples",
        began.elapsed().as_secs_f64(),
        peak(&proxy) >> 20,
        median(resident.clone()) / f64::from(1 << 20),
        resident.len(),
    );
    println!(
        "{answered} answered, errors by code {errors:?}, {} MiB of different answers; {}; without a limit {} MiB",
        load.different.load(Relaxed) >> 20,
        proxy.status()["memory"],
        peak(&other) >> 20,
    );
    println!("hits/s       under the limit    without one    ratio    not from memory");
    for (when, all) in [("before", vec![before]), ("breaks", breaks), ("amid", amid)] {
        tell(when, &all);
    }
    let log = proxy.log();
    for line in log.lines().filter(|line| line.contains("petiole::memory")) {
        println!("{line}");
    }
    // The last resort, which says what to do; no other error.
    assert!(errors.keys().all(|code| *code == 146), "{errors:?}");
    assert!(answered > 0, "{errors:?}");
}

fn tell(when: &str, all: &[Compared]) {
    let of = |what: fn(&Compared) -> f64| median(all.iter().map(what).collect());
    println!(
        "{when:<12} {:>15.0} {:>14.0} {:>8.2} {:>18}",
        of(|c| c.watched),
        of(|c| c.other),
        of(|c| c.ratio),
        all.iter().map(|c| c.missed).sum::<u64>(),
    );
}

/// Load between two comparisons.
const STRETCH: Duration = Duration::from_secs(8);
/// Between two looks at the process's memory. (Its peak is the kernel's to tell, and misses nothing.)
const SAMPLE: Duration = Duration::from_millis(10);
/// Turns of each proxy in a comparison.
const TURNS: usize = 3;
