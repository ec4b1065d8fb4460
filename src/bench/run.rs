//! `petiole bench`: measures, or does what else its arguments say.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::BenchArgs;
use super::capture::Capture;
use super::contestant::Contestant;
use super::goals::{Part, verdicts};
use super::load::{Fleet, Pacing, Plan};
use super::out::{Out, remark};
use super::process::busy_share;
use super::record::{Machine, Record, Run, Verdict, commit_here};
use super::rounds::{Lane, LaneResult, interleave};
use super::servers::{Server, Servers};
use super::workload::trace::Trace;
use super::workload::{Context, Workload, WriteStyle};
use super::{compare, report, standing, table};

/// Does what the arguments say.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.record {
        return record_trace(args, file);
    }
    if let Some([old, new]) = args.compare.as_deref() {
        return compare_files(old, new);
    }
    let out = match args.save.is_some() || args.report.is_some() {
        true => Out::Also,
        false => Out::Only,
    };
    let record = match &args.from {
        Some(path) => {
            let record = load(path)?;
            out.print(&table::head(&record))?;
            for run in &record.runs {
                out.print(&table::run(run))?;
            }
            record
        }
        None => measure_all(args, out)?,
    };
    let goals = table::goals(&record);
    if args.goals || args.from.is_some() {
        out.print(&goals)?;
    }
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&record)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.report {
        let page = report::page(&record);
        std::fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn record_trace(args: &BenchArgs, file: &Path) -> anyhow::Result<()> {
    let upstream = args.upstream.as_deref().unwrap_or_default();
    let upstream: SocketAddr = upstream
        .parse()
        .with_context(|| format!("{upstream:?} isn't an address"))?;
    let capture = Capture::start(args.listen, upstream, file)?;
    let address = capture.address()?;
    remark(&format!(
        "recording what {address} is asked into {}; end with Ctrl-C",
        file.display()
    ));
    Ok(capture.run()?)
}

fn compare_files(old: &Path, new: &Path) -> anyhow::Result<()> {
    let comparison = compare::Comparison::of(&load(old)?, &load(new)?);
    Out::Also.print(&comparison.text())?;
    match comparison.worse() {
        0 => Ok(()),
        1 => anyhow::bail!("one measure got significantly worse"),
        worse => anyhow::bail!("{worse} measures got significantly worse"),
    }
}

fn load(path: &Path) -> anyhow::Result<Record> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} isn't a saved run", path.display()))
}

fn measure_all(args: &BenchArgs, out: Out) -> anyhow::Result<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let like = Context {
        style: WriteStyle {
            concern: args.write_concern.clone(),
            retryable: args.retryable_writes,
        },
        trace: load_trace(args)?,
        ..Context::default()
    };
    let busy_before = busy_share(Duration::from_millis(300));
    let programme = args.programme();
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {percent:>3} %  {eta} left  {msg}",
    )?);
    bar.set_message("starting servers");
    let chosen: Vec<Server> = Server::ALL
        .into_iter()
        .filter(|server| programme.iter().any(|part| part.servers.contains(server)))
        .collect();
    let start = |rtt| {
        let upstream = args.upstream.as_deref();
        runtime.block_on(Servers::start(&chosen, &args.target, upstream, rtt))
    };
    let (&nearest, others) = args.rtt.split_first().context("no round trip")?;
    let mut servers = start(nearest)?;
    let rounds = args.rounds();
    let slices: usize = (programme.iter())
        .map(|part| servers.count(part) * part.connections.len() * rounds)
        .sum::<usize>()
        * args.rtt.len();
    anyhow::ensure!(
        slices > 0,
        "nothing to measure: none of the chosen targets takes part"
    );
    bar.set_length(slices as u64);
    let duration = Duration::from_secs(args.secs()) / slices as u32;
    let warm_up = (duration / 5).min(Duration::from_millis(200));
    let plan = Plan {
        warm_up,
        duration: duration - warm_up,
        pacing: args.rate.map_or(Pacing::Closed, Pacing::Open),
    };
    let mut record = Record {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit_here(),
        versions: servers.versions(),
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
        standing: None,
    };
    out.print(&table::head(&record))?;
    let mut rtt = nearest;
    let mut others = others.iter();
    loop {
        let bench = Bench {
            servers: &servers,
            like: &like,
            rounds,
            plan,
            rtt,
            bar: &bar,
        };
        for part in &programme {
            bench.measure(part, &mut |run| {
                bar.suspend(|| out.print(&table::run(&run)))?;
                record.runs.push(run);
                Ok(())
            })?;
        }
        if args.goals && rtt == nearest {
            bar.set_message("starting proxies and leaving them alone");
            record.standing = Some(standing::measure(&servers.uri())?);
        }
        servers.clean_up();
        let Some(&next) = others.next() else { break };
        bar.set_message("starting servers");
        rtt = next;
        servers = start(rtt)?;
    }
    bar.finish_and_clear();
    Ok(record)
}

fn load_trace(args: &BenchArgs) -> anyhow::Result<Option<Arc<Trace>>> {
    let Some(path) = &args.replay else {
        return Ok(None);
    };
    let trace = Trace::load(path).with_context(|| path.display().to_string())?;
    if trace.left_out > 0 {
        let all = trace.left_out + trace.commands();
        remark(&format!(
            "{} of {all} recorded commands can't be asked again",
            trace.left_out
        ));
    }
    Ok(Some(Arc::new(trace)))
}

/// What all parts share.
struct Bench<'a> {
    servers: &'a Servers,
    like: &'a Context,
    rounds: usize,
    plan: Plan,
    /// What is added to the way to MongoDB and back.
    rtt: Duration,
    bar: &'a ProgressBar,
}

impl Bench<'_> {
    /// Measures one part; `found` has each number of connections when it's done.
    fn measure(
        &self,
        part: &Part,
        found: &mut dyn FnMut(Run) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let workload = part.workload;
        self.bar
            .set_message(format!("{}: making data", workload.name()));
        let reply_bytes = self.servers.reply_bytes(workload, self.like)?;
        let contestants = self.servers.contestants(part, self.like, reply_bytes)?;
        self.warm(workload, &contestants)?;
        for &connections in &part.connections {
            let lanes = self
                .interleave(workload, &contestants, connections)
                .with_context(|| format!("{} at {connections} connections", workload.name()))?;
            found(Run {
                workload,
                connections,
                rtt_ms: self.rtt.as_secs_f64() * 1_000.0,
                reply_bytes,
                verdicts: self.verdicts(workload, connections, &lanes),
                lanes,
            })?;
        }
        Ok(())
    }

    /// The comparisons that matter. Goals are set for a MongoDB beside the proxy.
    fn verdicts(
        &self,
        workload: Workload,
        connections: usize,
        lanes: &[LaneResult],
    ) -> Vec<Verdict> {
        let mut found = verdicts(workload, connections, self.plan.pacing, lanes);
        if !self.rtt.is_zero() {
            found.iter_mut().for_each(|verdict| verdict.goal = None);
        }
        found
    }

    /// Asks each target each question once, so that whatever can be cached is, before the first round.
    fn warm(&self, workload: Workload, contestants: &[Contestant]) -> anyhow::Result<()> {
        for contestant in contestants {
            let name = contestant.name.as_str();
            self.bar
                .set_message(format!("{}: warming {name}", workload.name()));
            Fleet::open(contestant.target, WARMERS, 1)
                .and_then(|mut fleet| fleet.warm(contestant.source(workload).as_mut()))
                .with_context(|| name.to_owned())?;
        }
        Ok(())
    }

    fn interleave(
        &self,
        workload: Workload,
        contestants: &[Contestant],
        connections: usize,
    ) -> anyhow::Result<Vec<LaneResult>> {
        let mut lanes = Vec::new();
        for contestant in contestants {
            let name = contestant.name.clone();
            let fleet =
                Fleet::open(contestant.target, connections, 1).with_context(|| name.clone())?;
            lanes.push(Lane {
                name,
                fleet,
                source: contestant.source(workload),
                probe: contestant.probe()?,
                pid: contestant.process.pid,
            });
        }
        let mut done = |name: &str| {
            self.bar.inc(1);
            self.bar
                .set_message(format!("{} × {connections}: {name}", workload.name()));
        };
        Ok(interleave(&mut lanes, self.rounds, &self.plan, &mut done)?)
    }
}

/// Connections that warm a target.
const WARMERS: usize = 8;
