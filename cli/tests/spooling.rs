//! `millrace pub --spool` and `millrace spool replay`, with routers that are not there, and killed
//! again and again.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};

/// Routers that come and go at one address.
struct World {
    config: RouterConfig,
    ca: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        // Below the ports that sockets without a wish get: those of other tests do not take it
        // while no router is there.
        let first = (0..100).find_map(|_| {
            let port = 10_000 + std::hash::RandomState::new().build_hasher().finish() % 20_000;
            config.listen = ([127, 0, 0, 1], u16::try_from(port).unwrap()).into();
            Router::start(config.clone()).ok()
        });
        first.expect("a free port").stop(Duration::ZERO);
        Self { config, ca: authority.ca_path().unwrap().to_owned(), folder }
    }

    fn start(&self) -> RouterHandle {
        Router::start(self.config.clone()).unwrap()
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn millrace(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command
            .args(args)
            .env("MILLRACE_ROUTER", self.config.listen.to_string())
            .env("MILLRACE_CA", &self.ca);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str], spool: &Path) -> (i32, serde_json::Value, String) {
        let Output { status, stdout, stderr } =
            self.millrace(args).arg(spool).arg("--json").output().unwrap();
        let object = serde_json::from_slice(&stdout).unwrap_or_default();
        (status.code().unwrap(), object, String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn what_no_router_takes_is_pending_and_replayed() {
    let world = World::new();
    let publish = ["pub", "-t", "host=a", "--timeout", "100ms", "--spool-free", "0", "x", "y", "--spool"];
    let (code, summary, words) = world.run(&publish, &world.spool());
    assert_eq!((code, &summary["spooled"], &summary["pending"]), (3, &2.into(), &2.into()), "{words}");
    assert!(words.contains("2 events are pending in the spool"), "{words}");
    assert!(words.contains("millrace spool replay /"), "{words}");
    let replay = ["spool", "replay", "--timeout", "100ms"];
    let (code, replayed, words) = world.run(&replay, &world.spool());
    assert_eq!((code, &replayed["pending"]), (3, &2.into()), "{words}");

    let router = world.start();
    let (code, replayed, words) = world.run(&["spool", "replay"], &world.spool());
    assert_eq!((code, &replayed["confirmed"], &replayed["pending"]), (0, &2.into(), &0.into()), "{words}");
    let (code, ..) = world.run(&["spool", "replay"], &world.spool());
    assert_eq!(code, 0, "nothing to do is done");
    router.stop(Duration::ZERO);
    let (code, ..) = world.run(&["spool", "replay"], world.folder.path());
    assert_eq!(code, 1, "no spool");
}

#[test]
fn compressed_events_take_less_and_arrive_as_they_were() {
    let world = World::new();
    let payload = "GET /health 200 ".repeat(100);
    let publish = ["pub", "-t", "host=a", "--timeout", "100ms", "--spool-free", "0"];
    let publish = [&publish[..], &["--spool-compression", "zstd", &payload, &payload, "--spool"]].concat();
    let (code, summary, words) = world.run(&publish, &world.spool());
    assert_eq!((code, &summary["pending"]), (3, &2.into()), "{words}");
    let (_, inspected, _) = world.run(&["spool", "inspect"], &world.spool());
    let bytes = |key: &str| inspected[key].as_u64().unwrap();
    assert!(bytes("plain_bytes") > 2 * 1600 && bytes("records_bytes") < 400, "{inspected}");
    let shown = world.millrace(&["spool", "inspect"]).arg(world.spool()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("compressed from 3."), "{shown}");

    let router = world.start();
    let mut receiver = world.millrace(&["sub", "host", "--json", "-n", "2"]).spawn().unwrap();
    let mut errors = BufReader::new(receiver.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("cluster") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "sub ended early");
    }
    let (code, replayed, words) = world.run(&["spool", "replay"], &world.spool());
    assert_eq!((code, &replayed["pending"]), (0, &0.into()), "{words}");
    let events = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let payloads: Vec<String> = events
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            event["payload"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(payloads, [&payload[..], &payload]);
    receiver.wait().unwrap();
    router.stop(Duration::ZERO);
}

#[test]
fn a_full_spool_that_refuses_ends_the_command() {
    let world = World::new();
    let args = ["pub", "--lines", "-t", "host=a", "--timeout", "100ms", "--spool-free", "0", "--spool-bytes"];
    let args = [&args[..], &["10MiB", "--spool-full", "refuse", "--spool"]].concat();
    let mut child = world.millrace(&args).arg(world.spool()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = [&vec![b'x'; 1_000_000][..], b"\n"].concat();
    // The command ends before it has read all.
    (0..20).try_for_each(|_| input.write_all(&line)).unwrap_err();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("--spool-bytes 10.0 MiB") && words.contains("refused"), "{words}");
}

#[test]
fn killed_publishers_lose_nothing_and_receivers_get_everything_once() {
    const KILLS: usize = 8;
    let world = World::new();
    let router = world.start();
    let mut receiver = world.millrace(&["sub", "host", "--json"]).spawn().unwrap();
    let mut errors = BufReader::new(receiver.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("cluster") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "sub ended early");
    }
    let mut events = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let mut seqs = Vec::new();
    for kill in 0..KILLS {
        let args = ["pub", "--lines", "-t", "host=a", "--spool-free", "0", "--spool"];
        let mut child = world.millrace(&args).arg(world.spool()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            // Until the reader is killed.
            (0..).try_for_each(|number: u64| writeln!(input, "{number}")).unwrap_err();
        });
        // Each life is killed in the midst, a little later than the one before.
        for _ in 0..=kill * 100 {
            let event: serde_json::Value = serde_json::from_str(&events.next().unwrap().unwrap()).unwrap();
            seqs.push(event["seq"].as_u64().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        writing.join().unwrap();
    }
    let (code, _, words) = world.run(&["spool", "replay"], &world.spool());
    assert_eq!(code, 0, "{words}");
    let (_, inspected, _) = world.run(&["spool", "inspect"], &world.spool());
    let end = inspected["next_seq"].as_u64().unwrap();
    while (seqs.len() as u64) < end {
        let event: serde_json::Value = serde_json::from_str(&events.next().unwrap().unwrap()).unwrap();
        seqs.push(event["seq"].as_u64().unwrap());
    }
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..end).collect::<Vec<_>>());
    router.stop(Duration::ZERO);
}
