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
fn a_fleet_holds_a_connection_for_each_emitter_and_receiver_on_a_router_process() {
    let small = ["--preset", "fleet", "--processes", "--emitters", "50", "--receivers", "5", "--rate", "200"];
    let (code, report) =
        run(&[&small[..], &["--linger", "50ms", "--receive-linger", "50ms", "--duration", "1s"]].concat());
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["delivered"], report["expected_deliveries"]);
    assert_eq!(report["connections"]["connections"], 55);
    assert_eq!(report["connections"]["is_of_routers_alone"], true);
    assert_eq!(report["processes"], true);
    for field in [
        "bytes_per_connection",
        "bytes_per_connection_warmed_up",
        "bytes_per_connection_at_most",
        "bytes_per_connection_at_end",
        "publisher_packets_per_s",
        "router_cpu_us_per_publisher_packet",
    ] {
        assert!(report["connections"][field].as_f64().unwrap() > 0.0, "{field}: {report:#}");
    }
}

#[test]
fn a_mesh_of_processes_carries_everything_from_one_router_to_the_others() {
    let small = ["--preset", "mesh", "--processes", "--routers", "3", "--emitters", "50", "--receivers", "5"];
    let (code, report) = run(&[&small[..], &["--rate", "1000", "--duration", "1s"]].concat());
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["routers"], 3);
    assert_eq!(report["delivered"], report["expected_deliveries"]);
    assert_eq!(report["mesh_deliveries"].as_u64().map(|count| count > 0), Some(true));
}

#[test]
fn receivers_far_away_on_a_bad_network_get_everything_on_either_kind_of_streams() {
    let small =
        ["--preset", "million", "--routers", "1", "--emitters", "50", "--receivers", "8", "--rate", "500"];
    let far = ["--receiver-connections", "1", "--duration", "1s", "--loss", "3%", "--distance", "1ms"];
    for deliveries in ["connection", "receiver"] {
        let (code, report) = run(&[&small[..], &far, &["--deliveries", deliveries]].concat());
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["delivered"], report["expected_deliveries"]);
        let network = &report["network"];
        assert_eq!(network["deliveries"], deliveries);
        assert!(network["treated"]["lost"].as_u64().unwrap() > 0, "{network:#}");
        assert!(report["latency_us"]["p50"].as_u64().unwrap() >= 1_000, "{report:#}");
    }
}

#[test]
fn only_receivers_that_stall_lose_and_their_gaps_say_so() {
    let small = ["--preset", "fan-out", "--rate", "4000", "--duration", "2s", "--disturb", "slow-receiver"];
    let shared = ["--receivers", "8", "--receiver-connections", "2", "--slow-receivers", "2"];
    for more in [&[][..], &shared] {
        let (code, report) = run(&[&small[..], &["--routers", "2"], more].concat());
        assert_eq!(code, 0, "{report:#}");
        let phase = &report["disturbed"][0];
        let outcome = &phase["outcome"];
        assert_eq!(phase["lost"], 0, "{phase:#}");
        assert!(outcome["missing"].as_u64().unwrap() > 0, "nothing overflowed: {outcome:#}");
        assert_eq!(outcome["missing"], outcome["said_by_its_gaps"]);
        assert!(phase["p99_ratio"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn churn_and_storms_disturb_nobody_for_good() {
    let small = ["--preset", "fan-out", "--rate", "1000", "--duration", "1s", "--routers", "2"];
    let disturb = ["--disturb", "churn,storm,storm-resumed", "--churn-rate", "500", "--storm-clients", "50"];
    let (code, report) = run(&[&small[..], &disturb, &["--allow", "disturbed"]].concat());
    assert_eq!(code, 0, "{report:#}");
    let outcome = |index: usize| &report["disturbed"][index]["outcome"];
    assert!(outcome(0)["effective_within_1s_share"].as_f64().unwrap() > 0.5, "{:#}", outcome(0));
    assert!(outcome(0)["selectors"].as_u64().unwrap() >= 400, "{:#}", outcome(0));
    for index in [1, 2] {
        assert_eq!(outcome(index)["clients"], 50);
        assert!(!outcome(index)["settled_s"].is_null(), "{:#}", outcome(index));
    }
    assert_eq!(outcome(1)["tickets_used"], 0);
    assert!(outcome(2)["tickets_used"].as_u64().unwrap() > 0, "{:#}", outcome(2));
}

#[test]
fn the_client_library_delivers_everything_in_every_shape_of_pipe() {
    for preset in ["p2p", "fan-in", "fan-out", "all-to-all"] {
        let (code, report) =
            run(&["--preset", preset, "--driver", "client", "--rate", "2000", "--duration", "200ms"]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["driver"], "client");
        assert_eq!(report["delivered"], report["expected_deliveries"], "{preset}");
        assert!(report["delivered"].as_u64().unwrap() > 400, "{preset}");
    }
}

#[test]
fn many_tag_sets_on_one_connection_are_runs_of_one() {
    let (code, report) =
        run(&["--preset", "p2p-tags", "--tag-sets", "300", "--rate", "2000", "--duration", "1s"]);
    assert_eq!(code, 0, "{report:#}");
    for (field, value) in [("tag_sets", 300), ("events_per_run", 1), ("publisher_connections", 1)] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["delivered"], report["expected_deliveries"]);
}

#[test]
fn a_search_records_its_steps_and_the_host_and_its_own_headroom() {
    let (_, report) =
        run(&["--preset", "p2p", "--max", "--p99", "1us", "--rate", "8", "--duration", "100ms"]);
    let steps = report["attempts"].as_array().unwrap();
    assert!(steps.len() == 4, "{steps:#?}");
    assert!(steps.iter().all(|step| step["p99_us"].is_u64() && step["held"].is_boolean()));
    assert_eq!(report["search"]["p99_max_us"], 1);
    for field in ["cpu_model", "memory_bytes", "kernel", "load_average", "commit", "cpus"] {
        assert!(!report["host"][field].is_null(), "{field}");
    }
    for field in ["busiest_thread_cpu_share", "lag_p99_us", "is_bottleneck"] {
        assert!(!report["headroom"][field].is_null(), "{field}");
    }
}

#[test]
fn a_router_that_is_not_there_is_named_with_what_to_do() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::cargo_bin("millrace-loadgen").unwrap();
    let output = command
        .args(["run", "--quiet", "--preset", "p2p", "--router", "127.0.0.1:1", "--ca"])
        .arg(ca.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--ca"));
}

#[test]
fn load_on_somebodys_routers_must_be_chosen_by_name() {
    let mut command = Command::cargo_bin("millrace-loadgen").unwrap();
    let output = command.args(["run", "--quiet", "--router", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--preset"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_whose_words_nobody_can_read_goes_on_and_leaves_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("millrace-loadgen"))
        .args(["run", "--preset", "p2p", "--rate", "1k", "--duration", "500ms"])
        .args(["--no-step-down", "--allow", "rate", "--json"])
        .arg(&path)
        // Empty is as if unset.
        .env("MILLRACE_CA", "")
        .stdout(full())
        .stderr(full())
        .status()
        .unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(report["host"].is_object());
    assert_eq!(status.code(), Some(2), "standard output was wanted, too");
}

#[test]
fn junk_handshakes_and_reloads_lose_nothing() {
    // Times are not judged: debug builds on a busy host have none to speak of.
    let lenient = ["--allow", "slowed", "--duration", "1s", "--rate", "1000"];
    let junk = ["--preset", "p2p", "--disturb", "junk-handshakes,junk-spoofed", "--junk-rate", "50"];
    let (code, report) = run(&[&junk[..], &lenient, &["--rounds", "2"]].concat());
    assert_eq!(code, 0, "{report:#}");
    let outcome = |index: usize| &report["disturbed"][index]["outcome"];
    assert!(outcome(0)["answered"].as_u64().unwrap() > 0, "routers signed: {:#}", outcome(0));
    assert!(outcome(1)["sent"].as_u64().unwrap() >= 40, "{:#}", outcome(1));
    assert_eq!(report["disturbed"].as_array().unwrap().len(), 4);
    assert_eq!(
        (report["controls"].as_array().unwrap().len(), &report["noticed"][0]["rounds"]),
        (1, &2.into())
    );
    let reload = ["--preset", "p2p", "--processes", "--disturb", "reload", "--reload-every", "200ms"];
    let (code, report) = run(&[&reload[..], &lenient].concat());
    assert_eq!(code, 0, "{report:#}");
    let outcome = &report["disturbed"][0]["outcome"];
    assert!(outcome["reloads"].as_u64().unwrap() >= 2 && outcome["failed"] == 0, "{outcome:#}");
}
