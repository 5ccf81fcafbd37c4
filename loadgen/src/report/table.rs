//! All figures of a run as a table: what `--verbose` prints below the summary.

use comfy_table::{CellAlignment, Table, presets};
use millrace_measure::figures::grouped;

use super::json::{ConnectionsJson, LatencyJson};
use crate::cluster::Home;
use crate::disturb::Outcome;
use crate::run::{Attempt, Disturbed, RunResult};

/// All figures, one a row; empty when nothing was run.
#[must_use]
pub fn details(result: &RunResult) -> String {
    result.attempts.last().map_or_else(String::new, |attempt| format!("{}\n", figures(result, attempt)))
}

/// The table.
fn figures(result: &RunResult, attempt: &Attempt) -> Table {
    let workload = &result.scenario.workload;
    let events = (attempt.offered * attempt.elapsed.as_secs_f64()).max(1.0);
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
    deliveries(attempt, &mut row);
    missing(attempt, &mut row);
    if result.home != Home::Elsewhere {
        row("CPU of the routers", per_event(attempt.cpu.0));
    }
    row("CPU of the generator", per_event(attempt.cpu.1));
    for (name, value) in attempt.counters.per_event(events) {
        row(&format!("  {name}"), format!("{value:.3} per event"));
    }
    cores(attempt, &mut row);
    row("memory", memory(result));
    connections(result, attempt, &mut row);
    headroom(attempt, &mut row);
    for phase in &result.disturbed {
        row(phase.disturbance.name(), disturbed(phase));
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What arrived, how fast, and what was wrong with it.
fn deliveries(attempt: &Attempt, row: &mut impl FnMut(&str, String)) {
    let verdict = attempt.judged.total();
    let latency = LatencyJson::of(&attempt.judged.latency);
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1000.0);
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
}

/// What each core of the routers did.
fn cores(attempt: &Attempt, row: &mut impl FnMut(&str, String)) {
    for core in &attempt.counters.cores {
        row(
            &format!("router {} core {}", core.router, core.core),
            format!(
                "{:.0} % busy, {} turns, {:.2} datagrams per turn, mailbox ≤ {}, foreign segments {}, hops saved {}",
                core.busy_share() * 100.0,
                grouped(core.turns as f64),
                core.datagrams_per_turn(),
                core.mailbox_depth_max,
                grouped(core.foreign_segments as f64),
                grouped(core.hops_saved as f64)
            ),
        );
    }
}

/// What is missing, and who says why.
fn missing(attempt: &Attempt, row: &mut impl FnMut(&str, String)) {
    if attempt.unsettled > 0 {
        row(
            "did not settle",
            format!("{} deliveries were still under way", grouped(attempt.unsettled as f64)),
        );
    }
    if attempt.gap_events > 0 || !attempt.dropped().is_empty() {
        let dropped = attempt.dropped().iter().map(|(reason, count)| format!("{reason} {count}"));
        row(
            "dropped",
            format!("{} by gap markers; {}", attempt.gap_events, dropped.collect::<Vec<_>>().join(", ")),
        );
    }
}

fn memory(result: &RunResult) -> String {
    let mib = |bytes: u64| bytes >> 20;
    match result.routers_resident_bytes {
        Some(routers) => {
            format!(
                "{} MiB resident in the routers, {} MiB in the generator",
                mib(routers),
                mib(result.resident_bytes)
            )
        }
        None => format!("{} MiB resident, the whole process", mib(result.resident_bytes)),
    }
}

/// Connections and lone packets, where that is what the run is about.
fn connections(result: &RunResult, attempt: &Attempt, row: &mut impl FnMut(&str, String)) {
    if !result.scenario.own_connections {
        return;
    }
    let facts = ConnectionsJson::of(result, attempt);
    let whose = if facts.set_up.is_of_routers_alone { "of the routers" } else { "of both ends" };
    row(
        "connections",
        format!(
            "{} held, set up in {:.0} s ({} dialled again), keep-alive {:.0} s, told what was received within {}",
            grouped(facts.set_up.connections as f64),
            facts.set_up.seconds,
            facts.set_up.redials,
            facts.keep_alive_s,
            humantime::format_duration(result.scenario.received_within)
        ),
    );
    row(
        "memory of each",
        format!(
            "{:.1} KB {whose}, {:.1} KB after the warm-up, at most {:.1} KB under load, {:.1} KB when {} events of each emitter were delivered",
            facts.bytes_per_connection / 1000.0,
            facts.bytes_per_connection_warmed_up / 1000.0,
            facts.bytes_per_connection_at_most / 1000.0,
            facts.bytes_per_connection_at_end / 1000.0,
            grouped(facts.events_per_emitter as f64)
        ),
    );
    row(
        "lone packets",
        format!(
            "{}/s, {:.1} µs of router CPU each, deliveries included",
            grouped(facts.publisher_packets_per_s),
            facts.router_cpu_us_per_publisher_packet
        ),
    );
}

/// Whether the generator was in the way.
fn headroom(attempt: &Attempt, row: &mut impl FnMut(&str, String)) {
    let headroom = &attempt.headroom;
    row(
        "generator",
        format!(
            "busiest thread {:.0} % on a CPU, {:.0} % waiting for one; late by p50 {:.2}, p99 {:.2}, max {:.2} ms",
            headroom.busiest_thread_cpu_share * 100.0,
            headroom.busiest_thread_waited_share * 100.0,
            headroom.lag_p50_us as f64 / 1e3,
            headroom.lag_p99_us as f64 / 1e3,
            headroom.lag_max_us as f64 / 1e3
        ),
    );
    row("was it the bottleneck", if headroom.is_bottleneck { "yes" } else { "no" }.to_owned());
}

fn disturbed(phase: &Disturbed) -> String {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let what = match &phase.outcome {
        Outcome::SlowReceiver { expected, delivered, missing, said_by_its_gaps } => {
            format!(
                "{delivered} of {expected} reached who stalls, {missing} missing, {said_by_its_gaps} by own gaps"
            )
        }
        Outcome::Churn { selectors_per_s, effective_within_1s_share, effective_p99_ms, refused, .. } => {
            format!(
                "{} selectors/s, {:.1} % effective within 1 s (p99 {effective_p99_ms:.0} ms), {refused} refused",
                grouped(*selectors_per_s),
                effective_within_1s_share * 100.0
            )
        }
        Outcome::Storm { clients, settled_s, dials, tickets_used } => format!(
            "{clients} clients {}, {dials} dials, {tickets_used} with a ticket",
            settled_s.map_or("did not settle".to_owned(), |seconds| format!("settled in {seconds:.1} s"))
        ),
        Outcome::JunkHandshakes { per_s, answered, refused, unanswered, .. } => format!(
            "{} handshakes/s that nobody finishes, {answered} answered, {refused} refused, {unanswered} not",
            grouped(*per_s)
        ),
        Outcome::JunkSpoofed { per_s, .. } => {
            format!("{} first packets/s from where nobody hears an answer", grouped(*per_s))
        }
        Outcome::Reload { reloads, failed, longest_ms } => {
            format!("{reloads} reloads, {failed} failed, the longest took {longest_ms:.0} ms")
        }
        Outcome::Unknown => "no outcome".to_owned(),
    };
    format!(
        "{what}; others: p99 {:.2} ms after {:.2} ms undisturbed ({:.2} ×), lost {}",
        ms(phase.attempt.p99()),
        ms(phase.undisturbed_p99),
        phase.p99_ratio(),
        phase.attempt.judged.total().lost
    )
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
            match result.home {
                Home::Embedded => format!(" of {} core(s) in this process", scenario.cores_per_router),
                Home::Processes => format!(" of {} core(s), each a process", scenario.cores_per_router),
                Home::Elsewhere => String::new(),
            },
            scenario.publisher_connections,
            scenario.receiver_connections,
            scenario.publish_linger,
            scenario.receive_linger
        ),
    );
}
