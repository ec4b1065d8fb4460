//! How much memory the process has, from the operating system. (Linux: proc and cgroup v2;
//! elsewhere nothing is known.) The watch with its actions is still to come.

mod arena;

use std::fs;

pub use self::arena::use_one_arena;

/// What the operating system says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Resident set size, bytes.
    pub rss: Option<u64>,
    /// The limit of the control group, bytes; `None` where there is none.
    pub limit: Option<u64>,
}

/// Reads both now.
pub fn sample() -> Sample {
    Sample {
        rss: rss(),
        limit: limit(),
    }
}

fn rss() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::"))?;
    let text = fs::read_to_string(format!(
        "/sys/fs/cgroup{}/memory.max",
        path.trim_end_matches('/')
    ))
    .ok()?;
    text.trim().parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_process_that_runs_has_resident_memory() {
        assert!(super::sample().rss.is_some_and(|rss| rss > 100_000));
    }
}
