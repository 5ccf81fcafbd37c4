//! Measuring the cases: rounds in turn, each side on routers of its own.

use millrace_measure::figures::grouped;
use millrace_measure::{Host, kernel};

use super::case::{Case, Side};
use super::report::{GrowthReport, Row};
use super::sample::{GrowthOptions, Sample};
use crate::cluster::Cluster;
use crate::progress::Progress;
use crate::run::{RunError, RunOptions, run};

/// Measures; what fails is in the report.
#[must_use]
pub fn growth(options: &GrowthOptions, progress: &Progress) -> GrowthReport {
    let load_average = kernel::load_average();
    let cases: Vec<Case> =
        options.what.iter().map(|what| what.case(options.rate, options.duration)).collect();
    let mut rows: Vec<Row> = cases.iter().map(Row::new).collect();
    for round in 1..=options.rounds.max(1) {
        for (case, row) in cases.iter().zip(&mut rows) {
            let samples = [&case.base, &case.grown].map(|side| {
                let sample = measure(side, progress);
                let said = match &sample {
                    Ok(sample) => format!("{:.0} ns per event", sample.cpu_ns_per_event),
                    Err(reason) => reason.clone(),
                };
                progress.say(&format!("round {round}, {}, {}: {said}", row.what, side.name));
                sample
            });
            row.add(samples);
        }
    }
    GrowthReport::new(rows, options, Host::here(load_average))
}

/// One side of a case, on routers of its own.
fn measure(side: &Side, progress: &Progress) -> Result<Sample, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let scenario = side.scenario.clone();
    let cluster =
        Cluster::processes(scenario.routers, scenario.cores_per_router).map_err(|error| text(&error))?;
    let options = RunOptions { background: side.background, ..RunOptions::default() };
    let result = run(scenario, &cluster, &options, progress);
    cluster.stop();
    let result = result.map_err(|error: RunError| text(&error))?;
    let attempt = result.attempts.last().ok_or("nothing was run")?;
    let seconds = attempt.elapsed.as_secs_f64();
    let events = (attempt.offered * seconds).max(1.0);
    if attempt.offered < attempt.target * 0.9 {
        return Err(format!("only {} events/s could be offered", grouped(attempt.offered)));
    }
    let quantile = |quantile| attempt.judged.latency.value_at_quantile(quantile);
    Ok(Sample {
        cpu_ns_per_event: attempt.cpu.0 * 1e9 / events,
        offered_events_per_s: attempt.offered,
        events_per_write: events / (attempt.writes * seconds).max(1.0),
        datagrams_in_per_event: attempt.counters.get("router datagrams in") as f64 / events,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        lost: attempt.judged.total().lost + attempt.unsettled,
        clean: attempt.is_clean(),
        generator_was_bottleneck: attempt.headroom.is_bottleneck,
    })
}
