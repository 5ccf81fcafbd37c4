//! The loop that moves a cluster: it takes what happens next from a queue, in order of time, and
//! hands it to whom it is for.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use millrace_engine::core::DropReason;
use millrace_engine::time::Time;
use millrace_proto::RouterId;
use millrace_verify::checker::ClusterChecker;
use millrace_verify::checker::convergence::Selectors;
use millrace_verify::fault::Fault;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::Xxh3Default;

use super::crowds::Crowds;
use crate::client::{self, Client, Publisher, Receivers, Role};
use crate::event::{Event, NetEvent};
use crate::network::{Crossings, Host, Network, Notices, Packet, Quenchings};
use crate::queue::Queue;
use crate::reading::Hop;
use crate::record::Record;
use crate::report::Report;
use crate::router::{self, Process};
use crate::router_setup::RouterSetup;
use crate::scenario::Scenario;

/// Events of a run, at most: one that has more is stuck in a loop.
const EVENTS_MAX: u64 = 30_000_000;
/// How often fill levels are looked at.
const INSPECT_EVERY: Duration = Duration::from_millis(50);
/// A cluster that has not settled so long after the last fault is stuck.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// What is on its way when everything seems settled has arrived after this time.
const DRAIN: Duration = Duration::from_secs(1);

/// How long routers and clients need to notice that a fault is over, and to do what it kept them
/// from.
const AFTERMATH_NS: u64 = 3_000_000_000;

/// Whether a fault disturbs others than those whom the checkers know of.
const fn disturbs(fault: &Fault) -> bool {
    !matches!(fault, Fault::SlowReceiver { .. } | Fault::KillPublisher { .. } | Fault::ClockJump { .. })
}

/// A cluster.
#[derive(Debug)]
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) queue: Queue<Event>,
    pub(super) network: Network,
    pub(super) rng: Pcg64Mcg,
    pub(super) routers: Vec<Router>,
    pub(super) ids: Vec<RouterId>,
    pub(super) addresses: BTreeMap<String, u32>,
    pub(super) clients: Vec<Client>,
    pub(super) clock_offsets: BTreeMap<u32, i64>,
    pub(super) record: Record,
    pub(super) crossings: Crossings,
    pub(super) quenchings: Quenchings,
    pub(super) dropped: BTreeMap<&'static str, u64>,
    pub(super) hash: Hash,
    pub(super) events: u64,
    pub(super) trace: Option<Vec<String>>,
    pub(super) crowds: Crowds,
    /// Since when everything has seemed settled.
    pub(super) settled: Option<Time>,
}

/// A hash of everything that happened.
pub(super) struct Hash(pub(super) Xxh3Default);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.digest())
    }
}

/// A router's host.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) setup: RouterSetup,
    pub(super) process: Option<Process>,
    pub(super) lives: u32,
    pub(super) paused: bool,
    /// Events that wait for the process to go on.
    pub(super) held: Vec<Event>,
}

impl World {
    /// A cluster that is about to start.
    #[must_use]
    pub fn new(scenario: Scenario, trace: bool) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(scenario.seed ^ 0x5157_0b1d);
        let network = Network::new(scenario.network, Pcg64Mcg::seed_from_u64(rng.random_range(0..u64::MAX)));
        let settle_ns = u64::try_from(scenario.settle.as_nanos()).unwrap_or(u64::MAX);
        let words = scenario.generator.words().clone();
        let writers = (0..).zip(&scenario.publishers);
        let writers = writers
            .flat_map(|(writer, setup)| setup.emitters.iter().map(move |(emitter, _)| (*emitter, writer)));
        let checker =
            ClusterChecker::new(scenario.tag_sets.clone(), words, settle_ns).with_writers(writers.collect());
        let publishers =
            scenario.publishers.iter().map(|setup| Role::Publisher(Box::new(Publisher::new(setup.clone()))));
        let receivers = scenario
            .receivers
            .iter()
            .map(|client| Role::Receivers(Receivers::new(client.receivers.clone(), client.confirms)));
        let clients = (0..).zip(publishers.chain(receivers));
        let clients = clients.map(|(index, role)| Client::new(index, role, scenario.client_tables)).collect();
        let router = |setup: &RouterSetup| Router {
            setup: setup.clone(),
            process: None,
            lives: 0,
            paused: false,
            held: Vec::new(),
        };
        Self {
            crossings: network.crossings(),
            quenchings: network.quenchings(),
            network,
            queue: Queue::new(),
            rng,
            routers: scenario.routers.iter().map(router).collect(),
            ids: scenario.routers.iter().map(|setup| setup.id).collect(),
            addresses: scenario.addresses(),
            clients,
            clock_offsets: BTreeMap::new(),
            record: Record::new(checker, settle_ns)
                .with_sets(scenario.sources.clone())
                .with_rules(scenario.routers.iter().any(|router| router.rules.is_some())),
            dropped: BTreeMap::new(),
            hash: Hash(Xxh3Default::new()),
            events: 0,
            trace: trace.then(Vec::new),
            crowds: Crowds::default(),
            settled: None,
            scenario,
        }
    }

    /// Runs until everything has settled, and judges.
    #[must_use]
    pub fn run(mut self) -> Report {
        self.begin();
        while let Some((now, event)) = self.queue.pop() {
            self.events += 1;
            if self.events > EVENTS_MAX {
                self.record.findings.add("stuck", || format!("{EVENTS_MAX} events, and no end at {now}"));
                break;
            }
            self.note(now, &event);
            self.step(event);
            if self.is_over(now) {
                break;
            }
        }
        self.finish()
    }

    fn begin(&mut self) {
        for router in 0..self.routers.len() {
            self.start(router);
        }
        let checker = &mut self.record.checker;
        let faults = self.scenario.schedule.faults.iter().filter(|item| disturbs(&item.fault));
        faults
            .for_each(|item| checker.disturbed(item.at_ns, item.until_ns.map(|until| until + AFTERMATH_NS)));
        for (at, phase, fault) in self.scenario.schedule.changes() {
            self.queue.at(Time(at), Event::Fault(phase, fault));
        }
        for client in &self.clients {
            let index = client.index();
            let late = self.scenario.late.get(&index).copied().unwrap_or_default();
            let dial = late + Duration::from_micros(self.rng.random_range(0..1_000_000));
            self.queue.after(dial, Event::ClientDial { client: index });
            match client.role() {
                Role::Publisher(_) => {
                    let first = Duration::from_micros(self.rng.random_range(500_000..2_000_000));
                    self.queue.after(first, Event::Publish { client: index });
                }
                Role::Receivers(_) => {
                    for _ in 0..self.rng.random_range(0..8) {
                        let at = Duration::from_micros(self.rng.random_range(1_000_000..8_000_000));
                        self.queue.after(at, Event::Churn { client: index });
                    }
                }
            }
        }
        for hop in &self.scenario.hops {
            let &Hop { client, at, away } = hop;
            self.queue.after(at, Event::Hop { client, away });
        }
        for client in self.scenario.publishers.len()..self.clients.len() {
            self.plan_flaps(u32::try_from(client).unwrap_or(u32::MAX));
        }
        self.plan_hand_overs();
        self.queue.after(INSPECT_EVERY, Event::Inspect);
    }

    /// Starts a router's next life.
    pub(super) fn start(&mut self, router: usize) {
        let Self { network, queue, rng, record, addresses, .. } = self;
        let host = &mut self.routers[router];
        host.lives += 1;
        let mut around = router::Around { network, queue, rng, findings: &mut record.findings, addresses };
        host.process = Some(Process::start(&host.setup, host.lives, &mut around));
    }

    fn step(&mut self, event: Event) {
        let host = match &event {
            Event::Net(event) => self.network.host_of(event),
            other => other.host(),
        };
        if let Some(Host::Router(router)) = host
            && self.routers[router as usize].paused
        {
            self.routers[router as usize].held.push(event);
            return;
        }
        match event {
            Event::Net(event) => {
                let notices = self.network.handle(&mut self.queue, event);
                self.tell(notices);
            }
            Event::Router { router, life, what } => self.within(router, |process, around| {
                if process.life() == life {
                    process.handle(what, around);
                }
            }),
            Event::ClientTimer { client } => self.client(client, Client::timer),
            Event::ClientDial { client } => self.client(client, Client::dial),
            Event::Publish { client } => self.client(client, Client::publish),
            Event::Churn { client } => self.client(client, Client::churn),
            Event::Hop { client, away } => {
                self.client(client, |client, around| client.hop(away, around));
            }
            Event::HandOver { set } => self.hand_over(set),
            Event::Fault(phase, fault) => self.fault(phase, fault),
            Event::Inspect => {
                self.inspect();
                self.queue.after(INSPECT_EVERY, Event::Inspect);
            }
        }
        let crossings = std::mem::take(&mut *self.crossings.borrow_mut());
        for crossing in crossings {
            self.record.crossed(crossing);
        }
        let quenchings = std::mem::take(&mut *self.quenchings.borrow_mut());
        for told in quenchings {
            self.quenched(&told);
        }
    }

    /// Passes on what the network has to say.
    fn tell(&mut self, notices: Notices) {
        for (endpoint, conn, notice) in notices {
            match endpoint.host {
                Host::Router(router) => self.within(router, |process, around| {
                    if process.life() == endpoint.life {
                        process.notice(endpoint.core, conn, notice, around);
                    }
                }),
                Host::Client(client) => {
                    self.client(client, |client, around| client.notice(conn, notice, around))
                }
            }
        }
    }

    pub(super) fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut router::Around<'_>)) {
        let Self { network, queue, rng, record, addresses, routers, .. } = self;
        if let Some(process) = &mut routers[router as usize].process {
            let findings = &mut record.findings;
            work(process, &mut router::Around { network, queue, rng, findings, addresses });
        }
    }

    pub(super) fn client(
        &mut self,
        client: u32,
        work: impl FnOnce(&mut Client, &mut client::Surroundings<'_>),
    ) {
        let Self { network, queue, rng, record, ids, clock_offsets, clients, .. } = self;
        let mut around = client::Surroundings { network, queue, rng, record, routers: ids, clock_offsets };
        work(&mut clients[client as usize], &mut around);
    }

    /// Mixes an event into the hash of the run, and prints it.
    fn note(&mut self, now: Time, event: &Event) {
        self.hash.0.update(&now.0.to_le_bytes());
        if let Event::Net(NetEvent::Packet { packet: Packet::Data { bytes, .. }, .. }) = event {
            self.hash.0.update(bytes);
        }
        if let Some(trace) = &mut self.trace
            && !matches!(event, Event::Inspect)
        {
            trace.push(format!("{now} {event:?}"));
        }
    }

    fn is_over(&self, now: Time) -> bool {
        self.settled.is_some_and(|settled| now >= settled + DRAIN)
            || now >= Time::ZERO + self.scenario.faults_end + SETTLE_MAX
    }

    /// What the receivers attached to each live router want.
    pub(super) fn wanted(&self) -> BTreeMap<RouterId, Selectors> {
        let mut wanted: BTreeMap<RouterId, Selectors> = BTreeMap::new();
        for client in &self.clients {
            if let (Role::Receivers(receivers), Some(router)) = (client.role(), client.router()) {
                receivers.wanted(wanted.entry(self.ids[router as usize]).or_default());
            }
        }
        wanted
    }

    /// Counts what a process has dropped, before it is gone.
    pub(super) fn collect(&mut self, router: usize) {
        let Some(process) = &mut self.routers[router].process else { return };
        let id = self.ids[router];
        for core in process.cores() {
            let metrics = core.metrics();
            for (reason, count) in DropReason::ALL.into_iter().zip(metrics.dropped) {
                *self.dropped.entry(reason.name()).or_default() += count;
            }
        }
        super::defects::defects(id, process, &mut self.record.findings);
    }
}
