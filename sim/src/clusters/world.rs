//! What links and clients do, and what is judged.

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
use crate::network::{Notice, Wire};
use crate::router::{Around, Process};
use crate::router_setup::RouterSetup;
use crate::stage::{self, Course, Play, Stage};

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
    stage: Stage,
    clients: Vec<Client>,
    /// The ends of each link, and the host that serves it.
    links: Vec<(usize, usize, u32)>,
    checker: Forwarding,
}

/// Runs the clusters of a seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut world = World::of(seed);
    let Course { hash, steps } = stage::run(&mut world, seed, OVER, STEPS_MAX);
    let World { stage: Stage { mut findings, .. }, checker, .. } = world;
    checker.finish(&mut findings);
    Outcome { copies: checker.copies, findings, hash, steps }
}

impl World {
    fn of(seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x636c_7573_7465_7273);
        let plan = Plan::of(&mut rng);
        let own = |setup: &RouterSetup| BTreeMap::from([(setup.address.clone(), setup.index)]);
        let mut stage = Stage::new(rng, plan.routers.iter().map(own).collect());
        for (cluster, setup) in plan.routers.iter().enumerate() {
            stage.start(setup);
            let Stage { network, queue, processes, .. } = &mut stage;
            let now = queue.now();
            for core in processes.iter_mut().skip(cluster).flat_map(Process::cores) {
                core.set_roll(now, &mut Wire { network, queue }, roll(cluster));
            }
        }
        let mut world = Self {
            stage,
            clients: Vec::new(),
            links: Vec::new(),
            checker: Forwarding::new(
                plan.links.iter().map(|(link, _)| link.clone()).collect(),
                plan.receivers.clone(),
                plan.emitters.clone(),
            ),
        };
        for (emitter, from) in (0..).zip(plan.emitters) {
            let conn = world.connect(from.cluster);
            let level = [ConfirmLevel::None, ConfirmLevel::Routed][world.stage.rng.random_range(0..2)];
            let publisher = Publisher::new(conn, emitter, from.tags, level, Time::ZERO);
            world.clients.push(Client::Publisher(Box::new(publisher)));
            let first = BEGIN + Duration::from_micros(world.stage.rng.random_range(0..100_000));
            world.stage.queue.after(first, Event::Publish { client: emitter });
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
            world.stage.queue.after(Duration::ZERO, Event::ClientDial { client: host });
        }
        world.plan_cuts();
        world
    }

    /// Some links are cut now and then.
    fn plan_cuts(&mut self) {
        if self.links.is_empty() {
            return;
        }
        for _ in 0..self.stage.rng.random_range(0..=CUTS) {
            let (_, _, client) = self.links[self.stage.rng.random_range(0..self.links.len())];
            let at = KNOWN + Duration::from_micros(self.stage.rng.random_range(0..2_000_000));
            self.stage.queue.after(at, Event::Churn { client });
        }
    }

    /// The next client dials a cluster's router.
    fn connect(&mut self, cluster: usize) -> ConnKey {
        let client = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        self.dial(client, cluster)
    }

    fn dial(&mut self, client: u32, cluster: usize) -> ConnKey {
        self.stage.dial(client, u32::try_from(cluster).unwrap_or(u32::MAX))
    }

    /// The connection of a link is gone: another one follows.
    fn cut(&mut self, client: u32) {
        let Some(Client::Relay(relay, link)) = self.clients.get_mut(client as usize) else { return };
        relay.lost(self.stage.queue.now());
        self.checker.cut(*link);
        let pause = Duration::from_millis(self.stage.rng.random_range(1..500));
        self.stage.queue.after(pause, Event::ClientDial { client });
        self.file(client);
    }

    fn publish(&mut self, client: u32) {
        let now = self.stage.queue.now();
        let bytes = self.stage.rng.random_range(0..200);
        let Some(Client::Publisher(publisher)) = self.clients.get_mut(client as usize) else { return };
        let n = publisher.n;
        match publisher.publish(now, bytes) {
            Ok(true) if now >= Time::ZERO + KNOWN => self.checker.owed(client, n),
            Ok(_) => {}
            Err(error) => self.stage.findings.add("session", || format!("emitter {client}: {error}")),
        }
        self.flow(client);
        let pause = Duration::from_micros(self.stage.rng.random_range(1_000..40_000));
        if now + pause < Time::ZERO + END {
            self.stage.queue.after(pause, Event::Publish { client });
        }
    }

    fn flow(&mut self, client: u32) {
        let now = self.stage.queue.now();
        let wire = &mut self.stage.wire();
        let Some(host) = self.clients.get_mut(client as usize) else { return };
        let (flowed, due) = match host {
            Client::Publisher(publisher) => {
                let flowed = publisher.flow(wire, now).map_err(|failure| failure.to_string());
                (flowed, publisher.poll_timeout(now))
            }
            Client::Receiver(receiver, number) => match receiver.flow(wire, now) {
                Ok((events, has_gap)) => {
                    for event in events {
                        self.checker.given(*number, event, &mut self.stage.findings);
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
                        self.checker.crosses(*link, event, &path, knows, &mut self.stage.findings);
                    }
                    (Ok(()), relay.poll_timeout())
                }
                Err(wrong) => (Err(wrong), None),
            },
        };
        if let Err(wrong) = flowed {
            self.stage.findings.add("session", || format!("client {client}: {wrong}"));
        }
        if let Some(due) = due {
            let due = due.max(now + Duration::from_micros(10));
            self.stage.queue.at(due, Event::ClientTimer { client });
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

impl Play for World {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut Around<'_>)) {
        self.stage.within(router, work);
        let handed: Vec<_> = self.stage.processes[router as usize]
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
        let now = self.stage.queue.now();
        let wire = &mut self.stage.wire();
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
            self.stage.findings.add("session", || format!("client {client}: {wrong}"));
        }
        self.flow(client);
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::ClientTimer { client } => self.flow(client),
            Event::ClientDial { client } => {
                let number = client as usize;
                if let Some(Client::Relay(_, link)) = self.clients.get(number) {
                    let (_, to, _) = self.links[*link];
                    let conn = self.dial(client, to);
                    if let Client::Relay(relay, _) = &mut self.clients[number] {
                        relay.dialled(conn, self.stage.queue.now());
                    }
                }
            }
            Event::Publish { client } => self.publish(client),
            Event::Churn { client } => {
                if let Some(Client::Relay(relay, _)) = self.clients.get(client as usize)
                    && let Some(conn) = relay.id()
                {
                    self.stage.wire().close(conn, CloseCode::Done.code(), "");
                    self.cut(client);
                }
            }
            _ => {}
        }
    }
}
