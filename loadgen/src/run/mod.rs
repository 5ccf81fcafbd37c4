//! One run: connect, subscribe, warm up, publish at the wanted rate, let it settle, judge; and again at a lower rate when
//! the host could not hold it.

pub(crate) mod cpu;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_verify::oracle::{Expected, OracleError};
use millrace_verify::workload::WorkloadError;

use crate::cluster::{Cluster, ClusterError, Stages};
use crate::fleet::order::{Stretch, whole};
use crate::fleet::tally::Sum;
use crate::fleet::{Fleet, FleetError, FleetPlan, Judged};
use crate::progress::Progress;
use crate::scenario::Scenario;

/// How long all connections and subscriptions may take.
const SETUP_MAX: Duration = Duration::from_secs(120);
/// A schedule that is this far behind will not be caught up: the attempt is over.
const BEHIND_MAX: Duration = Duration::from_millis(1500);
/// After publishing, how long nothing may arrive before all that would arrive has arrived.
const QUIET: Duration = Duration::from_millis(700);
/// After publishing, how long deliveries may go on arriving.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// A rate is held when it was offered to within this part of itself.
const OFFERED_MIN: f64 = 0.985;
/// … and when routers received this part of it while it was offered: what is left is what lingers and is on the way.
const CARRIED_MIN: f64 = 0.95;
/// … and when the last delivery came soon after the last event: nothing had piled up.
const SETTLED_MAX: Duration = Duration::from_millis(500);
/// Between two looks at the counters.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The routers.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The fleet.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The workload.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The workload's oracle.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// Connections or subscriptions did not come about.
    #[error("set-up did not finish within {seconds} s: {state}")]
    Setup {
        /// The time limit.
        seconds: u64,
        /// What was missing.
        state: String,
    },
}

/// What the run may do besides the scenario.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Lower the rate when it cannot be held.
    pub step_down: bool,
    /// Attempts in all.
    pub attempts_max: u32,
}

/// One attempt at a rate.
#[derive(Debug)]
pub struct Attempt {
    /// Events per second wanted.
    pub target: f64,
    /// Events per second published.
    pub offered: f64,
    /// Events per second that routers received.
    pub ingress: f64,
    /// Deliveries per second.
    pub egress: f64,
    /// Length of the measured part.
    pub elapsed: Duration,
    /// How long deliveries went on after the last event was published.
    pub settled: Duration,
    /// The furthest that the schedule was behind.
    pub behind: Duration,
    /// What was expected and what came; covers the warm-up, too.
    pub judged: Judged,
    /// Deliveries of the measured part that crossed the mesh.
    pub crossed: u64,
    /// Events that gap markers said are missing.
    pub gap_events: u64,
    /// Events that the routers dropped, by reason; unknown for routers elsewhere.
    pub dropped: BTreeMap<String, u64>,
    /// CPU seconds of the routers and of the generator in the measured part.
    pub cpu: (f64, f64),
    /// Where the CPU time went.
    pub stages: Stages,
    /// Connections lost meanwhile.
    pub connections_lost: u64,
}

impl Attempt {
    /// Whether the rate was offered in time, carried as fast as it was offered, and nothing is wrong.
    #[must_use]
    pub fn held(&self) -> bool {
        let carried = self.ingress >= self.offered * CARRIED_MIN && self.settled <= SETTLED_MAX;
        self.offered >= self.target * OFFERED_MIN && carried && self.is_clean()
    }

    /// Whether everything that was published was delivered once and in order.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.judged.verdict.is_clean() && self.connections_lost == 0
    }

    /// Whether every loss has a gap marker or a drop counter: then the rate was too high, and nothing was lost silently.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        let verdict = &self.judged.verdict;
        let dropped: u64 = self.dropped.values().sum();
        verdict.duplicated == 0
            && verdict.reordered == 0
            && verdict.corrupted == 0
            && verdict.unexpected == 0
            && verdict.lost <= self.gap_events.max(dropped)
    }
}

/// A finished run.
#[derive(Debug)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// Whether the routers were in this process.
    pub embedded: bool,
    /// Routers that were used.
    pub routers: usize,
    /// All attempts in their order; the last one counts.
    pub attempts: Vec<Attempt>,
    /// Resident memory of this process at the end.
    pub resident_bytes: u64,
    /// Reasons of lost connections.
    pub losses: Vec<String>,
}

/// Runs a scenario on a cluster.
///
/// # Errors
/// [`RunError`] when it could not be run at all; a rate that was not held is a result.
pub fn run(
    scenario: Scenario,
    cluster: &Cluster,
    options: RunOptions,
    progress: &Progress,
) -> Result<RunResult, RunError> {
    progress.stage("preparing the workload");
    let generator = Arc::new(scenario.workload.generator()?);
    let plan = FleetPlan {
        scenario: scenario.clone(),
        targets: cluster.targets().to_vec(),
        client: cluster.client(&scenario)?,
        expected: Arc::new(Expected::of(&generator)?),
        tag_sets: generator.tag_sets().into(),
        generator,
    };
    progress.stage("connecting and subscribing");
    let mut fleet = Fleet::start(&plan)?;
    set_up(&mut fleet, &scenario, progress)?;
    let mut attempts = Vec::new();
    let mut target = scenario.workload.events_per_second as f64;
    loop {
        let attempt = attempt(&mut fleet, cluster, &scenario, target, progress)?;
        let (held, next) = (attempt.held(), next_target(&attempt));
        let give_up = !options.step_down
            || !attempt.is_explained()
            || attempts.len() + 1 >= options.attempts_max as usize;
        if !held && !give_up {
            progress.say(&format!(
                "{} events/s were too many for this host ({} offered); stepping down to {}",
                grouped(attempt.target),
                grouped(attempt.offered),
                grouped(next)
            ));
        }
        attempts.push(attempt);
        if held || give_up {
            break;
        }
        target = next;
    }
    let resident_bytes = cpu::resident_bytes();
    fleet.listen();
    let losses = std::mem::take(&mut fleet.losses);
    fleet.finish()?;
    let (embedded, routers) = (cluster.is_embedded(), cluster.targets().len());
    Ok(RunResult { scenario, embedded, routers, attempts, resident_bytes, losses })
}

/// A rate that should hold after this attempt: a little below what was achieved, two digits.
fn next_target(attempt: &Attempt) -> f64 {
    let achieved = attempt.offered.min(attempt.ingress.max(attempt.target * 0.25));
    let wanted = (attempt.target * 0.95).min(achieved * 0.97);
    let digit = 10f64.powf(wanted.max(10.0).log10().floor() - 1.0) / 2.0;
    ((wanted / digit).floor() * digit).max(1.0)
}

fn set_up(fleet: &mut Fleet, scenario: &Scenario, progress: &Progress) -> Result<(), RunError> {
    let connections = u64::from(scenario.publisher_connections) + u64::from(scenario.receiver_connections);
    let begun = Instant::now();
    loop {
        let sum = fleet.sum();
        progress.set_up(&sum, connections, fleet.subscriptions);
        if sum.effective >= fleet.subscriptions && sum.credited >= fleet.publishers {
            return Ok(());
        }
        fleet.listen();
        if begun.elapsed() > SETUP_MAX || sum.connections_lost > 0 || sum.refused > 0 {
            let state = format!(
                "{} of {connections} connections, {} of {} publishers with credit, {} of {} subscriptions effective, {} refused, lost: {}",
                sum.welcomed,
                sum.credited,
                fleet.publishers,
                sum.effective,
                fleet.subscriptions,
                sum.refused,
                fleet.losses.first().map_or("none", String::as_str)
            );
            return Err(RunError::Setup { seconds: SETUP_MAX.as_secs(), state });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn attempt(
    fleet: &mut Fleet,
    cluster: &Cluster,
    scenario: &Scenario,
    target: f64,
    progress: &Progress,
) -> Result<Attempt, RunError> {
    let first = fleet.sum();
    progress.stage("warming up");
    let warm_rate = target * 0.25;
    let warm_events = whole(warm_rate).max(u64::from(scenario.workload.emitters));
    stretch(fleet, &Order { rate: warm_rate, events: warm_events, reset: true, measured: false }, progress);
    settle(fleet, progress);

    progress.stage("measuring");
    let before = (cpu::process_ns(), cluster.cpu_ns(), fleet.sum(), cluster.stages());
    let dropped_before = cluster.dropped();
    let events = whole(target * scenario.duration.as_secs_f64());
    let (elapsed, behind, at_end) =
        stretch(fleet, &Order { rate: target, events, reset: false, measured: true }, progress);
    let published = at_end.published - before.2.published;
    let settled = settle(fleet, progress);
    let after = (cpu::process_ns(), cluster.cpu_ns(), fleet.sum(), cluster.stages());
    let judged = fleet.judge()?;
    let seconds = elapsed.as_secs_f64();
    let router_cpu = (after.1 - before.1) as f64 / 1e9;
    let process_cpu = (after.0 - before.0) as f64 / 1e9;
    let generator_cpu = if cluster.is_embedded() { process_cpu - router_cpu } else { process_cpu };
    Ok(Attempt {
        target,
        offered: published as f64 / seconds,
        ingress: (at_end.received - before.2.received) as f64 / seconds,
        egress: (at_end.delivered - before.2.delivered) as f64 / seconds,
        elapsed,
        settled,
        behind,
        judged,
        crossed: after.2.crossed - before.2.crossed,
        gap_events: after.2.gap_events - first.gap_events,
        dropped: difference(&dropped_before, &cluster.dropped()),
        cpu: (router_cpu, generator_cpu),
        stages: after.3.since(&before.3),
        connections_lost: after.2.connections_lost - first.connections_lost,
    })
}

fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let since = |(reason, count): (&String, &u64)| {
        let more = count - before.get(reason).copied().unwrap_or(0);
        (more > 0).then(|| (reason.clone(), more))
    };
    after.iter().filter_map(since).collect()
}

struct Order {
    rate: f64,
    events: u64,
    reset: bool,
    measured: bool,
}

/// Publishes a stretch; returns its length, how far it was behind at most, and the counters at its end.
fn stretch(fleet: &mut Fleet, order: &Order, progress: &Progress) -> (Duration, Duration, Sum) {
    let start = Instant::now() + Duration::from_millis(30);
    let Order { rate, events, reset, measured } = *order;
    let mut number = fleet.publish(Stretch { start, events_per_second: rate, events, reset, measured });
    let mut behind = Duration::ZERO;
    let mut cancelled = false;
    loop {
        std::thread::sleep(LOOK_EVERY);
        progress.running(&fleet.sum(), rate);
        behind = behind.max(fleet.behind());
        if fleet.has_published(number) {
            return (start.elapsed(), behind, fleet.sum());
        }
        if behind > BEHIND_MAX && !cancelled {
            cancelled = true;
            let none =
                Stretch { start: Instant::now(), events_per_second: rate, events: 0, reset: false, measured };
            number = fleet.publish(none);
        }
    }
}

/// Waits until everything that was published is received and nothing arrives any more.
fn settle(fleet: &mut Fleet, progress: &Progress) -> Duration {
    let begun = Instant::now();
    let mut last = (fleet.sum().delivered, Instant::now());
    loop {
        std::thread::sleep(LOOK_EVERY);
        let sum = fleet.sum();
        progress.settling(&sum);
        if sum.delivered != last.0 {
            last = (sum.delivered, Instant::now());
        }
        let quiet = last.1.elapsed() >= QUIET;
        if (quiet && sum.received >= sum.published) || begun.elapsed() > SETTLE_MAX {
            return last.1.saturating_duration_since(begun);
        }
    }
}

/// A whole number with groups of three digits.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
