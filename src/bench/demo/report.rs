//! Both sides of the demo next to each other.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;

use super::check::Verdict;
use super::economy::Kind;
use super::workers::Tally;
use crate::bench::table::thousands;

/// The side without the proxy.
pub const DIRECT: &str = "directly";
/// The side with it.
pub const PROXIED: &str = "through petiole";

/// What one side did.
#[derive(Debug, Clone)]
pub struct Side {
    /// [`DIRECT`] or [`PROXIED`].
    pub name: &'static str,
    /// Its operations.
    pub tally: Tally,
    /// The time that it worked.
    pub elapsed: Duration,
    /// Operations that mongod counted meanwhile.
    pub upstream_operations: f64,
    /// Cache hits that the proxy counted meanwhile.
    pub hits: f64,
}

impl Side {
    /// Nothing done yet.
    pub fn new(name: &'static str) -> Side {
        Side {
            name,
            tally: Tally::default(),
            elapsed: Duration::ZERO,
            upstream_operations: 0.0,
            hits: 0.0,
        }
    }

    fn throughput(&self) -> f64 {
        per(self.tally.operations() as f64, self.elapsed.as_secs_f64())
    }
}

/// All that the demo found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Without the proxy.
    pub direct: Side,
    /// With it.
    pub proxied: Side,
    /// The proxy's status at the end.
    pub status: Value,
    /// Whether the answers were right.
    pub verdict: Verdict,
    /// Workers of the application.
    pub workers: u32,
}

fn per(above: f64, below: f64) -> f64 {
    if below > 0.0 { above / below } else { 0.0 }
}

/// The whole report.
pub fn text(findings: &Findings) -> String {
    let mut text = String::from("\n");
    if cfg!(debug_assertions) {
        text += "THIS IS A DEBUG BUILD: its figures mean nothing. Use `cargo run --release -- demo`.\n\n";
    }
    latencies(&mut text, findings);
    text.push('\n');
    totals(&mut text, findings);
    correctness(&mut text, &findings.verdict);
    next(&mut text, findings);
    text
}

fn latencies(text: &mut String, findings: &Findings) {
    let _ = writeln!(
        text,
        "Latency in µs, {} workers on the official Rust driver",
        findings.workers
    );
    let _ = writeln!(text, "{:<23}|{:^31}|{:^31}|", "", DIRECT, PROXIED);
    let columns = format!("{:>7}{:>8}{:>8}{:>8}", "count", "p50", "p95", "p99");
    let _ = writeln!(text, "{:<23}|{columns}|{columns}| p50 ratio", "");
    let sides = findings
        .direct
        .tally
        .latency
        .iter()
        .zip(&findings.proxied.tally.latency);
    for ((kind, _), (direct, proxied)) in Kind::MIX.into_iter().zip(sides) {
        let _ = writeln!(
            text,
            "{:<23}|{}|{}|{:>10.2}",
            kind.label(),
            quantiles(direct),
            quantiles(proxied),
            p50_ratio(direct, proxied)
        );
    }
}

fn quantiles(latency: &Histogram<u64>) -> String {
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    format!(
        "{:>7}{:>8.0}{:>8.0}{:>8.0}",
        latency.len(),
        at(0.5),
        at(0.95),
        at(0.99)
    )
}

fn p50_ratio(direct: &Histogram<u64>, proxied: &Histogram<u64>) -> f64 {
    per(
        proxied.value_at_quantile(0.5) as f64,
        direct.value_at_quantile(0.5) as f64,
    )
}

fn totals(text: &mut String, findings: &Findings) {
    let Findings {
        direct, proxied, ..
    } = findings;
    let mut line = |what: &str, left: &str, right: &str, ratio: &str| {
        let row = format!("{what:<36}{left:>16}{right:>18}{ratio:>9}");
        let _ = writeln!(text, "{}", row.trim_end());
    };
    line("", DIRECT, PROXIED, "ratio");
    let (slow, fast) = (direct.throughput(), proxied.throughput());
    line(
        "operations per second",
        &thousands(slow),
        &thousands(fast),
        &format!("{:.2}", per(fast, slow)),
    );
    let upstream = |side: &Side| per(side.upstream_operations, side.tally.operations() as f64);
    let (many, few) = (upstream(direct), upstream(proxied));
    let [left, right, ratio] = [many, few, per(few, many)].map(|value| format!("{value:.2}"));
    line("MongoDB's operations per operation", &left, &right, &ratio);
    let hits = 100.0 * per(proxied.hits, proxied.tally.reads() as f64);
    line(
        "cache hits, of all reads",
        "-",
        &format!("{} ({hits:.1} %)", thousands(proxied.hits)),
        "",
    );
}

fn correctness(text: &mut String, verdict: &Verdict) {
    let mark = |good: bool| if good { "right" } else { "WRONG" };
    let [direct, proxied] = verdict.sums;
    let _ = writeln!(text, "\nWere the answers right?");
    for (name, sum) in [(DIRECT, direct), (PROXIED, proxied)] {
        let good = sum == verdict.expected_sum;
        let was = thousands(verdict.expected_sum as f64);
        let _ = writeln!(
            text,
            "  {}: the sum of all balances was {was} and is {} (transfers {name})",
            mark(good),
            thousands(sum as f64)
        );
    }
    let same = verdict.compared - verdict.different.len();
    let _ = writeln!(
        text,
        "  {}: {same} of {} random balances read through petiole equal a direct read",
        mark(verdict.different.is_empty()),
        verdict.compared
    );
    for (seen, truth) in verdict.different.iter().take(3) {
        let _ = writeln!(text, "    petiole: {seen:?}, MongoDB: {truth:?}");
    }
}

/// Where to look next: what these very figures suggest, and how to go on.
fn next(text: &mut String, findings: &Findings) {
    let _ = writeln!(text, "\nWhere to look next");
    let sides = findings
        .direct
        .tally
        .latency
        .iter()
        .zip(&findings.proxied.tally.latency);
    let mut gains: Vec<(Kind, f64)> = Kind::MIX
        .into_iter()
        .zip(sides)
        .filter(|(_, (direct, proxied))| !direct.is_empty() && !proxied.is_empty())
        .map(|((kind, _), (direct, proxied))| (kind, p50_ratio(direct, proxied)))
        .collect();
    gains.sort_by(|a, b| a.1.total_cmp(&b.1));
    if let (Some((best, gain)), Some((worst, loss))) = (gains.first(), gains.last()) {
        let _ = writeln!(
            text,
            "  medians against direct ones: best {} ({gain:.2}), worst {} ({loss:.2}); below 1 is faster",
            best.label(),
            worst.label()
        );
    }
    let number = |path| crate::bench::status::number(&findings.status, path);
    let _ = writeln!(
        text,
        "  the cache: {} entries in {:.1} MiB; {} misses and {} invalidations so far",
        thousands(number("cache.entries")),
        number("cache.bytes") / 1_048_576.0,
        thousands(number("cache.misses")),
        thousands(number("cache.invalidations")),
    );
    if let Some((reason, count)) = top_bypass(&findings.status) {
        let _ = writeln!(
            text,
            "  most common reason not to use it: {reason}, {} times",
            thousands(count)
        );
    }
    let _ = writeln!(
        text,
        "  your own application:  petiole serve --upstream mongodb://your-server/"
    );
    let _ = writeln!(
        text,
        "                         then connect to 127.0.0.1:27016 instead"
    );
    let _ = writeln!(
        text,
        "  what it's doing:       curl http://127.0.0.1:9216/api/status"
    );
    let _ = writeln!(text, "  without a driver between: petiole bench --quick");
}

fn top_bypass(status: &Value) -> Option<(String, f64)> {
    let reasons = status.get("cache")?.get("bypass_reasons")?.as_object()?;
    let counted = reasons
        .iter()
        .filter_map(|(reason, count)| Some((reason.clone(), count.as_f64()?)));
    counted
        .filter(|(_, count)| *count > 0.0)
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(different: bool) -> Findings {
        let mut direct = Side::new(DIRECT);
        let mut proxied = Side::new(PROXIED);
        for (side, nanos) in [(&mut direct, 400_000), (&mut proxied, 100_000)] {
            side.elapsed = Duration::from_secs(2);
            side.tally
                .latency
                .iter_mut()
                .for_each(|latency| latency.record_n(nanos, 50).unwrap());
            side.upstream_operations = 300.0;
        }
        proxied.upstream_operations = 30.0;
        proxied.hits = 75.0;
        let wrong = (None, Some(bson::doc! {"_id": 1}));
        Findings {
            direct,
            proxied,
            status: serde_json::json!({"cache": {"bypass_reasons": {"in_transaction": 3, "other": 0}}}),
            verdict: Verdict {
                expected_sum: 10,
                sums: [10, if different { 9 } else { 10 }],
                compared: 200,
                different: if different { vec![wrong] } else { Vec::new() },
            },
            workers: 16,
        }
    }

    #[test]
    fn the_report_shows_ratios_hits_and_reasons() {
        let text = text(&findings(false));
        assert!(
            text.lines()
                .any(|line| line.starts_with("balance") && line.ends_with("0.25")),
            "{text}"
        );
        assert!(text.contains("75 (50.0 %)"), "{text}");
        assert!(text.contains("in_transaction, 3 times"), "{text}");
        assert!(
            text.contains("200 of 200") && !text.contains("WRONG"),
            "{text}"
        );
    }

    #[test]
    fn wrong_answers_are_shown_and_not_good() {
        let findings = findings(true);
        assert!(!findings.verdict.is_good());
        let text = text(&findings);
        assert_eq!(text.matches("WRONG").count(), 2, "{text}");
        assert!(text.contains("199 of 200"), "{text}");
    }
}
