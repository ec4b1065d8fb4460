//! One child process that never outlives us.
//!
//! A server started by a test must end with the test, also when the test is killed with SIGKILL
//! and runs no destructor, or keeps the server in a static, which is never dropped. So the child
//! runs under a few lines of `sh` that hold the read end of a pipe whose only write end is ours:
//! when we end, in whatever way, the pipe closes, and the shell kills the child and removes its
//! directory. The same pipe carries signals: the shell is the child's parent, so the process id
//! it sends them to cannot have been given to someone else.
//!
//! The child gets a process group of its own: Ctrl-C in a terminal reaches us alone, and we end
//! the child in order after our clients are served.
//!
//! Everything here blocks, for as long as a shell takes to start or to send a signal.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::EmbeddedError;

/// `$1` is the file for the child's output, `$2` the directory to remove when the pipe closes,
/// the rest is the child's command line. Descriptor 3 is our pipe; to 4 it writes the process id
/// and then acknowledges each signal.
const WATCHDOG: &str = r#"
exec 3<&0 4>&1 </dev/null >>"$1" 2>&1
dir="$2"
shift 2
"$@" 3<&- 4>&- &
child=$!
echo "$child" >&4
(
  while read -r signal <&3; do kill -s "$signal" "$child"; echo sent >&4; done
  trap '' TERM
  exec >/dev/null 2>&1
  kill -s KILL "$child"
  rm -rf "$dir"
  rmdir "${dir%/*}"
) &
reader=$!
exec 3<&- 4>&-
wait "$child"
code=$?
kill -s TERM "$reader"
wait "$reader"
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

/// A running child process. Dropping it kills it, waits for its end and removes its directory.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    watchdog: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `program` with `args`. What it prints is appended to the file `output`. `dir` is
    /// its own directory: removed when it is killed by dropping this or by our end, and then the
    /// directory above too, if that is empty; left alone when it ends by itself or by a signal.
    ///
    /// A program that does not exist ends at once with status 127 and a line in `output`.
    ///
    /// # Errors
    /// When `sh` cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: &[A],
        output: &Path,
        dir: &Path,
    ) -> Result<Process, EmbeddedError> {
        let failed = || EmbeddedError::io(format!("starting {} under sh", program.display()));
        let mut watchdog = Command::new("sh")
            .arg("-c")
            .arg(WATCHDOG)
            .arg("petiole-watchdog")
            .arg(output)
            .arg(dir)
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

    /// Kills the child (SIGKILL), waits until it is gone, and leaves its directory.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::Kill);
        self.wait()
    }

    /// Closes the pipe: what dropping does, but without waiting for the child's end.
    pub fn abandon(&mut self) {
        self.commands = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.abandon();
        self.wait();
    }
}
