//! One run: connect, subscribe, warm up, publish at the wanted rate, let it settle, judge; and again at a lower rate when
//! the host could not hold it, at many rates to find the highest, or disturbed.

mod attempt;
mod headroom;
mod search;
mod settle;
mod setup;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use millrace_verify::oracle::{Expected, OracleError};
use millrace_verify::workload::WorkloadError;

pub use self::attempt::Attempt;
pub use self::headroom::Headroom;
pub use self::search::Search;
pub use self::setup::SetUp;
pub use self::timeline::Point;

use self::attempt::{Wanted, attempt};
use crate::cluster::{Cluster, ClusterError, Home};
use crate::disturb::{Background, DisturbSettings, Disturbance, Disturbers, Outcome};
use crate::fleet::{Fleet, FleetError, FleetPlan};
use crate::progress::Progress;
use crate::scenario::Scenario;
use millrace_measure::kernel;

/// Between two looks at the counters.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Latencies of others below this are not compared: a scheduler's turn.
const DISTURBED_P99_FLOOR: Duration = Duration::from_millis(2);

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
    /// No router let anybody in.
    #[error("no router answers at {addresses} ({after_s:.1} s): {reason}")]
    Silent {
        /// Where routers were looked for.
        addresses: String,
        /// For how long, seconds.
        after_s: f64,
        /// What came back instead.
        reason: String,
    },
    /// Connections or subscriptions did not come about.
    #[error("set-up failed after {seconds} s: {why} ({state})")]
    Setup {
        /// What ended it.
        why: &'static str,
        /// When.
        seconds: u64,
        /// What was missing.
        state: String,
    },
}

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
    /// Resident memory of the generator's process at the end; holds the routers, too, where they are embedded.
    pub resident_bytes: u64,
    /// Resident memory of router processes at the end.
    pub routers_resident_bytes: Option<u64>,
    /// Reasons of lost connections.
    pub losses: Vec<String>,
    /// Load average of the host before the run, over one minute.
    pub load_average: f64,
}

/// What a run works with.
pub(crate) struct Bench<'a> {
    pub(crate) fleet: Fleet,
    pub(crate) cluster: &'a Cluster,
    pub(crate) scenario: &'a Scenario,
    pub(crate) disturbers: Disturbers,
    pub(crate) progress: &'a Progress,
}

/// Runs a scenario on a cluster.
///
/// # Errors
/// [`RunError`] when it could not be run at all; a rate that was not held is a result.
pub fn run(
    scenario: Scenario,
    cluster: &Cluster,
    options: &RunOptions,
    progress: &Progress,
) -> Result<RunResult, RunError> {
    let load_average = kernel::load_average();
    progress.stage("preparing the workload");
    let generator = Arc::new(scenario.workload.generator()?);
    let [receiving, publishing] = cluster.clients(&scenario)?;
    let plan = FleetPlan {
        scenario: scenario.clone(),
        targets: cluster.targets().to_vec(),
        ca_pem: cluster.ca_pem().into(),
        publishing,
        receiving,
        expected: Arc::new(Expected::of(&generator)?),
        tag_sets: generator.tag_sets().into(),
        generator,
    };
    progress.stage("connecting and subscribing");
    let resident_before = cluster.usage().resident_bytes.unwrap_or_else(kernel::resident_bytes);
    let fleet = Fleet::start(&plan)?;
    let disturbers = Disturbers::default();
    let mut bench = Bench { fleet, cluster, scenario: &scenario, disturbers, progress };
    let set_up = setup::set_up(&mut bench, resident_before)?;
    let settings = options.disturb_settings;
    bench.disturbers = Disturbers::start(&options.disturb, settings, options.background, cluster, progress)?;
    let attempts = match options.search {
        Some(search) => search::search(&mut bench, search)?,
        None => search::hold(&mut bench, options.step_down)?,
    };
    let disturbed = disturb(&mut bench, &options.disturb, attempts.last())?;
    let resident_bytes = kernel::resident_bytes();
    let routers_resident_bytes = cluster.usage().resident_bytes;
    let Bench { mut fleet, disturbers, .. } = bench;
    disturbers.finish();
    fleet.listen();
    let losses = std::mem::take(&mut fleet.losses);
    fleet.finish()?;
    let (home, routers) = (cluster.home(), cluster.targets().len());
    let targets = cluster.targets().iter().map(|target| target.address.to_string()).collect();
    let search = options.search;
    Ok(RunResult {
        scenario,
        home,
        routers,
        targets,
        set_up,
        attempts,
        search,
        disturbed,
        resident_bytes,
        routers_resident_bytes,
        losses,
        load_average,
    })
}

/// The disturbed phases, at the rate of the undisturbed one.
fn disturb(
    bench: &mut Bench<'_>,
    disturbances: &[Disturbance],
    undisturbed: Option<&Attempt>,
) -> Result<Vec<Disturbed>, RunError> {
    let Some(undisturbed) = undisturbed else { return Ok(Vec::new()) };
    let mut phases = Vec::new();
    for &disturbance in disturbances {
        let duration = bench.scenario.duration;
        let wanted = Wanted { rate: undisturbed.target, duration, disturbance: Some(disturbance) };
        let attempt = attempt(bench, wanted)?;
        let outcome = bench.disturbers.outcome(disturbance, &attempt.judged);
        let undisturbed_p99 = undisturbed.p99();
        phases.push(Disturbed { disturbance, attempt, outcome, undisturbed_p99 });
    }
    Ok(phases)
}
