//! `compare` as scripts use it, short and at the speed of a debug build.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use assert_cmd::Command;
use serde_json::Value;

/// Runs `millrace-loadgen compare` for one short round, without any peer in `PATH`.
fn compare(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compare.json");
    let output = Command::cargo_bin("millrace-loadgen")
        .unwrap()
        .args(["compare", "--quiet", "--rounds", "1", "--duration", "300ms", "--window", "512", "--json"])
        .arg(&path)
        .args(arguments)
        .env("PATH", folder.path())
        .env_remove("NATS_SERVER")
        .env_remove("MILLRACE_PEER_ZENOH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

fn row<'a>(report: &'a Value, workload: &str, system: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["workload"] == workload && row["system"] == system).unwrap()
}

#[test]
fn the_router_and_both_relays_deliver_everything_to_everyone() {
    let own = "millrace,ceiling,ceiling-stock-quinn";
    let report = compare(&["--workload", "p2p,all-to-all,latency-200k", "--system", own]);
    for workload in ["p2p", "all-to-all", "latency-200k"] {
        for system in own.split(',') {
            let row = row(&report, workload, system);
            assert_eq!(row["status"], "measured", "{row:#}");
            assert_eq!((&row["lost"], &row["wrong"]), (&0.into(), &0.into()), "{row:#}");
            assert_eq!(row["rounds"].as_array().unwrap().len(), 1);
            for figure in [
                "ingress_events_per_s",
                "egress_events_per_s",
                "p50_us",
                "p99_us",
                "cpu_ns_per_event",
                "rss_bytes",
            ] {
                assert!(row[figure].as_f64().unwrap() > 0.0, "{figure}: {row:#}");
            }
        }
    }
    let ratio = &report["ratios"][0];
    assert_eq!((&ratio["workload"], &ratio["against"]), (&"p2p".into(), &"ceiling".into()));
    assert!(ratio["ratio"].as_f64().unwrap() > 0.0);
    assert_eq!(report["window_events"], 512);
}

#[test]
fn runs_of_one_and_the_client_library_deliver_everything() {
    let report = compare(&["--workload", "p2p-runs-of-one,p2p-client", "--system", "millrace"]);
    for workload in ["p2p-runs-of-one", "p2p-client"] {
        let row = row(&report, workload, "millrace");
        assert_eq!((&row["lost"], &row["wrong"]), (&0.into(), &0.into()), "{row:#}");
    }
}

#[test]
fn a_peer_that_is_not_there_is_a_row_that_says_how_to_get_it() {
    let report = compare(&["--workload", "p2p", "--system", "nats-plain,nats-tls"]);
    for system in ["nats-plain", "nats-tls"] {
        let row = row(&report, "p2p", system);
        assert_eq!(row["status"], "skipped");
        assert!(row["note"].as_str().unwrap().contains("pip install"), "{row:#}");
        assert!(row["ingress_events_per_s"].is_null());
    }
    assert_eq!(report["yardsticks"][1]["sound"], Value::Null);
}
