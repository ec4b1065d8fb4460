//! Results as text.

use std::fmt::Write;

use super::contestant::{HITS, MONGOD_CPU, SERVER_CPU, UPSTREAM};
use super::record::{Goal, Record, Run};
use super::rounds::LaneResult;

/// The head of a report: machine and method.
pub fn head(record: &Record) -> String {
    let machine = &record.machine;
    let loops = match record.rate {
        Some(rate) => format!("open loop at {} requests per second", thousands(rate)),
        None => "closed loop".to_owned(),
    };
    let mut text = format!(
        "petiole {} on {} cores of {}, {}\n{} rounds over all targets, {:.2} s each; one generator thread, {loops}\n",
        record.version,
        machine.cores,
        machine.processor,
        machine.system,
        record.rounds,
        record.slice_secs,
    );
    if let Some(busy) = record.busy_before.filter(|&busy| busy > 0.1) {
        let _ = writeln!(
            text,
            "NOTE: other programs use {:.0} % of this machine; expect noise.",
            busy * 100.0
        );
    }
    if !record.optimised {
        text += "THIS IS A DEBUG BUILD: its figures mean nothing. Use `cargo run --release -- bench`.\n";
    }
    text
}

/// One workload at one number of connections.
pub fn run(run: &Run) -> String {
    let plural = if run.connections == 1 { "" } else { "s" };
    let mut text = format!(
        "\n{}, {} connection{plural}, replies of {} bytes\n",
        run.workload.name(),
        run.connections,
        run.reply_bytes
    );
    let _ = writeln!(
        text,
        "  {:<20}{:>10}{:>9}{:>9}{:>9} |{:>9}{:>9}{:>9} |{:>9}{:>7} |{:>7}",
        "",
        "requests",
        "p50",
        "p99",
        "max",
        "CPU µs",
        "CPU µs",
        "CPU µs",
        "upstream",
        "hits",
        "server"
    );
    let _ = writeln!(
        text,
        "  {:<20}{:>10}{:>9}{:>9}{:>9} |{:>9}{:>9}{:>9} |{:>9}{:>7} |{:>7}",
        "", "per s", "µs", "µs", "µs", "client", "server", "mongod", "ops", "%", "MiB"
    );
    for lane in &run.lanes {
        let _ = writeln!(
            text,
            "  {:<20}{:>10}{:>9.0}{:>9.0}{:>9.0} |{:>9.1}{:>9}{:>9} |{:>9}{:>7} |{:>7}",
            lane.name,
            thousands(lane.typical_throughput()),
            lane.latency_us.p50,
            lane.latency_us.p99,
            lane.latency_us.max,
            lane.generator_cpu_us,
            per_request(lane, SERVER_CPU, 1.0, 1),
            per_request(lane, MONGOD_CPU, 1.0, 1),
            per_request(lane, UPSTREAM, 1.0, 3),
            per_request(lane, HITS, 100.0, 1),
            lane.resident_bytes
                .map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string()),
        );
        if lane.unsent > 0 {
            let _ = writeln!(
                text,
                "    {} requests could not be sent in time",
                lane.unsent
            );
        }
        if let Some(error) = &lane.first_error {
            let _ = writeln!(text, "    {} errors, the first: {error}", lane.errors);
        }
    }
    for verdict in &run.verdicts {
        let ratio = verdict.ratio;
        let _ = write!(
            text,
            "  {:<38}{:>7.3} ±{:>3.0} %  ({:.3} to {:.3})",
            verdict.what,
            ratio.median,
            ratio.noise * 100.0,
            ratio.low,
            ratio.high
        );
        if let Some(goal) = verdict.goal {
            let (sign, bound) = match goal {
                Goal::AtLeast(bound) => ("≥", bound),
                Goal::AtMost(bound) => ("≤", bound),
            };
            let met = if goal.met_by(ratio.median) {
                "met"
            } else {
                "short"
            };
            let _ = write!(text, "  goal {sign} {bound}: {met}");
        }
        text.push('\n');
    }
    text
}

fn per_request(lane: &LaneResult, name: &str, scale: f64, decimals: usize) -> String {
    let found = lane.per_request.iter().find(|(counted, _)| counted == name);
    found.map_or_else(
        || "-".to_owned(),
        |(_, value)| format!("{:.decimals$}", value * scale),
    )
}

/// `12345.6` as `12,346`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_000.0), "1,000");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(thousands(-123_456.0), "-123,456");
    }
}
