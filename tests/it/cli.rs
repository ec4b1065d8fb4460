//! The program itself: what it prints where, and its exit codes.

use std::io::Write;
use std::process::{Command, Output};

fn petiole(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_petiole"))
        .args(arguments)
        .output()
        .expect("petiole runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn check_of_a_right_configuration_prints_ok() {
    let output = petiole(&[
        "check",
        "--config",
        concat!(env!("CARGO_MANIFEST_DIR"), "/proxy.toml"),
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "ok\n");
}

#[test]
fn every_mistake_is_on_standard_error_and_the_exit_code_is_78() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "[cache]\nmax_size = \"banana\"\nttll = \"1s\"").expect("written");
    let path = file.path().display().to_string();
    for command in ["check", "config", "serve"] {
        let output = petiole(&[command, "--config", &path, "--admin", "0.0.0.0:9216"]);
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(text(&output.stdout), "");
        let errors = text(&output.stderr);
        for key in ["cache.max_size", "cache.ttll", "admin.token"] {
            assert!(errors.contains(&format!("\n  {key}")), "{errors}");
        }
    }
}

#[test]
fn config_prints_what_is_in_force_without_secrets() {
    let output = petiole(&[
        "config",
        "--upstream",
        "mongodb://joe:hunter2@db.example.org",
        "--set",
        "cache.ttl=3s",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("uri = \"mongodb://joe:***@db.example.org\"\n"),
        "{printed}"
    );
    assert!(printed.contains("\nttl = \"3s\"\n"), "{printed}");
}

#[test]
fn secrets_come_from_the_environment_and_are_shown_as_their_source_only() {
    let mut shown = String::new();
    for command in ["check", "config"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_petiole"));
        program.arg(command);
        program.env(
            "PETIOLE_UPSTREAM_URI",
            "mongodb://joe:hunter2@db.example.org",
        );
        program.env("PETIOLE_ADMIN_TOKEN", "hunter2-and-many-more");
        let output = program.output().expect("petiole runs");
        assert_eq!(output.status.code(), Some(0));
        shown.push_str(&text(&output.stdout));
    }
    assert!(
        shown.starts_with(
            "ok\nupstream.uri is from the environment variable PETIOLE_UPSTREAM_URI\n"
        ),
        "{shown}"
    );
    assert!(
        shown.contains("\nuri = \"from the environment variable PETIOLE_UPSTREAM_URI\"\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\ntoken = \"from the environment variable PETIOLE_ADMIN_TOKEN\"\n"),
        "{shown}"
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("joe"),
        "{shown}"
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["nonsense"][..],
        &[],
        &["serve", "--embedded", "--upstream", "x"],
    ] {
        assert_eq!(petiole(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn closed_pipes_are_no_panic_and_end_what_has_no_other_use() {
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let nowhere = "127.0.0.1:1";
    for (arguments, code) in [
        (&["demo", "--secs", "3600"][..], 0),
        (&["config", "--upstream", "mongodb://db.example.org"], 0),
        (&["check", "--upstream", "nonsense"], 78),
        (&["advice", "--admin", nowhere], 1),
        (&["top", "--once", "--admin", nowhere], 1),
        (&["bench", "--from", "/nonexistent"], 1),
        (
            &["bench", "--record", "/dev/null", "--upstream", "nonsense"],
            1,
        ),
        (&["bench-echo"], 1),
        (&["serve", "--embedded", "--set", "log.level=nonsense"], 78),
        (&["version"], 0),
        (&["--help"], 0),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_petiole"));
        let program = program.args(arguments).stdout(closed()).stderr(closed());
        let ended = program.status().expect("petiole runs");
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn version_prints_name_and_version() {
    let output = petiole(&["version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        format!("petiole {}\n", env!("CARGO_PKG_VERSION"))
    );
}
