//! SecantusDB: a second server that speaks MongoDB's protocol, written by others.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use petiole::embedded::{Process, free_ports};
use tempfile::TempDir;

use super::python;
use super::wait::{PATIENCE, until_within};

/// The only releases of 0.7 are betas, which pip takes only when asked for exactly.
const REQUIREMENTS: &[&str] = &["SecantusDB==0.7.0b3", python::PYMONGO];

/// A running SecantusDB with a data directory of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Secantus {
    address: String,
    args: Vec<OsString>,
    process: Process,
    dir: TempDir,
}

impl Secantus {
    /// Starts one; it shows itself to drivers as a replica set of one, named `secantus`. Blocks
    /// until it listens.
    pub fn start() -> Secantus {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, such as `--standalone`.
    pub fn start_with(further: &[&str]) -> Secantus {
        let packages = python::packages("secantus", REQUIREMENTS);
        let dir = tempfile::Builder::new()
            .prefix("petiole-secantus-")
            .tempdir()
            .unwrap();
        let own = own_dir(&dir);
        fs::create_dir(&own).unwrap();
        // Without one it would look for settings in the home directory and elsewhere.
        let config = own.join("secantusd.toml");
        fs::write(&config, "").unwrap();
        let port = free_ports(1).unwrap()[0];
        let mut python_path = OsString::from("PYTHONPATH=");
        python_path.push(&packages);
        let mut args: Vec<OsString> = vec![
            python_path,
            "python3".into(),
            packages.join("bin").join("secantusd-py").into(),
            "--config".into(),
            config.into(),
            "--host".into(),
            "127.0.0.1".into(),
            "--port".into(),
            port.to_string().into(),
            "--storage-path".into(),
            own.join("data").into(),
        ];
        args.extend(further.iter().map(OsString::from));
        Secantus {
            address: format!("127.0.0.1:{port}"),
            process: run(&args, &own),
            args,
            dir,
        }
    }

    /// Kills it (SIGKILL) and starts it again on the same data and port. Blocks until it listens.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = run(&self.args, &own_dir(&self.dir));
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A connection string.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/", self.address)
    }
}

fn own_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("member-0")
}

fn run(args: &[OsString], own: &Path) -> Process {
    let output = own.join("out");
    fs::write(&output, "").unwrap();
    let mut process = Process::start(Path::new("env"), args, &output, own).unwrap();
    // (Python starts slowly beside compilers and other tests.)
    until_within(PATIENCE * 4, "SecantusDB listens", || {
        let said = fs::read_to_string(&output).unwrap_or_default();
        if let Some(status) = process.ended() {
            panic!("SecantusDB ended ({status}): {said}");
        }
        said.contains("secantus listening on")
    });
    process
}
