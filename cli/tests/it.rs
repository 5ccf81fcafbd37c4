//! The command against a router in this process: real input, real output, exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};

struct World {
    router: RouterHandle,
    ca: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::of_cores(1)
    }

    fn of_cores(cores: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        config.cores = cores;
        let router = Router::start(config).unwrap();
        Self { router, ca: authority.ca_path().unwrap().to_owned(), _folder: folder }
    }

    fn millrace(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command
            .args(args)
            .env("MILLRACE_ROUTER", self.router.addr().to_string())
            .env("MILLRACE_CA", &self.ca);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A `sub` that is effective.
    fn subscribed(&self, args: &[&str]) -> Child {
        let mut child = self.millrace(args).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("cluster") {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "sub ended early");
        }
        // Keep its standard error open: it may say more.
        std::thread::spawn(move || errors.read_to_end(&mut Vec::new()));
        child
    }

    fn publish(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self.millrace(args).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.router.stop(Duration::ZERO);
    }
}

#[test]
fn lines_of_a_log_arrive_at_those_who_asked_for_them() {
    let world = World::new();
    let everything = world.subscribed(&["sub", "fqdn=web-*", "-n", "1000"]);
    let errors = world.subscribed(&["sub", "fqdn,payload ~ /ERROR [0-9]*9$/", "-n", "10", "--json"]);
    let log: String = (0..1000)
        .map(|n| format!("{} {n}\n", if n % 10 == 9 && n < 100 { "ERROR" } else { "INFO" }))
        .collect();
    let published = world.publish(
        &["pub", "--lines", "--tag", "fqdn=web-1", "--tag", "file=app.log", "--json"],
        log.as_bytes(),
    );
    assert!(published.status.success(), "{published:?}");
    let summary: serde_json::Value = serde_json::from_slice(&published.stdout).unwrap();
    assert_eq!((&summary["published"], &summary["received"]), (&1000.into(), &1000.into()));

    let everything = everything.wait_with_output().unwrap();
    assert!(everything.status.success());
    let lines = String::from_utf8(everything.stdout).unwrap();
    let payloads: Vec<_> = lines.lines().map(|line| line.split('\t').nth(2).unwrap()).collect();
    assert_eq!(payloads, log.lines().collect::<Vec<_>>());
    assert!(lines.lines().all(|line| line.split('\t').nth(1) == Some("file=app.log,fqdn=web-1")));

    let errors = String::from_utf8(errors.wait_with_output().unwrap().stdout).unwrap();
    let objects: Vec<serde_json::Value> =
        errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<_> = objects.iter().map(|object| object["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [9, 19, 29, 39, 49, 59, 69, 79, 89, 99]);
    assert_eq!(objects[0]["payload"], "ERROR 9");
    assert_eq!(objects[0]["tags"]["fqdn"], "web-1");
}

#[test]
fn an_interrupt_before_the_wanted_number_is_not_taken_for_the_end() {
    let world = World::new();
    let commands: [&[&str]; 4] = [
        &["sub", "*", "-n", "3"],
        &["sub", "*", "-n", "3", "--exec", "cat"],
        &["reply", "*", "-n", "3", "--exec", "cat"],
        &["tap", "*", "-n", "3", "--samples", "5"],
    ];
    for args in commands {
        let mut child = world.millrace(args).spawn().unwrap();
        let one = |seen: &millrace_router::Seen| seen.sum(|core| core.engine.selectors) == 1;
        world.router.wait_until(Duration::from_secs(30), one).unwrap();
        let is_reply = args[0] == "reply";
        if is_reply {
            let asked = world.millrace(&["request", "host=a", "now?", "--timeout", "30s"]).output().unwrap();
            assert!(asked.status.success(), "{asked:?}");
        } else {
            assert!(world.publish(&["pub", "-t", "host=a", "now\n"], b"").status.success());
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert!(line.contains("now"), "{args:?}: {line}");
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{args:?}: {words}");
        assert!(words.contains("interrupted: 1 of 3 "), "{args:?}: {words}");
        let none = |seen: &millrace_router::Seen| seen.sum(|core| core.engine.selectors) == 0;
        world.router.wait_until(Duration::from_secs(30), none).unwrap();
    }
}

#[test]
fn a_time_ends_a_subscription_and_fewer_events_than_wanted_are_no_success() {
    let world = World::new();
    for exec in [&[][..], &["--exec", "cat"]] {
        let output = world.millrace(&[&["sub", "*", "--for", "50ms"], exec].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let output =
            world.millrace(&[&["sub", "*", "--for", "50ms", "-n", "3"], exec].concat()).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("0 of 3 events came within 50ms (--for)"), "{words}");
    }
    // Longer than this test takes: what is wanted ends it.
    let receiver = world.subscribed(&["sub", "*", "--for", "1h", "-n", "1"]);
    assert!(world.publish(&["pub", "-t", "host=a", "now"], b"").status.success());
    assert!(receiver.wait_with_output().unwrap().status.success());
}

#[test]
fn any_bytes_survive_the_way() {
    let world = World::new();
    let readable = world.subscribed(&["sub", "*", "-n", "3"]);
    let json = world.subscribed(&["sub", "*", "-n", "3", "--json"]);
    let published = world.publish(&["pub", "--lines", "-t", "note=a\\,b"], b"\xff\t\\\n\nlast");
    assert!(published.status.success(), "{published:?}");
    let readable = String::from_utf8(readable.wait_with_output().unwrap().stdout).unwrap();
    let columns: Vec<_> = readable.lines().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(columns, ["note=a\\,b\t\\xff\\t\\\\", "note=a\\,b\t", "note=a\\,b\tlast"]);
    let json = String::from_utf8(json.wait_with_output().unwrap().stdout).unwrap();
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["payload_hex"], &first["schema"]), (&"ff095c".into(), &"millrace.sub/1".into()));
}

#[test]
fn mistakes_are_explained_before_anything_is_connected() {
    let world = World::new();
    let selector = world.millrace(&["sub", "host in ("]).output().unwrap();
    assert_eq!(selector.status.code(), Some(2));
    let text = String::from_utf8(selector.stderr).unwrap();
    assert!(text.contains("column") && text.contains("\n  host in (\n"), "{text}");

    let tag = world.millrace(&["pub", "--tag", "host", "x"]).output().unwrap();
    assert_eq!(tag.status.code(), Some(2));
    assert!(String::from_utf8(tag.stderr).unwrap().contains("key=value"));

    let missing = world.millrace(&["--ca", "/nonexistent/ca.pem", "pub", "x"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("/nonexistent/ca.pem"));
}

#[test]
fn summary_and_exit_code_say_what_became_of_every_event() {
    let world = World::new();
    let publish = |args: &[&str]| {
        let args = [&["pub", "--tag", "host=a", "--json", "x", "y"], args].concat();
        let published = world.millrace(&args).output().unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&published.stdout).unwrap();
        let counts =
            ["confirmed", "partial", "dropped", "unknown"].map(|name| summary[name].as_u64().unwrap());
        (published.status.code().unwrap(), counts, String::from_utf8(published.stderr).unwrap())
    };
    assert_eq!(publish(&[]), (0, [2, 0, 0, 0], String::new()), "what nobody wants is confirmed");
    assert_eq!(publish(&["--confirm", "none"]).1, [0; 4]);
    let (code, counts, words) = publish(&["--min-receivers", "1"]);
    assert_eq!((code, counts), (1, [0, 0, 2, 0]));
    assert!(words.contains("2 events are not confirmed: 2 dropped (few_receivers)"), "{words}");
    assert_eq!(
        world
            .millrace(&["pub", "--confirm", "none", "--min-receivers", "1", "x"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );

    let receiver = world.subscribed(&["sub", "*", "-n", "3"]);
    assert_eq!(
        publish(&["--confirm", "delivered", "--min-receivers", "1"]),
        (0, [2, 0, 0, 0], String::new())
    );
    world.millrace(&["pub", "--tag", "host=a", "end"]).output().unwrap();
    assert!(receiver.wait_with_output().unwrap().status.success());
}

#[test]
fn a_receiver_that_has_what_it_wants_has_acknowledged_what_it_printed_and_nothing_else() {
    let world = World::new();
    for (wanted, code) in [("20", 0), ("15", 1)] {
        let receiver = world.subscribed(&["sub", "*", "-n", wanted]);
        let input: String = (0..20).map(|n| format!("{n}\n")).collect();
        let args = ["--json", "pub", "--tag", "host=a", "--lines", "--linger", "0s"];
        let published = world.publish(&[&args[..], &["--confirm", "delivered"]].concat(), input.as_bytes());
        assert_eq!(published.status.code(), Some(code), "{published:?}");
        let summary: serde_json::Value = serde_json::from_slice(&published.stdout).unwrap();
        let confirmed = summary["confirmed"].as_u64().unwrap();
        // What was published in one run is acknowledged with its last event.
        assert!(confirmed <= wanted.parse().unwrap(), "{summary}");
        let printed = String::from_utf8(receiver.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(printed.lines().count().to_string(), wanted);
    }
}

#[test]
fn publisher_has_as_many_connections_as_it_is_told_to() {
    let world = World::of_cores(2);
    for (connections, count) in [("one", 1), ("per-core", 2), ("3", 3)] {
        let receiver = world.subscribed(&["sub", "*", "-n", "2"]);
        let args = ["pub", "--connections", connections, "--tag", "host=a", "--json", "first", "second"];
        let published = world.millrace(&args).output().unwrap();
        assert!(published.status.success(), "{published:?}");
        let summary: serde_json::Value = serde_json::from_slice(&published.stdout).unwrap();
        assert_eq!((&summary["connections"], &summary["received"]), (&count.into(), &2.into()));
        assert_eq!(summary["publishers"].as_array().unwrap().len(), count);
        let lines = String::from_utf8(receiver.wait_with_output().unwrap().stdout).unwrap();
        let payloads: Vec<_> = lines.lines().map(|line| line.split('\t').nth(2).unwrap()).collect();
        assert_eq!(payloads, ["first", "second"], "one tag set keeps its order");
    }
}

#[test]
fn a_skipped_line_is_told_at_once_and_counted_behind_an_interrupt() {
    let world = World::new();
    let mut child = world.millrace(&["--json", "pub", "--lines", "-t", "k=v"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    input.write_all(&[&b"first\n"[..], &vec![b'x'; 1_100_000], b"\nthird\n"].concat()).unwrap();
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.contains("too long"), "{line}");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &summary["skipped"]), (Some(1), &1.into()));
}

#[test]
fn selectors_that_fill_many_frames_are_one_subscription() {
    let world = World::new();
    let selectors: Vec<String> = (0..1000).map(|n| format!("host=web-{n}.{}", "x".repeat(300))).collect();
    let mut args = vec!["sub", "-n", "2", "--queue", "1MiB", "--policy", "drop-newest"];
    args.extend(selectors.iter().map(String::as_str));
    let receiver = world.subscribed(&args);
    for host in [0, 999] {
        let tag = selectors[host].as_str();
        assert!(world.publish(&["pub", "-t", &format!("{tag},rack=7"), "hello"], b"").status.success());
    }
    let output = receiver.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), lines.lines().count()), (Some(0), 2));
    assert!(lines.lines().all(|line| line.contains(",rack=7\thello")), "a comma separates tags: {lines}");
}

#[test]
fn empty_variables_and_a_standard_error_that_nobody_reads_change_nothing() {
    let world = World::new();
    let mut command = world.millrace(&["pub", "-v", "-t", "a=b", "x"]);
    command.env("MILLRACE_CERT", "").env("MILLRACE_KEY", "");
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn tap_shows_rates_and_samples_and_ends_with_a_summary() {
    let world = World::new();
    let tap = |args: &[&str]| {
        let child = world.millrace(&[&["tap", "host=web-*"], args].concat()).spawn().unwrap();
        let subscribed = |seen: &millrace_router::Seen| seen.sum(|core| core.engine.selectors) == 1;
        world.router.wait_until(Duration::from_secs(20), subscribed).unwrap();
        child
    };
    let json = tap(&["-n", "300", "--samples", "3", "--json"]);
    let lines: String = (0..300).map(|n| format!("line {n}\n")).collect();
    let published =
        world.publish(&["pub", "--lines", "-t", "host=web-1,zone=a", "--quiet"], lines.as_bytes());
    assert!(published.status.success(), "{published:?}");
    let output = json.wait_with_output().unwrap();
    assert!(output.status.success());
    let objects: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let samples = objects.iter().filter(|object| object["type"] == "event").count();
    assert!((1..=300).contains(&samples), "{samples}");
    let summary = objects.last().unwrap();
    assert_eq!((&summary["schema"], &summary["type"]), (&"millrace.tap/1".into(), &"summary".into()));
    assert_eq!(
        (&summary["events"], &summary["tag_sets"], &summary["publishers"]),
        (&300.into(), &1.into(), &1.into())
    );
    assert_eq!(summary["keys"][0]["values"][0], serde_json::json!(["web-1", 300]));

    let gone = |seen: &millrace_router::Seen| seen.sum(|core| core.engine.selectors) == 0;
    world.router.wait_until(Duration::from_secs(20), gone).unwrap();
    let words = tap(&["-n", "1"]);
    world.publish(&["pub", "-t", "host=web-2", "--quiet", "hello"], b"");
    let output = String::from_utf8(words.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.starts_with("  host=web-2  hello\n"), "{output}");
    assert!(output.contains("1 events, 5 B, in ") && output.contains("host  web-2 100 %"), "{output}");
    assert_eq!(world.millrace(&["tap", "host in ("]).output().unwrap().status.code(), Some(2));
}
