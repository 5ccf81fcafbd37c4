//! A run over time: what happened in each slice of its measured part.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cluster::{Cluster, Home};
use crate::fleet::latency::{SLICE, Slices};
use crate::fleet::tally::Sum;
use millrace_measure::kernel;

/// One slice. Rates are per second; latencies are those of the deliveries that came in it,
/// microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Point {
    /// Where it ends, seconds after the begin of the measured part.
    pub at_s: f64,
    pub published_per_s: f64,
    pub received_per_s: f64,
    pub delivered_per_s: f64,
    /// Events that gap markers said are missing.
    pub gap_events: u64,
    /// CPU that the generator used, in CPUs.
    pub generator_cpus: f64,
    /// CPU that the routers used, in CPUs; 0 when they are elsewhere.
    pub routers_cpus: f64,
    /// Of the router processes, or of this process where they are none.
    pub resident_bytes: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    sum: Sum,
    routers_ns: u64,
    resident_bytes: u64,
}

/// Looks at the counters once per slice.
#[derive(Debug)]
pub(super) struct Timeline {
    start: Instant,
    looks: Vec<Look>,
}

impl Timeline {
    /// Slices are counted from `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self { start, looks: Vec::new() }
    }

    /// Whether a slice has ended since the last look.
    pub(super) fn is_due(&self) -> bool {
        let next = SLICE * u32::try_from(self.looks.len()).unwrap_or(u32::MAX);
        Instant::now().checked_duration_since(self.start).is_some_and(|elapsed| elapsed >= next)
    }

    /// Takes a look.
    pub(super) fn look(&mut self, sum: Sum, cluster: &Cluster) {
        let at = self.start.elapsed();
        let (routers_ns, resident_bytes) = match cluster.home() {
            // Asking the cores would cost them more than it is worth: what is not the fleet's is
            // theirs.
            Home::Embedded => (kernel::process_ns().saturating_sub(sum.cpu_ns), kernel::resident_bytes()),
            Home::Processes => {
                let usage = cluster.usage();
                (usage.cpu_ns, usage.resident_bytes.unwrap_or(0))
            }
            Home::Elsewhere => (0, kernel::resident_bytes()),
        };
        self.looks.push(Look { at, sum, routers_ns, resident_bytes });
    }

    /// The slices between the looks, with the latencies of `slices`.
    pub(super) fn points(&self, slices: &Slices) -> Vec<Point> {
        let pairs = self.looks.windows(2).zip(0..);
        pairs.map(|(pair, number)| point(pair[0], pair[1], number, slices)).collect()
    }
}

fn point(before: Look, after: Look, number: u64, slices: &Slices) -> Point {
    let seconds = (after.at.saturating_sub(before.at)).as_secs_f64().max(1e-9);
    let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
    let quantile = |quantile| slices.get(&number).map_or(0, |slice| slice.value_at_quantile(quantile));
    Point {
        at_s: after.at.as_secs_f64(),
        published_per_s: rate(after.sum.published, before.sum.published),
        received_per_s: rate(after.sum.received, before.sum.received),
        delivered_per_s: rate(after.sum.delivered, before.sum.delivered),
        gap_events: after.sum.gap_events - before.sum.gap_events,
        generator_cpus: rate(after.sum.cpu_ns, before.sum.cpu_ns) / 1e9,
        routers_cpus: rate(after.routers_ns, before.routers_ns) / 1e9,
        resident_bytes: after.resident_bytes,
        p50_us: quantile(0.5),
        p90_us: quantile(0.9),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        max_us: slices.get(&number).map_or(0, hdrhistogram::Histogram::max),
    }
}
