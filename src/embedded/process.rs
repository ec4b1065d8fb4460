//! One child process that never outlives us.
//!
//! A server started by a test must end with the test, also when the test is killed with SIGKILL
//! and runs no destructor. So the child runs under a few lines of `sh` that hold the read end of
//! a pipe whose only write end is ours: when we end, in whatever way, the pipe closes and the
//! shell kills the child. The same pipe carries signals: the shell is the child's parent, so the
//! process id it sends them to cannot have been given to someone else.
//!
//! The child gets a process group of its own: Ctrl-C in a terminal reaches us alone, and we end
//! the child in order after our clients are served.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::EmbeddedError;

/// `$1` is the file for the child's output, the rest is its command line. Descriptor 3 is our
/// pipe, 4 tells us the process id and then acknowledges each signal.
const WATCHDOG: &str = r#"
exec 3<&0 4>&1 </dev/null >>"$1" 2>&1
shift
"$@" 3<&- 4>&- &
child=$!
echo "$child" >&4
(
  while read -r signal <&3; do kill -s "$signal" "$child"; echo sent >&4; done
  kill -s KILL "$child"
) &
reader=$!
exec 3<&- 4>&-
wait "$child"
code=$?
kill -s KILL "$reader"
exit "$code"
"#;

/// What can be sent to a [`Process`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGSTOP: it goes silent, its connections stay open.
    Stop,
    /// SIGCONT: it goes on after [`Signal::Stop`].
    Cont,
    /// SIGTERM: it ends in order.
    Term,
    /// SIGKILL: it is gone.
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
            Signal::Term => "TERM",
            Signal::Kill => "KILL",
        }
    }
}

/// A running child process; dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    watchdog: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `program` with `args`; what it prints is appended to the file `output`.
    ///
    /// A program that does not exist ends at once with status 127 and a line in `output`.
    ///
    /// # Errors
    /// When `sh` cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: &[A],
        output: &Path,
    ) -> Result<Process, EmbeddedError> {
        let failed = || EmbeddedError::io(format!("starting {} under sh", program.display()));
        let mut watchdog = Command::new("sh")
            .arg("-c")
            .arg(WATCHDOG)
            .arg("petiole-watchdog")
            .arg(output)
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed())?;
        let commands = watchdog.stdin.take();
        let Some(stdout) = watchdog.stdout.take() else {
            return Err(failed()(std::io::ErrorKind::BrokenPipe.into()));
        };
        let mut answers = BufReader::new(stdout);
        let mut line = String::new();
        answers.read_line(&mut line).map_err(failed())?;
        let pid = line.trim().parse().map_err(|_| {
            failed()(std::io::Error::other(format!(
                "the watchdog said {line:?} where a process id was expected"
            )))
        })?;
        Ok(Process {
            pid,
            watchdog,
            commands,
            answers,
        })
    }

    /// The child's process id (not the watchdog's).
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal and returns once it was sent. `false` if the child has ended before.
    pub fn signal(&mut self, signal: Signal) -> bool {
        let Some(commands) = self.commands.as_mut() else {
            return false;
        };
        let mut line = String::new();
        writeln!(commands, "{}", signal.name()).is_ok()
            && commands.flush().is_ok()
            && matches!(self.answers.read_line(&mut line), Ok(read) if read > 0)
    }

    /// The exit status if the child has ended, without waiting for it.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.watchdog.try_wait().ok().flatten()
    }

    /// Waits for the child's end, however long that takes.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        self.watchdog.wait().ok()
    }

    /// Has the child killed (SIGKILL), without waiting for its end.
    pub fn start_kill(&mut self) {
        self.commands = None;
    }

    /// Kills the child (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        self.start_kill();
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
