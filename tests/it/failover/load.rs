//! A program in Python that asks without a pause until it's told to end, and then tells what it met.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::parts::python;

/// Dropped, it is killed.
pub struct Load(Child);

impl Load {
    /// Starts a script of `tests/clients`, and waits until it's at work.
    pub fn start(script: &str, arguments: &[&str]) -> Load {
        let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"));
        let mut child = python::pymongo()
            .arg(scripts.join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, out)
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "ready");
        Load(child)
    }

    /// Ends it: its report.
    pub fn end(&mut self) -> Value {
        drop(self.0.stdin.take());
        let mut text = String::new();
        let out = self.0.stdout.as_mut().unwrap();
        out.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
