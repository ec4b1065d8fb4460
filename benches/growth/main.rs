//! Does the work for a message grow faster than the message?
//!
//! Whatever a client sends, also before the server refuses it, the proxy may look at it in a time that is about
//! proportional to its length. Each case here makes messages that grow in one dimension (fields, depth, width of `$or`,
//! statements, sections, …). callgrind counts the instructions that the whole pipeline takes for each of them, from the
//! bytes to the reply, with answers in the cache that writes are held against. The bench fails where a longer
//! message costs over [`GROWTH_PERCENT`] % more per byte than a shorter one, or over [`MOST_PER_BYTE`] instructions beside
//! [`JUDGING`].
//!
//! `cargo bench --bench growth` runs all cases; name cases to run only those. It needs valgrind.
//!
//! - `cases`: the dimensions
//! - `walk`: one proxy's pipeline, and a server that answers at once

mod cases;
mod walk;

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use cases::Case;
use walk::Walk;

/// Says to this program, run again under callgrind, which cases to do.
const PART: &str = "PETIOLE_BENCH_GROWTH";
/// A message may cost so much more per byte than a shorter one: a sort's `n log n` is within it.
const GROWTH_PERCENT: u64 = 60;
/// Less per byte isn't compared: what a short message costs is mostly independent of its length.
const FEW_PER_BYTE: u64 = 40;
/// More isn't good at any length.
const MOST_PER_BYTE: u64 = 1_000;
/// But this much in any case: judging the answers in the cache by a write has a budget, however short the write is
/// (`MOST_WORK` in `pipeline/fences/pre_image.rs`).
const JUDGING: u64 = 100_000_000;

fn main() -> ExitCode {
    if let Ok(part) = std::env::var(PART) {
        let wanted: Vec<&str> = part.split(',').collect();
        for case in cases::ALL.iter().filter(|c| wanted.contains(&c.name)) {
            run(case);
        }
        return ExitCode::SUCCESS;
    }
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |case: &&Case| names.is_empty() || names.iter().any(|n| n == case.name);
    let wanted: Vec<&Case> = cases::ALL.iter().filter(is_wanted).collect();
    match count(&wanted) {
        Ok(counts) => report(&wanted, &counts),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Every size of a case, one after the other, on one pipeline.
fn run(case: &Case) {
    let walk = Walk::new();
    // What is done once (what the server can do, what the names mean) isn't counted.
    walk.send((case.message)(1));
    for size in case.sizes {
        let message = (case.message)(size);
        // (The write before may have ended them.)
        walk.fill();
        measured(|| walk.send(message));
        counted(size);
    }
}

/// Callgrind counts what happens in here and nothing else.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

/// Whenever this ends, callgrind writes what it has counted since, and begins again.
#[inline(never)]
fn counted(size: usize) {
    std::hint::black_box(size);
}

/// Instructions of every size of every case, in their order.
fn count(wanted: &[&Case]) -> Result<Vec<u64>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let names: Vec<&str> = wanted.iter().map(|case| case.name).collect();
    let out = folder.path().join("growth");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-line=no", "--dump-instr=no"])
        .args([
            "--toggle-collect=growth::measured*",
            "--dump-after=growth::counted*",
        ])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .env(PART, names.join(","))
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let expected: usize = wanted.iter().map(|case| case.sizes.len()).sum();
    let counts: Option<Vec<u64>> = (1..=expected).map(|n| total(&out, n)).collect();
    match counts {
        Some(counts) if output.status.success() => Ok(counts),
        _ => Err(format!(
            "callgrind: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// What the `n`th dump says: `totals: 123`.
fn total(out: &Path, n: usize) -> Option<u64> {
    let text = std::fs::read_to_string(format!("{}.{n}", out.display())).ok()?;
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with("totals:"))?;
    line.split_once(':')?.1.trim().parse().ok()
}

fn report(wanted: &[&Case], counts: &[u64]) -> ExitCode {
    let mut text = format!("{:<28}instructions per byte (at so many bytes)\n", "");
    let mut failed = Vec::new();
    let mut rest = counts;
    for case in wanted {
        let (own, others) = rest.split_at(case.sizes.len());
        rest = others;
        let lengths = case.sizes.map(|size| (case.message)(size).bytes.len());
        let per_byte: Vec<u64> = own.iter().zip(lengths).map(|(n, l)| n / l as u64).collect();
        let _ = write!(text, "{:<28}", case.name);
        for (count, length) in per_byte.iter().zip(lengths) {
            let _ = write!(text, "{count:>7} ({length})");
        }
        let grows = per_byte.windows(2).any(|pair| {
            let (short, long) = (pair[0].max(FEW_PER_BYTE), pair[1]);
            long * 100 > short * (100 + GROWTH_PERCENT)
        });
        let is_dear =
            |(count, length): (&u64, usize)| *count > JUDGING + MOST_PER_BYTE * length as u64;
        if grows || own.iter().zip(lengths).any(is_dear) {
            text.push_str("  <--");
            failed.push(case.name);
        }
        text.push('\n');
    }
    println!("{text}");
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "cost per byte grows by over {GROWTH_PERCENT} % with the length of the message, or the cost is over {MOST_PER_BYTE} per byte and {JUDGING}: {}",
        failed.join(", ")
    );
    ExitCode::FAILURE
}
