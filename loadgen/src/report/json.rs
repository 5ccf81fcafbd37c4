//! The report that scripts rely on. Fields are added, never renamed or removed within a schema.

use millrace_measure::Host;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::chaos::Treated;
use crate::cluster::CoreUse;
use crate::cluster::Home;
use crate::disturb::Outcome;
use crate::fleet::Latency;
use crate::run::{Attempt, Disturbed, Headroom, Noticed, Point, RunResult, Search, SetUp};
use crate::scenario::Scenario;

/// Name and version of the format.
pub const SCHEMA: &str = "millrace-loadgen-run/1";

/// Latency percentiles, microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LatencyJson {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

impl LatencyJson {
    /// The percentiles of a histogram.
    #[must_use]
    pub fn of(latency: &Latency) -> Self {
        let at = |quantile| latency.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: latency.max() }
    }
}

/// Two sides of one measure.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sides<T> {
    /// Of the routers.
    pub routers: T,
    /// Of the load generator.
    pub loadgen: T,
}

/// One core in the measured part.
#[derive(Debug, Serialize)]
pub struct CoreJson {
    #[serde(flatten)]
    counted: CoreUse,
    busy_share: f64,
    datagrams_per_turn: f64,
}

impl CoreJson {
    fn of(core: &CoreUse) -> Self {
        Self {
            counted: core.clone(),
            busy_share: core.busy_share(),
            datagrams_per_turn: core.datagrams_per_turn(),
        }
    }
}

/// One attempt in short.
#[derive(Debug, Serialize)]
pub struct AttemptJson {
    target_events_per_s: f64,
    offered_events_per_s: f64,
    duration_s: f64,
    lost: u64,
    behind_ms: u64,
    p50_us: u64,
    p99_us: u64,
    held: bool,
}

/// What was searched by `--max`; `attempts` has its steps.
#[derive(Debug, Serialize)]
pub struct SearchJson {
    p99_max_us: u128,
    /// The highest rate that was good; null when none was.
    found_events_per_s: Option<f64>,
}

/// A disturbed phase.
#[derive(Debug, Serialize)]
pub struct DisturbedJson {
    disturbance: &'static str,
    outcome: Outcome,
    borne: bool,
    undisturbed_p99_us: u128,
    latency_us: LatencyJson,
    /// Undisturbed latencies below 2 ms count as 2 ms here.
    p99_ratio: f64,
    offered_events_per_s: f64,
    lost: u64,
    lost_by_policy: u64,
    duplicated: u64,
    reordered: u64,
    connections_lost: u64,
    dropped: BTreeMap<String, u64>,
    timeline: Vec<Point>,
}

/// What the others noticed of one kind of disturbance, over all rounds.
#[derive(Debug, Serialize)]
pub struct NoticedJson {
    disturbance: &'static str,
    rounds: usize,
    p99_ratio_median: f64,
    p99_ratio_most: f64,
    /// The most that the median may be; null where there is no bar.
    p99_ratio_max: Option<f64>,
    borne: bool,
}

/// Connections, and what they take.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct ConnectionsJson {
    #[serde(flatten)]
    pub set_up: SetUp,
    pub bytes_per_connection: f64,
    /// The same after the warm-up, in which every emitter has published, and everything was
    /// delivered.
    pub bytes_per_connection_warmed_up: f64,
    /// The most seen while events were under way.
    pub bytes_per_connection_at_most: f64,
    /// The same at the end of the run, when everything was delivered, after so many events of each
    /// emitter.
    pub bytes_per_connection_at_end: f64,
    pub events_per_emitter: u64,
    /// Growth of the same memory from the end of the set-up to the end of the run.
    pub growth_bytes: i64,
    /// The same from the end of the warm-up: what events leave behind, apart from what the first of
    /// each connection sets up.
    pub growth_since_warm_up_bytes: i64,
    pub keep_alive_s: f64,
    /// How long publishers can wait to be told what was received.
    pub received_within_s: f64,
    /// Writes of publishers: with lone events, packets.
    pub publisher_packets_per_s: f64,
    pub router_cpu_us_per_publisher_packet: f64,
}

/// What is between receivers and routers.
#[derive(Debug, Serialize)]
pub struct NetworkJson {
    /// How events reach the receivers of a connection: on one stream, or on one for each.
    deliveries: &'static str,
    /// The part of all datagrams that was to be lost.
    loss: f64,
    /// How long each takes.
    distance_us: u128,
    /// What was done with datagrams, set-up and warm-up included; null where nothing is between.
    treated: Option<Treated>,
}

/// The report. Times are seconds, sizes bytes, unless the name says otherwise.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Json {
    pub schema: &'static str,
    pub software: &'static str,
    pub preset: &'static str,
    pub verdict: &'static str,
    pub faults: BTreeMap<&'static str, u64>,
    pub duration_s: f64,
    pub routers: usize,
    pub cores_per_router: u16,
    pub embedded: bool,
    pub emitters: u32,
    pub receivers: u32,
    pub selectors: u64,
    pub publisher_connections: u32,
    pub receiver_connections: u32,
    pub fleet_threads: u16,
    pub payload_bytes: u32,
    pub events_per_run: u32,
    pub look_every_us: u128,
    pub publish_linger_us: u128,
    pub receive_linger_us: u128,
    pub wanted_events_per_s: u64,
    pub target_events_per_s: f64,
    pub offered_events_per_s: f64,
    pub ingress_events_per_s: f64,
    pub egress_events_per_s: f64,
    pub held: bool,
    pub published: u64,
    pub expected_deliveries: u64,
    pub delivered: u64,
    pub mesh_deliveries: u64,
    pub lost: u64,
    pub unsettled: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub unexpected: u64,
    pub connections_lost: u64,
    pub gap_events: u64,
    pub gaps: BTreeMap<&'static str, u64>,
    pub dropped: BTreeMap<String, u64>,
    pub latency_us: LatencyJson,
    pub schedule_behind_ms: u128,
    pub settled_ms: u128,
    pub cpu_s: Sides<f64>,
    pub cpu_ns_per_event: Sides<f64>,
    pub per_event: BTreeMap<String, f64>,
    /// Of routers that this run started.
    pub cores: Vec<CoreJson>,
    /// Resident memory; embedded routers and the generator are one process, so both sides show the
    /// same number.
    pub rss_bytes: Sides<Option<u64>>,
    pub rss_note: &'static str,
    pub attempts: Vec<AttemptJson>,
    pub processes: bool,
    pub driver: &'static str,
    pub tag_sets: u32,
    pub connections: ConnectionsJson,
    pub search: Option<SearchJson>,
    pub headroom: Headroom,
    pub disturbed: Vec<DisturbedJson>,
    /// By kind, over all rounds.
    pub noticed: Vec<NoticedJson>,
    /// Undisturbed phases of the rounds behind the first.
    pub controls: Vec<AttemptJson>,
    pub timeline: Vec<Point>,
    pub network: NetworkJson,
    pub host: Host,
}

impl Json {
    /// The report of a result; `passed` is the verdict with allowances.
    #[must_use]
    pub fn of(result: &RunResult, passed: bool) -> Option<Self> {
        let attempt = result.attempts.last()?;
        let scenario = &result.scenario;
        let workload = &scenario.workload;
        let verdict = attempt.judged.total();
        let events = (attempt.offered * attempt.elapsed.as_secs_f64()).max(1.0);
        let routers_rss = match result.home {
            Home::Embedded => Some(result.resident_bytes),
            Home::Processes => result.routers_resident_bytes,
            Home::Elsewhere => None,
        };
        Some(Self {
            schema: SCHEMA,
            software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")),
            preset: scenario.preset,
            verdict: if passed { "pass" } else { "fail" },
            faults: super::faults(result).into_iter().map(|(fault, count)| (fault.name(), count)).collect(),
            duration_s: attempt.elapsed.as_secs_f64(),
            routers: result.routers,
            cores_per_router: scenario.cores_per_router,
            embedded: result.home == Home::Embedded,
            emitters: workload.emitters,
            receivers: workload.receivers,
            selectors: u64::from(workload.receivers) * u64::from(workload.selectors_per_receiver),
            publisher_connections: scenario.publisher_connections,
            receiver_connections: scenario.receiver_connections,
            fleet_threads: scenario.fleet_threads,
            payload_bytes: workload.payload_bytes,
            events_per_run: workload.events_per_run,
            look_every_us: scenario.look_every.as_micros(),
            publish_linger_us: scenario.publish_linger.as_micros(),
            receive_linger_us: scenario.receive_linger.as_micros(),
            wanted_events_per_s: workload.events_per_second,
            target_events_per_s: attempt.target,
            offered_events_per_s: attempt.offered,
            ingress_events_per_s: attempt.ingress,
            egress_events_per_s: attempt.egress,
            held: attempt.held(),
            published: verdict.published,
            expected_deliveries: verdict.expected_deliveries,
            delivered: verdict.delivered,
            mesh_deliveries: attempt.crossed,
            lost: verdict.lost,
            unsettled: attempt.unsettled,
            duplicated: verdict.duplicated,
            reordered: verdict.reordered,
            corrupted: verdict.corrupted,
            unexpected: verdict.unexpected,
            connections_lost: attempt.connections_lost,
            gap_events: attempt.gap_events,
            gaps: attempt.judged.gaps.iter().map(|(reason, count)| (reason.name(), count.gaps)).collect(),
            dropped: attempt.dropped().clone(),
            latency_us: LatencyJson::of(&attempt.judged.latency),
            schedule_behind_ms: attempt.behind.as_millis(),
            settled_ms: attempt.settled.as_millis(),
            cpu_s: Sides { routers: attempt.cpu.0, loadgen: attempt.cpu.1 },
            cpu_ns_per_event: Sides {
                routers: attempt.cpu.0 * 1e9 / events,
                loadgen: attempt.cpu.1 * 1e9 / events,
            },
            per_event: attempt.counters.per_event(events),
            cores: attempt.counters.cores.iter().map(CoreJson::of).collect(),
            rss_bytes: Sides { routers: routers_rss, loadgen: Some(result.resident_bytes) },
            rss_note: rss_note(result.home),
            attempts: result.attempts.iter().map(AttemptJson::of).collect(),
            processes: result.home == Home::Processes,
            driver: scenario.driver.name(),
            tag_sets: workload.emitters,
            connections: ConnectionsJson::of(result, attempt),
            search: result.search.map(|search| SearchJson::of(search, attempt)),
            headroom: attempt.headroom,
            disturbed: result.disturbed.iter().map(DisturbedJson::of).collect(),
            noticed: result.noticed().iter().map(NoticedJson::of).collect(),
            controls: result.controls.iter().map(AttemptJson::of).collect(),
            timeline: attempt.timeline.clone(),
            network: NetworkJson::of(result),
            host: Host::here(result.load_average),
        })
    }
}

const fn rss_note(home: Home) -> &'static str {
    match home {
        Home::Embedded => "one process holds routers and generator: both numbers are of the whole",
        Home::Processes => "the routers are processes of their own",
        Home::Elsewhere => "the routers are elsewhere: their memory is not known here",
    }
}

impl NetworkJson {
    fn of(result: &RunResult) -> Self {
        let Scenario { weather, deliveries, .. } = &result.scenario;
        Self {
            deliveries: deliveries.name(),
            loss: weather.loss.part(),
            distance_us: weather.distance.as_micros(),
            treated: result.treated,
        }
    }
}

impl AttemptJson {
    fn of(attempt: &Attempt) -> Self {
        Self {
            target_events_per_s: attempt.target,
            offered_events_per_s: attempt.offered,
            duration_s: attempt.elapsed.as_secs_f64(),
            lost: attempt.judged.total().lost,
            p50_us: attempt.judged.latency.value_at_quantile(0.5),
            p99_us: attempt.judged.latency.value_at_quantile(0.99),
            behind_ms: u64::try_from(attempt.behind.as_millis()).unwrap_or(u64::MAX),
            held: attempt.held(),
        }
    }
}

impl SearchJson {
    fn of(search: Search, last: &Attempt) -> Self {
        let good = last.held() && last.p99() <= search.p99;
        Self { p99_max_us: search.p99.as_micros(), found_events_per_s: good.then_some(last.target) }
    }
}

impl DisturbedJson {
    fn of(phase: &Disturbed) -> Self {
        let attempt = &phase.attempt;
        let verdict = attempt.judged.total();
        Self {
            disturbance: phase.disturbance.name(),
            outcome: phase.outcome.clone(),
            borne: phase.outcome.is_borne(),
            undisturbed_p99_us: phase.undisturbed_p99.as_micros(),
            latency_us: LatencyJson::of(&attempt.judged.latency),
            p99_ratio: phase.p99_ratio(),
            offered_events_per_s: attempt.offered,
            lost: verdict.lost,
            lost_by_policy: verdict.excused_by_gap,
            duplicated: verdict.duplicated,
            reordered: verdict.reordered,
            connections_lost: attempt.connections_lost,
            dropped: attempt.dropped().clone(),
            timeline: attempt.timeline.clone(),
        }
    }
}

impl NoticedJson {
    fn of(noticed: &Noticed) -> Self {
        Self {
            disturbance: noticed.disturbance.name(),
            rounds: noticed.rounds,
            p99_ratio_median: noticed.p99_ratio_median,
            p99_ratio_most: noticed.p99_ratio_most,
            p99_ratio_max: noticed.disturbance.p99_ratio_max(),
            borne: noticed.is_borne(),
        }
    }
}

impl ConnectionsJson {
    /// What connections took in the attempt that counts.
    pub(super) fn of(result: &RunResult, attempt: &Attempt) -> Self {
        let set_up = result.set_up;
        let end = result.routers_resident_bytes.unwrap_or(result.resident_bytes);
        let packets = attempt.writes * attempt.elapsed.as_secs_f64();
        Self {
            set_up,
            bytes_per_connection: set_up.bytes_per_connection(),
            bytes_per_connection_warmed_up: set_up.bytes_per_connection_of(attempt.resident_bytes.0),
            bytes_per_connection_at_most: set_up.bytes_per_connection_of(attempt.resident_bytes_max()),
            bytes_per_connection_at_end: set_up.bytes_per_connection_of(end),
            events_per_emitter: attempt.judged.verdict.published
                / u64::from(result.scenario.workload.emitters),
            growth_bytes: signed(end) - signed(set_up.resident_after_bytes),
            growth_since_warm_up_bytes: signed(end) - signed(attempt.resident_bytes.0),
            keep_alive_s: result.scenario.keep_alive.as_secs_f64(),
            received_within_s: result.scenario.received_within.as_secs_f64(),
            publisher_packets_per_s: attempt.writes,
            router_cpu_us_per_publisher_packet: attempt.cpu.0 * 1e6 / packets.max(1.0),
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
