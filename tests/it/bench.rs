//! `petiole bench` and `petiole demo` as a user runs them, short. Speed isn't judged here: the machine may be busy.

use std::process::{Command, Output};

use petiole::bench::contestant::{HITS, UPSTREAM};
use petiole::bench::record::{Record, Run};
use petiole::bench::servers::Server;
use petiole::bench::workload::Workload;

fn petiole(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_petiole"))
        .args(arguments)
        .output()
        .expect("petiole runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demo_shows_both_sides_and_finds_no_wrong_answer() {
    let output = petiole(&["demo", "--secs", "6", "--workers", "4"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    for part in [
        "balance",
        "transfer (transaction)",
        "operations per second",
        "200 of 200",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
    assert!(!shown.contains("WRONG"), "{shown}");
}

#[test]
fn the_bench_measures_each_target_and_saves_what_it_found() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    let targets = "direct,petiole,cache-off,echo";
    let arguments = [
        "--secs",
        "4",
        "--rounds",
        "2",
        "--connections",
        "1,4",
        "--workload",
        "point,insert",
    ];
    let page = tempfile::NamedTempFile::new().expect("a file");
    let report = page.path().display().to_string();
    let mut all = vec!["bench", "--targets", targets, "--save", &path];
    all.extend(["--report", &report]);
    all.extend(arguments);
    let output = petiole(&all);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let saved = std::fs::read_to_string(&path).expect("a saved file");
    let record: Record = serde_json::from_str(&saved).expect("a record");
    assert_eq!(record.runs.len(), 4);
    for run in &record.runs {
        let lanes = if run.workload == Workload::Insert {
            3
        } else {
            4
        };
        assert_eq!(
            run.lanes.len(),
            lanes,
            "{} × {}",
            run.workload.name(),
            run.connections
        );
        for lane in &run.lanes {
            assert!(lane.completed > 0 && lane.errors == 0, "{lane:?}");
            assert_eq!(lane.throughput.len(), 2);
        }
    }
    let report = std::fs::read_to_string(&report).expect("a page");
    assert!(
        report.matches("<svg").count() >= 6,
        "plots of each workload"
    );
    for outside in ["src=\"http", "href=\"http", "url(", "@import"] {
        assert!(
            !report.contains(outside),
            "it needs nothing else: {outside}"
        );
    }
    same_is_the_same_and_slower_is_worse(&record, &path);
    let run = &record.runs[0];
    assert!(
        (0.9..=1.0).contains(&counted(run, Server::Petiole, HITS)),
        "a warm cache answers point reads"
    );
    assert!(
        counted(run, Server::Petiole, UPSTREAM) < 0.5,
        "and mongod doesn't see them"
    );
    assert_eq!(counted(run, Server::CacheOff, HITS), 0.0);
    assert!(counted(run, Server::CacheOff, UPSTREAM) > 0.8);
    assert!(
        run.verdicts
            .iter()
            .any(|verdict| verdict.what == "hit throughput / framed echo")
    );
}

fn same_is_the_same_and_slower_is_worse(record: &Record, path: &str) {
    let same = petiole(&["bench", "--compare", path, path]);
    assert!(same.status.success(), "{}", text(&same.stdout));
    let mut slower = record.clone();
    for lane in &mut slower.runs[0].lanes {
        if lane.name == Server::Petiole.label() {
            lane.throughput.iter_mut().for_each(|rate| *rate /= 50.0);
        }
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    serde_json::to_writer(&file, &slower).expect("saved");
    let other = file.path().display().to_string();
    let worse = petiole(&["bench", "--compare", path, &other]);
    assert_eq!(worse.status.code(), Some(1), "{}", text(&worse.stdout));
    assert!(text(&worse.stdout).contains("WORSE"));
}

fn counted(run: &Run, server: Server, name: &str) -> f64 {
    let lane = run
        .lanes
        .iter()
        .find(|lane| lane.name == server.label())
        .expect("the lane");
    lane.per_request
        .iter()
        .find(|(counted, _)| counted == name)
        .expect("counted")
        .1
}

#[test]
fn an_address_that_is_none_is_refused_in_words() {
    let output = petiole(&["bench", "--upstream", "nonsense"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("\"nonsense\" isn't an address"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn transactions_scans_and_traces_run_without_an_error() {
    let trace = tempfile::NamedTempFile::new().expect("a file");
    let line =
        r#"{"command": {"find": "users", "filter": {"_id": 7}, "$db": "petiole_bench_petiole"}}"#;
    std::fs::write(trace.path(), line).expect("a trace");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let paths = [trace.path(), file.path()].map(|path| path.display().to_string());
    let workloads = "economy,range,aggregate,ycsb-e";
    let output = petiole(&[
        "bench",
        "--targets",
        "petiole",
        "--workload",
        workloads,
        "--replay",
        &paths[0],
        "--connections",
        "4",
        "--rounds",
        "1",
        "--secs",
        "5",
        "--save",
        &paths[1],
    ]);
    let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}");
    let saved = std::fs::read_to_string(&paths[1]).expect("a saved file");
    let record: Record = serde_json::from_str(&saved).expect("a record");
    assert_eq!(record.runs.len(), 5);
    for run in &record.runs {
        let lane = &run.lanes[0];
        assert!(lane.completed > 0, "{}: {shown}", run.workload.name());
        assert_eq!(lane.first_error, None, "{}", run.workload.name());
    }
}

#[test]
fn writes_go_out_in_the_style_asked_for() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    let output = petiole(&[
        "bench",
        "--targets",
        "direct,petiole,batch-off",
        "--workload",
        "insert,update",
        "--connections",
        "4",
        "--rounds",
        "1",
        "--secs",
        "2",
        "--write-concern",
        "majority",
        "--retryable-writes",
        "--save",
        &path,
    ]);
    let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}");
    let saved = std::fs::read_to_string(&path).expect("a saved file");
    let record: Record = serde_json::from_str(&saved).expect("a record");
    assert_eq!(record.runs.len(), 2);
    for lane in record.runs.iter().flat_map(|run| &run.lanes) {
        assert!(lane.completed > 0 && lane.errors == 0, "{lane:?}");
    }
}
