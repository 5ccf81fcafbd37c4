//! What a run may do, and what came of it.

use std::time::Duration;

use super::attempt::Attempt;
use super::search::Search;
use super::setup::SetUp;
use crate::cluster::Home;
use crate::disturb::{Background, DisturbSettings, Disturbance, Outcome};
use crate::scenario::Scenario;

/// Latencies of others below this are not compared: a scheduler's turn.
const DISTURBED_P99_FLOOR: Duration = Duration::from_millis(2);

/// What the run may do besides the scenario.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Look for the highest rate that holds when the wanted one does not.
    pub step_down: bool,
    /// Search the highest rate instead.
    pub search: Option<Search>,
    /// Disturbances, each in a phase of its own behind the undisturbed one.
    pub disturb: Vec<Disturbance>,
    /// How much of them.
    pub disturb_settings: DisturbSettings,
    /// What goes on all the time.
    pub background: Background,
}

/// A phase with a disturbance, at the rate of the undisturbed one before it.
#[derive(Debug)]
pub struct Disturbed {
    /// Which.
    pub disturbance: Disturbance,
    /// What came of the others.
    pub attempt: Attempt,
    /// What came of the disturbance itself.
    pub outcome: Outcome,
    /// The others' p99 in the undisturbed phase.
    pub undisturbed_p99: Duration,
}

impl Disturbed {
    /// The others' p99 against the undisturbed phase; what is below 2 ms there counts as 2 ms.
    #[must_use]
    pub fn p99_ratio(&self) -> f64 {
        self.attempt.p99().as_secs_f64() / self.undisturbed_p99.max(DISTURBED_P99_FLOOR).as_secs_f64()
    }
}

/// A finished run.
#[derive(Debug)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// Where the routers were.
    pub home: Home,
    /// Routers that were used.
    pub routers: usize,
    /// Their addresses, as they were named.
    pub targets: Vec<String>,
    /// What setting up took.
    pub set_up: SetUp,
    /// All attempts in their order; the last one counts.
    pub attempts: Vec<Attempt>,
    /// What was searched, if anything was.
    pub search: Option<Search>,
    /// Disturbed phases, in their order.
    pub disturbed: Vec<Disturbed>,
    /// Resident memory of the generator's process at the end; holds the routers, too, where they
    /// are embedded.
    pub resident_bytes: u64,
    /// Resident memory of router processes at the end.
    pub routers_resident_bytes: Option<u64>,
    /// Reasons of lost connections.
    pub losses: Vec<String>,
    /// Load average of the host before the run, over one minute.
    pub load_average: f64,
}
