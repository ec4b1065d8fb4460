//! What a run found, as it's saved with `--save`.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::ratio::Ratio;
use super::rounds::LaneResult;
use super::standing::Standing;
use super::workload::Workload;

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Petiole's version.
    pub version: String,
    /// The commit that was built from, if the run began in its working copy; `+` when there were changes beside it.
    #[serde(default)]
    pub commit: Option<String>,
    /// Versions of what else took part, by name.
    #[serde(default)]
    pub versions: Vec<(String, String)>,
    /// Whether this was an optimised build. Figures of others mean nothing.
    pub optimised: bool,
    /// The machine.
    pub machine: Machine,
    /// Share of the machine's CPU time that others used just before the start.
    pub busy_before: Option<f64>,
    /// Requests per second of an open loop; `None` is a closed loop.
    pub rate: Option<f64>,
    /// Seconds since 1970 at the start.
    pub started: u64,
    /// Rounds over all targets.
    pub rounds: usize,
    /// Recorded seconds per target and round.
    pub slice_secs: f64,
    /// One entry per workload and number of connections.
    pub runs: Vec<Run>,
    /// What the proxy costs while nobody asks.
    #[serde(default)]
    pub standing: Option<Standing>,
}

/// One workload at one number of connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The workload.
    pub workload: Workload,
    /// Connections per target.
    pub connections: usize,
    /// The round trip that was added before MongoDB, in milliseconds.
    #[serde(default)]
    pub rtt_ms: f64,
    /// Size of one reply in bytes, header included.
    pub reply_bytes: usize,
    /// What each target did.
    pub lanes: Vec<LaneResult>,
    /// The comparisons that matter.
    pub verdicts: Vec<Verdict>,
}

impl Run {
    /// What was asked, by how many, and how far from MongoDB.
    pub fn name(&self) -> String {
        let name = format!("{} × {}", self.workload.name(), self.connections);
        match self.rtt_ms {
            0.0 => name,
            ms => format!("{name} at {ms} ms"),
        }
    }
}

/// A ratio and the goal that it's held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is compared, such as `hit throughput / framed echo`.
    pub what: String,
    /// The ratio found.
    pub ratio: Ratio,
    /// Which way is better.
    #[serde(default)]
    pub better: Better,
    /// The goal for this number of connections, if there's one.
    pub goal: Option<Goal>,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// What a ratio should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Goal {
    /// Whether the ratio reaches it.
    pub fn met_by(self, ratio: f64) -> bool {
        match self {
            Goal::AtLeast(bound) => ratio >= bound,
            Goal::AtMost(bound) => ratio <= bound,
        }
    }

    /// The same in another unit.
    pub fn scaled(self, by: f64) -> Goal {
        match self {
            Goal::AtLeast(bound) => Goal::AtLeast(bound * by),
            Goal::AtMost(bound) => Goal::AtMost(bound * by),
        }
    }

    /// "met" or "short".
    pub fn word(self, ratio: f64) -> &'static str {
        if self.met_by(ratio) { "met" } else { "short" }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goal::AtLeast(bound) => write!(f, "≥ {bound}"),
            Goal::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub processor: String,
    /// Cores available to us.
    pub cores: usize,
    /// Operating system and kernel.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        let kernel = read("/proc/sys/kernel/osrelease");
        Machine {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, kernel.trim())
                .trim()
                .to_owned(),
        }
    }
}

/// The commit of the working copy that we run in.
pub fn commit_here() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        commit
    } else {
        format!("{commit}+")
    })
}

/// The first line that a program prints about its version.
pub fn version_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_bound_from_their_side() {
        assert!(Goal::AtLeast(0.85).met_by(0.9) && !Goal::AtLeast(0.85).met_by(0.8));
        assert!(Goal::AtMost(0.15).met_by(0.1) && !Goal::AtMost(0.15).met_by(0.2));
    }
}
