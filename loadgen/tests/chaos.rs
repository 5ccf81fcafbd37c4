//! Chaos as scripts use it: a short run, and one that is interrupted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything here may take on a busy host.
const LONG: Duration = Duration::from_secs(60);

fn chaos(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("millrace-loadgen"))
        .args(["chaos", "--quiet", "--folder"])
        .arg(folder.join("run"))
        .arg("--json")
        .arg(folder.join("report.json"))
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

/// Processes of a run: the folder stands in their environment.
fn processes(folder: &Path) -> usize {
    let name = folder.to_str().unwrap();
    let has_name = |entry: std::io::Result<std::fs::DirEntry>| {
        let words = std::fs::read(entry.unwrap().path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(name)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| has_name(entry).then_some(())).count()
}

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_short_run_without_faults_of_the_network_judges_every_kind_of_event() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--duration", "6s", "--rate", "400", "--seed", "5", "--loss", "0", "--delay", "0s"];
    let status = chaos(folder.path(), &arguments).wait().unwrap();
    let report = report(folder.path());
    assert_eq!(status.code(), Some(0), "{report:#}");
    assert_eq!(report["verdict"], "pass");
    for field in ["confirmed_lost", "duplicates", "unexplained_gaps", "vanished", "unexpected"] {
        assert_eq!(report[field], 0, "{field}");
    }
    for field in ["published", "confirmed", "judged_pairs", "expected_pairs", "seed"] {
        assert!(report[field].as_u64().unwrap() > 0, "{field}");
    }
    let faults = &report["faults"];
    assert_eq!((&faults["kill"], &faults["stop"], &faults["restart"]), (&1.into(), &1.into(), &1.into()));
    assert!(faults["publisher_kill"].as_u64().unwrap() >= 20);
}

#[test]
fn an_interrupted_run_leaves_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = chaos(folder.path(), &["--duration", "10m", "--rate", "100"]);
    soon("three routers and four publishers", || processes(folder.path()) == 7);
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert_eq!(report(folder.path())["verdict"], "interrupted");
    assert_eq!(processes(folder.path()), 0);
}
