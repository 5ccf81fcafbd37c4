//! Groups through the real `millrace`: workers that share what is published, levels, and a worker
//! that is killed while it has work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

/// Routers that know each other.
struct Cluster {
    routers: Vec<RouterHandle>,
    _folder: tempfile::TempDir,
    ca: PathBuf,
}

impl Cluster {
    fn new(names: &[&str], cores: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut routers: Vec<RouterHandle> = Vec::new();
        for name in names {
            let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
            config.cores = cores;
            config.mesh.seeds = routers.first().map(|first| first.addr().to_string()).into_iter().collect();
            routers.push(Router::start(config).unwrap());
        }
        for router in &routers {
            let linked = router.wait_until(LONG, |seen| {
                let linked = seen.status.peers.iter().filter(|peer| peer.state.name() == "linked");
                linked.count() == names.len() - 1
            });
            linked.unwrap();
        }
        let ca = authority.ca_path().unwrap().to_owned();
        Self { routers, _folder: folder, ca }
    }

    fn millrace(&self, router: usize, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("MILLRACE_ROUTER", self.routers[router].addr().to_string()).env("MILLRACE_CA", &self.ca);
        command
    }

    /// A member of the group *pool* that is effective in the whole cluster.
    fn worker(&self, router: usize, args: &[&str]) -> Worker {
        let args: Vec<_> = ["sub", "job", "--json", "--group", "pool"].iter().chain(args).copied().collect();
        let mut child = self.millrace(router, &args).spawn().unwrap();
        let errors = lines_of(child.stderr.take().unwrap());
        let output = lines_of(child.stdout.take().unwrap());
        let worker = Worker { child, output, errors, got: Vec::new() };
        worker.wait_for_the_cluster();
        worker
    }

    /// Publishes events of these names, each with a tag set of its own.
    fn publish(&self, router: usize, names: &[String]) {
        let mut children: Vec<Child> = Vec::new();
        for names in names.chunks(8) {
            for name in names {
                let tag = format!("job={name}");
                let args = ["pub", "--quiet", "--confirm", "routed", "--tag", &tag, name];
                children.push(self.millrace(router, &args).spawn().unwrap());
            }
            for child in children.drain(..) {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
        }
    }
}

/// Lines as they come; the channel ends with them.
fn lines_of(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(from).lines().try_for_each(|line| sender.send(line.unwrap())));
    lines
}

struct Worker {
    child: Child,
    output: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
    /// What it has printed: the payload, and whether it may come again.
    got: Vec<(String, bool)>,
}

impl Worker {
    fn wait_for_the_cluster(&self) {
        let is_effective =
            |line: String| serde_json::from_str::<Value>(&line).is_ok_and(|said| said["stage"] == "cluster");
        while !is_effective(self.errors.recv_timeout(LONG).expect("an acknowledgement")) {}
    }

    /// Reads what there is.
    fn read(&mut self) -> usize {
        while let Ok(line) = self.output.recv_timeout(Duration::from_millis(20)) {
            let event: Value = serde_json::from_str(&line).unwrap();
            if let Some(payload) = event["payload"].as_str() {
                let again = event["maybe_duplicate"].as_bool().unwrap_or_default();
                self.got.push((payload.to_owned(), again));
            }
        }
        self.got.len()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Waits until the workers have printed so many lines together.
fn wait_for(workers: &mut [Worker], lines: usize) {
    let end = Instant::now() + LONG;
    while workers.iter_mut().map(Worker::read).sum::<usize>() < lines {
        let got: Vec<_> = workers.iter().map(|worker| worker.got.len()).collect();
        assert!(Instant::now() < end, "{got:?} of {lines}");
    }
}

/// How often each event was printed, those left out that were marked as possible duplicates.
fn counts(workers: &[Worker]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (name, _) in workers.iter().flat_map(|worker| &worker.got).filter(|(_, again)| !again) {
        *counts.entry(name.clone()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn each_event_goes_to_one_worker_whatever_core_or_router_it_is_at() {
    let cluster = Cluster::new(&["a", "b"], 2);
    let mut workers = [0, 1, 0, 1].map(|router| cluster.worker(router, &[]));
    let mut standby = cluster.worker(1, &["--level", "2"]);
    cluster.publish(0, &names("a", 24));
    cluster.publish(1, &names("b", 24));
    wait_for(&mut workers, 48);
    let counts = counts(&workers);
    assert_eq!((counts.len(), counts.values().max()), (48, Some(&1)));
    assert!(workers.iter().filter(|worker| !worker.got.is_empty()).count() >= 3, "the work is spread");
    assert_eq!(standby.read(), 0, "the second level is not needed");
}

#[test]
fn a_killed_worker_loses_nothing_and_the_next_level_takes_over() {
    let cluster = Cluster::new(&["a", "b"], 1);
    // It takes few, prints to a pipe that nobody reads in time, and dies with what it has.
    let mut first = cluster.worker(0, &["--level", "1"]);
    let mut second = [cluster.worker(1, &["--level", "2"])];
    cluster.publish(1, &names("before", 10));
    wait_for(std::slice::from_mut(&mut first), 10);
    first.child.kill().unwrap();
    let killed = Instant::now();
    cluster.publish(1, &names("after", 20));
    wait_for(&mut second, 20);
    assert!(killed.elapsed() < LONG);
    let mut all: Vec<&str> = second[0].got.iter().map(|(name, _)| name.as_str()).collect();
    all.extend(first.got.iter().map(|(name, _)| name.as_str()));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 30, "every event was done");
    assert!(second[0].got.iter().filter(|(name, again)| name.starts_with("before") && !again).count() == 0);
}

#[test]
fn what_a_workers_command_fails_at_another_worker_does() {
    let cluster = Cluster::new(&["a"], 1);
    let failing = cluster.worker(0, &["--exec", "exit 3"]);
    let mut done = cluster.worker(0, &["--level", "2", "--exec", "echo \"$(cat)\"", "--jobs", "2"]);
    cluster.publish(0, &names("x", 3));
    let mut payloads: Vec<_> = (0..3).map(|_| done.output.recv_timeout(LONG).unwrap()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, names("x", 3));
    let said = failing.errors.recv_timeout(LONG).unwrap();
    assert!(said.contains("exit status: 3") && said.contains("another member"), "{said}");
    assert!(done.child.try_wait().unwrap().is_none());
}

#[test]
fn a_command_that_fails_alone_is_counted() {
    let cluster = Cluster::new(&["a"], 1);
    let exec = r#"read -r payload; test "$payload:$MILLRACE_TAG_JOB" = good:good"#;
    let worker = |exec: &str, args: &[&str]| {
        let args = [&["sub", "job", "--json", "--exec", exec], args].concat();
        let mut child = cluster.millrace(0, &args).spawn().unwrap();
        let errors = lines_of(child.stderr.take().unwrap());
        let output = lines_of(child.stdout.take().unwrap());
        let worker = Worker { child, output, errors, got: Vec::new() };
        worker.wait_for_the_cluster();
        worker
    };
    let (mut both, mut slow) =
        (worker(exec, &["-n", "2"]), worker("exec sleep 600", &["-n", "1", "--timeout", "50ms"]));
    cluster.publish(0, &["good".to_owned()]);
    cluster.publish(0, &["bad".to_owned()]);
    for worker in [&mut both, &mut slow] {
        assert_eq!(worker.child.wait().unwrap().code(), Some(1));
    }
    let said: Vec<_> = both.errors.iter().collect();
    assert!(said[0].contains("job=bad"), "{said:?}");
    assert!(said[1].contains(r#""done":1,"failed":1"#), "{said:?}");
    assert!(slow.errors.iter().any(|line| line.contains("--timeout")));
}
