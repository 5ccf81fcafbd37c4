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

#[test]
fn a_receiver_on_two_routers_sees_nothing_of_the_end_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = DevAuthority::open(folder.path()).unwrap();
    let mut routers = Vec::new();
    for name in ["a", "b", "c"] {
        let router = start(&authority, name, &routers);
        routers.push(router);
    }
    let addresses: Vec<_> = routers.iter().map(|router| router.addr().to_string()).collect();
    let millrace = |reach: String, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env("MILLRACE_ROUTER", reach).env("MILLRACE_CA", authority.ca_path().unwrap());
        Ended(command.current_dir(folder.path()).spawn().unwrap())
    };
    let mut sub = millrace(addresses[..2].join(","), &["sub", "n", "--redundant", "--json"]);
    for router in &routers[..2] {
        router.wait_until(LONG, |seen| seen.sum(|core| core.engine.receivers) == 1).unwrap();
    }
    let mut publisher = millrace(addresses[2].clone(), &["pub", "--lines", "--tag", "n=1"]);
    let stop = Arc::new(AtomicBool::new(false));
    let counting = count_up(publisher.0.stdin.take().unwrap(), stop.clone());
    let mut items = BufReader::new(sub.0.stdout.take().unwrap()).lines().map(|line| {
        let item: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match item["payload"].as_str() {
            Some(payload) => payload.parse::<u64>().unwrap(),
            None => panic!("not an event: {item}"),
        }
    });
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
    routers.remove(0).stop(Duration::ZERO);
    read_to(at + 5000);
    stop.store(true, Ordering::Relaxed);
    let published = counting.join().unwrap();
    assert!(publisher.0.wait().unwrap().success());
    assert_eq!(read_to(published), published);
}
