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

use petiole::embedded::Deployment;

use crate::parts::proxy::Proxy;
use crate::parts::{node, python, shared};

/// How long one script may take: many times what it needs, so that a hang is told apart.
const PATIENCE: Duration = Duration::from_secs(180);

/// No script makes do with fewer requests: if the proxy saw fewer, the driver went around it.
const FEWEST_REQUESTS: u64 = 300;

/// What of the environment the tests below share is itself sound: the script needs no proxy.
#[tokio::test]
async fn pymongo_passes_its_script_without_a_proxy() {
    pymongo("pymongo_sync.py", &shared::rs().await.uri()).await;
}

#[tokio::test]
async fn pymongo_passes_its_script_through_the_proxy() {
    let proxy = Through::default_posture().await;
    pymongo("pymongo_sync.py", &proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn pymongo_passes_its_script_in_replica_set_posture() {
    let proxy = Through::replica_set_posture().await;
    pymongo("pymongo_sync.py", &proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn pymongo_passes_its_script_through_the_proxy_with_a_password() {
    let proxy = Through::with_password().await;
    pymongo("pymongo_sync.py", &proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn pymongo_asyncio_passes_its_script_through_the_proxy() {
    let proxy = Through::default_posture().await;
    pymongo("pymongo_async.py", &proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn pymongo_asyncio_passes_its_script_in_replica_set_posture() {
    let proxy = Through::replica_set_posture().await;
    pymongo("pymongo_async.py", &proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn the_node_driver_passes_its_script_through_the_proxy() {
    let proxy = Through::default_posture().await;
    node_driver(&proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn the_node_driver_passes_its_script_in_replica_set_posture() {
    let proxy = Through::replica_set_posture().await;
    node_driver(&proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn the_node_driver_passes_its_script_through_the_proxy_with_a_password() {
    let proxy = Through::with_password().await;
    node_driver(&proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn mongosh_passes_its_script_through_the_proxy() {
    let proxy = Through::default_posture().await;
    mongosh(&proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn mongosh_passes_its_script_in_replica_set_posture() {
    let proxy = Through::replica_set_posture().await;
    mongosh(&proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn the_rust_driver_passes_its_script_through_the_proxy() {
    let proxy = Through::default_posture().await;
    rust_driver(&proxy.uri).await;
    proxy.saw_it_all();
}

#[tokio::test]
async fn the_rust_driver_passes_its_script_in_replica_set_posture() {
    let proxy = Through::replica_set_posture().await;
    rust_driver(&proxy.uri).await;
    proxy.saw_it_all();
}

/// A proxy, and the URI an application would be given for it.
struct Through {
    proxy: Proxy,
    uri: String,
}

impl Through {
    /// The settings nobody touched, and a URI that says nothing.
    async fn default_posture() -> Through {
        let proxy = Proxy::start(&shared::rs().await.uri(), &[]);
        let uri = proxy.uri();
        Through { proxy, uri }
    }

    /// For applications that keep `replicaSet=` in their URI.
    async fn replica_set_posture() -> Through {
        let settings = [("server.posture", "replica-set")];
        Through::instead_of(shared::rs().await, &settings)
    }

    /// As before, with access control; the client is the server's root user.
    async fn with_password() -> Through {
        let settings = [("server.posture", "replica-set")];
        Through::instead_of(shared::auth().await, &settings)
    }

    /// Only the address changes in the URI that leads to the server itself.
    fn instead_of(server: &Deployment, settings: &[(&str, &str)]) -> Through {
        let direct = server.uri();
        let proxy = Proxy::start(&direct, settings);
        let uri = direct.replacen(&server.addresses().join(","), proxy.address(), 1);
        assert_ne!(uri, direct, "the URI names the server's addresses");
        Through { proxy, uri }
    }

    /// That the driver talked to the proxy all the time, and cleanly.
    fn saw_it_all(mut self) {
        assert_eq!(self.proxy.ended(), None, "{}", self.proxy.log());
        let requests = self.proxy.count("/clients/requests");
        assert!(requests >= FEWEST_REQUESTS, "{requests} requests only");
        assert_eq!(self.proxy.count("/clients/broken_frames"), 0);
        assert!(
            self.proxy.count("/cache/hits") > 0,
            "nothing was served from the cache"
        );
    }
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
