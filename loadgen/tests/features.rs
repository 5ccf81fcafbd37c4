//! The commands that judge one feature each, small enough for a test. Times are not judged here,
//! because debug builds on a busy host have none to speak of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use assert_cmd::Command;
use serde_json::Value;

/// Runs a command; its report, if it passed.
fn passes(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let mut command = Command::cargo_bin("millrace-loadgen").unwrap();
    let output = command.args(arguments).args(["--quiet", "--json"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(report["verdict"], "pass", "{report:#}");
    report
}

#[test]
fn what_nobody_wants_is_saved_and_what_somebody_wants_is_not_missed() {
    let small = ["--emitters", "400", "--one-in", "20", "--connections", "4", "--rate", "1000"];
    let report = passes(&[&["quench"][..], &small, &["--duration", "1s", "--switches", "5"]].concat());
    assert_eq!(report["schema"], "millrace-loadgen-quench/1");
    assert_eq!(report["quenched_emitters"], 380);
    assert!(report["saved_events_share"].as_f64().unwrap() > 0.5, "{report:#}");
    assert_eq!(report["effective_us"]["count"], 5);
}

#[test]
fn every_number_comes_once_when_the_holder_is_killed() {
    let small = ["--kills", "2", "--rate", "500", "--receivers", "2", "--pause", "60s"];
    let report = passes(&[&["standby"][..], &small].concat());
    assert_eq!(report["schema"], "millrace-loadgen-standby/1");
    assert_eq!(
        (&report["takeovers"], &report["missing"], &report["duplicated"]),
        (&2.into(), &0.into(), &0.into())
    );
    assert_eq!(report["delivered"].as_u64(), report["numbers"].as_u64().map(|numbers| 2 * numbers));
}

#[test]
fn levels_take_over_when_members_are_busy_flap_and_are_killed() {
    let small = ["--groups", "3", "--kills", "1", "--rate", "600", "--busy", "60s", "--killed", "60s"];
    let report = passes(&[&["groups"][..], &small].concat());
    assert_eq!(report["schema"], "millrace-loadgen-groups/1");
    assert_eq!((&report["missing"], &report["twice_unmarked"]), (&0.into(), &0.into()));
    assert_eq!((&report["busy_us"]["count"], &report["killed_us"]["count"]), (&3.into(), &3.into()));
}

#[test]
fn many_requests_at_once_each_have_their_reply() {
    let small = ["--outstanding", "2000", "--duration", "500ms", "--fresh", "10", "--at-a-time", "4"];
    // The memory of so few is lost in that of everything else.
    let report = passes(&[&["requests"][..], &small, &["--bytes", "100000"]].concat());
    assert_eq!(report["schema"], "millrace-loadgen-requests/1");
    assert_eq!((&report["open_at_routers"], &report["wrong"]), (&2000.into(), &0.into()));
    assert_eq!(report["answered"], report["asked"]);
}

#[test]
fn a_ring_of_clusters_gives_each_receiver_each_event_once() {
    let report = passes(&["forwarding", "--rate", "600", "--duration", "1s", "--still", "1s"]);
    assert_eq!(report["schema"], "millrace-loadgen-forwarding/1");
    assert_eq!(report["delivered"].as_u64(), report["published"].as_u64().map(|events| 3 * events));
    assert!(report["copies_removed"].as_u64().unwrap() > 0, "each event comes on two ways: {report:#}");
}

#[test]
fn receivers_of_a_killed_router_have_events_again_and_are_told_of_what_they_missed() {
    let small = ["--connections", "12", "--watch", "500ms", "--within", "60s"];
    let report = passes(&[&["failover"][..], &small].concat());
    assert_eq!(report["schema"], "millrace-loadgen-failover/1");
    assert_eq!((&report["again_us"]["count"], &report["lost"]), (&12.into(), &0.into()));
    assert_eq!((&report["untold"], &report["repeated"]), (&0.into(), &0.into()));
    assert!(report["idle_datagrams_per_s"].as_f64().unwrap() > 0.0, "{report:#}");
}

#[test]
fn clients_of_one_router_are_even_on_two_after_one_call() {
    let report = passes(&["rebalance", "--connections", "20", "--watch", "500ms", "--within", "500ms"]);
    assert_eq!(report["schema"], "millrace-loadgen-rebalance/1");
    assert_eq!((&report["before"][0], &report["asked"]), (&20.into(), &9.into()));
    assert_eq!((&report["missed"], &report["repeated"]), (&0.into(), &0.into()));
}

#[test]
fn routers_restart_one_behind_the_other_and_no_event_is_missing() {
    // Latency is not judged: builds for tests on a busy host have none to speak of.
    let small = ["--rate", "2000", "--watch", "500ms", "--pause", "500ms", "--slower", "1000000"];
    let report = passes(&[&["rolling"][..], &small].concat());
    assert_eq!(report["schema"], "millrace-loadgen-rolling/1");
    assert_eq!((&report["missing"], &report["duplicated"]), (&0.into(), &0.into()));
    assert_eq!(report["delivered"], report["published"]);
    assert_eq!(report["back_ms"].as_array().unwrap().len(), 3);
}
