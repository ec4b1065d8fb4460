//! Which targets are compared, and what the ratio should be.
//!
//! An open loop sets the throughput itself, so only latencies are compared then.

use super::load::Pacing;
use super::record::Goal::{self, AtLeast, AtMost};
use super::record::{Better, Run, Verdict};
use super::rounds::LaneResult;
use super::servers::Server;
use super::workload::Workload;

enum Measure {
    Throughput,
    P50,
}

struct Comparison {
    workload: &'static [Workload],
    what: &'static str,
    measure: Measure,
    above: Server,
    below: Server,
    /// By number of connections.
    goals: &'static [(usize, Goal)],
}

const READS: &[Workload] = &[Workload::Point, Workload::Leaderboard];
/// Workloads whose hits, writes or both are held against mongod itself.
const OTHERS: &[Workload] = &[
    Workload::Range,
    Workload::Aggregate,
    Workload::Update,
    Workload::YcsbA,
    Workload::YcsbB,
    Workload::YcsbC,
    Workload::YcsbD,
    Workload::YcsbE,
    Workload::YcsbF,
    Workload::Replay,
];

/// One part of what `--goals` measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What is asked.
    pub workload: Workload,
    /// By how many connections.
    pub connections: Vec<usize>,
    /// Of whom; any other target takes part everywhere.
    pub servers: Vec<Server>,
}

/// All that is needed for the goals and nothing else.
pub fn programme() -> Vec<Part> {
    let part = |workload, connections: &[usize], servers: &[Server]| Part {
        workload,
        connections: connections.to_vec(),
        servers: servers.to_vec(),
    };
    let both = [Server::Direct, Server::Petiole];
    let reads = [
        Server::Direct,
        Server::Petiole,
        Server::CacheOff,
        Server::Haproxy,
        Server::Echo,
        Server::Redis,
    ];
    vec![
        part(Workload::Point, &[1, 16, 64], &reads),
        part(Workload::Leaderboard, &[1, 16, 64], &reads),
        part(
            Workload::Point,
            &[1_000],
            &[Server::Direct, Server::CacheOff],
        ),
        part(Workload::Insert, &[1, 16, 64], &both),
        part(Workload::Economy, &[1, 16, 64], &both),
    ]
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        workload: READS,
        what: "hit throughput / framed echo",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Echo,
        goals: &[(1, AtLeast(0.85)), (16, AtLeast(0.85)), (64, AtLeast(0.85))],
    },
    Comparison {
        workload: READS,
        what: "hit throughput / redis GET",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Redis,
        goals: &[(1, AtLeast(1.0)), (16, AtLeast(1.0)), (64, AtLeast(1.0))],
    },
    Comparison {
        workload: &[Workload::Point],
        what: "hit p50 / direct p50",
        measure: Measure::P50,
        above: Server::Petiole,
        below: Server::Direct,
        goals: &[(1, AtMost(0.4)), (16, AtMost(0.15)), (64, AtMost(0.15))],
    },
    Comparison {
        workload: &[Workload::Leaderboard],
        what: "hit p50 / direct p50",
        measure: Measure::P50,
        above: Server::Petiole,
        below: Server::Direct,
        goals: &[(1, AtMost(0.3)), (16, AtMost(0.08)), (64, AtMost(0.08))],
    },
    Comparison {
        workload: READS,
        what: "cache off, throughput / haproxy TCP",
        measure: Measure::Throughput,
        above: Server::CacheOff,
        below: Server::Haproxy,
        goals: &[(1, AtLeast(1.0)), (16, AtLeast(1.0)), (64, AtLeast(1.0))],
    },
    Comparison {
        workload: READS,
        what: "cache off, throughput / direct",
        measure: Measure::Throughput,
        above: Server::CacheOff,
        below: Server::Direct,
        goals: &[(1_000, AtLeast(1.2))],
    },
    Comparison {
        workload: &[Workload::Insert],
        what: "insert throughput / direct",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Direct,
        goals: &[(1, AtLeast(0.9)), (16, AtLeast(2.0)), (64, AtLeast(4.0))],
    },
    Comparison {
        workload: &[Workload::Economy],
        what: "everything on, throughput / direct",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Direct,
        goals: &[(1, AtLeast(1.3)), (16, AtLeast(3.0)), (64, AtLeast(4.0))],
    },
    Comparison {
        workload: OTHERS,
        what: "throughput / direct",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Direct,
        goals: &[],
    },
    Comparison {
        workload: OTHERS,
        what: "cache off, throughput / direct",
        measure: Measure::Throughput,
        above: Server::CacheOff,
        below: Server::Direct,
        goals: &[],
    },
    Comparison {
        workload: &[Workload::Insert, Workload::Update],
        what: "batch off, throughput / direct",
        measure: Measure::Throughput,
        above: Server::BatchOff,
        below: Server::Direct,
        goals: &[],
    },
    Comparison {
        workload: &[Workload::Insert],
        what: "insert throughput / haproxy TCP",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Haproxy,
        goals: &[],
    },
];

/// The comparisons of one run, as far as their targets took part.
pub fn verdicts(
    workload: Workload,
    connections: usize,
    pacing: Pacing,
    lanes: &[LaneResult],
) -> Vec<Verdict> {
    let find = |server: Server| lanes.iter().find(|lane| lane.name == server.label());
    COMPARISONS
        .iter()
        .filter(|comparison| comparison.workload.contains(&workload))
        .filter_map(|comparison| {
            let (above, below) = (find(comparison.above)?, find(comparison.below)?);
            let ratio = match (&comparison.measure, pacing) {
                (Measure::Throughput, Pacing::Closed) => above.throughput_over(below),
                (Measure::Throughput, Pacing::Open(_)) => None,
                (Measure::P50, _) => above.p50_over(below),
            }?;
            let mut goals = comparison.goals.iter();
            let goal = goals
                .find(|(count, _)| *count == connections)
                .map(|(_, goal)| *goal);
            Some(Verdict {
                what: comparison.what.to_owned(),
                ratio,
                better: match comparison.measure {
                    Measure::Throughput => Better::Higher,
                    Measure::P50 => Better::Lower,
                },
                goal: goal.filter(|_| pacing == Pacing::Closed),
            })
        })
        .collect()
}

/// One line of the table of goals.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is compared.
    pub what: String,
    /// Ratio, goal and noise by number of connections.
    pub cells: Vec<(usize, Verdict)>,
}

/// The findings of a record that there are goals for.
pub fn rows(runs: &[Run]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for run in runs {
        for verdict in run.verdicts.iter().filter(|verdict| verdict.goal.is_some()) {
            let what = format!("{}: {}", run.workload.name(), verdict.what);
            let cell = (run.connections, verdict.clone());
            match rows.iter_mut().find(|row| row.what == what) {
                Some(row) => row.cells.push(cell),
                None => rows.push(Row {
                    what,
                    cells: vec![cell],
                }),
            }
        }
    }
    rows
}

/// Start to ready, in milliseconds.
pub const READY_MS: Goal = AtMost(50.0);
/// Resident memory before the first client, in bytes.
pub const IDLE_BYTES: Goal = AtMost(20.0 * 1024.0 * 1024.0);
/// Resident memory of an idle client, in bytes.
pub const BYTES_PER_CLIENT: Goal = AtMost(16.0 * 1024.0);

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(server: Server, throughput: f64) -> LaneResult {
        LaneResult {
            name: server.label().to_owned(),
            throughput: vec![throughput; 3],
            p50_us: vec![1e6 / throughput; 3],
            ..LaneResult::default()
        }
    }

    #[test]
    fn the_programme_of_goals_covers_every_goal() {
        let programme = programme();
        for comparison in COMPARISONS {
            for (connections, _) in comparison.goals {
                for workload in comparison.workload {
                    let covered = programme.iter().any(|part| {
                        part.workload == *workload
                            && part.connections.contains(connections)
                            && part.servers.contains(&comparison.above)
                            && part.servers.contains(&comparison.below)
                    });
                    // The 1,000 connections are asked for one kind of read only.
                    let spared = *connections == 1_000 && *workload == Workload::Leaderboard;
                    assert!(covered || spared, "{} of {workload:?}", comparison.what);
                }
            }
        }
    }

    #[test]
    fn only_targets_that_took_part_are_compared() {
        let lanes = [lane(Server::Direct, 100.0), lane(Server::Petiole, 400.0)];
        let found = verdicts(Workload::Point, 16, Pacing::Closed, &lanes);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "hit p50 / direct p50");
        assert_eq!(
            (found[0].ratio.median, found[0].goal),
            (0.25, Some(AtMost(0.15)))
        );
        assert!(
            verdicts(Workload::Insert, 3, Pacing::Closed, &lanes)[0]
                .goal
                .is_none()
        );
        assert!(verdicts(Workload::Insert, 1, Pacing::Open(10.0), &lanes).is_empty());
    }
}
