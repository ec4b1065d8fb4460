//! Which targets are compared, and what the ratio should be at 1, 16 and 64 connections.

use super::record::{Goal, Verdict};
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
    /// At 1, 16 and 64 connections.
    goal: [Option<Goal>; 3],
}

const fn at_least(bounds: [f64; 3]) -> [Option<Goal>; 3] {
    let [one, some, many] = bounds;
    [
        Some(Goal::AtLeast(one)),
        Some(Goal::AtLeast(some)),
        Some(Goal::AtLeast(many)),
    ]
}

const fn at_most(bounds: [f64; 3]) -> [Option<Goal>; 3] {
    let [one, some, many] = bounds;
    [
        Some(Goal::AtMost(one)),
        Some(Goal::AtMost(some)),
        Some(Goal::AtMost(many)),
    ]
}

const READS: &[Workload] = &[Workload::Point, Workload::Leaderboard];

const COMPARISONS: &[Comparison] = &[
    Comparison {
        workload: READS,
        what: "hit throughput / framed echo",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Echo,
        goal: at_least([0.85, 0.85, 0.85]),
    },
    Comparison {
        workload: READS,
        what: "hit throughput / redis GET",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Redis,
        goal: at_least([1.0, 1.0, 1.0]),
    },
    Comparison {
        workload: &[Workload::Point],
        what: "hit p50 / direct p50",
        measure: Measure::P50,
        above: Server::Petiole,
        below: Server::Direct,
        goal: at_most([0.4, 0.15, 0.15]),
    },
    Comparison {
        workload: &[Workload::Leaderboard],
        what: "hit p50 / direct p50",
        measure: Measure::P50,
        above: Server::Petiole,
        below: Server::Direct,
        goal: at_most([0.3, 0.08, 0.08]),
    },
    Comparison {
        workload: READS,
        what: "cache off, throughput / haproxy TCP",
        measure: Measure::Throughput,
        above: Server::CacheOff,
        below: Server::Haproxy,
        goal: at_least([1.0, 1.0, 1.0]),
    },
    Comparison {
        workload: READS,
        what: "cache off, throughput / direct",
        measure: Measure::Throughput,
        above: Server::CacheOff,
        below: Server::Direct,
        goal: [None, None, None],
    },
    Comparison {
        workload: &[Workload::Insert],
        what: "insert throughput / direct",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Direct,
        goal: at_least([0.9, 2.0, 4.0]),
    },
    Comparison {
        workload: &[Workload::Insert],
        what: "insert throughput / haproxy TCP",
        measure: Measure::Throughput,
        above: Server::Petiole,
        below: Server::Haproxy,
        goal: [None, None, None],
    },
];

/// The comparisons of one run, as far as their targets took part.
pub fn verdicts(workload: Workload, connections: usize, lanes: &[LaneResult]) -> Vec<Verdict> {
    let find = |server: Server| lanes.iter().find(|lane| lane.name == server.label());
    let column = [1, 16, 64].iter().position(|&count| count == connections);
    COMPARISONS
        .iter()
        .filter(|comparison| comparison.workload.contains(&workload))
        .filter_map(|comparison| {
            let (above, below) = (find(comparison.above)?, find(comparison.below)?);
            let ratio = match comparison.measure {
                Measure::Throughput => above.throughput_over(below),
                Measure::P50 => above.p50_over(below),
            }?;
            let goal = column.and_then(|column| comparison.goal.get(column).copied().flatten());
            Some(Verdict {
                what: comparison.what.to_owned(),
                ratio,
                goal,
            })
        })
        .collect()
}
