//! Latencies: one histogram of a run, and a small one for each slice of its time.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latency from the scheduled time to the application, microseconds.
pub type Latency = Histogram<u64>;

/// The largest latency that is told apart: one minute.
pub const LATENCY_MAX_US: u64 = 60_000_000;

/// Length of a slice.
pub const SLICE: Duration = Duration::from_millis(500);

/// Latencies by slice of the measured part, from 0; two digits each.
pub type Slices = BTreeMap<u64, Latency>;

/// An empty histogram of three digits, up to one minute.
#[must_use]
pub fn empty_latency() -> Latency {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are sound")
}

/// An empty histogram of two digits, up to one minute: a slice.
fn empty_slice() -> Latency {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).expect("the bounds are sound")
}

/// Adds to a slice.
pub fn add_slice(slices: &mut Slices, number: u64, more: &Latency) {
    let slice = slices.entry(number).or_insert_with(empty_slice);
    // Both end at a minute.
    let _ = slice.add(more);
}

/// Records a run's latencies as they come, in order of time.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Of the slice that is going on.
    current: Latency,
    whole: Latency,
    slices: Slices,
    start_ns: u64,
    number: u64,
    /// The present slice ends here; never, while nothing is measured.
    end_ns: u64,
    measured: bool,
    /// The 99th percentile of the slice that ended last, microseconds.
    last_p99_us: u64,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            current: empty_latency(),
            whole: empty_latency(),
            slices: Slices::new(),
            start_ns: 0,
            number: 0,
            end_ns: u64::MAX,
            measured: false,
            last_p99_us: 0,
        }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// A stretch begins at `start_ns`. One that is not measured changes nothing: what was published
    /// before may still come.
    pub(super) fn begin(&mut self, measured: bool, start_ns: u64) {
        if measured && !self.measured {
            self.measured = true;
            self.start_ns = start_ns;
            self.end_ns = start_ns + slice_ns();
        }
    }

    /// Time goes by; looked at once per read.
    #[inline]
    pub(super) fn turn(&mut self, now_ns: u64) {
        if now_ns >= self.end_ns {
            self.roll(now_ns);
        }
    }

    #[inline]
    pub(super) fn record(&mut self, latency_us: u64) {
        if self.measured {
            self.current.saturating_record(latency_us);
        }
    }

    /// The 99th percentile of the slice that ended last, microseconds; 0 before one has.
    pub(super) const fn last_p99_us(&self) -> u64 {
        self.last_p99_us
    }

    /// The whole run so far, and its slices.
    pub(super) fn result(&mut self) -> (Latency, Slices) {
        self.close_slice();
        (self.whole.clone(), self.slices.clone())
    }

    #[cold]
    fn roll(&mut self, now_ns: u64) {
        self.close_slice();
        self.number = now_ns.saturating_sub(self.start_ns) / slice_ns();
        self.end_ns = self.start_ns + (self.number + 1) * slice_ns();
    }

    fn close_slice(&mut self) {
        if !self.current.is_empty() {
            self.last_p99_us = self.current.value_at_quantile(0.99);
            add_slice(&mut self.slices, self.number, &self.current);
            let _ = self.whole.add(&self.current);
            self.current.reset();
        }
    }
}

fn slice_ns() -> u64 {
    u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up_to_the_whole_and_nothing_counts_before_the_measured_part() {
        let mut recorder = Recorder::new();
        recorder.record(7);
        recorder.begin(true, 1_000_000_000);
        for (now_ms, latency) in [(1_100, 10), (1_400, 20), (1_600, 30), (2_700, 40)] {
            recorder.turn(now_ms * 1_000_000);
            recorder.record(latency);
        }
        let (whole, slices) = recorder.result();
        assert_eq!((whole.len(), whole.max()), (4, 40));
        let counts: Vec<_> = slices.iter().map(|(&number, slice)| (number, slice.len())).collect();
        assert_eq!(counts, [(0, 2), (1, 1), (3, 1)]);
    }
}
