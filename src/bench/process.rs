//! Child processes of the bench: started, awaited, watched (CPU and memory, Linux), and ended with their owner.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::embedded::{EmbeddedError, Process};

/// Why a child isn't there.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It couldn't be started.
    #[error(transparent)]
    Start(#[from] EmbeddedError),
    /// It ended before it was ready, or wasn't ready in time.
    #[error("{name} {problem}{}", tail(.output))]
    NotReady {
        /// Which one.
        name: String,
        /// What happened instead.
        problem: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Files or sockets of our own.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn tail(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("; it wrote:\n{output}")
    }
}

/// How long a child may take until it's ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a child that isn't ready yet.
const LOOK: Duration = Duration::from_millis(5);

/// A running child with what it writes. Killed when dropped, and when we end in whatever way.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    output: PathBuf,
    _dir: TempDir,
}

impl Child {
    /// Starts a program. Its standard output and error go to one temporary file.
    pub fn start(name: &str, program: &Path, args: &[&str]) -> Result<Child, ProcessError> {
        let dir = tempfile::Builder::new()
            .prefix("petiole-bench-")
            .tempdir()?;
        // The watchdog removes this folder when we're killed, and then the one above, which holds nothing else.
        let own = dir.path().join(name.replace([' ', ','], "-"));
        std::fs::create_dir(&own)?;
        let output = own.join("log");
        let process = Process::start(program, args, &output, &own)?;
        Ok(Child {
            name: name.to_owned(),
            process,
            output,
            _dir: dir,
        })
    }

    /// Starts this very program with other arguments.
    pub fn start_self(name: &str, args: &[&str]) -> Result<Child, ProcessError> {
        Child::start(name, &std::env::current_exe()?, args)
    }

    /// What tables call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it wrote a whole line that starts with `prefix` and returns the rest of that line.
    pub fn wait_for_line(&mut self, prefix: &str) -> Result<String, ProcessError> {
        let path = self.output.clone();
        self.wait_for(&format!("printed no line \"{prefix}…\""), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let whole = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            whole
                .filter_map(|line| line.strip_prefix(prefix))
                .map(|rest| rest.trim().to_owned())
                .next()
        })
    }

    /// Waits until it accepts connections.
    pub fn wait_for_port(&mut self, address: SocketAddr) -> Result<(), ProcessError> {
        self.wait_for(&format!("doesn't listen on {address}"), || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1))
                .ok()
                .map(drop)
        })
    }

    fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, ProcessError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Asked before the look, so that the last words of a child that ends are still read.
            let ended = self.process.ended();
            if let Some(found) = look() {
                return Ok(found);
            }
            let problem = match ended {
                Some(status) => format!("ended before it was ready ({status})"),
                None if Instant::now() > deadline => format!("{what} within {PATIENCE:?}"),
                None => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            };
            return Err(ProcessError::NotReady {
                name: self.name.clone(),
                problem,
                output: self.last_words(),
            });
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default()
            .join("\n")
    }
}

/// A port on the loopback interface that was free a moment ago.
pub fn free_address() -> Result<SocketAddr, std::io::Error> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The full path of a program, looked up in PATH and where administrators' programs live.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// CPU time that a process has used so far, all threads together. `None` where there's no Linux proc file system.
pub fn process_cpu(pid: u32) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between the listing and the reading.
        total += task
            .ok()
            .and_then(|task| scheduled(&task.path()))
            .unwrap_or_default();
    }
    Some(total)
}

/// CPU time that the calling thread has used so far.
pub fn thread_cpu() -> Duration {
    scheduled(Path::new("/proc/thread-self")).unwrap_or_default()
}

/// The scheduler's own count of nanoseconds on a CPU.
fn scheduled(folder: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(folder.join("schedstat")).ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// The share of this machine's CPU time that is in use (by anyone) during the next moment. `None` where that isn't known.
pub fn busy_share(during: Duration) -> Option<f64> {
    let before = cpu_ticks()?;
    std::thread::sleep(during);
    let after = cpu_ticks()?;
    let total = after.0.saturating_sub(before.0);
    let idle = after.1.saturating_sub(before.1);
    (total > 0).then(|| 1.0 - idle as f64 / total as f64)
}

/// All ticks and idle ticks (waiting for disks included) of all cores.
fn cpu_ticks() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|tick| tick.parse().ok())
        .collect();
    Some((ticks.iter().sum(), ticks.get(3)? + ticks.get(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("sh", &find_program("sh").unwrap(), &["-c", script]).unwrap()
    }

    #[test]
    fn a_child_that_ends_early_is_reported_with_its_last_words() {
        let mut child = shell("echo starting; echo no such file >&2; exit 3");
        let error = child.wait_for_line("ready ").unwrap_err().to_string();
        assert!(
            error.contains("ended before it was ready") && error.contains("no such file"),
            "{error}"
        );
    }

    #[test]
    fn the_ready_line_is_found_behind_others() {
        let mut child = shell("echo hello; echo listening on 127.0.0.1:1; exec sleep 60");
        assert_eq!(child.wait_for_line("listening on ").unwrap(), "127.0.0.1:1");
        assert!(resident(child.pid()).is_none_or(|bytes| bytes > 0));
    }

    #[test]
    fn a_busy_child_uses_cpu_time() {
        let child = shell("while :; do :; done");
        let deadline = Instant::now() + PATIENCE;
        while process_cpu(child.pid()).unwrap_or(Duration::MAX) < Duration::from_millis(1) {
            assert!(Instant::now() < deadline, "no CPU time counted");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_missing_program_is_reported() {
        let mut child = Child::start("nonsense", Path::new("/no/such/program"), &[]).unwrap();
        let error = child.wait_for_line("ready").unwrap_err().to_string();
        assert!(
            error.starts_with("nonsense ended before it was ready"),
            "{error}"
        );
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }
}
