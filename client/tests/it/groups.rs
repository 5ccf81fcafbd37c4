//! Groups against a real router: who gets an event, what its publisher hears, and a pool whose
//! workers are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use millrace_client::{
    Acknowledge, Client, Config, ConfirmLevel, Event, Item, Outcome, OutcomeReason, PublisherOptions,
    Receiver, ReceiverConnection, ReceiverOptions, TagSet, Trust,
};
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};

use crate::router::{soon, tags};

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

/// A router and a client of it.
struct World {
    router: RouterHandle,
    client: Client,
    ca_pem: String,
}

impl World {
    fn new(change: impl FnOnce(&mut RouterConfig)) -> Self {
        let authority = DevAuthority::new().unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        change(&mut config);
        let router = Router::start(config).unwrap();
        let ca_pem = authority.ca_pem().to_owned();
        let config = Config::new([router.addr().to_string().parse().unwrap()])
            .trust(Trust::Pem(ca_pem.as_bytes().to_vec()));
        Self { router, client: Client::new(config).unwrap(), ca_pem }
    }

    /// A member of the group *pool*.
    async fn member(&self, options: ReceiverOptions) -> Receiver {
        let receiver = soon("a receiver", self.client.receiver(options.group("pool"))).await.unwrap();
        let mut subscription = receiver.subscribe(["host"]).unwrap();
        soon("a subscription", subscription.in_cluster()).await.unwrap();
        receiver
    }
}

async fn event(receiver: &mut Receiver) -> Event {
    loop {
        if let Some(Item::Event(event)) = soon("an event", receiver.next()).await {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_member_is_passed_over_and_a_publisher_hears_of_the_one_that_took_it() {
    for connection in [ReceiverConnection::Own, ReceiverConnection::Shared] {
        let world = World::new(|_| {});
        let options = || ReceiverOptions::default().connection(connection).acknowledge(Acknowledge::Explicit);
        let mut first = world.member(options()).await;
        let mut second = world.member(options().level(2)).await;
        let publisher =
            world.client.publisher(PublisherOptions::default().level(ConfirmLevel::Delivered)).await.unwrap();
        let sent = publisher.publish_confirmed(&tags(), "a").await.unwrap();
        assert_eq!(event(&mut first).await.payload, "a");
        first.acknowledge();
        assert_eq!(soon("an outcome", sent).await, Outcome::Confirmed { receivers: 1 });
        first.busy(true);
        let is_told = |seen: &millrace_router::Seen| seen.sum(|core| core.engine.group_switches) == 2;
        world.router.wait_until(LONG, is_told).unwrap();
        let sent = publisher.publish_confirmed(&tags(), "b").await.unwrap();
        let given = event(&mut second).await;
        assert_eq!((&given.payload[..], given.maybe_duplicate), (&b"b"[..], false));
        second.acknowledge();
        assert_eq!(soon("an outcome", sent).await, Outcome::Confirmed { receivers: 1 });
        world.router.stop(Duration::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_member_takes_is_told_as_dropped() {
    let world = World::new(|config| {
        // Should the event overtake the word that its member is busy, it comes back soon.
        (config.groups.hold, config.groups.ack_wait) =
            (Duration::from_millis(200), Duration::from_millis(200));
    });
    let only = world.member(ReceiverOptions::default()).await;
    only.busy(true);
    let publisher =
        world.client.publisher(PublisherOptions::default().level(ConfirmLevel::Delivered)).await.unwrap();
    let sent = publisher.publish_confirmed(&tags(), "x").await.unwrap();
    let outcome = soon("an outcome", sent).await;
    assert_eq!(outcome, Outcome::Dropped { reason: OutcomeReason::GroupUnavailable });
    world.router.stop(Duration::ZERO);
}

/// The example, once built.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(|deps| deps.parent()).unwrap();
    let example = target.join("examples").join("worker_pool");
    if !example.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "-p", "millrace-client", "--example", "worker_pool"])
            .status();
        assert!(built.unwrap().success());
    }
    example
}

/// A worker, killed when it is dropped.
struct Worker {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Worker {
    fn start(world: &World, ca: &std::path::Path) -> Self {
        let mut child = Command::new(example())
            .args(["pool", "host"])
            .env("MILLRACE_ROUTER", world.router.addr().to_string())
            .env("MILLRACE_CA", ca)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().try_for_each(|line| sender.send(line.unwrap())));
        let worker = Self { child, lines };
        assert_eq!(errors.lines().next().unwrap().unwrap(), "ready");
        worker
    }
}

impl Worker {
    /// Kills it. Returns what it had printed and nobody has read: it may have acknowledged that.
    fn kill(mut self) -> Vec<String> {
        self.end();
        self.lines.iter().collect()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// What workers have done.
#[derive(Default)]
struct Done {
    /// How often each event was done without a mark.
    times: BTreeMap<String, usize>,
    /// Those that were done with the mark that they may be done again.
    again: BTreeSet<String>,
}

impl Done {
    fn take(&mut self, line: &str) {
        let name = line.strip_suffix(" (maybe again)");
        let times = self.times.entry(name.unwrap_or(line).to_owned()).or_insert(0);
        match name {
            Some(name) => self.again.extend([name.to_owned()]),
            None => *times += 1,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_loses_nothing_when_its_workers_are_killed_and_says_what_may_come_again() {
    const EVENTS: usize = 300;
    let world = World::new(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &world.ca_pem).unwrap();
    let mut workers: Vec<Worker> = (0..3).map(|_| Worker::start(&world, &ca)).collect();
    let publisher =
        world.client.publisher(PublisherOptions::default().level(ConfirmLevel::Routed)).await.unwrap();
    for number in 0..EVENTS {
        let tags = TagSet::from_texts([format!("host=h{number}").as_str()]).unwrap();
        soon("publish", publisher.publish(&tags, format!("e{number}"))).await.unwrap();
    }
    let mut done = Done::default();
    let (end, mut killed) = (std::time::Instant::now() + LONG, 0);
    while done.times.len() < EVENTS {
        assert!(std::time::Instant::now() < end, "{} of {EVENTS}", done.times.len());
        for worker in &workers {
            let Ok(line) = worker.lines.recv_timeout(Duration::from_millis(20)) else { continue };
            std::iter::once(line).chain(worker.lines.try_iter()).for_each(|line| done.take(&line));
        }
        // Two are killed in the middle of their work; new ones take their places.
        if killed < 2 && done.times.len() > EVENTS / 4 * (killed + 1) {
            workers.remove(0).kill().iter().for_each(|line| done.take(line));
            workers.push(Worker::start(&world, &ca));
            killed += 1;
        }
    }
    assert!(done.times.values().all(|&times| times <= 1), "none twice without a mark");
    assert!(done.again.len() <= 2 * 4, "at most what two workers had in hand");
    world.router.stop(Duration::ZERO);
}
