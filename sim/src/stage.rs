//! What small worlds stand on: routers on a network without faults of its own, in virtual time. A
//! play may stop a router and start it again.
//!
//! A seed may have such worlds besides its own cluster. Each has its clients and its checkers, and
//! is a [`Play`] on a [`Stage`]: the stage moves routers and packets, the play says what clients
//! do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_engine::time::Time;
use millrace_engine::transport::ConnKey;
use millrace_verify::checker::Findings;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::event::Event;
use crate::network::{Endpoint, Host, Latency, Network, NetworkConfig, Notice, Wire};
use crate::queue::Queue;
use crate::router::{Around, Process};
use crate::router_setup::RouterSetup;

/// The routers of a small world, and what is between them and their clients.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) network: Network,
    pub(crate) queue: Queue<Event>,
    pub(crate) rng: Pcg64Mcg,
    pub(crate) processes: Vec<Process>,
    pub(crate) findings: Findings,
    /// By router: the routers that it knows.
    addresses: Vec<BTreeMap<String, u32>>,
    /// Routers whose process is gone.
    down: BTreeSet<u32>,
}

/// What happens on a stage.
pub(crate) trait Play {
    /// The stage.
    fn stage(&mut self) -> &mut Stage;
    /// A router does something.
    fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut Around<'_>));
    /// A client learns something of a connection.
    fn notice(&mut self, client: u32, conn: ConnKey, notice: Notice);
    /// Something happens that is no packet and in no router.
    fn act(&mut self, event: Event);
}

/// How a run went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// A hash of it.
    pub(crate) hash: u64,
    /// Its steps.
    pub(crate) steps: u64,
}

impl Stage {
    /// A network for routers that have not started. `addresses` has for each the routers that it
    /// knows.
    pub(crate) fn new(mut rng: Pcg64Mcg, addresses: Vec<BTreeMap<String, u32>>) -> Self {
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
        Self {
            network: Network::new(config, Pcg64Mcg::seed_from_u64(rng.random())),
            queue: Queue::new(),
            rng,
            processes: Vec::new(),
            findings: Findings::default(),
            addresses,
            down: BTreeSet::new(),
        }
    }

    /// Starts the next router.
    pub(crate) fn start(&mut self, setup: &RouterSetup) {
        let Self { network, queue, rng, processes, findings, addresses, .. } = self;
        let addresses = &addresses[processes.len()];
        let mut around = Around { network, queue, rng, findings, addresses };
        processes.push(Process::start(setup, 1, &mut around));
    }

    /// A router's process is gone, without a word.
    pub(crate) fn stop(&mut self, router: u32) {
        self.down.insert(router);
        self.network.process_died(&mut self.queue, router);
    }

    /// A router that was stopped begins its next life.
    pub(crate) fn start_again(&mut self, setup: &RouterSetup) {
        let Self { network, queue, rng, processes, findings, addresses, down } = self;
        let addresses = &addresses[setup.index as usize];
        let mut around = Around { network, queue, rng, findings, addresses };
        let process = &mut processes[setup.index as usize];
        let life = process.life() + 1;
        *process = Process::start(setup, life, &mut around);
        down.remove(&setup.index);
    }

    /// Whether a router's process is gone.
    pub(crate) fn is_down(&self, router: u32) -> bool {
        self.down.contains(&router)
    }

    /// A router does something, unless its process is gone.
    pub(crate) fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut Around<'_>)) {
        let Self { network, queue, rng, processes, findings, addresses, down } = self;
        if down.contains(&router) {
            return;
        }
        let addresses = &addresses[router as usize];
        let mut around = Around { network, queue, rng, findings, addresses };
        work(&mut processes[router as usize], &mut around);
    }

    /// A client dials a router.
    pub(crate) fn dial(&mut self, client: u32, router: u32) -> ConnKey {
        let from = Endpoint { host: Host::Client(client), life: 0, core: 0 };
        let shard = self.rng.random_range(0..4096);
        self.network.connect(&mut self.queue, from, router, false, shard)
    }

    /// The transport of routers and clients.
    pub(crate) const fn wire(&mut self) -> Wire<'_> {
        Wire { network: &mut self.network, queue: &mut self.queue }
    }
}

/// Runs a play until a time. One that takes more than `steps_max` steps is stuck, which is a
/// finding.
pub(crate) fn run(play: &mut impl Play, seed: u64, until: Duration, steps_max: u64) -> Course {
    let mut course = Course { hash: seed, steps: 0 };
    while let Some((now, event)) = play.stage().queue.pop() {
        course.steps += 1;
        course.hash = course.hash.rotate_left(5) ^ now.0;
        if now > Time::ZERO + until {
            break;
        }
        if course.steps > steps_max {
            play.stage().findings.add("stuck", || format!("{steps_max} steps, and no end at {now}"));
            break;
        }
        step(play, event);
    }
    course
}

fn step(play: &mut impl Play, event: Event) {
    match event {
        Event::Net(event) => {
            let Stage { network, queue, .. } = play.stage();
            for (endpoint, conn, notice) in network.handle(queue, event) {
                match endpoint.host {
                    Host::Router(router) => play.within(router, |process, around| {
                        if process.life() == endpoint.life {
                            process.notice(endpoint.core, conn, notice, around);
                        }
                    }),
                    Host::Client(client) => play.notice(client, conn, notice),
                }
            }
        }
        Event::Router { router, life, what } => play.within(router, |process, around| {
            if process.life() == life {
                process.handle(what, around);
            }
        }),
        other => play.act(other),
    }
}
