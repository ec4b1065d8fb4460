//! `benches/instructions.toml`: what each part took when somebody last looked at it and found it good.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Where it is, within the repository.
pub const FILE: &str = "benches/instructions.toml";
/// More than this is a regression.
pub const TOLERANCE_PERCENT: u64 = 5;

#[derive(Default, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler that the counts belong to: another one makes other instructions.
    rustc: String,
    /// Instructions by part.
    counts: BTreeMap<String, u64>,
}

impl Baseline {
    pub fn load() -> Result<Baseline, String> {
        match std::fs::read_to_string(path()) {
            Ok(text) => toml::from_str(&text).map_err(|error| format!("{FILE}: {error}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Baseline::default()),
            Err(error) => Err(format!("{FILE}: {error}")),
        }
    }

    pub fn save(&self) -> Result<(), String> {
        let counts = toml::to_string(self).map_err(|error| error.to_string())?;
        let text = format!(
            "# Instructions per operation, counted by callgrind; a part that takes over {TOLERANCE_PERCENT} % more fails the check.\n\
             # Written by: PETIOLE_BENCH_UPDATE=1 cargo bench --bench instructions\n{counts}"
        );
        std::fs::write(path(), text).map_err(|error| format!("{FILE}: {error}"))
    }

    /// Takes over new counts; those of parts that weren't counted stay.
    pub fn update(&mut self, found: &[(String, u64)]) {
        self.rustc = rustc();
        self.counts.extend(found.iter().cloned());
    }

    /// Parts that take too many. None when the compiler isn't the one that the file is about.
    pub fn worse(&self, found: &[(String, u64)]) -> Vec<String> {
        let here = rustc();
        if here != self.rustc {
            eprintln!(
                "not compared: the file is about {:?}, this is {here:?}",
                self.rustc
            );
            return Vec::new();
        }
        let is_worse = |(name, count): &&(String, u64)| {
            let known = self.counts.get(name);
            known.is_some_and(|known| count * 100 > known * (100 + TOLERANCE_PERCENT))
        };
        let worse = found.iter().filter(is_worse);
        worse.map(|(name, _)| name.clone()).collect()
    }
}

/// Counts beside what the file says.
pub fn table(found: &[(String, u64)], baseline: &Baseline) -> String {
    let mut text = format!(
        "{:<16}{:>12}{:>12}{:>9}\n",
        "", "instructions", "in the file", ""
    );
    for (name, count) in found {
        let _ = write!(text, "{name:<16}{count:>12}");
        if let Some(known) = baseline.counts.get(name) {
            let change = (*count as f64 / *known as f64 - 1.0) * 100.0;
            let _ = write!(text, "{known:>12}{change:>+7.1} %");
        }
        text.push('\n');
    }
    text
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FILE)
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
