//! How many instructions each part of the proxy takes, counted by callgrind: repeatable to a
//! percent or two on any machine, however busy, which times aren't.
//!
//! `cargo bench --bench instructions` counts all parts and fails, naming them, if one takes over
//! 5 % more than `benches/instructions.toml` says. With `PETIOLE_BENCH_UPDATE=1` it writes that file
//! instead. Name parts to count only those (`cargo bench --bench instructions -- hit server_hit`).
//! It needs valgrind.
//!
//! - `parts`: what is counted, in one process without sockets
//! - `server`: a whole `petiole serve` under callgrind, per request, without the kernel
//! - `baseline`: the file, and what differs from it

mod baseline;
#[path = "../cache/model.rs"]
mod model;
mod parts;
mod server;

use std::process::{Command, ExitCode};

use baseline::Baseline;

/// Says to this program, run again under callgrind, what to do.
const PART: &str = "PETIOLE_BENCH_PART";
/// Set to anything but nothing: the counts become the new baseline.
const UPDATE: &str = "PETIOLE_BENCH_UPDATE";

fn main() -> ExitCode {
    if let Ok(part) = std::env::var(PART) {
        parts::run(&part);
        return ExitCode::SUCCESS;
    }
    match count() {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn count() -> Result<ExitCode, String> {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let mut found = Vec::new();
    for (name, times) in parts::ALL {
        if is_wanted(name) {
            found.push((name.to_owned(), part(name)? / times));
        }
    }
    let requests: Vec<_> = server::ALL
        .iter()
        .filter(|kind| is_wanted(kind.name()))
        .collect();
    if !requests.is_empty() {
        found.extend(server::count(&requests)?);
    }
    let update = std::env::var(UPDATE).is_ok_and(|value| !value.is_empty());
    let mut baseline = Baseline::load()?;
    if update {
        baseline.update(&found);
        baseline.save()?;
        println!("{}", baseline::table(&found, &baseline));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", baseline::table(&found, &baseline));
    let worse = baseline.worse(&found);
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "these take over {} % more instructions than {} says: {}\n\
         if that's meant: {UPDATE}=1 cargo bench --bench instructions",
        baseline::TOLERANCE_PERCENT,
        baseline::FILE,
        worse.join(", ")
    ))
}

/// Instructions within [`parts::measured`] when this program does one part.
fn part(name: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = valgrind()
        .arg("--toggle-collect=instructions::parts::measured*")
        .arg("--callgrind-out-file=/dev/null")
        .arg(program)
        .env(PART, name)
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    match collected(&text) {
        Some(count) if output.status.success() && count > 0 => Ok(count),
        _ => Err(format!("{name} under callgrind: {}\n{text}", output.status)),
    }
}

/// valgrind as far as all counts have it in common.
fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--dump-line=no"]);
    command
}

/// What callgrind says at the end: `Collected : 123`.
fn collected(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}
