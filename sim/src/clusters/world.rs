//! The loop that moves clusters, links and clients.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::session::ConfirmLevel;
use millrace_engine::forward::{Link, LinkNumber};
use millrace_engine::time::Time;
use millrace_engine::transport::ConnKey;
use millrace_proto::CloseCode;
use millrace_sansio::Transport;
use millrace_verify::checker::Findings;
use millrace_verify::checker::forwarding::Forwarding;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::plan::{Plan, id, roll};
use super::publisher::Publisher;
use super::receiver::Receiver;
use super::relay::Relay;
use crate::event::Event;
use crate::network::{Endpoint, Host, Latency, Network, NetworkConfig, Notice, Wire};
use crate::queue::Queue;
use crate::router::{Around, Process};
use crate::router_setup::RouterSetup;

/// Publishers begin, and end; links are cut between the second time and the third.
const BEGIN: Duration = Duration::from_millis(1_500);
const END: Duration = Duration::from_secs(5);
/// When nothing is on its way any more.
const OVER: Duration = Duration::from_secs(9);
/// What is published from here on is owed: every link has been up, and knows what is wanted.
const KNOWN: Duration = Duration::from_millis(2_500);
/// Cuts of links, at most.
const CUTS: u32 = 4;
/// A link that was told what is wanted long ago writes nothing else.
const DEMAND_SETTLES: Duration = Duration::from_millis(500);
/// Steps of a run, at most: one that has more is stuck in a loop.
const STEPS_MAX: u64 = 5_000_000;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong.
    pub findings: Findings,
    /// Events that links have written.
    pub copies: u64,
    /// A hash of it.
    pub hash: u64,
    /// Steps of the simulation.
    pub steps: u64,
}

/// One client, by the number of its host.
#[derive(Debug)]
enum Client {
    Publisher(Box<Publisher>),
    Receiver(Box<Receiver>, usize),
    Relay(Box<Relay>, usize),
}

struct World {
    network: Network,
    queue: Queue<Event>,
    rng: Pcg64Mcg,
    setups: Vec<RouterSetup>,
    processes: Vec<Process>,
    addresses: Vec<BTreeMap<String, u32>>,
    clients: Vec<Client>,
    /// The ends of each link, and the host that serves it.
    links: Vec<(usize, usize, u32)>,
    checker: Forwarding,
    findings: Findings,
}

/// Runs the clusters of a seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut world = World::of(seed);
    let (mut steps, mut hash) = (0_u64, seed);
    while let Some((now, event)) = world.queue.pop() {
        steps += 1;
        hash = hash.rotate_left(5) ^ now.0;
        if now > Time::ZERO + OVER {
            break;
        }
        if steps > STEPS_MAX {
            world.findings.add("stuck", || format!("{STEPS_MAX} steps, and no end at {now}"));
            break;
        }
        world.step(event);
    }
    world.checker.finish(&mut world.findings);
    Outcome { copies: world.checker.copies, findings: world.findings, hash, steps }
}

impl World {
    fn of(seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x636c_7573_7465_7273);
        let plan = Plan::of(&mut rng);
        let latency = Latency {
            base: Duration::from_micros(1 << rng.random_range(5..12)),
            jitter: Duration::from_micros(1 << rng.random_range(5..13)),
            retransmit: Duration::from_millis(rng.random_range(10..120)),
        };
        let config = NetworkConfig {
            latency,
            window: 1 << rng.random_range(14..18),
            idle_timeout: Duration::from_secs(3),
            uni_first: 3,
            bug: None,
        };
        let mut world = Self {
            network: Network::new(config, Pcg64Mcg::seed_from_u64(rng.random())),
            queue: Queue::new(),
            rng,
            addresses: plan
                .routers
                .iter()
                .map(|setup| BTreeMap::from([(setup.address.clone(), setup.index)]))
                .collect(),
            setups: plan.routers,
            processes: Vec::new(),
            clients: Vec::new(),
            links: Vec::new(),
            checker: Forwarding::new(
                plan.links.iter().map(|(link, _)| link.clone()).collect(),
                plan.receivers.clone(),
                plan.emitters.clone(),
            ),
            findings: Findings::default(),
        };
        for cluster in 0..world.setups.len() {
            world.start(cluster);
        }
        for (emitter, from) in (0..).zip(plan.emitters) {
            let conn = world.connect(from.cluster);
            let level = [ConfirmLevel::None, ConfirmLevel::Routed][world.rng.random_range(0..2)];
            let publisher = Publisher::new(conn, emitter, from.tags, level, Time::ZERO);
            world.clients.push(Client::Publisher(Box::new(publisher)));
            let first = BEGIN + Duration::from_micros(world.rng.random_range(0..100_000));
            world.queue.after(first, Event::Publish { client: emitter });
        }
        for (number, receiver) in plan.receivers.into_iter().enumerate() {
            let conn = world.connect(receiver.cluster);
            let receiver = Receiver::new(conn, receiver.select, Time::ZERO);
            world.clients.push(Client::Receiver(Box::new(receiver), number));
        }
        for (number, (link, rule)) in plan.links.into_iter().enumerate() {
            let host = u32::try_from(world.clients.len()).unwrap_or(u32::MAX);
            world.links.push((link.from, link.to, host));
            let own = id(link.from);
            let relay = Relay::new(Link::new(rule, own, Time::ZERO), own);
            world.clients.push(Client::Relay(Box::new(relay), number));
            world.queue.after(Duration::ZERO, Event::ClientDial { client: host });
        }
        world.plan_cuts();
        world
    }

    /// Some links are cut now and then.
    fn plan_cuts(&mut self) {
        if self.links.is_empty() {
            return;
        }
        for _ in 0..self.rng.random_range(0..=CUTS) {
            let (_, _, client) = self.links[self.rng.random_range(0..self.links.len())];
            let at = KNOWN + Duration::from_micros(self.rng.random_range(0..2_000_000));
            self.queue.after(at, Event::Churn { client });
        }
    }

    fn start(&mut self, cluster: usize) {
        let Self { network, queue, rng, findings, addresses, setups, processes, .. } = self;
        let mut around = Around { network, queue, rng, findings, addresses: &addresses[cluster] };
        let mut process = Process::start(&setups[cluster], 1, &mut around);
        let now = queue.now();
        for core in process.cores() {
            core.set_roll(now, &mut Wire { network: &mut *network, queue: &mut *queue }, roll(cluster));
        }
        processes.push(process);
    }

    /// The next client dials a cluster's router.
    fn connect(&mut self, cluster: usize) -> ConnKey {
        let client = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        self.dial(client, cluster)
    }

    fn dial(&mut self, client: u32, cluster: usize) -> ConnKey {
        let from = Endpoint { host: Host::Client(client), life: 0, core: 0 };
        let shard = self.rng.random_range(0..4096);
        let to = u32::try_from(cluster).unwrap_or(u32::MAX);
        self.network.connect(&mut self.queue, from, to, false, shard)
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Net(event) => {
                let notices = self.network.handle(&mut self.queue, event);
                for (endpoint, conn, notice) in notices {
                    match endpoint.host {
                        Host::Router(router) => self.within(router, |process, around| {
                            process.notice(endpoint.core, conn, notice, around);
                        }),
                        Host::Client(client) => self.notice(client, conn, notice),
                    }
                }
            }
            Event::Router { router, what, .. } => {
                self.within(router, |process, around| process.handle(what, around))
            }
            Event::ClientTimer { client } => self.flow(client),
            Event::ClientDial { client } => {
                let number = client as usize;
                if let Some(Client::Relay(_, link)) = self.clients.get(number) {
                    let (_, to, _) = self.links[*link];
                    let conn = self.dial(client, to);
                    if let Client::Relay(relay, _) = &mut self.clients[number] {
                        relay.dialled(conn, self.queue.now());
                    }
                }
            }
            Event::Publish { client } => self.publish(client),
            Event::Churn { client } => {
                if let Some(Client::Relay(relay, _)) = self.clients.get(client as usize)
                    && let Some(conn) = relay.id()
                {
                    Wire { network: &mut self.network, queue: &mut self.queue }.close(
                        conn,
                        CloseCode::Done.code(),
                        "",
                    );
                    self.cut(client);
                }
            }
            Event::Hop { .. } | Event::HandOver { .. } | Event::Fault(..) | Event::Inspect => {}
        }
    }

    fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut Around<'_>)) {
        let cluster = router as usize;
        let Self { network, queue, rng, findings, addresses, processes, .. } = self;
        let mut around = Around { network, queue, rng, findings, addresses: &addresses[cluster] };
        work(&mut processes[cluster], &mut around);
        let handed: Vec<_> = processes[cluster]
            .cores()
            .flat_map(|core| std::iter::from_fn(|| core.take_handed()).collect::<Vec<_>>())
            .collect();
        for handed in handed {
            let Some(&(_, _, client)) = self.links.get(usize::from(handed.link)) else { continue };
            if let Some(Client::Relay(relay, _)) = self.clients.get_mut(client as usize) {
                relay.link.offer(handed);
                self.flow(client);
            }
        }
    }

    fn notice(&mut self, client: u32, conn: ConnKey, notice: Notice) {
        let now = self.queue.now();
        let wire = &mut Wire { network: &mut self.network, queue: &mut self.queue };
        let Some(host) = self.clients.get_mut(client as usize) else { return };
        let read = match (host, notice) {
            (Client::Relay(relay, _), _) if relay.id() != Some(conn) => return,
            (Client::Relay(_, _), Notice::Closed(_)) => return self.cut(client),
            (Client::Relay(relay, _), Notice::Connected { .. }) => {
                relay.connected(wire);
                Ok(())
            }
            (Client::Relay(relay, _), Notice::Readable(stream)) => relay.read(wire, now, stream),
            (Client::Publisher(publisher), Notice::Connected { .. }) => {
                publisher.connection.connected(wire);
                Ok(())
            }
            (Client::Publisher(publisher), Notice::Readable(stream)) => {
                publisher.read(wire, now, stream).map_err(|failure| failure.to_string())
            }
            (Client::Receiver(receiver, _), Notice::Connected { .. }) => {
                receiver.connection.connected(wire);
                Ok(())
            }
            (Client::Receiver(receiver, _), Notice::StreamOpened(stream)) => {
                receiver.connection.stream_opened(stream);
                Ok(())
            }
            (Client::Receiver(receiver, _), Notice::Readable(stream)) => {
                receiver.read(wire, now, stream).map_err(|failure| failure.to_string())
            }
            (Client::Publisher(_) | Client::Receiver(..), Notice::Closed(code)) => {
                Err(format!("closed with {code:?}"))
            }
            _ => Ok(()),
        };
        if let Err(wrong) = read {
            self.findings.add("session", || format!("client {client}: {wrong}"));
        }
        self.flow(client);
    }

    /// The connection of a link is gone: another one follows.
    fn cut(&mut self, client: u32) {
        let Some(Client::Relay(relay, link)) = self.clients.get_mut(client as usize) else { return };
        relay.lost(self.queue.now());
        self.checker.cut(*link);
        let pause = Duration::from_millis(self.rng.random_range(1..500));
        self.queue.after(pause, Event::ClientDial { client });
        self.file(client);
    }

    fn publish(&mut self, client: u32) {
        let now = self.queue.now();
        let bytes = self.rng.random_range(0..200);
        let Some(Client::Publisher(publisher)) = self.clients.get_mut(client as usize) else { return };
        let n = publisher.n;
        match publisher.publish(now, bytes) {
            Ok(true) if now >= Time::ZERO + KNOWN => self.checker.owed(client, n),
            Ok(_) => {}
            Err(error) => self.findings.add("session", || format!("emitter {client}: {error}")),
        }
        self.flow(client);
        let pause = Duration::from_micros(self.rng.random_range(1_000..40_000));
        if now + pause < Time::ZERO + END {
            self.queue.after(pause, Event::Publish { client });
        }
    }

    fn flow(&mut self, client: u32) {
        let now = self.queue.now();
        let wire = &mut Wire { network: &mut self.network, queue: &mut self.queue };
        let Some(host) = self.clients.get_mut(client as usize) else { return };
        let (flowed, due) = match host {
            Client::Publisher(publisher) => {
                let flowed = publisher.flow(wire, now).map_err(|failure| failure.to_string());
                (flowed, publisher.poll_timeout(now))
            }
            Client::Receiver(receiver, number) => match receiver.flow(wire, now) {
                Ok((events, has_gap)) => {
                    for event in events {
                        self.checker.given(*number, event, &mut self.findings);
                    }
                    if has_gap {
                        self.checker.gap(*number);
                    }
                    (Ok(()), receiver.poll_timeout())
                }
                Err(failure) => (Err(failure.to_string()), None),
            },
            Client::Relay(relay, link) => match relay.flow(wire, now) {
                Ok(written) => {
                    let knows = relay.knows_demand_since().is_some_and(|since| now >= since + DEMAND_SETTLES);
                    let knows = knows && now >= Time::ZERO + KNOWN;
                    for (event, path) in written {
                        self.checker.crosses(*link, event, &path, knows, &mut self.findings);
                    }
                    (Ok(()), relay.poll_timeout())
                }
                Err(wrong) => (Err(wrong), None),
            },
        };
        if let Err(wrong) = flowed {
            self.findings.add("session", || format!("client {client}: {wrong}"));
        }
        if let Some(due) = due {
            let due = due.max(now + Duration::from_micros(10));
            self.queue.at(due, Event::ClientTimer { client });
        }
        self.file(client);
    }

    /// Tells the router of a link what the link takes, when that has changed.
    fn file(&mut self, client: u32) {
        let Some(Client::Relay(relay, link)) = self.clients.get_mut(client as usize) else { return };
        let Some(interest) = relay.link.poll_interest() else { return };
        let (from, _, _) = self.links[*link];
        let number = LinkNumber::try_from(*link).unwrap_or(LinkNumber::MAX);
        let router = u32::try_from(from).unwrap_or(u32::MAX);
        self.within(router, |process, around| {
            process.tell_control(around, |control, now| control.set_link(now, number, Some(interest)));
        });
    }
}
