//! What small worlds stand on: routers that stay, on a network without faults, in virtual time.
//!
//! A seed may have such worlds besides its own cluster. Each has its clients and its checkers, and
//! is a [`Play`] on a [`Stage`]: the stage moves routers and packets, the play says what clients
//! do.

use std::collections::BTreeMap;
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
        }
    }

    /// Starts the next router.
    pub(crate) fn start(&mut self, setup: &RouterSetup) {
        let Self { network, queue, rng, processes, findings, addresses } = self;
        let addresses = &addresses[processes.len()];
        let mut around = Around { network, queue, rng, findings, addresses };
        processes.push(Process::start(setup, 1, &mut around));
    }

    /// A router does something.
    pub(crate) fn within(&mut self, router: u32, work: impl FnOnce(&mut Process, &mut Around<'_>)) {
        let Self { network, queue, rng, processes, findings, addresses } = self;
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
                        process.notice(endpoint.core, conn, notice, around);
                    }),
                    Host::Client(client) => play.notice(client, conn, notice),
                }
            }
        }
        Event::Router { router, what, .. } => {
            play.within(router, |process, around| process.handle(what, around));
        }
        other => play.act(other),
    }
}
