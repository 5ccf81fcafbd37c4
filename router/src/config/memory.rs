//! How much memory the process may use: the host's, or less by its control group.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of the queue of a receiver with policy `block`, at least: it takes what its publishers
/// have on their way when they are stopped, which is at most 1 MiB for each. On a quiet host one
/// publisher had too much on its way for 512 KiB, and four for 2 MiB.
pub(super) const BLOCKING_QUEUE_BYTES_MIN: u64 = 8 << 20;

/// Most bytes of the default budget of queues: more than receivers of a healthy cluster ever have
/// waiting.
const QUEUE_BUDGET_MAX: u64 = 1 << 30;
/// The memory that is assumed where none can be read.
const MEMORY_UNKNOWN: u64 = 2 << 30;

/// A quarter of the memory that the process may use, at most 1 GiB.
pub(super) fn queue_budget() -> u64 {
    (usable() / 4).min(QUEUE_BUDGET_MAX)
}

/// The memory that the process may use, bytes.
pub(crate) fn usable() -> u64 {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let bounds = groups_of(&groups).into_iter().filter_map(|file| bound_of(&fs::read_to_string(file).ok()?));
    bounds.chain(host).min().unwrap_or(MEMORY_UNKNOWN)
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Files that may bound the process's memory: those of its group and of all groups above it, in
/// both versions of control groups. A file that does not exist bounds nothing.
fn groups_of(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(group.trim_start_matches('/')).ancestors() {
            files.push(Path::new(root).join(above).join(file));
        }
    }
    files
}

/// The bytes that a control group's file says; none when it says `max`.
fn bound_of(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_both_versions_and_of_groups_above_are_looked_for() {
        let files = groups_of("9:name=systemd:/\n4:cpu,memory:/a/b\n0::/pod/c\n");
        let files: Vec<&str> = files.iter().filter_map(|file| file.to_str()).collect();
        assert!(files.contains(&"/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes"));
        assert!(files.contains(&"/sys/fs/cgroup/memory/memory.limit_in_bytes"));
        assert!(
            files.contains(&"/sys/fs/cgroup/pod/memory.max") && files.contains(&"/sys/fs/cgroup/memory.max")
        );
        assert_eq!(bound_of("max\n"), None);
        assert_eq!(bound_of("1048576\n"), Some(1 << 20));
        assert_eq!(total_of("MemTotal:       24683000 kB\nMemFree: 1 kB\n"), Some(24_683_000 * 1024));
        assert!((1..=QUEUE_BUDGET_MAX).contains(&queue_budget()));
    }
}
