//! What the operating system says. (Linux: proc and cgroup v2; elsewhere nothing is known.)

use std::fs;
use std::path::Path;

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitSource {
    /// `memory.limit`.
    Setting,
    /// The control group, or one that it is in.
    ControlGroup,
    /// All that the machine has.
    Machine,
}

impl LimitSource {
    /// In an operator's words.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitSource::Setting => "memory.limit",
            LimitSource::ControlGroup => "the control group",
            LimitSource::Machine => "the machine",
        }
    }
}

/// Resident set size, bytes.
pub(super) fn rss() -> Option<u64> {
    kib_line("/proc/self/status", "VmRSS:")
}

/// The smallest limit there is, bytes. `setting`: the operator's own.
pub(super) fn limit(setting: Option<u64>) -> Option<(u64, LimitSource)> {
    let limits = [
        (setting, LimitSource::Setting),
        (control_group(), LimitSource::ControlGroup),
        (kib_line("/proc/meminfo", "MemTotal:"), LimitSource::Machine),
    ];
    let known = limits
        .into_iter()
        .filter_map(|(bytes, from)| Some((bytes?, from)));
    known.min_by_key(|(bytes, _)| *bytes)
}

fn control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::"))?;
    smallest_of(Path::new("/sys/fs/cgroup"), path.trim_matches('/'))
}

/// The smallest `memory.max` of a group and those that it is in.
fn smallest_of(root: &Path, group: &str) -> Option<u64> {
    let group = root.join(group);
    let within = group.ancestors().take_while(|at| at.starts_with(root));
    within
        .filter_map(|at| {
            let text = fs::read_to_string(at.join("memory.max")).ok()?;
            // "max" is no limit.
            text.trim().parse().ok()
        })
        .min()
}

fn kib_line(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_has_resident_memory_and_a_limit() {
        let (limit, _) = limit(None).expect("a machine has a size");
        assert!(rss().is_some_and(|rss| rss > 100_000 && rss < limit));
        assert_eq!(
            super::limit(Some(1 << 20)),
            Some((1 << 20, LimitSource::Setting))
        );
    }

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("outer/inner");
        fs::create_dir_all(&inner).expect("folders");
        let set = |at: &Path, text: &str| fs::write(at.join("memory.max"), text).expect("a file");
        assert_eq!(smallest_of(root.path(), "outer/inner"), None);
        set(&inner, "max\n");
        set(&root.path().join("outer"), "1000\n");
        assert_eq!(smallest_of(root.path(), "outer/inner"), Some(1000));
        set(&inner, "500\n");
        assert_eq!(smallest_of(root.path(), "outer/inner"), Some(500));
    }
}
