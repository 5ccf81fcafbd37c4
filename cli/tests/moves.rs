//! `millrace sub` while the routers that it is connected to are ended in order, one after the
//! other, under load.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);
/// How long a router that ends waits for its clients.
const GRACE: Duration = Duration::from_secs(10);

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Routers that come and go.
struct Cluster {
    authority: DevAuthority,
    folder: tempfile::TempDir,
    routers: Vec<RouterHandle>,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { authority: DevAuthority::open(folder.path()).unwrap(), folder, routers: Vec::new() }
    }

    /// Starts a router that links with all others.
    fn start(&mut self, name: &str) {
        let mut config = RouterConfig::new(self.authority.router(name, &[]).unwrap());
        config.cores = 2;
        config.mesh.seeds = self.routers.iter().map(|router| router.addr().to_string()).collect();
        let router = Router::start(config).unwrap();
        self.routers.push(router);
        let others = self.routers.len() - 1;
        for router in &self.routers {
            let linked = router.wait_until(LONG, |seen| {
                let linked = seen.status.peers.iter().filter(|peer| peer.state.name() == "linked");
                linked.count() == others
            });
            linked.unwrap();
        }
    }

    fn ca(&self) -> PathBuf {
        self.authority.ca_path().unwrap().to_owned()
    }

    fn millrace(&self, router: usize, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("MILLRACE_ROUTER", self.routers[router].addr().to_string());
        command.env("MILLRACE_CA", self.ca()).current_dir(self.folder.path());
        command
    }
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

#[test]
fn a_receiver_misses_nothing_when_its_routers_end_one_after_the_other() {
    let mut cluster = Cluster::new();
    ["a", "b"].into_iter().for_each(|name| cluster.start(name));
    let mut sub = Ended(cluster.millrace(0, &["sub", "n", "--json"]).spawn().unwrap());
    let said = BufReader::new(sub.0.stderr.take().unwrap()).lines();
    let is_effective =
        |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|said| said["stage"] == "cluster");
    let mut said = said.map(Result::unwrap);
    assert!(said.any(|line| is_effective(&line)));
    // What it says later must not fill the pipe.
    std::thread::spawn(move || said.for_each(drop));
    let mut publisher = Ended(cluster.millrace(1, &["pub", "--lines", "--tag", "n=1"]).spawn().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let counting = count_up(publisher.0.stdin.take().unwrap(), stop.clone());
    let mut items = BufReader::new(sub.0.stdout.take().unwrap()).lines().map(|line| {
        let item: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match item["payload"].as_str() {
            Some(payload) => payload.parse::<u64>().unwrap(),
            None => panic!("not an event: {item}"),
        }
    });
    let mut expected = 0;
    let mut read_to = |last: u64| {
        while expected < last {
            assert_eq!(items.next(), Some(expected));
            expected += 1;
        }
        expected
    };
    let mut at = read_to(500);
    for (round, name) in ["c", "d"].into_iter().enumerate() {
        // The receiver's router ends, and then the one that receiver and publisher are both at.
        cluster.start(name);
        let leaving = cluster.routers.remove(0);
        let ending = std::thread::spawn(move || leaving.stop(GRACE));
        while !ending.is_finished() {
            at = read_to(at + 100);
        }
        ending.join().unwrap();
        at = read_to(at + 500);
        assert!(cluster.routers.len() == 2, "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    let published = counting.join().unwrap();
    assert!(publisher.0.wait().unwrap().success());
    assert_eq!(read_to(published), published);
}
