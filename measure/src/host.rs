//! The host that a run was on, and the program's commit.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// Facts that figures depend on. What the system does not tell is empty or 0.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Host {
    pub cpus: usize,
    pub cpu_model: String,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Over one minute, before the run.
    pub load_average: f64,
    /// Of the repository that the program lies in; `-dirty` when files were changed since.
    pub commit: String,
}

impl Host {
    /// This host.
    #[must_use]
    pub fn here(load_average: f64) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            cpu_model: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_bytes: kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average,
            commit: commit().unwrap_or_default(),
        }
    }
}

fn commit() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(program.parent()?).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}
