//! The summary that a person reads at the end of a run: about twelve lines of at most 80 columns,
//! then the verdict.

use std::fmt::Write as _;

use millrace_measure::figures::grouped;

use super::fault::Fault;
use super::json::LatencyJson;
use super::lines::{BAD, COLUMNS, GOOD, SOFT, put_line, wrapped};
use super::table::details;
use super::verdict::Verdict;
use crate::cluster::Home;
use crate::run::{Attempt, RunResult};

/// What a run came to, with terminal colours; `verbose` adds every figure.
#[must_use]
pub fn summary(result: &RunResult, allowed: &[Fault], verbose: bool) -> String {
    let Some(attempt) = result.attempts.last() else { return String::from("nothing was run\n") };
    let mut text = String::new();
    for (name, value) in lines(result, attempt) {
        put_line(&mut text, name, &value);
    }
    if verbose {
        text += &details(result);
    }
    put_verdict(&mut text, &Verdict::of(result, allowed));
    if !verbose {
        let _ = writeln!(text, "{SOFT}All figures: --verbose, --json FILE, --html FILE{SOFT:#}");
    }
    text
}

/// The lines, as names and values.
pub(super) fn lines(result: &RunResult, attempt: &Attempt) -> Vec<(&'static str, String)> {
    let workload = &result.scenario.workload;
    let verdict = attempt.judged.total();
    let latency = LatencyJson::of(&attempt.judged.latency);
    let mut lines = vec![
        ("target", target(result)),
        (
            "workload",
            format!(
                "{}: {} emitters, {} receivers × {} selectors",
                result.scenario.preset,
                grouped(f64::from(workload.emitters)),
                grouped(f64::from(workload.receivers)),
                workload.selectors_per_receiver
            ),
        ),
        ("events", format!("{} bytes, {} per run", workload.payload_bytes, workload.events_per_run)),
        (
            "offered",
            format!(
                "{}/s for {:.1} s, of {}/s wanted",
                grouped(attempt.offered),
                attempt.elapsed.as_secs_f64(),
                grouped(workload.events_per_second as f64)
            ),
        ),
        (
            "carried",
            format!(
                "{}/s in, {}/s out; {:.0} % of deliveries crossed the mesh",
                grouped(attempt.ingress),
                grouped(attempt.egress),
                attempt.crossed as f64 * 100.0 / (attempt.egress * attempt.elapsed.as_secs_f64()).max(1.0)
            ),
        ),
        ("latency", format!("p50 {}   p99 {}   max {}", ms(latency.p50), ms(latency.p99), ms(latency.max))),
        (
            "delivered",
            format!(
                "{} of {}; lost {}, doubled {}, disordered {}",
                grouped(verdict.delivered as f64),
                grouped(verdict.expected_deliveries as f64),
                verdict.lost,
                verdict.duplicated,
                verdict.reordered
            ),
        ),
    ];
    if let Some(dropped) = dropped(attempt) {
        lines.push(("dropped", dropped));
    }
    lines.extend(network(result).map(|said| ("network", said)));
    lines.push(("CPU", cpu(result, attempt)));
    lines.push(("memory", memory(result)));
    let headroom = &attempt.headroom;
    let verdict = if headroom.is_bottleneck { "it was the bottleneck" } else { "not the bottleneck" };
    lines.push((
        "generator",
        format!(
            "busiest thread {:.0} %, late by {:.1} ms (p99): {verdict}",
            headroom.busiest_thread_cpu_share * 100.0,
            headroom.lag_p99_us as f64 / 1e3
        ),
    ));
    lines.extend(beside(result));
    lines
}

/// What others noticed of disturbances: each phase, and the median of several rounds.
fn beside(result: &RunResult) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for phase in &result.disturbed {
        lines.push((
            "beside",
            format!(
                "{}: others' p99 {:.1} ms, {:.2} × undisturbed; lost {}",
                phase.disturbance.name(),
                phase.attempt.p99().as_secs_f64() * 1e3,
                phase.p99_ratio(),
                phase.attempt.judged.total().lost
            ),
        ));
    }
    for noticed in result.noticed().iter().filter(|noticed| noticed.rounds > 1) {
        let bar = noticed.disturbance.p99_ratio_max();
        let bar = bar.map_or_else(String::new, |most| format!(", {most} × may be"));
        lines.push((
            "rounds",
            format!(
                "{} of {}: others' p99 {:.2} × undisturbed (median), {:.2} × at most{bar}",
                noticed.rounds,
                noticed.disturbance.name(),
                noticed.p99_ratio_median,
                noticed.p99_ratio_most
            ),
        ));
    }
    lines
}

fn ms(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1000.0)
}

fn target(result: &RunResult) -> String {
    let routers = match result.routers {
        1 => "1 router".to_owned(),
        routers => format!("{routers} linked routers"),
    };
    let cores = match result.scenario.cores_per_router {
        0 | 1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    };
    match result.home {
        Home::Embedded => format!("{routers} of {cores}, in this process"),
        Home::Processes => format!("{routers} of {cores}, a process each"),
        Home::Elsewhere => result.targets.join(", "),
    }
}

/// The network between receivers and routers, if there is one.
fn network(result: &RunResult) -> Option<String> {
    let (weather, treated) = (&result.scenario.weather, result.treated?);
    Some(format!(
        "receivers {:.1} ms away, a stream for each {}; lost {} of {} datagrams",
        weather.distance.as_secs_f64() * 1e3,
        result.scenario.deliveries.name(),
        grouped(treated.lost as f64),
        grouped(treated.datagrams as f64)
    ))
}

fn cpu(result: &RunResult, attempt: &Attempt) -> String {
    let events = (attempt.offered * attempt.elapsed.as_secs_f64()).max(1.0);
    let generator = format!("generator {} ns per event", grouped(attempt.cpu.1 * 1e9 / events));
    match result.home {
        Home::Elsewhere => generator,
        _ => format!("routers {} ns, {generator}", grouped(attempt.cpu.0 * 1e9 / events)),
    }
}

fn memory(result: &RunResult) -> String {
    let mib = |bytes: u64| bytes >> 20;
    match result.routers_resident_bytes {
        Some(routers) => {
            format!("routers {} MiB, generator {} MiB", mib(routers), mib(result.resident_bytes))
        }
        None => format!("{} MiB, the whole process", mib(result.resident_bytes)),
    }
}

fn dropped(attempt: &Attempt) -> Option<String> {
    if attempt.gap_events == 0 && attempt.dropped().is_empty() {
        return None;
    }
    let reasons =
        attempt.dropped().iter().map(|(reason, count)| format!("{reason} {}", grouped(*count as f64)));
    Some(format!(
        "{} deliveries, named by gap markers; {}",
        grouped(attempt.gap_events as f64),
        reasons.collect::<Vec<_>>().join(", ")
    ))
}

fn put_verdict(text: &mut String, verdict: &Verdict) {
    text.push('\n');
    for note in &verdict.notes {
        for line in wrapped(note, COLUMNS) {
            let _ = writeln!(text, "{line}");
        }
    }
    let (style, word) = if verdict.passed { (GOOD, "PASS") } else { (BAD, "FAIL") };
    for (index, reason) in verdict.reasons.iter().enumerate() {
        for (part, line) in wrapped(reason, COLUMNS - 6).into_iter().enumerate() {
            let word = if index == 0 && part == 0 { format!("{word}:") } else { String::new() };
            let _ = writeln!(text, "{style}{word:<5}{style:#} {line}");
        }
    }
}
