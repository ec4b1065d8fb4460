//! Directories that are made once, kept between runs and shared by parallel tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory `name` among the kept ones. If it is not there, `make` fills a temporary one,
/// which then takes the name: so it is there whole or not at all. Others who want it wait.
///
/// Put all that decides the content (versions!) into `name`.
pub fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let root = petiole::embedded::cache_dir().join("test-parts");
    let dir = root.join(name);
    if dir.exists() {
        return dir;
    }
    fs::create_dir_all(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let lock_path = root.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).unwrap_or_else(|e| panic!("{}: {e}", lock_path.display()));
    lock.lock().unwrap();
    if !dir.exists() {
        let tmp = tempfile::tempdir_in(&root).unwrap();
        let inner = tmp.path().join("made");
        fs::create_dir(&inner).unwrap();
        make(&inner);
        fs::rename(&inner, &dir).unwrap();
    }
    drop(lock);
    dir
}

/// Runs a command to its end and returns what it printed to stdout. Panics if it cannot be run,
/// with `hint` on what to install, or fails, with all it printed.
#[track_caller]
pub fn run(command: &mut Command, hint: &str) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}. {hint}"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}. {hint}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}
