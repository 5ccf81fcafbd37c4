//! The host's CPUs, as far as placement depends on them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::thread::{CpuSet, sched_getaffinity};

/// Facts about the host's CPUs, by the system's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// CPUs of the host that run.
    pub(crate) online: BTreeSet<usize>,
    /// CPUs that the process may use.
    pub(crate) allowed: BTreeSet<usize>,
    /// CPUs on which the kernel runs only programs that ask for them.
    pub(crate) isolated: BTreeSet<usize>,
    /// Whether a control group of the process keeps its CPUs from all other groups.
    pub(crate) is_exclusive: bool,
    /// The smallest quota of the process's control groups: CPU time per period, both in µs.
    pub(crate) quota: Option<(u64, u64)>,
}

impl Machine {
    /// Reads them on this host. A file that cannot be read counts as absent.
    pub(crate) fn of_this_host() -> Self {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let cpus = |path: &str| read(Path::new(path)).map_or_else(BTreeSet::new, |text| list(&text));
        let groups = groups(&read(Path::new("/proc/self/cgroup")).unwrap_or_default());
        Self {
            online: cpus("/sys/devices/system/cpu/online"),
            allowed: allowed(),
            isolated: cpus("/sys/devices/system/cpu/isolated"),
            is_exclusive: groups.iter().any(|group| is_exclusive(group, &read)),
            quota: groups.iter().filter_map(|group| quota(group, &read)).min_by(shorter),
        }
    }
}

fn allowed() -> BTreeSet<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// A list of CPUs as the kernel writes it, such as `0-3,8`.
fn list(text: &str) -> BTreeSet<usize> {
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last.min(CpuSet::MAX_CPU));
        }
    }
    cpus
}

/// Folders of the process's control groups and of all groups above them, without the roots, in both
/// versions of control groups. Within a container the root is the container's own group.
fn groups(text: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let has = |wanted: &str| controllers.split(',').any(|name| name == wanted);
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            _ if has("cpuset") => "/sys/fs/cgroup/cpuset",
            _ if has("cpu") => "/sys/fs/cgroup/cpu",
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        folders.extend(group.ancestors().map(|above| Path::new(root).join(above)));
    }
    folders
}

/// Whether a group keeps its CPUs from others: a partition of version 2, or the flag of version 1.
fn is_exclusive(group: &Path, read: &impl Fn(&Path) -> Option<String>) -> bool {
    let partition = read(&group.join("cpuset.cpus.partition"));
    // The kernel appends a reason to an invalid partition, which then is none.
    let is_partition = partition.is_some_and(|text| matches!(text.trim(), "root" | "isolated"));
    let flag = read(&group.join("cpuset.cpu_exclusive"));
    is_partition || flag.is_some_and(|text| text.trim() == "1")
}

fn quota(group: &Path, read: &impl Fn(&Path) -> Option<String>) -> Option<(u64, u64)> {
    if let Some(text) = read(&group.join("cpu.max")) {
        let (quota, period) = text.trim().split_once(' ')?;
        return Some((quota.parse().ok()?, period.parse().ok()?));
    }
    let number = |file: &str| read(&group.join(file))?.trim().parse().ok();
    Some((number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?))
}

fn shorter(a: &(u64, u64), b: &(u64, u64)) -> std::cmp::Ordering {
    (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &'static [(&str, &str)]) -> impl Fn(&Path) -> Option<String> {
        |path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).into())
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(list("0-2,5,7-8\n"), BTreeSet::from([0, 1, 2, 5, 7, 8]));
        assert_eq!(list("\n"), BTreeSet::new());
    }

    #[test]
    fn groups_of_both_versions_are_found_with_those_above() {
        let text = "4:cpuset:/pod/one\n3:cpu,cpuacct:/pod\n2:pids:/x\n0::/\n";
        let expected = [
            "/sys/fs/cgroup/cpuset/pod/one",
            "/sys/fs/cgroup/cpuset/pod",
            "/sys/fs/cgroup/cpuset",
            "/sys/fs/cgroup/cpu/pod",
            "/sys/fs/cgroup/cpu",
            "/sys/fs/cgroup",
        ];
        let found: Vec<_> = groups(text);
        let expected: Vec<_> = expected.map(PathBuf::from).into();
        assert_eq!(found, expected);
    }

    #[test]
    fn partitions_and_flags_say_whose_the_cpus_are() {
        let read = files(&[
            ("/v2/cpuset.cpus.partition", "isolated\n"),
            ("/broken/cpuset.cpus.partition", "root invalid (Cpu list in cpuset.cpus not exclusive)\n"),
            ("/member/cpuset.cpus.partition", "member\n"),
            ("/v1/cpuset.cpu_exclusive", "1\n"),
        ]);
        let found =
            ["/v2", "/broken", "/member", "/v1", "/none"].map(|at| is_exclusive(Path::new(at), &read));
        assert_eq!(found, [true, false, false, true, false]);
    }

    #[test]
    fn quotas_are_read_in_both_versions_and_the_smallest_counts() {
        let read = files(&[
            ("/v2/cpu.max", "200000 100000\n"),
            ("/free/cpu.max", "max 100000\n"),
            ("/v1/cpu.cfs_quota_us", "50000\n"),
            ("/v1/cpu.cfs_period_us", "10000\n"),
            ("/unbounded/cpu.cfs_quota_us", "-1\n"),
            ("/unbounded/cpu.cfs_period_us", "100000\n"),
        ]);
        let found = ["/v2", "/free", "/v1", "/unbounded"].map(|at| quota(Path::new(at), &read));
        assert_eq!(found, [Some((200_000, 100_000)), None, Some((50_000, 10_000)), None]);
        assert_eq!(found.into_iter().flatten().min_by(shorter), Some((200_000, 100_000)));
    }
}
