//! `petiole top`: as a pipe sees it, and on a terminal.

use std::io::{Read, Write};
use std::process::{ChildStdin, Command, Output, Stdio};

use bson::{Document, doc};
use mongodb::Client;

use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};

fn top(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_petiole"))
        .arg("top")
        .args(arguments)
        .env_remove("PETIOLE_ADMIN_TOKEN")
        .output()
        .expect("petiole runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_picture_shows_every_page() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let database = shared::database("top");
    let things = client.database(&database).collection::<Document>("things");
    things.insert_one(doc! {"_id": 1}).await.unwrap();
    things.find_one(doc! {"_id": 1}).await.unwrap();
    wait::until("a second has passed", || {
        text(&top(&["--admin", proxy.admin()]).stdout).contains("/s")
    });
    let output = top(&["--admin", proxy.admin(), "--once"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [
        "● live",
        "Requests",
        "Hit ratio",
        "SHAPES",
        "SLOW",
        "ADVICE",
        "MEMORY",
        "SERVERS",
        "primary",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    assert!(shown.contains("things"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no escape codes in a pipe");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_taken() {
    let settings = [("admin.token", "\"open-sesame-open\"")];
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    let refused = top(&["--once", "--admin", proxy.admin()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("wants a token"),
        "{}",
        text(&refused.stderr)
    );
    let let_in = top(&[
        "--once",
        "--admin",
        proxy.admin(),
        "--token",
        "open-sesame-open",
    ]);
    assert!(let_in.status.success(), "{}", text(&let_in.stderr));
}

/// What a terminal of its own (by `script`, of util-linux) shows of `petiole top`, which is ended by
/// `end` once it has drawn: that has the terminal's keys, and the process's id.
fn on_a_terminal(proxy: &Proxy, end: impl FnOnce(&mut ChildStdin, &str)) -> String {
    let program = env!("CARGO_BIN_EXE_petiole");
    let run = format!(
        "stty cols 80 rows 24; before=$(stty -g); '{program}' top --admin {} & echo \"pid $!.\"; fg >/dev/null; \
         echo ended $?; test \"$before\" = \"$(stty -g)\" && echo as before",
        proxy.admin()
    );
    let mut script = Command::new("script")
        .args([
            "-qec",
            &format!("bash -mc '{}'", run.replace('\'', "'\\''")),
            "/dev/null",
        ])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs; on Debian: apt-get install bsdutils");
    let mut keys = script.stdin.take().expect("a pipe");
    let mut screen = script.stdout.take().expect("a pipe");
    let mut shown = Vec::new();
    let mut part = [0; 4096];
    let mut end = Some(end);
    while let Ok(n @ 1..) = screen.read(&mut part) {
        shown.extend_from_slice(&part[..n]);
        let so_far = text(&shown);
        if so_far.contains("live")
            && let Some(end) = end.take()
        {
            let pid = so_far
                .split("pid ")
                .nth(1)
                .and_then(|s| s.split('.').next());
            end(&mut keys, pid.expect("it is told"));
        }
    }
    script.wait().expect("it ends");
    text(&shown)
}

fn is_given_back(shown: &str) {
    assert!(shown.contains("ended 0"), "{shown}");
    let (enter, leave) = (shown.find("\u{1b}[?1049h"), shown.find("\u{1b}[?1049l"));
    assert!(
        enter.is_some() && leave > enter,
        "the screen before comes back: {shown:?}"
    );
    assert!(shown.contains("as before"), "so do its settings: {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_drawn_on_and_given_back() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let shown = on_a_terminal(&proxy, |keys, _| {
        keys.write_all(b"2q").expect("keys are taken");
    });
    is_given_back(&shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_given_back_when_the_process_is_told_to_end() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    for signal in ["TERM", "HUP", "INT"] {
        let shown = on_a_terminal(&proxy, |_, pid| {
            let sent = Command::new("kill")
                .arg(format!("-{signal}"))
                .arg(pid)
                .status();
            assert!(sent.expect("kill runs").success());
        });
        is_given_back(&shown);
    }
}

/// Starts `petiole top` on a terminal that goes away once it has drawn; its process id. `before` is a shell's command.
fn hung_up(proxy: &Proxy, before: &str) -> String {
    let program = env!("CARGO_BIN_EXE_petiole");
    let run = format!(
        "{before} stty cols 80 rows 24; echo \"pid $$.\"; exec '{program}' top --admin {}",
        proxy.admin()
    );
    let mut script = Command::new("script")
        .args(["-qec", &run, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs; on Debian: apt-get install bsdutils");
    let mut screen = script.stdout.take().expect("a pipe");
    let mut shown = Vec::new();
    let mut part = [0; 4096];
    while !text(&shown).contains("live") {
        match screen.read(&mut part) {
            Ok(n @ 1..) => shown.extend_from_slice(&part[..n]),
            ended => panic!("{ended:?} after {}", text(&shown)),
        }
    }
    script.kill().expect("it runs");
    script.wait().expect("it ends");
    let shown = text(&shown);
    let pid = shown.split("pid ").nth(1).and_then(|s| s.split('.').next());
    pid.expect("it is told").to_owned()
}

/// (One that nobody has waited for yet is a zombie.)
fn has_ended(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_its_terminal_has_gone_also_where_hangups_are_ignored() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    for before in ["", "trap '' HUP;"] {
        let pid = hung_up(&proxy, before);
        wait::until("it has ended", || has_ended(&pid));
    }
}

#[test]
fn a_proxy_that_is_not_there_is_said_in_words() {
    let output = top(&["--once", "--admin", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("no proxy answers at 127.0.0.1:1"), "{said}");
}
