//! The command line of `petiole bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::goals::{Part, programme};
use super::servers::{Other, Server};
use super::workload::Workload;
use super::workload::writes::{Acknowledged, write_concern};

/// Arguments of `petiole bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Take less than a minute
    #[arg(long)]
    pub quick: bool,
    /// Measure what there are goals for, and print the table of goals
    #[arg(long, conflicts_with_all = ["workload", "connections", "targets", "rate", "replay"])]
    pub goals: bool,
    /// Seconds of measuring, all targets together [default: 300, with --goals 350, with --quick 36]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub secs: Option<u64>,
    /// Rounds over all targets [default: 9, with --goals 7, with --quick 5]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rounds: Option<u64>,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = connections)]
    pub connections: Vec<usize>,
    /// Workloads [default: point,leaderboard,insert]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub workload: Vec<Workload>,
    /// Replay this trace (JSON lines, as --record writes them), against --upstream and its data
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Measure nothing: relay from --listen to --upstream and write the commands to this file, until ended
    #[arg(long, value_name = "FILE", requires = "upstream")]
    pub record: Option<PathBuf>,
    /// Where --record listens
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:27015")]
    pub listen: SocketAddr,
    /// Targets; haproxy and redis take part where they're installed
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "direct,petiole,cache-off,haproxy,echo,redis"
    )]
    pub targets: Vec<Server>,
    /// Also measure this address, asked without authentication or TLS; its databases petiole_bench_* are replaced
    #[arg(long, value_name = "NAME=URI", value_parser = Other::parse)]
    pub target: Vec<Other>,
    /// Write concern of all writes, "majority" or a number [default: the server's]
    #[arg(long, value_name = "W", value_parser = write_concern)]
    pub write_concern: Option<Acknowledged>,
    /// Send writes with a txnNumber, as drivers do by default
    #[arg(long)]
    pub retryable_writes: bool,
    /// Open loop: requests per second, the same for all targets; without it, each connection asks again at once
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Also put MongoDB at a distance: round trips in milliseconds that a relay before it adds, for all targets alike
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0", value_parser = round_trip)]
    pub rtt: Vec<Duration>,
    /// Use this mongod (IP:PORT, no authentication) instead of a private one; its databases petiole_bench_* are replaced
    #[arg(long, value_name = "ADDRESS")]
    pub upstream: Option<String>,
    /// Also write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Also write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Measure nothing: print (and --report) the results that were saved in this file
    #[arg(long, value_name = "FILE", conflicts_with = "save")]
    pub from: Option<PathBuf>,
    /// Measure nothing: compare two saved files; fails if something got significantly worse
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    pub compare: Option<Vec<PathBuf>>,
}

impl BenchArgs {
    /// What is to be measured.
    pub fn programme(&self) -> Vec<Part> {
        if self.goals {
            return programme();
        }
        let mut workloads = self.workload.clone();
        if self.replay.is_some() {
            workloads.push(Workload::Replay);
        }
        if workloads.is_empty() {
            workloads = vec![Workload::Point, Workload::Leaderboard, Workload::Insert];
        }
        let part = |workload| Part {
            workload,
            connections: self.connections.clone(),
            servers: self.targets.clone(),
        };
        workloads.into_iter().map(part).collect()
    }

    /// Rounds over all targets.
    pub fn rounds(&self) -> usize {
        let default = match (self.quick, self.goals) {
            (true, _) => 5,
            (false, true) => 7,
            (false, false) => 9,
        };
        self.rounds.unwrap_or(default) as usize
    }

    /// Seconds of measuring.
    pub fn secs(&self) -> u64 {
        let default = match (self.quick, self.goals) {
            (true, _) => 36,
            (false, true) => 350,
            (false, false) => 300,
        };
        self.secs.unwrap_or(default)
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(count),
        _ => Err("a number from 1 to 10000".to_owned()),
    }
}

fn round_trip(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms) if (0.0..=10_000.0).contains(&ms) => Ok(Duration::from_secs_f64(ms / 1_000.0)),
        _ => Err("milliseconds from 0 to 10000".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.1 to 10000000".to_owned()),
    }
}
