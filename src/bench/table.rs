//! Results as text.

use std::fmt::Write;

use super::contestant::{HITS, MONGOD_CPU, SERVER_CPU, UPSTREAM};
use super::goals::{self, BYTES_PER_CLIENT, IDLE_BYTES, READY_MS};
use super::record::{Record, Run};
use super::rounds::LaneResult;
use super::servers::Server;

/// The head of a report: machine and method.
pub fn head(record: &Record) -> String {
    let machine = &record.machine;
    let loops = match record.rate {
        Some(rate) => format!("open loop at {} requests per second", thousands(rate)),
        None => "closed loop".to_owned(),
    };
    let commit = record.commit.as_ref();
    let mut text = format!(
        "petiole {}{} on {} cores of {}, {}\n{} rounds over all targets, {:.2} s each; one generator thread, {loops}\n",
        record.version,
        commit.map_or_else(String::new, |commit| format!(" ({commit})")),
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
    let replies = match run.reply_bytes {
        0 => String::new(),
        bytes => format!(", replies of {bytes} bytes"),
    };
    let distance = match run.rtt_ms {
        0.0 => String::new(),
        ms => format!(", MongoDB {ms} ms away"),
    };
    let mut text = format!(
        "\n{}, {} connection{plural}{replies}{distance}\n",
        run.workload.name(),
        run.connections,
    );
    let _ = writeln!(
        text,
        "  {:<20}{:>10}{:>9}{:>9}{:>9} |{:>9}{:>9}{:>9}{:>9} |{:>9}{:>7} |{:>7}",
        "",
        "requests",
        "p50",
        "p99",
        "max",
        "CPU µs",
        "CPU µs",
        "CPU µs",
        "CPU µs",
        "upstream",
        "hits",
        "server"
    );
    let _ = writeln!(
        text,
        "  {:<20}{:>10}{:>9}{:>9}{:>9} |{:>9}{:>9}{:>9}{:>9} |{:>9}{:>7} |{:>7}",
        "", "per s", "µs", "µs", "µs", "client", "server", "mongod", "both", "ops", "%", "MiB"
    );
    for lane in &run.lanes {
        let _ = writeln!(
            text,
            "  {:<20}{:>10}{:>9.0}{:>9.0}{:>9.0} |{:>9.1}{:>9}{:>9}{:>9} |{:>9}{:>7} |{:>7}",
            lane.name,
            thousands(lane.typical_throughput()),
            lane.latency_us.p50,
            lane.latency_us.p99,
            lane.latency_us.max,
            lane.generator_cpu_us,
            per_request(lane, SERVER_CPU, 1.0, 1),
            per_request(lane, MONGOD_CPU, 1.0, 1),
            both(lane),
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
        if lane.conflicts > 0 {
            let _ = writeln!(
                text,
                "    {} of {} transactions met another and began again",
                lane.conflicts, lane.transactions
            );
        }
        if let Some(error) = &lane.first_error {
            let _ = writeln!(text, "    {} errors, the first: {error}", lane.errors);
        }
    }
    if let Some(echo) = run
        .lanes
        .iter()
        .find(|lane| lane.name == Server::Echo.label())
    {
        let _ = writeln!(
            text,
            "  the generator itself: {:.1} µs of CPU per request, and {:.1} µs of the echo server",
            echo.generator_cpu_us,
            echo.counted(SERVER_CPU).unwrap_or_default()
        );
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
            let _ = write!(text, "  goal {goal}: {}", goal.word(ratio.median));
        }
        text.push('\n');
    }
    text
}

fn per_request(lane: &LaneResult, name: &str, scale: f64, decimals: usize) -> String {
    lane.counted(name).map_or_else(
        || "-".to_owned(),
        |value| format!("{:.decimals$}", value * scale),
    )
}

/// What a request costs on the servers' side, in microseconds of CPU.
fn both(lane: &LaneResult) -> String {
    let parts = [SERVER_CPU, MONGOD_CPU].map(|name| lane.counted(name));
    if parts.iter().all(Option::is_none) {
        return "-".to_owned();
    }
    format!("{:.1}", parts.iter().flatten().sum::<f64>())
}

/// What there are goals for, line by line: each value with its noise, and whether the goal is met.
pub fn goals(record: &Record) -> String {
    let rows = goals::rows(&record.runs);
    if rows.is_empty() && record.standing.is_none() {
        return String::new();
    }
    let mut text = String::from("\nGoals\n");
    for row in &rows {
        let _ = write!(text, "  {:<52}", row.what);
        for (connections, verdict) in &row.cells {
            let Some(goal) = verdict.goal else { continue };
            let cell = format!(
                "{connections}: {:.3} ±{:.0} % {goal} {}",
                verdict.ratio.median,
                verdict.ratio.noise * 100.0,
                goal.word(verdict.ratio.median)
            );
            let _ = write!(text, " | {cell:<27}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    if let Some(standing) = record.standing {
        for (what, value, unit, scale, goal) in [
            ("start to ready", standing.ready_ms, "ms", 1.0, READY_MS),
            (
                "idle memory",
                standing.idle_bytes,
                "MiB",
                1024.0 * 1024.0,
                IDLE_BYTES,
            ),
            (
                "memory of an idle client",
                standing.bytes_per_client,
                "KiB",
                1024.0,
                BYTES_PER_CLIENT,
            ),
        ] {
            let (value, bound) = (value / scale, goal.scaled(1.0 / scale));
            let _ = writeln!(
                text,
                "  {what:<52} | {value:.1} {unit} {bound} {}",
                bound.word(value)
            );
        }
    }
    let met = rows.iter().flat_map(|row| &row.cells);
    let met = met.filter(|(_, verdict)| {
        verdict
            .goal
            .is_some_and(|goal| goal.met_by(verdict.ratio.median))
    });
    let all: usize = rows.iter().map(|row| row.cells.len()).sum();
    let _ = writeln!(text, "  {} of {all} ratios met", met.count());
    text
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
