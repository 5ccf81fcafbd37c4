//! A whole run: connecting, the attempts, and the disturbed phases behind them.

use std::sync::Arc;

use millrace_measure::kernel;
use millrace_verify::oracle::Expected;

use super::attempt::{Attempt, Wanted, attempt};
use super::bench::Bench;
use super::error::RunError;
use super::result::{Disturbed, RunOptions, RunResult};
use super::{search, setup};
use crate::cluster::Cluster;
use crate::disturb::Disturbers;
use crate::fleet::{Fleet, FleetPlan};
use crate::progress::Progress;
use crate::scenario::Scenario;

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
        targets_of_receivers: cluster.targets_of_receivers(),
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
    std::thread::sleep(scenario.ways.lead);
    let settings = options.disturb_settings;
    let (wanted, duration) = (&options.disturb, scenario.duration);
    bench.disturbers = Disturbers::start(wanted, settings, duration, options.background, cluster, progress)?;
    let attempts = match options.search {
        Some(search) => search::search(&mut bench, search)?,
        None => search::hold(&mut bench, options.step_down)?,
    };
    let (controls, disturbed) = disturb(&mut bench, options, attempts.last())?;
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
        controls,
        disturbed,
        resident_bytes,
        routers_resident_bytes,
        losses,
        treated: cluster.treated(),
        load_average,
    })
}

/// The disturbed phases, at the rate of the undisturbed one; in rounds behind the first, an
/// undisturbed phase of their own comes first, which is returned, too.
fn disturb(
    bench: &mut Bench<'_>,
    options: &RunOptions,
    undisturbed: Option<&Attempt>,
) -> Result<(Vec<Attempt>, Vec<Disturbed>), RunError> {
    let (mut controls, mut phases) = (Vec::new(), Vec::new());
    let Some(first) = undisturbed else { return Ok((controls, phases)) };
    let (rate, duration) = (first.target, bench.scenario.duration);
    let mut undisturbed_p99 = first.p99();
    for round in 0..options.disturb_settings.rounds {
        if round > 0 && !options.disturb.is_empty() {
            let control = attempt(bench, Wanted { rate, duration, disturbance: None })?;
            undisturbed_p99 = control.p99();
            controls.push(control);
        }
        for &disturbance in &options.disturb {
            let attempt = attempt(bench, Wanted { rate, duration, disturbance: Some(disturbance) })?;
            let outcome = bench.disturbers.outcome(disturbance, &attempt.judged);
            phases.push(Disturbed { disturbance, attempt, outcome, undisturbed_p99 });
        }
    }
    Ok((controls, phases))
}
