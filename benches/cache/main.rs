//! What precision costs and what it pays, in one process without sockets: the real pipeline and
//! cache over a model of a server that answers at once.
//!
//! `cargo bench --bench cache` runs all parts; name some (`invalidation`, `precision`, `admission`)
//! to run those. Everything is seeded; only times differ between runs.

mod lru;
mod model;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use petiole::bench::random::{Random, Zipf};
use petiole::command::{Effect, Footprint, Namespace};
use petiole::config;
use petiole::pipeline::scripted::request;
use petiole::pipeline::{Fences, Horizon, Pipeline};
use petiole::stages::cache::Cache;

use lru::Lru;
use model::Model;

struct Setup {
    pipeline: Pipeline,
    cache: Arc<Cache>,
    fences: Arc<Fences>,
    model: Arc<Model>,
}

fn setup(max_size: u64) -> Setup {
    let fences = Fences::new(Duration::from_secs(90));
    let config = config::Cache {
        external_writes: config::ExternalWrites::None,
        max_size: config::ByteSize(max_size),
        shadow_share: 0.0,
        ..config::Cache::default()
    };
    let cache = Cache::new(&config, Arc::clone(&fences), Horizon::off());
    let model = Arc::new(Model::default());
    let stages: Vec<Box<dyn petiole::pipeline::Stage>> = vec![Box::new(Arc::clone(&cache))];
    let pipeline = Pipeline::new(stages, model.clone(), Arc::clone(&fences));
    Setup {
        pipeline,
        cache,
        fences,
        model,
    }
}

impl Setup {
    async fn run(&self, command: &Document) {
        let mut request = request(command);
        let reply = self.pipeline.run(&mut request).await;
        assert!(reply.is_ok());
    }

    fn hit_ratio(&self, hits: u64, reads: u64) -> f64 {
        (self.cache.stats().hits() - hits) as f64 / reads as f64
    }
}

fn balance(user: u32) -> Document {
    doc! {"find": "users", "filter": {"user_id": i64::from(user)}, "limit": 1, "singleBatch": true, "$db": "game"}
}

fn pay(user: u32) -> Document {
    doc! {"update": "users", "updates": [{"q": {"user_id": i64::from(user)}, "u": {"$inc": {"balance": 1}}}], "$db": "game"}
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|w| w == part);
    if runs("invalidation") {
        invalidation().await;
    }
    if runs("precision") {
        precision().await;
    }
    if runs("admission") {
        admission().await;
    }
}

/// One write's cost with few and with many entries in the cache.
async fn invalidation() {
    println!("invalidation: one update by user_id, median of 20,000 (the whole walk of the write)");
    let mut medians = Vec::new();
    for entries in [1_000, 100_000, 1_000_000] {
        let s = setup(8 << 30);
        for user in 0..entries {
            s.run(&balance(user)).await;
        }
        assert_eq!(s.cache.entries(), entries as usize);
        let mut random = Random::seeded(1);
        let mut times = Vec::new();
        // The first write teaches the index by which path writes select.
        s.run(&pay(0)).await;
        for _ in 0..20_000 {
            let user = random.below(entries);
            let write = pay(user);
            let begin = Instant::now();
            s.run(&write).await;
            times.push(begin.elapsed());
            // Stored again, and used: what isn't used stops being stored.
            s.run(&balance(user)).await;
            s.run(&balance(user)).await;
        }
        assert!(s.cache.entries() * 100 >= entries as usize * 99);
        times.sort_unstable();
        let median = times[times.len() / 2];
        let p99 = times[times.len() / 100 * 99];
        println!(
            "  {entries:>9} entries: {:>6.2} us (p99 {:.2} us), {} bytes each",
            median.as_secs_f64() * 1e6,
            p99.as_secs_f64() * 1e6,
            s.cache.bytes() / u64::from(entries)
        );
        medians.push(median.as_secs_f64());
    }
    println!(
        "  1,000,000 entries / 1,000 entries: {:.2}",
        medians[2] / medians[0]
    );
}

/// The hit ratio of a busy game with writes by a field, without them, and with a flush for each.
async fn precision() {
    const USERS: u32 = 100_000;
    const STEPS: u32 = 2_000_000;
    println!("precision: {STEPS} operations, Zipf over {USERS} users, 10 % updates by user_id");
    let mut ratios = Vec::new();
    for (name, mode) in [
        ("no writes", 0),
        ("writes, precise", 1),
        ("writes, namespace flushed", 2),
    ] {
        let s = setup(4 << 30);
        let (zipf, mut random) = (Zipf::new(USERS, 1.0), Random::seeded(7));
        for user in 0..USERS {
            s.run(&balance(user)).await;
        }
        let hits = s.cache.stats().hits();
        let mut reads = 0;
        for _ in 0..STEPS {
            let (user, writes) = (zipf.draw(&mut random), random.below(10) == 0);
            match (writes, mode) {
                (true, 1) => s.run(&pay(user)).await,
                (true, 2) => {
                    let on = Footprint::Namespaces(vec![Namespace::new("game", "users")]);
                    s.fences.begin(&on).settle(Effect::Changed);
                }
                (true, _) => {}
                (false, _) => {
                    reads += 1;
                    s.run(&balance(user)).await;
                }
            }
        }
        let ratio = s.hit_ratio(hits, reads);
        println!("  {name:<26} {:>6.2} % hits", ratio * 100.0);
        ratios.push(ratio);
    }
    println!("  precise / no writes: {:.3}", ratios[1] / ratios[0]);
    println!("  flushed / no writes: {:.3}", ratios[2] / ratios[0]);
}

/// The hit ratio of a mixed trace in a small cache, against a plain LRU of the same size.
async fn admission() {
    const SIZE: u64 = 16 << 20;
    const STEPS: u32 = 400_000;
    println!(
        "admission: {STEPS} reads, 16 MiB: 80 % balances (Zipf, 100,000 users), 15 % scans of 8 KB asked once, 5 % reports of 100 KB (Zipf, 1,000)"
    );
    let s = setup(SIZE);
    let mut lru = Lru::new(SIZE);
    let (users, reports) = (Zipf::new(100_000, 1.0), Zipf::new(1_000, 1.0));
    let mut random = Random::seeded(3);
    let mut lru_hits = 0;
    for step in 0..STEPS {
        let command = match random.below(100) {
            0..80 => balance(users.draw(&mut random)),
            80..95 => doc! {"find": "scans", "filter": {"day": i64::from(step)}, "$db": "game"},
            _ => {
                let report = i64::from(reports.draw(&mut random));
                doc! {"find": "reports", "filter": {"report": report}, "$db": "game"}
            }
        };
        s.run(&command).await;
        let bytes = s.model.reply_to(&command).len() as u64 + 700;
        lru_hits += u32::from(lru.touch(command.to_string(), bytes));
    }
    let ratio = s.hit_ratio(0, u64::from(STEPS));
    let lru = f64::from(lru_hits) / f64::from(STEPS);
    println!("  petiole {:>6.2} % hits", ratio * 100.0);
    println!("  LRU     {:>6.2} % hits", lru * 100.0);
    println!("  petiole / LRU: {:.3}", ratio / lru);
}
