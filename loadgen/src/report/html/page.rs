//! The page: figures, plots, the host, the verdict.

use std::time::SystemTime;

use super::super::fault::Fault;
use super::super::json::LatencyJson;
use super::super::summary::lines;
use super::super::verdict::Verdict;
use super::plot::{Line, Plot, Scale};
use crate::run::{Attempt, Disturbed, Point, RunResult};
use millrace_measure::Host;
use millrace_measure::figures::grouped;

const STYLE: &str = include_str!("style.css");

/// The page of a result. Empty when nothing was run.
#[must_use]
pub fn page(result: &RunResult, allowed: &[Fault], command: &str, at: SystemTime) -> String {
    let Some(attempt) = result.attempts.last() else { return String::new() };
    let verdict = Verdict::of(result, allowed);
    let (class, word) = if verdict.passed { ("pass", "PASS") } else { ("fail", "FAIL") };
    let reasons = verdict
        .reasons
        .iter()
        .map(|reason| format!("<span class=\"{class}\">{word}: {}</span>", escaped(reason)));
    let notes = verdict.notes.iter().map(|note| format!("<br>{}", escaped(note)));
    let verdict = reasons.collect::<Vec<_>>().join("<br>") + &notes.collect::<String>();
    let title = format!("millrace-loadgen {}", result.scenario.preset);
    let mut plots = vec![
        throughput(&attempt.timeline),
        percentiles(&attempt.timeline),
        curve(attempt),
        cpus(&attempt.timeline),
        per_event(&attempt.timeline),
        memory(&attempt.timeline),
    ];
    if !result.disturbed.is_empty() {
        plots.push(phases(attempt, &result.disturbed));
    }
    let plots: String = plots.iter().map(Plot::figure).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\n\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{}\n<p class=\"verdict\">{verdict}</p>\n\
         {}\n<div class=\"plots\">\n{plots}</div>\n{}\n{}\n</body></html>\n",
        head(result, attempt, command, at),
        tiles(attempt),
        host(result),
        whole(result, attempt),
    )
}

/// The run in a few lines: what was typed, when, with which version, what was wanted, and what
/// held.
fn head(result: &RunResult, attempt: &Attempt, command: &str, at: SystemTime) -> String {
    let wanted = grouped(result.scenario.workload.events_per_second as f64);
    let held = match attempt.held() {
        true => format!("{} events/s held", grouped(attempt.target)),
        false => format!("{} events/s not held", grouped(attempt.target)),
    };
    let rows = [
        ("command", format!("<code>{}</code>", escaped(command))),
        ("date", humantime::format_rfc3339_seconds(at).to_string()),
        ("version", format!("{} {}", env!("CARGO_PKG_VERSION"), Host::here(0.0).commit)),
        ("wanted", format!("{wanted} events/s")),
        ("held", held),
    ];
    let rows: String =
        rows.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{value}</td></tr>")).collect();
    format!("{}<table class=\"head\">{rows}</table>", what(result))
}

fn what(result: &RunResult) -> String {
    let (scenario, workload) = (&result.scenario, &result.scenario.workload);
    format!(
        "<p class=\"soft\">{} emitters, {} receivers, {}-byte payloads, {} per run, through {} of {}</p>",
        grouped(f64::from(workload.emitters)),
        grouped(f64::from(workload.receivers)),
        workload.payload_bytes,
        workload.events_per_run,
        counted(result.routers, "router"),
        counted(usize::from(scenario.cores_per_router.max(1)), "core")
    )
}

/// A number of things.
fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn tiles(attempt: &Attempt) -> String {
    let latency = LatencyJson::of(&attempt.judged.latency);
    let events = (attempt.offered * attempt.elapsed.as_secs_f64()).max(1.0);
    let verdict = attempt.judged.total();
    let tiles = [
        (grouped(attempt.ingress), "events/s in"),
        (grouped(attempt.egress), "deliveries/s out"),
        (micros(&(latency.p50 as f64)), "p50 latency"),
        (micros(&(latency.p99 as f64)), "p99 latency"),
        (format!("{} ns", grouped(attempt.cpu.0 * 1e9 / events)), "router CPU per event"),
        (grouped(verdict.lost as f64), "lost"),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(value, name)| format!("<div class=\"tile\"><b>{value}</b><span>{name}</span></div>"))
        .collect();
    format!("<div class=\"tiles\">{tiles}</div>")
}

fn over_time(timeline: &[Point], name: &'static str, of: fn(&Point) -> f64) -> Line {
    Line { name, points: timeline.iter().map(|point| (point.at_s, of(point))).collect() }
}

fn throughput(timeline: &[Point]) -> Plot {
    Plot {
        title: "Throughput",
        x_title: "seconds",
        y_title: "per second",
        y_scale: Scale::Linear,
        x_labels: 8,
        x_label: seconds,
        y_label: short,
        lines: vec![
            over_time(timeline, "events published", |point| point.published_per_s),
            over_time(timeline, "events received by routers", |point| point.received_per_s),
            over_time(timeline, "deliveries", |point| point.delivered_per_s),
        ],
    }
}

fn percentiles(timeline: &[Point]) -> Plot {
    Plot {
        title: "Latency from the scheduled time",
        x_title: "seconds",
        y_title: "latency",
        y_scale: Scale::Log,
        x_labels: 8,
        x_label: seconds,
        y_label: micros,
        lines: vec![
            over_time(timeline, "p50", |point| point.p50_us as f64),
            over_time(timeline, "p90", |point| point.p90_us as f64),
            over_time(timeline, "p99", |point| point.p99_us as f64),
            over_time(timeline, "p99.9", |point| point.p999_us as f64),
            over_time(timeline, "max", |point| point.max_us as f64),
        ],
    }
}

/// Latency against the share of deliveries that took longer: each step to the right is ten times
/// rarer.
fn curve(attempt: &Attempt) -> Plot {
    let latency = &attempt.judged.latency;
    // The last tenth of the rarest event: beyond it the curve is a line to the side.
    let rarest = (latency.len().max(10) as f64).log10();
    let points = (0..=200)
        .map(|step| f64::from(step) / 200.0 * rarest)
        .map(|nines| (nines, latency.value_at_quantile(1.0 - 10f64.powf(-nines)).max(1) as f64))
        .collect();
    Plot {
        title: "Latencies, by how rare they are",
        x_title: "share of deliveries within",
        y_title: "latency",
        y_scale: Scale::Log,
        x_labels: 5,
        x_label: share,
        y_label: micros,
        lines: vec![Line { name: "all deliveries of the measured part", points }],
    }
}

/// What others noticed of the disturbances: each phase from its own begin.
fn phases(undisturbed: &Attempt, disturbed: &[Disturbed]) -> Plot {
    let line = |name, timeline: &[Point]| over_time(timeline, name, |point| point.p99_us as f64);
    let mut lines = vec![line("undisturbed", &undisturbed.timeline)];
    lines.extend(disturbed.iter().map(|phase| line(phase.disturbance.name(), &phase.attempt.timeline)));
    Plot {
        title: "p99 of the others, by disturbance",
        x_title: "seconds",
        y_title: "latency",
        y_scale: Scale::Log,
        x_labels: 8,
        x_label: seconds,
        y_label: micros,
        lines,
    }
}

fn cpus(timeline: &[Point]) -> Plot {
    Plot {
        title: "CPUs in use",
        x_title: "seconds",
        y_title: "CPUs",
        y_scale: Scale::Linear,
        x_labels: 8,
        x_label: seconds,
        y_label: |value| format!("{value:.1}"),
        lines: vec![
            over_time(timeline, "routers", |point| point.routers_cpus),
            over_time(timeline, "generator", |point| point.generator_cpus),
        ],
    }
}

fn memory(timeline: &[Point]) -> Plot {
    Plot {
        title: "Resident memory of the routers, or of all where they are embedded",
        x_title: "seconds",
        y_title: "MiB",
        y_scale: Scale::Linear,
        x_labels: 8,
        x_label: seconds,
        y_label: short,
        lines: vec![over_time(timeline, "resident", |point| {
            point.resident_bytes as f64 / f64::from(1 << 20)
        })],
    }
}

fn per_event(timeline: &[Point]) -> Plot {
    Plot {
        title: "CPU per event published",
        x_title: "seconds",
        y_title: "nanoseconds",
        y_scale: Scale::Linear,
        x_labels: 8,
        x_label: seconds,
        y_label: short,
        lines: vec![
            over_time(timeline, "routers", |point| point.routers_cpus * 1e9 / point.published_per_s.max(1.0)),
            over_time(timeline, "generator", |point| {
                point.generator_cpus * 1e9 / point.published_per_s.max(1.0)
            }),
        ],
    }
}

fn host(result: &RunResult) -> String {
    let host = Host::here(result.load_average);
    let rows = [
        ("CPUs", format!("{} × {}", host.cpus, host.cpu_model)),
        ("memory", format!("{} MiB", host.memory_bytes >> 20)),
        ("kernel", host.kernel),
        ("load average before", format!("{:.2}", host.load_average)),
        ("commit", host.commit),
    ];
    let rows: String = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escaped(value)))
        .collect();
    format!("<section><h2>Host</h2><table>{rows}</table></section>")
}

fn whole(result: &RunResult, attempt: &Attempt) -> String {
    let rows: String = lines(result, attempt)
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escaped(value)))
        .collect();
    format!("<section><h2>Summary</h2><table>{rows}</table></section>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn seconds(value: &f64) -> String {
    format!("{}", (value * 100.0).round() / 100.0)
}

/// Thousands and millions in short.
fn short(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e3 => format!("{:.0} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

fn micros(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{:.1} s", value / 1e6),
        value if value >= 10_000.0 => format!("{:.0} ms", value / 1e3),
        value if value >= 1e3 => format!("{:.1} ms", value / 1e3),
        value => format!("{value:.0} µs"),
    }
}

/// A number of nines as a percentage.
fn share(nines: &f64) -> String {
    match *nines {
        nines if nines < 0.05 => "0 %".to_owned(),
        nines => format!("{} %", (1e6 * (1.0 - 10f64.powf(-nines))).round() / 1e4),
    }
}
