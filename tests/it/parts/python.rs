//! Python 3 with packages from its index.
//!
//! `pip install --target` instead of a virtual environment: it needs pip alone (Debian ships venv
//! apart) and is allowed where the system's own packages are closed to pip.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::kept::{kept, run};

/// The driver the Python suites run with.
pub const PYMONGO: &str = "pymongo==4.20.0";

const HINT: &str = "Needed: python3 (3.10 or newer) with pip; on Debian or Ubuntu: \
                    apt-get install python3-pip";

/// `python3` that can import PyMongo (and `bson`, `gridfs`).
pub fn pymongo() -> Command {
    with_packages("pymongo", &[PYMONGO])
}

/// `python3` that can import these packages, each pinned (`name==version`). They are installed
/// under `name` at the first call on this machine.
pub fn with_packages(name: &str, requirements: &[&str]) -> Command {
    let dir = packages(name, requirements);
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", dir).env("PYTHONUNBUFFERED", "1");
    command
}

/// The directory that holds the packages: to be given as `PYTHONPATH`; their commands are in
/// `bin`.
pub fn packages(name: &str, requirements: &[&str]) -> PathBuf {
    let kept_as = format!("{name}-{}-{}", requirements.join("-"), version_tag());
    kept(&kept_as.replace("==", "-"), |dir| {
        run(
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet"])
                .args(["--disable-pip-version-check", "--no-compile"])
                .args(["--only-binary=:all:", "--target"])
                .arg(dir)
                .args(requirements),
            HINT,
        );
    })
}

/// Such as `cpython-311-x86_64`: compiled packages fit one version only.
fn version_tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| {
        let program = "import sys, platform; \
                       print(sys.implementation.cache_tag + '-' + platform.machine())";
        run(Command::new("python3").args(["-c", program]), HINT)
            .trim()
            .to_owned()
    })
}
