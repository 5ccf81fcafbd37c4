//! The summary that a person reads at the end of a run.

use comfy_table::{CellAlignment, Table, presets};

use super::{Fault, json::LatencyJson};
use crate::run::{Attempt, RunResult, grouped};

/// The summary: what was run, what came of it, and the verdict.
#[must_use]
pub fn summary(result: &RunResult, allowed: &[Fault]) -> String {
    let Some(attempt) = result.attempts.last() else { return String::from("nothing was run") };
    format!("{}\n{}", figures(result, attempt), verdict(result, attempt, allowed))
}

/// The table.
fn figures(result: &RunResult, attempt: &Attempt) -> Table {
    let workload = &result.scenario.workload;
    let verdict = &attempt.judged.verdict;
    let latency = LatencyJson::of(&attempt.judged.latency);
    let events = (attempt.offered * attempt.elapsed.as_secs_f64()).max(1.0);
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1000.0);
    let per_event = |seconds: f64| format!("{:.2} s = {:.0} ns per event", seconds, seconds * 1e9 / events);

    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    what_was_run(result, &mut row);
    row(
        "offered",
        format!(
            "{}/s of {}/s wanted, for {:.1} s",
            grouped(attempt.offered),
            grouped(workload.events_per_second as f64),
            attempt.elapsed.as_secs_f64()
        ),
    );
    row("ingress", format!("{}/s", grouped(attempt.ingress)));
    row(
        "egress",
        format!(
            "{}/s, {} of the deliveries crossed the mesh",
            grouped(attempt.egress),
            grouped(attempt.crossed as f64)
        ),
    );
    row(
        "latency",
        format!(
            "p50 {}   p90 {}   p99 {}   p99.9 {}   max {}",
            ms(latency.p50),
            ms(latency.p90),
            ms(latency.p99),
            ms(latency.p999),
            ms(latency.max)
        ),
    );
    row(
        "delivered",
        format!(
            "{} of {} expected ({} published)",
            grouped(verdict.delivered as f64),
            grouped(verdict.expected_deliveries as f64),
            grouped(verdict.published as f64)
        ),
    );
    row(
        "faults",
        format!(
            "lost {}   duplicated {}   reordered {}   corrupted {}   unexpected {}",
            verdict.lost, verdict.duplicated, verdict.reordered, verdict.corrupted, verdict.unexpected
        ),
    );
    if attempt.gap_events > 0 || !attempt.dropped.is_empty() {
        let dropped = attempt.dropped.iter().map(|(reason, count)| format!("{reason} {count}"));
        row(
            "dropped",
            format!("{} by gap markers; {}", attempt.gap_events, dropped.collect::<Vec<_>>().join(", ")),
        );
    }
    if result.embedded {
        row("CPU of the routers", per_event(attempt.cpu.0));
    }
    row("CPU of the generator", per_event(attempt.cpu.1));
    for (name, value) in attempt.stages.per_event(events) {
        row(&format!("  {name}"), format!("{value:.3} per event"));
    }
    row("memory", format!("{} MiB resident, the whole process", result.resident_bytes >> 20));
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Workload and cluster.
fn what_was_run(result: &RunResult, row: &mut impl FnMut(&str, String)) {
    let scenario = &result.scenario;
    let workload = &scenario.workload;
    row(
        "workload",
        format!(
            "{}: {} emitters, {} receivers with {} selectors each, {}-byte payloads, {} per run",
            scenario.preset,
            grouped(f64::from(workload.emitters)),
            grouped(f64::from(workload.receivers)),
            workload.selectors_per_receiver,
            workload.payload_bytes,
            workload.events_per_run
        ),
    );
    row(
        "cluster",
        format!(
            "{} router(s){}, {} publishing + {} receiving connections, linger {:?} in, {:?} out",
            result.routers,
            if result.embedded {
                format!(" of {} core(s) in this process", scenario.cores_per_router)
            } else {
                String::new()
            },
            scenario.publisher_connections,
            scenario.receiver_connections,
            scenario.publish_linger,
            scenario.receive_linger
        ),
    );
}

/// Whether it passed, and what has to be said about it.
fn verdict(result: &RunResult, attempt: &Attempt, allowed: &[Fault]) -> String {
    let faults = super::faults(result);
    let (bad, excused): (Vec<_>, Vec<_>) =
        faults.into_iter().partition(|(fault, _)| !allowed.contains(fault));
    let list = |faults: &[(Fault, u64)]| {
        faults.iter().map(|(fault, count)| format!("{} {count}", fault.name())).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    if result.attempts.len() > 1 && attempt.held() {
        text += &format!(
            "The host could not hold {} events/s; {} held.\n",
            grouped(result.scenario.workload.events_per_second as f64),
            grouped(attempt.target)
        );
    }
    if !excused.is_empty() {
        text += &format!("Allowed: {}.\n", list(&excused));
    }
    for reason in result.losses.iter().take(3) {
        text += &format!("A connection was lost: {reason}\n");
    }
    if bad.is_empty() {
        text += "PASS: every event was delivered once and in order.\n";
    } else {
        text += &format!("FAIL: {}.\n", list(&bad));
    }
    text
}
