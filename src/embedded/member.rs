//! One mongod and its place: port, directory, log, process.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{EmbeddedError, MongodOptions, Process, Signal, command_line};

/// A member of a deployment, running or not.
#[derive(Debug)]
pub(super) struct Member {
    port: u16,
    dir: PathBuf,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    /// Where in the log this run begins.
    log_start: u64,
    /// By [`Signal::Stop`]: it accepts connections and says nothing.
    stopped: bool,
}

impl Member {
    /// Makes its directory under `root`.
    pub(super) fn prepare(root: &Path, index: usize, port: u16) -> Result<Member, EmbeddedError> {
        let dir = root.join(format!("member-{index}"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir.join("data"))
            .map_err(EmbeddedError::io(format!("creating {}", dir.display())))?;
        Ok(Member {
            port,
            dir,
            running: Mutex::new(None),
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let running = self.running.lock();
        running.as_ref().map(|running| running.process.pid())
    }

    /// Whether it runs and was not stopped, so that an answer can be expected.
    pub(super) fn is_awake(&self) -> bool {
        let mut running = self.running.lock();
        running
            .as_mut()
            .is_some_and(|running| !running.stopped && running.process.ended().is_none())
    }

    pub(super) fn spawn(
        &self,
        mongod: &Path,
        options: &MongodOptions,
        key: Option<&str>,
    ) -> Result<(), EmbeddedError> {
        let key_file = key.map(|key| self.write_key_file(key)).transpose()?;
        let log_start = self.log().metadata().map_or(0, |meta| meta.len());
        let args = command_line::arguments(
            options,
            self.port,
            &self.dir,
            &self.log(),
            key_file.as_deref(),
        );
        let process = Process::start(mongod, &args, &self.output(), &self.dir)?;
        *self.running.lock() = Some(Running {
            process,
            log_start,
            stopped: false,
        });
        Ok(())
    }

    /// Kills it and waits for its end; `false` if it did not run.
    pub(super) fn kill(&self) -> bool {
        let mut running = self.running.lock();
        let ran = match running.as_mut() {
            Some(running) => {
                let ran = running.process.ended().is_none();
                running.process.kill();
                ran
            }
            None => false,
        };
        *running = None;
        ran
    }

    /// Has it killed and its directory removed, without waiting.
    pub(super) fn abandon(&self) {
        if let Some(running) = self.running.lock().as_mut() {
            running.process.abandon();
        }
    }

    /// `false` if it did not run.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let mut running = self.running.lock();
        let Some(running) = running.as_mut() else {
            return false;
        };
        match signal {
            Signal::Stop => running.stopped = true,
            Signal::Cont => running.stopped = false,
            Signal::Term | Signal::Kill => {}
        }
        running.process.signal(signal)
    }

    /// Waits until this run's log says that it listens. (A successful connect would not do:
    /// another program may have taken the port before it.)
    pub(super) async fn wait_until_listening(
        &self,
        deadline: Instant,
    ) -> Result<(), EmbeddedError> {
        let begun = Instant::now();
        loop {
            if self.log_of_this_run().contains("aiting for connections") {
                return Ok(());
            }
            self.check_alive()?;
            if Instant::now() > deadline {
                return Err(EmbeddedError::Deadline {
                    what: format!("mongod listening on {}", self.address()),
                    waited: begun.elapsed(),
                    log: self.log_tail(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// An error that explains the end of a process that should run.
    pub(super) fn check_alive(&self) -> Result<(), EmbeddedError> {
        let status = match self.running.lock().as_mut() {
            Some(running) => match running.process.ended() {
                None => return Ok(()),
                Some(status) => status.to_string(),
            },
            None => "killed".to_owned(),
        };
        let address = self.address();
        if self.log_of_this_run().contains("Address already in use") {
            return Err(EmbeddedError::PortTaken { address });
        }
        Err(EmbeddedError::Ended {
            address,
            status,
            log: self.log_tail(),
        })
    }

    /// The end of what it printed and logged.
    pub(super) fn log_tail(&self) -> String {
        let mut text = tail(&self.output());
        text.push_str(&tail(&self.log()));
        text
    }

    /// The secret by which members know each other, in a file only mongod's user can read, or
    /// mongod refuses it.
    fn write_key_file(&self, key: &str) -> Result<PathBuf, EmbeddedError> {
        let path = self.dir.join("key");
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(key.as_bytes()))
            .map_err(EmbeddedError::io(format!("writing {}", path.display())))?;
        Ok(path)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("mongod.log")
    }

    fn output(&self) -> PathBuf {
        self.dir.join("mongod.out")
    }

    fn log_of_this_run(&self) -> String {
        let start = self.running.lock().as_ref().map_or(0, |run| run.log_start);
        read_from(&self.log(), SeekFrom::Start(start)).unwrap_or_default()
    }
}

/// The last lines of a file; empty if it cannot be read.
fn tail(path: &Path) -> String {
    let len = path.metadata().map_or(0, |meta| meta.len());
    let start = len.saturating_sub(TAIL_BYTES);
    let text = read_from(path, SeekFrom::Start(start)).unwrap_or_default();
    match text.split_once('\n') {
        Some((_cut_off, rest)) if start > 0 => rest.to_owned(),
        _ => text,
    }
}

fn read_from(path: &Path, position: SeekFrom) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(position)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const POLL: Duration = Duration::from_millis(10);
const TAIL_BYTES: u64 = 6 * 1024;
