//! Rounds of all systems, interleaved.

use millrace_measure::figures::grouped;

use crate::drive::Round;
use crate::error::CompareError;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::system::{Found, System};
use crate::workload::Workload;

/// Who is told how far a comparison is.
pub trait Watcher {
    /// Rounds of this workload begin.
    fn stage(&self, name: &'static str);
    /// A line to be read later, too.
    fn say(&self, text: &str);
}

/// Runs the comparison. A system that is absent or fails is a row that says so.
#[must_use]
pub fn compare(options: &Options, watcher: &dyn Watcher) -> Report {
    let found: Vec<(System, Found)> =
        options.systems.iter().map(|&system| (system, system.find(&options.places))).collect();
    let mut rows: Vec<Row> = Vec::new();
    for &workload in &options.workloads {
        let here = found.iter().filter(|(system, _)| workload.concerns(*system));
        rows.extend(here.map(|(system, found)| Row::new(workload, *system, found, options)));
    }
    for round in 0..options.rounds as usize {
        for &workload in &options.workloads {
            let mut order: Vec<usize> =
                (0..rows.len()).filter(|&index| rows[index].is(workload) && rows[index].is_run()).collect();
            watcher.stage(workload.name());
            let turn = round % order.len().max(1);
            order.rotate_left(turn);
            for index in order {
                let row = &mut rows[index];
                let outcome = one(row.system(), &found, workload, options);
                match &outcome {
                    Ok(figures) => {
                        watcher.say(&format!("{}/{} {}", round + 1, options.rounds, line(row, figures)))
                    }
                    Err(error) => watcher.say(&format!("{}: {error}", row.title())),
                }
                row.add(round, outcome);
            }
        }
    }
    Report::new(options, rows)
}

fn one(
    system: System,
    found: &[(System, Found)],
    workload: Workload,
    options: &Options,
) -> Result<Round, CompareError> {
    let absent = Found::Absent { how: String::new() };
    let found = found.iter().find(|(other, _)| *other == system).map_or(&absent, |(_, found)| found);
    let shape = workload.shape(options.payload_bytes, options.window);
    let stretches = workload.stretches(options.duration);
    // A thread of its own: where the generator may run must not outlive the round.
    let round = std::thread::scope(|scope| {
        scope.spawn(|| system.round(found, workload, shape, &stretches, options.placing)).join()
    });
    round.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn line(row: &Row, round: &Round) -> String {
    format!(
        "{}: {}/s in, {}/s out, p50 {} µs, p99 {} µs, server {:.0} ns per event on {:.2} CPUs, generator {:.2} CPUs, stolen {:.2}, lost {}",
        row.title(),
        grouped(round.ingress_events_per_s),
        grouped(round.egress_events_per_s),
        round.p50_us,
        round.p99_us,
        round.cpu_ns_per_event,
        round.server_cpus,
        round.client_cpus,
        round.stolen_cpus,
        round.lost
    )
}
