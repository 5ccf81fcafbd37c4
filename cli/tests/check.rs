//! `millrace check` against a router in this process, and completions and manual pages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::process::{Command, Output};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig};
use serde_json::Value;

fn millrace(args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("millrace"))
        .args(args)
        .env("MILLRACE_CONTEXT", "none")
        .output()
        .unwrap()
}

fn line(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

#[test]
fn exit_codes_and_performance_data_are_those_of_plugins() {
    let authority = DevAuthority::new().unwrap();
    let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
    config.name = Some("one".to_owned());
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    router.wait_until(Duration::from_secs(20), |seen| seen.status.ready()).unwrap();
    let admin = router.admin_addr().unwrap().to_string();
    let check = |args: &[&str]| {
        millrace(
            &[
                &["check", "--admin", &admin, "--over", "20ms", "-w", "certificate=", "-c", "certificate="],
                args,
            ]
            .concat(),
        )
    };
    let output = check(&[]);
    assert_eq!(
        (output.status.code(), line(&output).as_str().split(" | ").next()),
        (Some(0), Some("MILLRACE OK: one is well"))
    );
    let data = line(&output);
    for part in ["ready=1;;1:", "drops=0;0;", "queue=0%;80;95", "in=0;;"] {
        assert!(
            data.split_once(" | ").unwrap().1.split(' ').any(|word| word == part),
            "no `{part}` in {data}"
        );
    }
    let output = check(&["--critical", "peers=2:"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(line(&output).starts_with("MILLRACE CRITICAL: one: peers is 0 (good: 2:) | "), "{output:?}");
    assert_eq!(check(&["--warning", "peers=1:"]).status.code(), Some(1));
    let output = check(&["--json", "--only", "ready", "-c", "ready=@1"]);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&object["state"], &object["code"]), (&"CRITICAL".into(), &2.into()));
    assert_eq!(object["routers"][0]["figures"][0]["name"], "ready");
    router.stop(Duration::ZERO);
    drop(router);
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(2), "a router that does not answer is critical");
    assert!(line(&output).contains("no router answers"), "{output:?}");
}

#[test]
fn wrong_usage_is_unknown_to_monitoring_systems() {
    for args in [
        &["check", "-w", "drop=3"][..],
        &["check", "-w", "drops"],
        &["check", "-c", "drops=x"],
        &["check", "--no"],
    ] {
        let output = millrace(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(millrace(&["check", "--help"]).status.code(), Some(0));
    assert_eq!(millrace(&["sub", "--no"]).status.code(), Some(2));
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = millrace(&["completions", shell]);
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("sessions"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(millrace(&["man", pages.to_str().unwrap()]).status.success());
    for page in
        ["millrace.1", "millrace-pub.1", "millrace-ctl-why.1", "millrace-check.1", "millrace-context-save.1"]
    {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}
