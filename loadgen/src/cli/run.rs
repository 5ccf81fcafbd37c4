//! `millrace-loadgen run`: one preset, run and judged.

use std::time::SystemTime;

use millrace_loadgen::cluster::Cluster;
use millrace_loadgen::command_line::command;
use millrace_loadgen::disturb::{Disturbance, FIRST_FILE};
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::Record;
use millrace_loadgen::report::{Json, faults, page, summary};
use millrace_loadgen::run::run;

use super::options::RunArgs;
use super::output::{Places, write};

/// Whether the run passed.
pub(crate) fn execute(args: &RunArgs) -> anyhow::Result<bool> {
    let scenario = args.scenario()?;
    let progress = Progress::new(args.quiet);
    progress.stage("starting");
    let (routers, cores) = (scenario.routers.max(1), scenario.cores_per_router.max(1));
    let cluster = if !args.router.is_empty() {
        Cluster::external(&args.router, args.ca.as_deref())?
    } else if args.disturb.contains(&Disturbance::Reload) {
        Cluster::reloadable(routers, cores, FIRST_FILE)?
    } else if args.processes {
        Cluster::processes(routers, cores)?
    } else {
        Cluster::embed(routers, cores)?
    };
    let cluster = match scenario.weather {
        weather if weather.is_fair() => cluster,
        weather => cluster.in_weather(weather, scenario.workload.seed)?,
    };
    let result = run(scenario, &cluster, &args.run_options(), &progress);
    progress.done();
    cluster.stop();
    let result = result?;
    let passed = faults(&result).iter().all(|(fault, _)| args.allow.contains(fault));
    let said = summary(&result, &args.allow, args.verbose);
    let json = Json::of(&result, passed).map(|report| serde_json::to_string_pretty(&report)).transpose()?;
    let json = json.unwrap_or_default() + "\n";
    let html = (args.html.is_some() || args.record.is_some())
        .then(|| page(&result, &args.allow, &command(), SystemTime::now()));
    let record = Record { name: result.scenario.preset, json: &json, summary: &said, html: html.as_deref() };
    let places = Places { json: args.json.as_ref(), html: args.html.as_ref(), folder: args.record.as_ref() };
    write(&record, places)?;
    Ok(passed)
}
