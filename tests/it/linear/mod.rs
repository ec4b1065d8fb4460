//! Every history through one proxy is linearizable (docs/coherence.md): many readers and writers on a few
//! keys, with every kind of write and every shape of read, and each answer judged.
//!
//! - `model`: what is known of every key; `judge`: whether an answer may be given
//! - `query`, `queries`: the reads; `reader`: who sends them
//! - `single`, `many`: the writes; `writer`: who sends them
//! - `run`: all of them before one proxy; `link`: a cheap client

mod judge;
mod link;
mod many;
mod model;
mod queries;
mod query;
mod reader;
mod run;
mod single;
mod writer;

use petiole::pipeline::Weakened;

/// Reads in the full run; `PETIOLE_LINEAR_READS` overrides it.
const READS: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_or_ahead_of_its_time_whatever_is_written_and_read() {
    let reads = std::env::var("PETIOLE_LINEAR_READS").ok();
    let reads = reads.map_or(READS, |n| n.parse().expect("a number of reads"));
    let server = run::server().await;
    let outcome = run::run(&server, &[], reads, 20).await;
    let violations = &outcome.violations;
    println!(
        "{} reads: {} hits, {} joins, {} stores, {} mismatches; {} writes, {} commits; {} violations; {:?}",
        outcome.reads,
        outcome.hits,
        outcome.joins,
        outcome.stores,
        outcome.mismatches,
        outcome.writes,
        outcome.commits,
        violations.len(),
        outcome.took
    );
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert_eq!(outcome.mismatches, 0, "shadow verification agrees");
    // All of it took part.
    assert!(outcome.hits > reads / 4, "{} hits", outcome.hits);
    assert!(outcome.joins > reads / 1000, "{} joins", outcome.joins);
    assert!(outcome.writes > reads / 1000, "{} writes", outcome.writes);
    assert!(outcome.commits > 0, "{} commits", outcome.commits);
}

/// Reads within which a missing rule must show. (Rules 1 and 2 show within a few thousand, rule 3
/// within some tens of thousands. Reads of whole scopes, such as views and `$lookup`, are guarded twice
/// against rule 2's absence, for their stamps are compared whenever they are served; reads of
/// documents aren't, and show it.)
const MUTATED: u64 = 500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_one_of_the_first_three_rules_violations_are_found() {
    let server = run::server().await;
    for rule in [Weakened::Suspension, Weakened::Fills, Weakened::Flights] {
        let outcome = run::run(&server, &[rule], MUTATED, 3).await;
        println!(
            "without {rule:?}: {} violations in {} reads, {} writes, {:?}; the first: {:?}",
            outcome.violations.len(),
            outcome.reads,
            outcome.writes,
            outcome.took,
            outcome.violations.first()
        );
        assert!(
            !outcome.violations.is_empty(),
            "nothing found without {rule:?}"
        );
    }
}
