//! Whether the generator had room to spare, or was itself what limited the run.

use std::time::Duration;

use serde::Serialize;

use crate::fleet::{Latency, ThreadTimes};

/// A thread that was busy or waiting for a CPU for this part of the time had no room.
const BUSY_MAX: f64 = 0.95;
/// A generator that offers one event in a hundred later than this is not in time.
const LAG_P99_MAX_US: u64 = 20_000;

/// What the generator had left in the measured part.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Headroom {
    /// CPU time of its busiest thread, as a part of the time.
    pub busiest_thread_cpu_share: f64,
    /// How long that thread was ready while no CPU was free, as a part of the time.
    pub busiest_thread_waited_share: f64,
    /// CPUs that all its threads used together.
    pub cpus: f64,
    /// How late events were offered, microseconds: behind the time at which each is due and, with a
    /// linger, up to 500 µs in which it may wait for others. Latency counts from when they are due.
    pub lag_p50_us: u64,
    /// The same, 99th percentile.
    pub lag_p99_us: u64,
    /// The same, largest.
    pub lag_max_us: u64,
    /// Times that a publisher's queue was full: then the system pushed back.
    pub pushed_back: u64,
    /// Whether the generator was the bottleneck: a thread without room, or events that were late
    /// although nothing pushed back.
    pub is_bottleneck: bool,
}

impl Headroom {
    /// From the threads' times in the measured part of length `elapsed`.
    pub(super) fn of(threads: &[ThreadTimes], elapsed: Duration, lag: &Latency, pushed_back: u64) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let share = |ns: u64| ns as f64 / 1e9 / seconds;
        let busy = |times: &&ThreadTimes| times.ran_ns + times.waited_ns;
        let busiest = threads.iter().max_by_key(busy).copied().unwrap_or_default();
        let lag_p99_us = lag.value_at_quantile(0.99);
        let has_room = share(busiest.ran_ns + busiest.waited_ns) < BUSY_MAX;
        Self {
            busiest_thread_cpu_share: share(busiest.ran_ns),
            busiest_thread_waited_share: share(busiest.waited_ns),
            cpus: threads.iter().map(|times| share(times.ran_ns)).sum(),
            lag_p50_us: lag.value_at_quantile(0.5),
            lag_p99_us,
            lag_max_us: lag.max(),
            pushed_back,
            is_bottleneck: !has_room || (lag_p99_us > LAG_P99_MAX_US && pushed_back == 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::latency::empty_latency;

    #[test]
    fn a_thread_that_never_sleeps_is_the_bottleneck_and_one_with_room_is_not() {
        let check = |ran_ms: u64, waited_ms: u64| {
            let times = ThreadTimes { ran_ns: ran_ms * 1_000_000, waited_ns: waited_ms * 1_000_000 };
            Headroom::of(&[ThreadTimes::default(), times], Duration::from_secs(1), &empty_latency(), 0)
                .is_bottleneck
        };
        assert!(check(990, 0));
        assert!(check(600, 390), "waiting for a CPU is no room either");
        assert!(!check(600, 100));
    }

    #[test]
    fn late_events_are_the_generators_fault_unless_something_pushed_back() {
        let mut lag = empty_latency();
        lag.record(900_000).unwrap();
        let of = |pushed_back| Headroom::of(&[], Duration::from_secs(1), &lag, pushed_back).is_bottleneck;
        assert_eq!((of(0), of(3)), (true, false));
    }
}
