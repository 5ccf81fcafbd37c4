//! One attempt at a rate: warm up, publish, let it settle, judge.

use millrace_measure::figures::whole;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bench::{Bench, LOOK_EVERY};
use super::error::RunError;
use super::headroom::Headroom;
use super::settle::{Earlier, Settled, settle};
use super::setup::resident;
use super::timeline::{Point, Timeline};
use crate::cluster::{Counters, EVENTS_IN, Home};
use crate::disturb::Disturbance;
use crate::fleet::order::Stretch;
use crate::fleet::tally::Sum;
use crate::fleet::{Judged, ThreadTimes};
use millrace_measure::kernel;

/// A schedule that is this far behind will not be caught up: the attempt is over.
const BEHIND_MAX: Duration = Duration::from_millis(1500);
/// A rate is held when it was offered to within this part of itself.
const OFFERED_MIN: f64 = 0.985;
/// … and when routers received this part of it while it was offered: what is left lingers and is on
/// the way.
const CARRIED_MIN: f64 = 0.95;
/// … and when the last delivery came soon after the last event, lingers aside: nothing had piled
/// up.
const SETTLED_MAX: Duration = Duration::from_millis(500);

/// One attempt at a rate.
#[derive(Debug)]
pub struct Attempt {
    /// Events per second wanted.
    pub target: f64,
    /// Events per second published.
    pub offered: f64,
    /// Events per second that routers received.
    pub ingress: f64,
    /// Deliveries per second.
    pub egress: f64,
    /// Writes to publish streams per second: packets, where they are lone.
    pub writes: f64,
    /// Length of the measured part.
    pub elapsed: Duration,
    /// How long deliveries went on after the last event was published.
    pub settled: Duration,
    /// The furthest that the schedule was behind.
    pub behind: Duration,
    /// What was expected and what came; covers the warm-up, too.
    pub judged: Judged,
    /// Deliveries that were missing when waiting for them ended although something still moved: not
    /// lost, not there.
    pub unsettled: u64,
    /// Deliveries of the measured part that crossed the mesh.
    pub crossed: u64,
    /// Events that gap markers said are missing.
    pub gap_events: u64,
    /// CPU seconds of the routers and of the generator in the measured part.
    pub cpu: (f64, f64),
    /// Resident memory with nothing under way: after the warm-up, in which every emitter has
    /// published, and after everything was delivered. Of the router processes, or of this
    /// process.
    pub resident_bytes: (u64, u64),
    /// What the routers counted in the measured part, and what they dropped.
    pub counters: Counters,
    /// Connections lost meanwhile.
    pub connections_lost: u64,
    /// What the generator had left.
    pub headroom: Headroom,
    /// The measured part, slice by slice.
    pub timeline: Vec<Point>,
    /// How long lingers may hold an event back.
    lingers: Duration,
    /// Whether nobody knows what routers received by the end: they do not count for us, and tell
    /// publishers later.
    untold: bool,
}

impl Attempt {
    /// Whether the rate was offered in time, carried as fast as it was offered, and nothing is
    /// wrong.
    #[must_use]
    pub fn held(&self) -> bool {
        let lingering = self.lingers.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9);
        // Where only publishers could say what was received, and are told late, deliveries alone
        // are judged.
        let taken = self.untold || self.ingress >= self.offered * (CARRIED_MIN - lingering);
        let carried = taken && self.settled <= SETTLED_MAX + self.lingers;
        self.offered >= self.target * OFFERED_MIN && carried && self.is_clean()
    }

    /// Whether everything that was published was delivered once and in order, but for what a
    /// receiver that stalls lost by its own overflow.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.judged.total().is_clean() && self.unsettled == 0 && self.connections_lost == 0
    }

    /// Whether every loss has a gap marker or a drop counter: then the rate was too high, and
    /// nothing was lost silently.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        let verdict = self.judged.total();
        let dropped: u64 = self.counters.dropped.values().sum();
        verdict.duplicated == 0
            && verdict.reordered == 0
            && verdict.corrupted == 0
            && verdict.unexpected == 0
            && verdict.lost <= self.gap_events.max(dropped)
    }

    /// Events dropped by the routers, by reason.
    #[must_use]
    pub const fn dropped(&self) -> &BTreeMap<String, u64> {
        &self.counters.dropped
    }

    /// The most resident memory seen in the measured part or behind it.
    #[must_use]
    pub fn resident_bytes_max(&self) -> u64 {
        let seen = self.timeline.iter().map(|point| point.resident_bytes).max().unwrap_or(0);
        seen.max(self.resident_bytes.1)
    }

    /// The 99th percentile of latency.
    #[must_use]
    pub fn p99(&self) -> Duration {
        Duration::from_micros(self.judged.latency.value_at_quantile(0.99))
    }
}

/// What is wanted of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) rate: f64,
    pub(super) duration: Duration,
    pub(super) disturbance: Option<Disturbance>,
}

struct Before {
    process_ns: u64,
    routers_ns: u64,
    resident_bytes: u64,
    threads: Vec<ThreadTimes>,
    counters: Counters,
    sum: Sum,
}

impl Before {
    fn look(bench: &Bench<'_>) -> Self {
        Self {
            process_ns: kernel::process_ns(),
            routers_ns: bench.cluster.usage().cpu_ns,
            resident_bytes: resident(bench),
            threads: bench.fleet.thread_times(),
            counters: bench.cluster.counters(),
            sum: bench.fleet.sum(),
        }
    }
}

/// Makes one attempt.
pub(super) fn attempt(bench: &mut Bench<'_>, wanted: Wanted) -> Result<Attempt, RunError> {
    let lingers = bench.scenario.publish_linger + bench.scenario.receive_linger;
    let first = bench.fleet.sum();
    let earlier = Earlier { gap_events: first.gap_events, counters: bench.cluster.counters() };
    bench.progress.stage("warming up");
    let rate = wanted.rate * 0.25;
    let events = whole(rate).max(u64::from(bench.scenario.workload.emitters));
    let warm_up = Part { rate, events, reset: true, measured: false, stalled: false };
    stretch(bench, warm_up);
    settle(bench, lingers, &earlier)?;

    bench.progress.stage(wanted.disturbance.map_or("measuring", Disturbance::stage));
    let before = Before::look(bench);
    let events = whole(wanted.rate * wanted.duration.as_secs_f64());
    if let Some(disturbance) = wanted.disturbance {
        bench.disturbers.begin(disturbance);
    }
    let stalled = wanted.disturbance == Some(Disturbance::SlowReceiver);
    let measured = Part { rate: wanted.rate, events, reset: false, measured: true, stalled };
    let Stretched { elapsed, behind, at_end, timeline } = stretch(bench, measured);
    let threads = bench.fleet.thread_times();
    let entered = bench.cluster.counters().since(&before.counters).get(EVENTS_IN);
    if let Some(disturbance) = wanted.disturbance {
        bench.disturbers.end(disturbance);
    }
    if stalled {
        stretch(bench, Part { events: 0, measured: false, stalled: false, ..measured });
    }
    let Settled { took: settled, judged, unsettled } = settle(bench, lingers, &earlier)?;
    let after = Before::look(bench);
    let seconds = elapsed.as_secs_f64();
    let router_cpu = (after.routers_ns - before.routers_ns) as f64 / 1e9;
    let process_cpu = (after.process_ns - before.process_ns) as f64 / 1e9;
    let is_embedded = bench.cluster.home() == Home::Embedded;
    let generator_cpu = if is_embedded { process_cpu - router_cpu } else { process_cpu };
    let per_second = |number: fn(&Sum) -> u64| (number(&at_end) - number(&before.sum)) as f64 / seconds;
    let used: Vec<_> =
        threads.iter().zip(&before.threads).map(|(after, before)| after.since(before)).collect();
    let pushed_back = at_end.blocked - before.sum.blocked;
    Ok(Attempt {
        target: wanted.rate,
        offered: per_second(|sum| sum.published),
        // Publishers that can wait are told late; routers elsewhere do not say.
        ingress: per_second(|sum| sum.received).max(entered as f64 / seconds),
        egress: per_second(|sum| sum.delivered),
        writes: (after.sum.writes - before.sum.writes) as f64 / seconds,
        elapsed,
        settled,
        behind,
        crossed: after.sum.crossed - before.sum.crossed,
        gap_events: after.sum.gap_events - first.gap_events,
        cpu: (router_cpu, generator_cpu),
        resident_bytes: (before.resident_bytes, after.resident_bytes),
        counters: after.counters.since(&before.counters),
        connections_lost: after.sum.connections_lost - first.connections_lost,
        headroom: Headroom::of(&used, elapsed, &judged.lag, pushed_back),
        timeline: timeline.points(&judged.slices),
        judged,
        unsettled,
        lingers,
        untold: entered == 0 && !bench.scenario.received_within.is_zero(),
    })
}

#[derive(Debug, Clone, Copy)]
struct Part {
    rate: f64,
    events: u64,
    reset: bool,
    measured: bool,
    stalled: bool,
}

impl Part {
    fn from(self, start: Instant) -> Stretch {
        let Self { rate, events, reset, measured, stalled } = self;
        Stretch { start, events_per_second: rate, events, reset, measured, stalled }
    }
}

/// A stretch that is over: its length, how far it was behind at most, and the counters at its end.
struct Stretched {
    elapsed: Duration,
    behind: Duration,
    at_end: Sum,
    timeline: Timeline,
}

/// Publishes a stretch.
fn stretch(bench: &mut Bench<'_>, part: Part) -> Stretched {
    let start = Instant::now() + Duration::from_millis(30);
    let mut number = bench.fleet.publish(part.from(start));
    let mut behind = Duration::ZERO;
    let mut cancelled = false;
    let mut timeline = Timeline::new(start);
    let first = bench.fleet.sum();
    let length = Duration::from_secs_f64(part.events as f64 / part.rate.max(1.0));
    loop {
        std::thread::sleep(LOOK_EVERY);
        let sum = bench.fleet.sum();
        bench.progress.running(&sum, &first, part.rate, length.saturating_sub(start.elapsed()));
        if part.measured && timeline.is_due() {
            timeline.look(sum, bench.cluster);
        }
        behind = behind.max(bench.fleet.behind());
        if bench.fleet.has_published(number) {
            return Stretched { elapsed: start.elapsed(), behind, at_end: bench.fleet.sum(), timeline };
        }
        if behind > BEHIND_MAX && !cancelled {
            cancelled = true;
            let none = Part { events: 0, reset: false, ..part };
            number = bench.fleet.publish(none.from(Instant::now()));
        }
    }
}
