//! The command as scripts use it, on small workloads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use assert_cmd::Command;
use serde_json::Value;

/// Runs `millrace-loadgen run` and returns its exit code and report.
fn run(arguments: &[&str]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let mut command = Command::cargo_bin("millrace-loadgen").unwrap();
    // Debug builds on a busy host may not hold even a small rate: that is not what is tested.
    let lenient = ["--no-step-down", "--allow", "rate"];
    let output = command
        .arg("run")
        .args(arguments)
        .args(lenient)
        .args(["--quiet", "--json"])
        .arg(&path)
        .output()
        .unwrap();
    let report = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let stderr = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), report.unwrap_or_else(|| panic!("no report: {stderr}")))
}

#[test]
fn a_small_million_delivers_everything_once_across_the_mesh() {
    let small = ["--emitters", "300", "--receivers", "40", "--rate", "2000", "--duration", "1s"];
    let (code, report) = run(&small);
    assert_eq!(code, 0, "{report:#}");
    for (field, value) in
        [("lost", 0), ("duplicated", 0), ("reordered", 0), ("routers", 2), ("emitters", 300)]
    {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["delivered"], report["expected_deliveries"]);
    let share = report["mesh_deliveries"].as_f64().unwrap() / report["delivered"].as_f64().unwrap();
    assert!((0.2..0.8).contains(&share), "about half of the deliveries cross the mesh: {share}");
    for field in [
        "schema",
        "preset",
        "duration_s",
        "cores_per_router",
        "publisher_connections",
        "receiver_connections",
        "payload_bytes",
        "target_events_per_s",
        "offered_events_per_s",
        "ingress_events_per_s",
        "egress_events_per_s",
        "published",
        "dropped",
        "latency_us",
        "cpu_s",
        "rss_bytes",
    ] {
        assert!(!report[field].is_null(), "{field} is missing");
    }
}

#[test]
fn a_router_of_two_cores_carries_runs_to_every_receiver_of_everything() {
    let (code, report) =
        run(&["--preset", "all-to-all", "--cores", "2", "--rate", "4000", "--duration", "1s"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["delivered"], report["expected_deliveries"]);
}

#[test]
fn a_router_that_is_not_there_is_named_with_what_to_do() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::cargo_bin("millrace-loadgen").unwrap();
    let output =
        command.args(["run", "--quiet", "--router", "127.0.0.1:1", "--ca"]).arg(ca.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--ca"));
}
