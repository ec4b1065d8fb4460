//! `petiole bench`.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::contestant::Contestant;
use super::goals::verdicts;
use super::load::{Fleet, Pacing, Plan};
use super::process::busy_share;
use super::record::{Machine, Record, Run};
use super::rounds::{Lane, interleave};
use super::servers::{Other, Server, Servers};
use super::table;
use super::workload::writes::{Acknowledged, write_concern};
use super::workload::{Workload, WriteStyle};

/// Arguments of `petiole bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Take less than a minute
    #[arg(long)]
    quick: bool,
    /// Seconds of measuring, all targets together [default: 300, with --quick 36]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    secs: Option<u64>,
    /// Rounds over all targets [default: 9, with --quick 5]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: Option<u64>,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = connections)]
    connections: Vec<usize>,
    /// Workloads
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "point,leaderboard,insert"
    )]
    workload: Vec<Workload>,
    /// Targets; haproxy and redis take part where they're installed
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "direct,petiole,cache-off,haproxy,echo,redis"
    )]
    targets: Vec<Server>,
    /// Also measure this address, asked without authentication or TLS; its databases petiole_bench_* are replaced
    #[arg(long, value_name = "NAME=URI", value_parser = Other::parse)]
    target: Vec<Other>,
    /// Write concern of all writes, "majority" or a number [default: the server's]
    #[arg(long, value_name = "W", value_parser = write_concern)]
    write_concern: Option<Acknowledged>,
    /// Send writes with a txnNumber, as drivers do by default
    #[arg(long)]
    retryable_writes: bool,
    /// Open loop: requests per second, the same for all targets; without it, each connection asks again at once
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Use this mongod (IP:PORT, no authentication) instead of a private one; its databases petiole_bench_* are replaced
    #[arg(long, value_name = "ADDRESS")]
    upstream: Option<String>,
    /// Also write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(count),
        _ => Err("a number from 1 to 10000".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.1 to 10000000".to_owned()),
    }
}

/// Runs the bench and prints what it found.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout().lock();
    let busy_before = busy_share(Duration::from_millis(300));
    eprintln!("starting servers …");
    let chosen: Vec<Server> = Server::ALL
        .into_iter()
        .filter(|server| args.targets.contains(server))
        .collect();
    let servers = runtime.block_on(Servers::start(
        &chosen,
        &args.target,
        args.upstream.as_deref(),
    ))?;
    let style = WriteStyle {
        concern: args.write_concern.clone(),
        retryable: args.retryable_writes,
    };
    let rounds = args.rounds.unwrap_or(if args.quick { 5 } else { 9 }) as usize;
    let secs = args.secs.unwrap_or(if args.quick { 36 } else { 300 });
    let lanes: usize = (args.workload.iter())
        .map(|&workload| servers.count(workload))
        .sum();
    let slices = lanes * rounds * args.connections.len();
    anyhow::ensure!(
        slices > 0,
        "nothing to measure: none of the chosen targets takes part"
    );
    let duration = Duration::from_secs(secs) / slices as u32;
    let warm_up = (duration / 5).min(Duration::from_millis(200));
    let plan = Plan {
        warm_up,
        duration: duration - warm_up,
        pacing: args.rate.map_or(Pacing::Closed, Pacing::Open),
    };

    let mut record = Record {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        optimised: !cfg!(debug_assertions),
        machine: Machine::here(),
        busy_before,
        rate: args.rate,
        started: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
        rounds,
        slice_secs: plan.duration.as_secs_f64(),
        runs: Vec::new(),
    };
    write!(out, "{}", table::head(&record))?;
    let bar = ProgressBar::new(slices as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {percent:>3} %  {eta} left  {msg}",
    )?);
    for &workload in &args.workload {
        bar.set_message(format!("{}: making data", workload.name()));
        let reply_bytes = servers.reply_bytes(workload)?;
        let contestants = servers.contestants(workload, &style, reply_bytes)?;
        warm(workload, &contestants, &bar)?;
        for &connections in &args.connections {
            let mut run = measure(workload, &contestants, connections, rounds, &plan, &bar)
                .with_context(|| format!("{} at {connections} connections", workload.name()))?;
            run.reply_bytes = reply_bytes;
            bar.suspend(|| write!(out, "{}", table::run(&run)).and_then(|()| out.flush()))?;
            record.runs.push(run);
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&record)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Asks each target each question once, so that whatever can be cached is, before the first round.
fn warm(workload: Workload, contestants: &[Contestant], bar: &ProgressBar) -> anyhow::Result<()> {
    for contestant in contestants {
        let label = contestant.name.as_str();
        bar.set_message(format!("{}: warming {label}", workload.name()));
        let mut fleet =
            Fleet::open(contestant.target, WARMERS, 1).with_context(|| label.to_owned())?;
        fleet
            .warm(contestant.source(workload).as_mut())
            .with_context(|| label.to_owned())?;
    }
    Ok(())
}

/// Connections that warm a target.
const WARMERS: usize = 8;

fn measure(
    workload: Workload,
    contestants: &[Contestant],
    connections: usize,
    rounds: usize,
    plan: &Plan,
    bar: &ProgressBar,
) -> anyhow::Result<Run> {
    let mut lanes = Vec::new();
    for contestant in contestants {
        let label = contestant.name.as_str();
        let fleet =
            Fleet::open(contestant.target, connections, 1).with_context(|| label.to_owned())?;
        let source = contestant.source(workload);
        lanes.push(Lane {
            name: label.to_owned(),
            fleet,
            source,
            probe: contestant.probe()?,
            pid: contestant.process.pid,
        });
    }
    let results = interleave(&mut lanes, rounds, plan, &mut |label| {
        bar.inc(1);
        bar.set_message(format!("{} × {connections}: {label}", workload.name()));
    })?;
    Ok(Run {
        workload,
        connections,
        reply_bytes: 0,
        verdicts: verdicts(workload, connections, plan.pacing, &results),
        lanes: results,
    })
}
