//! Which routers and clients a seed has.

use std::time::Duration;

use millrace_engine::control::ControlConfig;
use millrace_engine::core::CoreConfig;
use millrace_proto::{Incarnation, RouterId};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use crate::router_setup::RouterSetup;

/// Whether a seed has groups and requests besides its cluster.
#[must_use]
pub const fn serves(seed: u64) -> bool {
    seed % 4 == 2
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Publishes for a group.
    Feeder { group: usize },
    /// Is a member of a group; takes no more than so many events unacknowledged.
    Member { group: usize, level: u32, max_inflight: u64 },
    /// Asks a service.
    Asker { service: usize },
    /// Responds for a service.
    Responder { service: usize },
}

/// A client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) part: Part,
    pub(super) router: u32,
    /// How long its program works on an event, at most.
    pub(super) work: Duration,
    /// Whether its process ends now and then.
    pub(super) ends: bool,
}

/// Routers and clients.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) routers: Vec<RouterSetup>,
    /// Whether nobody of a group ends.
    pub(super) steady: Vec<bool>,
    pub(super) roles: Vec<Role>,
}

impl Plan {
    pub(super) fn of(rng: &mut Pcg64Mcg) -> Self {
        let count = rng.random_range(1..4);
        let seed = rng.random();
        let routers = (0..count).map(|number| router(number, seed, rng)).collect();
        let steady: Vec<bool> = (0..rng.random_range(1..4)).map(|_| rng.random_range(0..3) == 0).collect();
        let mut roles = Vec::new();
        let mut role = |rng: &mut Pcg64Mcg, part, work_ms: u64, ends| {
            let work = Duration::from_millis(work_ms);
            roles.push(Role { part, router: rng.random_range(0..count), work, ends });
        };
        for (group, &is_steady) in steady.iter().enumerate() {
            for level in 1..3 {
                for _ in 0..rng.random_range(1..4) {
                    let max_inflight = if is_steady { 256 } else { 1 << rng.random_range(2..9) };
                    let work_ms = if is_steady { 0 } else { 1 << rng.random_range(0..8) };
                    let ends = !is_steady && rng.random_range(0..4) > 0;
                    role(rng, Part::Member { group, level, max_inflight }, work_ms, ends);
                }
            }
            for _ in 0..rng.random_range(1..5) {
                role(rng, Part::Feeder { group }, 0, false);
            }
        }
        for service in 0..rng.random_range(1..3) {
            for _ in 0..rng.random_range(1..4) {
                let ends = rng.random_range(0..3) == 0;
                let work_ms = 1 << rng.random_range(0..12);
                role(rng, Part::Responder { service }, work_ms, ends);
            }
            for _ in 0..rng.random_range(1..3) {
                role(rng, Part::Asker { service }, 0, false);
            }
        }
        Self { routers, steady, roles }
    }
}

fn router(number: u32, seed: u64, rng: &mut Pcg64Mcg) -> RouterSetup {
    let (id, cores) = (RouterId(100 + u64::from(number)), rng.random_range(1..4));
    let address = format!("serving-{number}:7400");
    let mut core = CoreConfig::new(id, Incarnation(0), 0, cores);
    core.seed = seed ^ u64::from(number);
    let control =
        ControlConfig { seed: core.seed, ..ControlConfig::new(id, Incarnation(0), address.clone(), cores) };
    let mail_delay = Duration::from_micros(1 << rng.random_range(4..10));
    RouterSetup { index: number, id, address, core, control, rules: None, mail_delay, disk: None }
}
