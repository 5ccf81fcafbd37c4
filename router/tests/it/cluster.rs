//! Three router processes; one of them is killed while everybody publishes, and comes back.
//!
//! The promise that is checked, per receiver and tag set: numbers rise by one, from 0 where the
//! receiver had subscribed before the publisher began. Where they do not, a gap stands between the
//! neighbours that names the router through which the missing events entered, or all; for the
//! router that was killed it may stand later, because its publisher may have moved,
//! and go on elsewhere, before the others know that it is gone. What a publisher reported as lost
//! may be missing, too. Nothing comes twice. Of what entered through the routers that lived, their
//! own receivers get everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use millrace_client::{
    Client, Config, Gap, Item, Publisher, PublisherOptions, Receiver, ReceiverOptions, TagSet, Trust,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{LONG, event, get, publisher, receiver, tags, within};

/// Events of each publisher, and the tag sets that they go round.
const EVENTS: usize = 10_000;
const SOURCES: usize = 10;
/// A publisher waits for the router after each so many: then a kill finds it in the middle.
const BURST: usize = 100;
/// What enters through the router that is killed begins with this.
const KILLED: char = 'c';
/// The last events wait until everybody is back.
const HELD_BACK: usize = 500;

/// A router process.
struct Process {
    child: Child,
    ready: Value,
}

impl Process {
    fn start(folder: &tempfile::TempDir, name: &str, listen: &str, seed: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-router"));
        command.env("XDG_RUNTIME_DIR", folder.path()).stdout(Stdio::piped());
        command.args(["--listen", listen, "--admin", "127.0.0.1:0", "--ready-json", "--name", name]);
        for setting in [
            // A router that waits in vain for another one lets publishers go on. Here all are
            // there, however busy the machine is.
            "mesh.sync_timeout=15s",
            "mesh.ping_every=100ms",
            "mesh.suspect_after=700ms",
            "mesh.forget_after=2s",
            "mesh.redial_min=20ms",
            "mesh.redial_max=200ms",
        ] {
            command.args(["--set", setting]);
        }
        command.args(seed.iter().flat_map(|seed| ["--seed", seed]));
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap()
    }

    fn status(&self) -> Value {
        let admin: SocketAddr = self.text("admin").parse().unwrap();
        serde_json::from_str(&get(admin, "/status").1).unwrap()
    }

    fn client(&self) -> Client {
        let config = Config::new([self.text("addr").parse().unwrap()]);
        Client::new(config.trust(Trust::File(self.text("ca").into()))).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "never came: {what}");
        tokio::task::yield_now().await;
    }
}

/// How a router stands to another: its state, or `away`.
fn state(of: &Process, router: &str) -> String {
    let status = of.status();
    let peers = status["peers"].as_array().unwrap();
    let peer = peers.iter().find(|peer| peer["router"] == router);
    match peer.map(|peer| (peer["state"].as_str().unwrap(), peer["interest"].as_u64().unwrap())) {
        None | Some(("known" | "linking", 0)) => "away".to_owned(),
        Some((state, _)) => state.to_owned(),
    }
}

/// Publishes everything in bursts, up to a limit that rises.
struct Publishing {
    done: Arc<AtomicUsize>,
    task: JoinHandle<Vec<Range<u64>>>,
}

impl Publishing {
    fn start(client: Client, entry: &'static str, limit: watch::Receiver<usize>) -> Self {
        let done = Arc::new(AtomicUsize::new(0));
        let progress = done.clone();
        let task = tokio::spawn(async move {
            let publisher = publisher(&client).await;
            publish_all(&publisher, entry, limit, &progress).await;
            let mut lost = Vec::new();
            while let Some(report) = publisher.try_lost() {
                lost.push(report.seqs);
            }
            lost
        });
        Self { done, task }
    }
}

async fn publish_all(
    publisher: &Publisher,
    entry: &str,
    mut limit: watch::Receiver<usize>,
    progress: &AtomicUsize,
) {
    let sets: Vec<TagSet> = (0..SOURCES)
        .map(|source| tags(&[&format!("fqdn={entry}-{source}"), &format!("entry={entry}")]))
        .collect();
    for number in 0..EVENTS {
        if number % BURST == 0 {
            within(publisher.flush()).await;
            within(limit.wait_for(|limit| number < *limit)).await.unwrap();
        }
        within(publisher.publish(&sets[number % SOURCES], (number / SOURCES).to_string())).await.unwrap();
        progress.store(number + 1, Ordering::Relaxed);
    }
    within(publisher.flush()).await;
}

/// What one receiver has got, in order.
#[derive(Debug)]
enum Got {
    Number { fqdn: String, number: usize },
    Gap(Gap),
}

/// A receiver that writes down everything until it has the last event of every tag set.
struct Recording {
    got: Arc<Mutex<Vec<Got>>>,
    task: JoinHandle<()>,
}

impl Recording {
    fn start(mut receiver: Receiver) -> Self {
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let record = got.clone();
        let task = tokio::spawn(async move {
            let mut complete = BTreeSet::new();
            while complete.len() < 3 * SOURCES {
                let entry = match receiver.next().await.unwrap() {
                    Item::Gap(gap) => Got::Gap(gap),
                    Item::Event(event) => {
                        let fqdn = event.tags.borrow().get("fqdn").unwrap().to_owned();
                        let number = std::str::from_utf8(&event.payload).unwrap().parse().unwrap();
                        if number == EVENTS / SOURCES - 1 {
                            complete.insert(fqdn.clone());
                        }
                        Got::Number { fqdn, number }
                    }
                    other => panic!("{other:?}"),
                };
                record.lock().unwrap().push(entry);
            }
        });
        Self { got, task }
    }

    /// Checks the promise.
    async fn check(self, expected: &Expected<'_>) {
        let who = expected.receiver;
        if tokio::time::timeout(LONG, self.task).await.is_err() {
            let got = self.got.lock().unwrap();
            let mut last: BTreeMap<&str, usize> = BTreeMap::new();
            for entry in got.iter() {
                if let Got::Number { fqdn, number } = entry {
                    last.insert(fqdn, *number);
                }
            }
            panic!("receiver of {who} did not get the last event of every tag set; last ones: {last:?}");
        }
        let got = self.got.lock().unwrap();
        // What comes next of each tag set, and whether a gap stands before it.
        let mut sets: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for entry in expected.from_the_first.chars() {
            sets.extend(
                expected
                    .names
                    .iter()
                    .filter(|name| name.starts_with(entry))
                    .map(|name| (&name[..], (0, false))),
            );
        }
        // Holes that a gap has yet to explain.
        let mut owed: BTreeMap<&str, String> = BTreeMap::new();
        for entry in got.iter() {
            match entry {
                Got::Gap(gap) => {
                    let concerned = |fqdn: &str| {
                        gap.router.is_none_or(|router| router.to_string() == expected.routers[&fqdn[..1]])
                    };
                    owed.retain(|fqdn, _| !concerned(fqdn));
                    for (_, (_, excused)) in sets.iter_mut().filter(|(fqdn, _)| concerned(fqdn)) {
                        *excused = true;
                    }
                }
                Got::Number { fqdn, number } => {
                    if let Some(&(next, excused)) = sets.get(fqdn.as_str()) {
                        assert!(*number >= next, "receiver of {who}: {fqdn} {number} came twice or late");
                        if let Some(missing) = (next..*number).find(|&missing| !expected.lost(fqdn, missing))
                        {
                            let told = if excused { "a gap stands there" } else { "without a gap" };
                            let hole = format!("{missing} is missing (then came {number}), {told}");
                            let may_be_late = fqdn.starts_with(KILLED);
                            assert!(
                                (excused || may_be_late) && !expected.whole.contains(&fqdn[..1]),
                                "receiver of {who}: {fqdn} {hole}"
                            );
                            if !excused {
                                owed.entry(fqdn).or_insert(hole);
                            }
                        }
                    }
                    sets.insert(fqdn, (number + 1, false));
                }
            }
        }
        assert!(owed.is_empty(), "receiver of {who}: no gap explains {owed:?}");
    }
}

/// What a receiver must have got.
struct Expected<'a> {
    /// Whose receiver.
    receiver: &'a str,
    /// Entry routers of the tag sets that it must have from the first number on.
    from_the_first: &'a str,
    /// Entry routers of the tag sets for which no gap is an excuse.
    whole: &'a str,
    /// All tag sets.
    names: &'a [String],
    /// Ids of the entry routers.
    routers: &'a BTreeMap<&'a str, String>,
    /// What the publisher at the killed router reported.
    lost: &'a [Range<u64>],
}

impl Expected<'_> {
    fn lost(&self, fqdn: &str, number: usize) -> bool {
        let source: usize = fqdn.split('-').nth(1).unwrap().parse().unwrap();
        let seq = (number * SOURCES + source) as u64;
        fqdn.starts_with(KILLED) && self.lost.iter().any(|range| range.contains(&seq))
    }
}

async fn recording(process: &Process) -> (Client, Recording) {
    let client = process.client();
    let receiver = within(client.receiver(ReceiverOptions::default())).await.unwrap();
    let selectors = ["entry in (a,b,c)"];
    let mut subscription = within(async { receiver.subscribe(selectors) }).await.unwrap();
    within(subscription.in_cluster()).await.unwrap();
    (client, Recording::start(receiver))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_router_costs_no_event_without_a_gap_and_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (limit, limited) = watch::channel(EVENTS - HELD_BACK);
    let start = |name: &'static str, seed: Option<String>| {
        tokio::task::block_in_place(|| Process::start(&folder, name, "127.0.0.1:0", seed.as_deref()))
    };
    // Everybody begins as soon as there is a router: links form while events flow.
    let a = start("a", None);
    let (_at_a, recorded_a) = recording(&a).await;
    let published_a = Publishing::start(a.client(), "a", limited.clone());
    let b = start("b", Some(a.text("addr").to_owned()));
    let (_at_b, recorded_b) = recording(&b).await;
    let published_b = Publishing::start(b.client(), "b", limited.clone());
    let mut c = start("c", Some(a.text("addr").to_owned()));
    let (_at_c, recorded_c) = recording(&c).await;
    let published_c = Publishing::start(c.client(), "c", limited);
    let (c_addr, c_id) = (c.text("addr").to_owned(), c.text("router").to_owned());

    eventually("the last publisher is in its middle", || {
        published_c.done.load(Ordering::Relaxed) > EVENTS / 10
    })
    .await;
    c.kill();
    eventually("a suspects c", || state(&a, &c_id) == "suspect").await;
    eventually("b suspects c", || state(&b, &c_id) == "suspect").await;
    eventually("a has forgotten c", || state(&a, &c_id) == "away").await;
    eventually("b has forgotten c", || state(&b, &c_id) == "away").await;
    eventually("the receiver of c has moved, and everybody knows", || {
        let receivers = |status: &Value| status["cores"][0]["receivers"].as_u64().unwrap();
        let (a, b) = (a.status(), b.status());
        receivers(&a) + receivers(&b) == 3 && a["waiting"] == 0 && b["waiting"] == 0
    })
    .await;
    limit.send_replace(EVENTS);
    within(published_a.task).await.unwrap();
    within(published_b.task).await.unwrap();
    let lost = within(published_c.task).await.unwrap();

    let entries: BTreeMap<&str, String> = [("a", &a), ("b", &b), ("c", &c)]
        .map(|(name, process)| (name, process.text("router").to_owned()))
        .into();
    let names: Vec<String> =
        ["a", "b", "c"].iter().flat_map(|entry| (0..SOURCES).map(move |n| format!("{entry}-{n}"))).collect();
    // Each receiver had subscribed when the publisher beside it, and those at later routers, began.
    for (recorded, receiver, from_the_first, whole) in
        [(recorded_a, "a", "abc", "ab"), (recorded_b, "b", "bc", "ab"), (recorded_c, "c", "c", "")]
    {
        let (names, routers, lost) = (&names[..], &entries, &lost[..]);
        let expected = Expected { receiver, from_the_first, whole, names, routers, lost };
        recorded.check(&expected).await;
    }

    let c = tokio::task::block_in_place(|| Process::start(&folder, "c", &c_addr, Some(a.text("addr"))));
    eventually("a is linked again", || state(&a, &c_id) == "linked").await;
    eventually("b is linked again", || state(&b, &c_id) == "linked").await;
    // What subscribes before the new router itself sees its links hears that they are made.
    for linked in [&a, &b] {
        eventually("the new c is linked", || state(&c, linked.text("router")) == "linked").await;
    }
    let (near, far) = (c.client(), b.client());
    let mut back = receiver(&near, &["after=return"]).await;
    let publisher = within(far.publisher(PublisherOptions::default())).await.unwrap();
    publisher.publish(&tags(&["after=return"]), "welcome back").await.unwrap();
    within(publisher.flush()).await;
    assert_eq!(event(&mut back).await.payload, "welcome back");
}
