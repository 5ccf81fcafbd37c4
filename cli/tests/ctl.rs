//! `millrace ctl` against a router in this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::time::Duration;

use millrace_client::{Client, Config, Receiver, ReceiverOptions, Trust};
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

fn router(name: &str) -> RouterHandle {
    let authority = DevAuthority::new().unwrap();
    let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
    config.name = Some(name.to_owned());
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    router.wait_until(Duration::from_secs(20), |seen| seen.status.ready()).unwrap();
    router
}

async fn receiver(router: &RouterHandle, selectors: &[&str]) -> (Client, Receiver) {
    let config = Config::new([router.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(router.ca_pem().as_bytes().to_vec()));
    let client = Client::new(config).unwrap();
    let receiver = client.receiver(ReceiverOptions::default()).await.unwrap();
    let mut subscription = receiver.subscribe(selectors).unwrap();
    subscription.in_cluster().await.unwrap();
    (client, receiver)
}

fn ctl(admin: &str, args: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("millrace"));
    command.env("MILLRACE_CONTEXT", "none").env("MILLRACE_ADMIN", admin);
    command.arg("ctl").args(args).output().unwrap()
}

/// What people see: it succeeds, and fits into 80 columns.
fn words(admin: &str, args: &[&str]) -> String {
    let output = ctl(admin, args);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_seen_as_words_and_as_its_page() {
    let router = router("shown");
    let admin = router.admin_addr().unwrap().to_string();
    let long = format!("host={}", "x".repeat(200));
    let _receiver = receiver(&router, &["host=web-1,service=pay", &long]).await;
    let status = words(&admin, &["status"]);
    assert!(status.starts_with("ROUTER") && status.contains("\nshown   ready"), "{status}");
    let page = objects(&ctl(&admin, &["status", "--json"])).remove(0);
    assert_eq!((&page["name"], &page["ready"]), (&"shown".into(), &true.into()));
    assert_eq!(page["admin"], format!("http://{admin}"));
    assert_eq!(page["schema"], "millrace-router-status/1");

    let sessions = words(&admin, &["sessions", "--order", "drops"]);
    assert!(sessions.contains("shown: 1 of 1 sessions") && sessions.contains("1/2"), "{sessions}");
    let routes = words(&admin, &["routes", "-n", "1"]);
    assert!(
        routes.contains("host=web-1,service=pay  core 0") && routes.contains("More: --after"),
        "{routes}"
    );
    let routes = words(&admin, &["routes", "xxx"]);
    assert!(routes.contains("1 of 1 routes") && routes.contains('…'), "{routes}");

    let why = words(&admin, &["why", "host=web-1,service=pay"]);
    assert!(why.contains("meets 1 receiver of shown"), "{why}");
    let why = words(&admin, &["why", "host=web-1,service=shop"]);
    assert!(why.contains("meets no receiver of shown"), "{why}");
    assert!(why.contains("nearest: host=web-1,service=pay  asks for service=pay, not shop"), "{why}");
    assert_eq!(ctl(&admin, &["why", "host"]).status.code(), Some(2));
}

#[test]
fn failures_say_what_to_try_next() {
    let (router, nobody) = (router("embedded"), nobody().to_string());
    let admin = router.admin_addr().unwrap().to_string();
    let output = ctl(&nobody, &["status"]);
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8(output.stderr).unwrap();
    for part in ["no router answers at http://127.0.0.1:", "admin.listen", "--admin", "MILLRACE_ADMIN"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    // Those who answer are shown all the same.
    let output = ctl(&format!("{nobody},{admin}"), &["status", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let [error, page] = &objects(&output)[..] else { panic!("{output:?}") };
    assert_eq!(error["schema"], "millrace.ctl.error/1");
    assert_eq!(page["name"], "embedded");
    // A router that no process reads settings for.
    let output = ctl(&admin, &["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("its program reloads it"));
    assert_eq!(ctl(&admin, &["drain", "--no-wait"]).status.code(), Some(1));
    assert_eq!(ctl("https://a", &["status"]).status.code(), Some(2));
    // One router has nobody to give clients to; programs read that where they read everything else.
    let output = ctl(&admin, &["rebalance", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(objects(&output)[0]["schema"], "millrace.ctl.error/1");
    // An option of clients would look at another router than its user believes.
    for args in
        [["--router", "10.0.0.1", "status"], ["status", "--router", "10.0.0.1"], ["--zone", "a", "status"]]
    {
        let output = ctl(&admin, &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("is for clients") && error.contains("--admin"), "{error}");
    }
    let help = String::from_utf8(ctl(&admin, &["status", "--help"]).stdout).unwrap();
    assert!(help.contains("--admin") && !help.contains("--router"), "{help}");
}

#[test]
fn an_empty_variable_of_a_subcommand_is_as_if_unset() {
    // Whoever answers at the usual address, the command line was right.
    assert_ne!(ctl("", &["status"]).status.code(), Some(2));
}
