//! Making a thread of the fleet: its emitters, publishers and receivers, dealt out from the plan.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use millrace_verify::workload::WorkloadError;

use super::connections::{Dialling, Role, Wish};
use super::plan::FleetPlan;
use super::publisher::{Emitters, Publisher};
use super::shared::Shared;
use super::state::{FleetApp, Mine};
use super::tally::Tally;
use super::watch::{Slow, Watch, checkers};
use crate::scenario::Scenario;

/// Bytes that a publisher queues at most: a quarter of a second at a tenth of a gigabit.
const PUBLISHER_QUEUE_BYTES: usize = 4 << 20;

/// The app of one thread, and how many subscriptions it will ask for.
pub(super) fn build(
    plan: &FleetPlan,
    thread: u32,
    tally: Arc<Tally>,
    shared: Shared,
) -> Result<(FleetApp, u64), WorkloadError> {
    let scenario = &plan.scenario;
    let threads = u32::from(scenario.fleet_threads.max(1));
    let routers = u32::try_from(plan.targets.len()).unwrap_or(1).max(1);
    let mine = Mine { connections: scenario.receiver_connections, threads, thread };
    let (publishers, emitters, mut wishes) = publishing(plan, thread, threads);
    let (receiving, subscriptions) = receiving(plan, thread, threads)?;
    wishes.extend(receiving);
    let checkers = checkers(&plan.expected, Slow::of(scenario), |receiver| mine.holds(receiver));
    let watch = Watch::new(checkers, emitter_routers(scenario, routers), plan.tag_sets.to_vec());
    let Shared { clock, orders, reports } = shared;
    let app = FleetApp {
        clock,
        tally,
        orders,
        reports,
        seen: 0,
        first: thread == 0,
        finishing: false,
        dialling: Dialling {
            plan: plan.clone(),
            total: wishes.len(),
            wishes,
            pending: 0,
            open: 0,
            sockets: Vec::new(),
            per_second: f64::from(scenario.handshakes_per_second.max(1)) / f64::from(threads),
            begun: 0,
            since: Instant::now(),
        },
        connections: Vec::new(),
        by_id: HashMap::default(),
        publisher_places: vec![usize::MAX; publishers.len()],
        publishers,
        receivers: Vec::new(),
        emitters,
        watch,
        expected: Arc::clone(&plan.expected),
        slow: Slow::of(scenario),
        mine,
        dirty: Vec::new(),
        published_at: Instant::now(),
        tended_at: Instant::now(),
        tended: 0,
    };
    Ok((app, subscriptions))
}

/// The router that each emitter's events enter through.
pub(super) fn emitter_routers(scenario: &Scenario, routers: u32) -> Vec<u8> {
    (0..scenario.workload.emitters)
        .map(|emitter| scenario.publisher_router(scenario.emitter_connection(emitter), routers))
        .map(|router| u8::try_from(router).unwrap_or(u8::MAX))
        .collect()
}

/// The thread's publishers with their emitters, and the connections that they need.
fn publishing(plan: &FleetPlan, thread: u32, threads: u32) -> (Vec<Publisher>, Emitters, VecDeque<Wish>) {
    let scenario = &plan.scenario;
    let workload = &scenario.workload;
    let mut publishers = Vec::new();
    let mut wishes = VecDeque::new();
    for connection in (thread..scenario.publisher_connections).step_by(threads as usize) {
        let id = (u128::from(workload.seed) << 64) | u128::from(connection + 1);
        let role = Role::Publisher(publishers.len());
        publishers.push(Publisher::new(id, scenario.publish_linger, PUBLISHER_QUEUE_BYTES));
        wishes.push_back(Wish { role, connection, redials: 0, place: None });
    }
    let here: Vec<u32> = (0..workload.emitters)
        .filter(|&emitter| scenario.emitter_connection(emitter) % threads == thread)
        .collect();
    let share = here.len() as f64 / f64::from(workload.emitters);
    let mut emitters = Emitters::new(workload, scenario.publish_linger, share, publishers.len());
    for emitter in here {
        let publisher = scenario.emitter_connection(emitter) / threads;
        let tags = &plan.tag_sets[emitter as usize];
        emitters.add(emitter, publisher, &mut publishers[publisher as usize], tags);
    }
    (publishers, emitters, wishes)
}

/// The connections that the thread's receivers need, and how many subscriptions they are.
fn receiving(plan: &FleetPlan, thread: u32, threads: u32) -> Result<(Vec<Wish>, u64), WorkloadError> {
    let connections = plan.scenario.receiver_connections;
    let mut wishes = Vec::new();
    let mut count = 0;
    for connection in (thread..connections).step_by(threads as usize) {
        for receiver in (connection..plan.scenario.workload.receivers).step_by(connections as usize) {
            count += plan.generator.subscriptions(receiver)?.len() as u64;
        }
        wishes.push(Wish { role: Role::Receiver(wishes.len()), connection, redials: 0, place: None });
    }
    Ok((wishes, count))
}
