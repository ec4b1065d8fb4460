//! A proxy as a child process: what users run, with settings of the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use petiole::embedded::free_ports;

/// A running `petiole serve`, killed when dropped.
pub struct Proxy {
    child: Child,
    address: String,
    admin: String,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Proxy {
    /// Starts a proxy before `upstream_uri`; `overrides` are `--set key=value`.
    pub fn start(upstream_uri: &str, overrides: &[(&str, &str)]) -> Proxy {
        let program = Command::new(env!("CARGO_BIN_EXE_petiole"));
        Proxy::start_as(program, upstream_uri, overrides)
    }

    /// The same where the shell's `ulimit` says how many files it may open, such as `-n 256` or `-Sn 64`.
    pub fn start_limited(ulimit: &str, upstream_uri: &str, overrides: &[(&str, &str)]) -> Proxy {
        let mut shell = Command::new("bash");
        let script = format!("ulimit {ulimit}; exec \"$@\"");
        shell.args(["-c", &script, "-", env!("CARGO_BIN_EXE_petiole")]);
        Proxy::start_as(shell, upstream_uri, overrides)
    }

    fn start_as(mut command: Command, upstream_uri: &str, overrides: &[(&str, &str)]) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory for the log");
        let log = dir.path().join("log");
        let admin = format!("127.0.0.1:{}", free_ports(1).expect("a free port")[0]);
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                &admin,
                "--upstream",
                upstream_uri,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a log file"));
        for (key, value) in overrides {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let mut child = command.spawn().expect("the proxy starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the ready line");
        let Some(address) = line.trim().strip_prefix("petiole listening on ") else {
            let _ = child.wait();
            panic!(
                "no ready line but {line:?}; log: {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
        };
        Proxy {
            address: address.to_owned(),
            child,
            admin,
            log,
            _dir: dir,
        }
    }

    /// `127.0.0.1:port` for clients.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A connection string for clients, as an application would have it.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/", self.address)
    }

    /// `127.0.0.1:port` of the admin HTTP.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has ended, and how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Sends a signal by name (`TERM`, `HUP`, `KILL`).
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident set size now, bytes.
    pub fn rss(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .expect("a VmRSS line");
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// `GET /api/status`.
    pub fn status(&self) -> serde_json::Value {
        let (code, body) = http(&self.admin, "GET", "/api/status", &[]);
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// One number of the status, by JSON pointer (`/cache/hits`).
    pub fn count(&self, pointer: &str) -> u64 {
        let status = self.status();
        status
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("no {pointer} in {status}"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request; status code and body.
pub fn http(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("the admin HTTP listens");
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let code = answer
        .split_whitespace()
        .nth(1)
        .and_then(|c| c.parse().ok())
        .expect("a status line");
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    (code, body)
}
