//! `millrace sub --redundant` while one of its two routers ends without a word, under load.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a router that links with `others`.
fn start(authority: &DevAuthority, name: &str, others: &[RouterHandle]) -> RouterHandle {
    let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
    config.cores = 2;
    config.mesh.seeds = others.iter().map(|router| router.addr().to_string()).collect();
    let router = Router::start(config).unwrap();
    let linked = router.wait_until(LONG, |seen| {
        seen.status.peers.iter().filter(|peer| peer.state.name() == "linked").count() == others.len()
    });
    linked.unwrap();
    router
}

/// Publishes numbers, one a line, until it is told to stop. Returns how many.
fn count_up(mut to: impl Write + Send + 'static, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            writeln!(to, "{number}").unwrap();
            number += 1;
            if number % 16 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        number
    })
}

/// Three routers that are linked, and the folder of their authority.
struct Cluster {
    folder: tempfile::TempDir,
    authority: DevAuthority,
    routers: Vec<RouterHandle>,
    addresses: Vec<String>,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut routers = Vec::new();
        for name in ["a", "b", "c"] {
            let router = start(&authority, name, &routers);
            routers.push(router);
        }
        let addresses = routers.iter().map(|router| router.addr().to_string()).collect();
        Self { folder, authority, routers, addresses }
    }

    /// A command at these routers.
    fn millrace(&self, routers: &[usize], args: &[&str]) -> Ended {
        Ended(self.command(routers, args).stderr(Stdio::null()).spawn().unwrap())
    }

    fn command(&self, routers: &[usize], args: &[&str]) -> Command {
        let reach: Vec<&str> = routers.iter().map(|&at| self.addresses[at].as_str()).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir(self.folder.path());
        command.env("MILLRACE_ROUTER", reach.join(",")).env("MILLRACE_CA", self.authority.ca_path().unwrap());
        command
    }

    /// A subscription that is effective in the cluster.
    fn subscribe(&self, routers: &[usize], args: &[&str]) -> Ended {
        let mut sub = Ended(self.command(routers, args).stderr(Stdio::piped()).spawn().unwrap());
        let mut told = BufReader::new(sub.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(r#""stage":"cluster""#) {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "it ended");
        }
        // What else it has to say is read by nobody, and does not stop it.
        std::thread::spawn(move || told.lines().count());
        sub
    }

    /// Waits until routers have as many receivers each.
    fn await_receivers(&self, routers: &[usize]) {
        for &at in routers {
            self.routers[at].wait_until(LONG, |seen| seen.sum(|core| core.engine.receivers) == 1).unwrap();
        }
    }
}

/// The numbers that a `sub --json` prints, which has nothing but events to say.
fn numbers(sub: &mut Ended) -> impl Iterator<Item = u64> + use<> {
    BufReader::new(sub.0.stdout.take().unwrap()).lines().map(|line| {
        let item: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match item["payload"].as_str() {
            Some(payload) => payload.parse::<u64>().unwrap(),
            None => panic!("not an event: {item}"),
        }
    })
}

#[test]
fn a_receiver_on_two_routers_sees_nothing_of_the_end_of_one() {
    let mut cluster = Cluster::start();
    let mut sub = cluster.millrace(&[0, 1], &["sub", "n", "--redundant", "--json"]);
    cluster.await_receivers(&[0, 1]);
    let mut publisher = cluster.millrace(&[2], &["pub", "--lines", "--tag", "n=1"]);
    let stop = Arc::new(AtomicBool::new(false));
    let counting = count_up(publisher.0.stdin.take().unwrap(), stop.clone());
    let mut items = numbers(&mut sub);
    // What was published before the subscription was effective is not for it.
    let first = items.next().unwrap();
    let mut expected = first + 1;
    let mut read_to = |last: u64| {
        while expected < last {
            assert_eq!(items.next(), Some(expected));
            expected += 1;
        }
        expected
    };
    let at = read_to(first + 2000);
    cluster.routers.remove(0).stop(Duration::ZERO);
    read_to(at + 5000);
    stop.store(true, Ordering::Relaxed);
    let published = counting.join().unwrap();
    assert!(publisher.0.wait().unwrap().success());
    assert_eq!(read_to(published), published);
}

/// A publisher on two routers, one of which ends without a word: each event arrives once, in order,
/// and the summary knows what became of each.
fn check_publisher(confirm: &str) {
    let mut cluster = Cluster::start();
    let mut sub = cluster.subscribe(&[2], &["sub", "n", "--json"]);
    let args = ["pub", "--lines", "--tag", "n=1", "--redundant", "--json", "--confirm", confirm];
    let mut publisher = cluster.millrace(&[0, 1], &args);
    let stop = Arc::new(AtomicBool::new(false));
    let counting = count_up(publisher.0.stdin.take().unwrap(), stop.clone());
    let mut items = numbers(&mut sub);
    let mut expected = 0;
    let mut read_to = |last: u64| {
        while expected < last {
            assert_eq!(items.next(), Some(expected));
            expected += 1;
        }
    };
    for router in &cluster.routers[..2] {
        router.wait_until(LONG, |seen| seen.sum(|core| core.engine.events_in) > 0).unwrap();
    }
    read_to(2000);
    cluster.routers.remove(0).stop(Duration::ZERO);
    read_to(7000);
    stop.store(true, Ordering::Relaxed);
    let mut told = publisher.0.stdout.take().unwrap();
    let telling = std::thread::spawn(move || std::io::read_to_string(&mut told).unwrap());
    let published = counting.join().unwrap();
    read_to(published);
    let summary = telling.join().unwrap();
    assert!(publisher.0.wait().unwrap().success(), "{summary}");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["published"], published);
    assert_eq!(summary["received"], published);
    assert_eq!(summary["confirmed"], if confirm == "none" { 0 } else { published });
    assert_eq!(summary["unknown"], 0);
}

#[test]
fn a_publisher_on_two_routers_loses_and_repeats_nothing_when_one_ends() {
    check_publisher("routed");
}

#[test]
fn copies_of_two_routers_are_removed_without_a_confirm_level_too() {
    check_publisher("none");
}
