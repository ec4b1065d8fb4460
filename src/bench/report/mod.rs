//! `--report`: one page that needs nothing else, with plots.

mod chart;

use std::fmt::Write;

use self::chart::{Chart, Scale, Series, escape};
use super::record::{Record, Run};
use super::rounds::LaneResult;
use super::table;
use super::workload::Workload;

/// The page.
pub fn page(record: &Record) -> String {
    let mut html = String::from(HEAD);
    let _ = writeln!(html, "<h1>petiole bench</h1>");
    let _ = writeln!(html, "<pre>{}</pre>", escape(table::head(record).trim()));
    let versions = record.versions.iter();
    let versions: Vec<String> = versions
        .map(|(name, version)| format!("{name}: {version}"))
        .collect();
    let _ = writeln!(
        html,
        "<p class=\"small\">{}</p>",
        escape(&versions.join(" · "))
    );
    let goals = table::goals(record);
    if !goals.is_empty() {
        let _ = writeln!(html, "<pre>{}</pre>", escape(goals.trim()));
    }
    let names = names(record);
    let mut seen: Vec<(Workload, f64)> = Vec::new();
    for of in record.runs.iter().map(|run| (run.workload, run.rtt_ms)) {
        if seen.contains(&of) {
            continue;
        }
        seen.push(of);
        let runs: Vec<&Run> = record
            .runs
            .iter()
            .filter(|run| (run.workload, run.rtt_ms) == of)
            .collect();
        let title = match of {
            (workload, 0.0) => workload.name().to_owned(),
            (workload, ms) => format!("{}, MongoDB {ms} ms away", workload.name()),
        };
        let _ = writeln!(html, "<h2>{title}</h2>\n<div class=\"charts\">");
        html += &throughput(&runs, &names).svg();
        for run in &runs {
            html += &latency(run, &names).svg();
        }
        html += &hits(&runs, record.slice_secs, &names).svg();
        html += "</div>\n";
        for run in &runs {
            let _ = writeln!(html, "<pre>{}</pre>", escape(table::run(run).trim()));
        }
    }
    html += "</body></html>\n";
    html
}

/// All lanes' names, whose places are their colours.
fn names(record: &Record) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for lane in record.runs.iter().flat_map(|run| &run.lanes) {
        if !names.contains(&lane.name.as_str()) {
            names.push(&lane.name);
        }
    }
    names
}

/// x and y.
type Point = (f64, f64);

/// One line per target.
fn lines(
    runs: &[&Run],
    names: &[&str],
    points: &dyn Fn(&Run, &LaneResult) -> Vec<Point>,
) -> Vec<Series> {
    let line = |(colour, name): (usize, &&str)| {
        let of_name = |run: &&Run| {
            let lane = run.lanes.iter().find(|lane| lane.name == **name);
            lane.map(|lane| points(run, lane)).unwrap_or_default()
        };
        let points: Vec<(f64, f64)> = runs.iter().flat_map(of_name).collect();
        (!points.is_empty()).then(|| Series {
            name: (*name).to_owned(),
            colour,
            points,
        })
    };
    names.iter().enumerate().filter_map(line).collect()
}

fn throughput(runs: &[&Run], names: &[&str]) -> Chart {
    let tick = |run: &&Run| (run.connections as f64, run.connections.to_string());
    Chart {
        title: "Requests per second over connections".to_owned(),
        ticks: runs.iter().map(tick).collect(),
        x: Scale::Log,
        y: Scale::Linear,
        unit: "",
        x_name: "connections",
        series: lines(runs, names, &|run, lane| {
            vec![(run.connections as f64, lane.typical_throughput())]
        }),
    }
}

/// Quantiles spread by what's above them: 90 %, 99 % and 99.9 % are equally far apart.
fn latency(run: &Run, names: &[&str]) -> Chart {
    let place = |quantile: f64| 1.0 / (1.0 - quantile);
    let ticks = [0.5, 0.9, 0.99, 0.999, 0.9999];
    Chart {
        title: format!("Latency quantiles, {}", run.name()),
        ticks: ticks
            .map(|at| (place(at), format!("{} %", (at * 1e4).round() / 1e2)))
            .to_vec(),
        x: Scale::Log,
        y: Scale::Log,
        unit: " µs",
        x_name: "share of requests that were at least as quick",
        series: lines(&[run], names, &|_, lane| {
            let curve = lane.latency_curve.iter();
            curve.map(|(at, micros)| (place(*at), *micros)).collect()
        }),
    }
}

fn hits(runs: &[&Run], slice_secs: f64, names: &[&str]) -> Chart {
    let mut begun = 0.0;
    let mut series: Vec<Series> = Vec::new();
    for run in runs {
        let rounds = run.lanes.iter().map(|lane| lane.hit_ratio.len());
        let rounds = rounds.max().unwrap_or_default() as f64;
        let found = lines(&[run], names, &|_, lane| {
            let hits = lane.hit_ratio.iter().enumerate();
            hits.map(|(round, share)| (begun + (round as f64 + 1.0) * slice_secs, share * 100.0))
                .collect()
        });
        for line in found
            .into_iter()
            .filter(|line| line.points.iter().any(|(_, y)| *y > 0.0))
        {
            match series.iter_mut().find(|known| known.name == line.name) {
                Some(known) => known.points.extend(line.points),
                None => series.push(line),
            }
        }
        begun += rounds * slice_secs;
    }
    let tick = |share: f64| (begun * share, format!("{:.0} s", begun * share));
    Chart {
        title: "Cache hits over measured time, all connection counts in turn".to_owned(),
        ticks: [0.0, 0.25, 0.5, 0.75, 1.0].map(tick).to_vec(),
        x: Scale::Linear,
        y: Scale::Linear,
        unit: " %",
        x_name: "seconds measured per target",
        series,
    }
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>petiole bench</title>
<style>
:root { color-scheme: light dark; --ink: #1c2a20; --paper: #fbfcfa; --soft: #5d6b61; --line: #dde4de; --box: #f1f5f1;
  --c0: #6b7280; --c1: #15803d; --c2: #2563eb; --c3: #b45309; --c4: #be123c; --c5: #7c3aed; --c6: #0e7490; --c7: #a16207; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4ebe5; --paper: #121714; --soft: #98a69c; --line: #2b352e; --box: #1a211c;
  --c0: #9ca3af; --c1: #4ade80; --c2: #60a5fa; --c3: #f59e0b; --c4: #fb7185; --c5: #a78bfa; --c6: #22d3ee; --c7: #facc15; } }
body { margin: 2rem auto; max-width: 1240px; padding: 0 1rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .7rem; overflow-x: auto; font-size: 12px; line-height: 1.4; }
.small { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .7rem; }
figcaption { font-weight: 600; font-size: 14px; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 2; }
.legend { margin: .3rem 0 0; font-size: 13px; } .legend span { margin-right: .9rem; white-space: nowrap; }
.legend i { display: inline-block; width: 1.1em; height: .55em; margin-right: .35em; border-radius: 2px; }
polyline.c0 { stroke: var(--c0); } circle.c0 { fill: var(--c0); } i.c0 { background: var(--c0); }
polyline.c1 { stroke: var(--c1); } circle.c1 { fill: var(--c1); } i.c1 { background: var(--c1); }
polyline.c2 { stroke: var(--c2); } circle.c2 { fill: var(--c2); } i.c2 { background: var(--c2); }
polyline.c3 { stroke: var(--c3); } circle.c3 { fill: var(--c3); } i.c3 { background: var(--c3); }
polyline.c4 { stroke: var(--c4); } circle.c4 { fill: var(--c4); } i.c4 { background: var(--c4); }
polyline.c5 { stroke: var(--c5); } circle.c5 { fill: var(--c5); } i.c5 { background: var(--c5); }
polyline.c6 { stroke: var(--c6); } circle.c6 { fill: var(--c6); } i.c6 { background: var(--c6); }
polyline.c7 { stroke: var(--c7); } circle.c7 { fill: var(--c7); } i.c7 { background: var(--c7); }
</style></head><body>
";
