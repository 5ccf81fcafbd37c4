//! Verdicts with their latencies: what came to the receivers of one thread, or of all.

use std::collections::BTreeMap;

use millrace_proto::data::GapReason;
use millrace_verify::checker::{GapCount, Verdict};

use super::latency::{Latency, Slices, add_slice, empty_latency};

/// Gap markers by reason.
pub type Gaps = BTreeMap<GapReason, GapCount>;

/// A verdict with its latencies.
#[derive(Debug)]
pub struct Judged {
    /// What was expected and what came; without receivers that stall.
    pub verdict: Verdict,
    /// Scheduled time to application, microseconds; without receivers that stall.
    pub latency: Latency,
    /// The same by slices of the measured part.
    pub slices: Slices,
    /// How late the generator offered events, against their schedule, microseconds.
    pub lag: Latency,
    /// Gap markers since the last reset, by reason; without receivers that stall.
    pub gaps: Gaps,
    /// Those that stall, where the scenario has some.
    pub slow: Option<SlowJudged>,
}

/// What came to the receivers that stall.
#[derive(Debug, Clone, Copy)]
pub struct SlowJudged {
    /// What was expected and what came.
    pub verdict: Verdict,
    /// Events that their gap markers say their own queues had no room for: policy allows their
    /// loss, and no other.
    pub overflowed: u64,
}

impl Default for Judged {
    fn default() -> Self {
        Self {
            verdict: Verdict::default(),
            latency: empty_latency(),
            slices: Slices::new(),
            lag: empty_latency(),
            gaps: Gaps::new(),
            slow: None,
        }
    }
}

impl Judged {
    /// The whole verdict: of slow receivers' losses, those that their gap markers own up to are
    /// left out.
    #[must_use]
    pub fn total(&self) -> Verdict {
        let mut total = self.verdict;
        if let Some(SlowJudged { mut verdict, overflowed }) = self.slow {
            let excused = verdict.lost.min(overflowed);
            verdict.lost -= excused;
            verdict.excused_by_gap += excused;
            total += verdict;
        }
        total
    }

    /// Takes up to `count` events out of the lost ones; how many that were.
    pub(crate) fn take_lost(&mut self, count: u64) -> u64 {
        let of_others = count.min(self.verdict.lost);
        self.verdict.lost -= of_others;
        let slow = self.slow.as_mut().map(|slow| &mut slow.verdict.lost);
        let of_slow = slow.map_or(0, |lost| {
            let taken = (count - of_others).min(*lost);
            *lost -= taken;
            taken
        });
        of_others + of_slow
    }

    /// Adds what another thread judged.
    pub(super) fn merge(&mut self, part: &Self) {
        self.verdict += part.verdict;
        // All have the same bounds.
        let _ = self.latency.add(&part.latency);
        let _ = self.lag.add(&part.lag);
        for (&number, slice) in &part.slices {
            add_slice(&mut self.slices, number, slice);
        }
        for (&reason, count) in &part.gaps {
            let sum = self.gaps.entry(reason).or_default();
            sum.gaps += count.gaps;
            sum.events += count.events;
        }
        self.slow = self.slow.or(part.slow);
    }
}
