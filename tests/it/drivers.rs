//! Real drivers, each running its script of everything an application does.
//!
//! The scripts are in `tests/clients` (and `rust_driver` for the one that is a library of this
//! language). They depend on nothing but a URI, so the same script is run directly and through the
//! proxy in each posture. A script prints one line per section: when it fails, the output names
//! the section and the error.

mod rust_driver;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::parts::{node, python, shared};

/// How long one script may take: many times what it needs, so that a hang is told apart.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn pymongo_passes_its_script_directly() {
    pymongo("pymongo_sync.py", &shared::rs().await.uri()).await;
}

#[tokio::test]
async fn pymongo_asyncio_passes_its_script_directly() {
    pymongo("pymongo_async.py", &shared::rs().await.uri()).await;
}

#[tokio::test]
async fn the_node_driver_passes_its_script_directly() {
    node_driver(&shared::rs().await.uri()).await;
}

#[tokio::test]
async fn mongosh_passes_its_script_directly() {
    mongosh(&shared::rs().await.uri()).await;
}

#[tokio::test]
async fn the_rust_driver_passes_its_script_directly() {
    rust_driver(&shared::rs().await.uri()).await;
}

async fn pymongo(name: &'static str, uri: &str) {
    script(python::pymongo, &[script_path(name), uri.to_owned()]).await;
}

async fn node_driver(uri: &str) {
    let args = [script_path("node_driver.mjs"), uri.to_owned()];
    script(node::node, &args).await;
}

async fn mongosh(uri: &str) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().to_owned();
    let mut args = vec![uri.to_owned()];
    args.extend(["--quiet", "--norc", "--file"].map(str::to_owned));
    args.push(script_path("mongosh.js"));
    script(move || node::mongosh(&path), &args).await;
}

async fn rust_driver(uri: &str) {
    tokio::time::timeout(PATIENCE, rust_driver::run(uri))
        .await
        .unwrap_or_else(|_| panic!("the Rust driver against {uri} hangs"));
}

/// Runs one script with the interpreter that `command` prepares, which may take an installation.
/// Panics with all that the script printed unless it ran every section.
async fn script(command: impl FnOnce() -> Command + Send + 'static, args: &[String]) {
    let mut command = tokio::task::spawn_blocking(command)
        .await
        .expect("the interpreter is prepared");
    command.args(args).stdin(Stdio::null());
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {shown}"))
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or_default();
    assert!(
        output.status.success() && last.starts_with("all ") && last.ends_with(" sections ok"),
        "{shown}: {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn script_path(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "clients", name]
        .iter()
        .collect();
    path.display().to_string()
}
