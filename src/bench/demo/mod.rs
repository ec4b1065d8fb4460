//! `petiole demo`: a small economy of players, run directly and through the proxy on a private MongoDB.
//!
//! - [`economy`] is the application: its data, its operations and their mix, written against the official driver.
//! - [`workers`] runs it for a while with several workers and measures each operation.
//! - [`check`] looks for wrong answers afterwards.
//! - [`report`] prints both sides next to each other.
//!
//! The two sides take turns, a slice each, so that whatever slows the machine slows both. Each has its own copy of the
//! data, because writes of the direct side would go around the proxy, which is told that there are none.

pub mod check;
pub mod economy;
pub mod report;
pub mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use mongodb::Client;
use mongodb::options::ClientOptions;

use super::connection::Asker;
use super::contestant::operations;
use super::out::Out;
use super::proxy::Proxy;
use super::reply::Protocol;
use super::status;
use crate::embedded::{Deployment, MongodOptions};
use economy::Economy;
use report::{Findings, Side};
use workers::Tally;

/// Arguments of `petiole demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// About how long it takes, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(6..=3_600))]
    secs: u64,
    /// Workers of the application
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
}

/// Turns that each side takes.
const TURNS: u32 = 4;
/// What starting, filling and checking take, about.
const AROUND: Duration = Duration::from_secs(4);
/// Runs before the first turn and isn't measured: connections are opened.
const WARM_UP: Duration = Duration::from_millis(300);

/// Runs the demo and prints what it found. An error when a wrong answer was found.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(demo(args))
}

async fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    say("starting a private MongoDB …")?;
    let mongod = Deployment::start(MongodOptions::default()).await?;
    let address: SocketAddr = mongod
        .addresses()
        .first()
        .context("mongod has no address")?
        .parse()?;
    say("starting the proxy before it …")?;
    let proxy = Proxy::start("petiole", &mongod.uri(), &["cache.external_writes=none"])?;
    let direct_client = client(&mongod.uri()).await?;
    let proxied_client = client(&format!("mongodb://{}/", proxy.peer.target.address)).await?;

    say(&format!(
        "making {} players in {} guilds, twice …",
        economy::USERS,
        economy::GUILDS
    ))?;
    let direct = Arc::new(Economy::of(&direct_client, "demo_direct"));
    let proxied = Arc::new(Economy::of(&proxied_client, "demo_proxied"));
    tokio::try_join!(direct.fill(), proxied.fill()).context("making the data")?;

    let left = Duration::from_secs(args.secs).saturating_sub(AROUND.max(started.elapsed()));
    let slice = (left / (2 * TURNS)).max(Duration::from_millis(250));
    let mut turns = Turns {
        workers: args.workers,
        slice,
        mongod: Asker::connect(address, Protocol::Mongo)?,
        admin: proxy.admin,
        bar: progress_bar(slice * 2 * TURNS)?,
    };
    let mut sides = [Side::new(report::DIRECT), Side::new(report::PROXIED)];
    for economy in [&direct, &proxied] {
        workers::run(economy, args.workers, WARM_UP, 0).await;
    }
    for turn in 1..=TURNS {
        for (side, economy) in sides.iter_mut().zip([&direct, &proxied]) {
            turns.take(side, economy, turn).await?;
        }
    }
    turns.bar.finish_and_clear();

    let verdict = check::check(&direct, &proxied, &direct_client)
        .await
        .context("checking the data")?;
    let status = status::fetch(proxy.admin).context("asking the proxy for its status")?;
    let [direct, proxied] = sides;
    let findings = Findings {
        direct,
        proxied,
        status,
        verdict,
        workers: args.workers,
    };
    say(&report::text(&findings))?;
    for side in [&findings.direct, &findings.proxied] {
        anyhow::ensure!(
            side.tally.first_error.is_none(),
            "{} operations failed {}; the first: {}",
            side.tally.errors,
            side.name,
            side.tally.first_error.as_deref().unwrap_or_default()
        );
    }
    anyhow::ensure!(
        findings.verdict.is_good(),
        "the proxy gave wrong answers, see above"
    );
    Ok(())
}

/// What the turns share.
struct Turns {
    workers: u32,
    slice: Duration,
    mongod: Asker,
    admin: SocketAddr,
    bar: ProgressBar,
}

impl Turns {
    async fn take(
        &mut self,
        side: &mut Side,
        economy: &Arc<Economy>,
        turn: u32,
    ) -> anyhow::Result<()> {
        self.bar
            .set_message(format!("{}, turn {turn} of {TURNS}", side.name));
        let before = self.counters()?;
        let begin = Instant::now();
        let run = workers::run(economy, self.workers, self.slice, turn);
        let tally: Tally = self.ticking(run).await;
        side.elapsed += begin.elapsed();
        let after = self.counters()?;
        side.tally.add(&tally);
        side.upstream_operations += after.operations - before.operations;
        side.hits += after.hits - before.hits;
        Ok(())
    }

    fn counters(&mut self) -> anyhow::Result<Counters> {
        let status = status::fetch(self.admin).context("asking the proxy for its status")?;
        let operations = operations(&mut self.mongod).context("asking mongod for its counters")?;
        Ok(Counters {
            operations,
            hits: status::number(&status, "cache.hits"),
        })
    }

    /// Moves the bar while the work goes on.
    async fn ticking<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        tick.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => self.bar.inc(TICK.as_millis() as u64),
            }
        }
    }
}

struct Counters {
    operations: f64,
    hits: f64,
}

const TICK: Duration = Duration::from_millis(100);

fn progress_bar(total: Duration) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(total.as_millis() as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {percent:>3} %  {msg}",
    )?);
    Ok(bar)
}

async fn client(uri: &str) -> anyhow::Result<Client> {
    let mut options = ClientOptions::parse(uri).await?;
    options.app_name = Some("petiole demo".to_owned());
    options.server_selection_timeout = Some(Duration::from_secs(10));
    Ok(Client::with_options(options)?)
}

fn say(text: &str) -> anyhow::Result<()> {
    Out::Only.print(&format!("{text}\n"))
}
