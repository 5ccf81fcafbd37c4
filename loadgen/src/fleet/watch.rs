//! What checks and times the deliveries of a thread's receivers.

use millrace_proto::TagSet;
use millrace_proto::data::{Gap, GapReason};
use millrace_verify::checker::FleetChecker;
use millrace_verify::oracle::Expected;

use super::judged::{Gaps, Judged, SlowJudged};
use super::latency::Recorder;
use super::order::Stretch;
use super::tally::Tally;
use crate::scenario::Scenario;

/// The receivers that stall, where some do: the first ones of the first connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slow {
    count: u32,
    connections: u32,
}

impl Slow {
    pub(super) const fn of(scenario: &Scenario) -> Self {
        Self { count: scenario.slow_receivers, connections: scenario.receiver_connections }
    }

    pub(super) const fn includes(self, receiver: u32) -> bool {
        receiver.is_multiple_of(self.connections) && receiver / self.connections < self.count
    }
}

/// What a thread's receivers share.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) checker: FleetChecker,
    /// Checks the receivers that stall, if they are this thread's.
    pub(super) slow: Option<FleetChecker>,
    pub(super) recorder: Recorder,
    /// Router of each emitter, for counting what crossed the mesh.
    pub(super) emitter_router: Vec<u8>,
    pub(super) tag_sets: Vec<TagSet>,
    pub(super) wrong_tags: u64,
}

/// The checkers of a thread: of the receivers that are `mine`, and of the slow ones apart.
pub(super) fn checkers(
    expected: &Expected,
    slow: Slow,
    mine: impl Fn(u32) -> bool,
) -> (FleetChecker, Option<FleetChecker>) {
    let has_slow = slow.includes(0) && mine(0);
    let others = FleetChecker::new(expected, |receiver| mine(receiver) && !slow.includes(receiver));
    (others, has_slow.then(|| FleetChecker::new(expected, |receiver| slow.includes(receiver))))
}

impl Watch {
    pub(super) fn new(
        (checker, slow): (FleetChecker, Option<FleetChecker>),
        emitter_router: Vec<u8>,
        tag_sets: Vec<TagSet>,
    ) -> Self {
        let recorder = Recorder::new();
        Self { checker, slow, recorder, emitter_router, tag_sets, wrong_tags: 0 }
    }

    /// Starts over: numbers from 0.
    pub(super) fn reset(&mut self, (checker, slow): (FleetChecker, Option<FleetChecker>)) {
        (self.checker, self.slow) = (checker, slow);
        self.recorder.reset();
        self.wrong_tags = 0;
    }

    /// A stretch begins at `start_ns`.
    pub(super) fn begin(&mut self, stretch: &Stretch, start_ns: u64) {
        self.recorder.begin(stretch.measured, start_ns);
    }

    /// Time goes by.
    #[inline]
    pub(super) fn turn_slice(&mut self, now_ns: u64) {
        self.recorder.turn(now_ns);
    }

    /// Takes a delivery to a receiver that never stalls.
    pub(super) fn deliver(&mut self, receiver: u32, router: u8, payload: &[u8], now_ns: u64, tally: &Tally) {
        tally.delivered.add(1);
        let Some(stamp) = self.checker.deliver(receiver, payload) else { return };
        self.recorder.record(now_ns.saturating_sub(stamp.scheduled_ns) / 1000);
        let crossed = self.emitter_router.get(stamp.emitter as usize) != Some(&router);
        tally.crossed.add(u64::from(crossed));
    }

    /// Takes a gap marker of a receiver that never stalls.
    pub(super) fn gap(&mut self, gap: &Gap, tally: &Tally) {
        self.checker.gap(gap);
        tally.gaps.add(1);
        tally.gap_events.add(gap.events);
    }

    /// The 99th percentile of latency in the half second that ended last, microseconds.
    pub(super) const fn last_p99_us(&self) -> u64 {
        self.recorder.last_p99_us()
    }

    /// Faults so far that a person should see at once.
    pub(super) fn faults(&self) -> u64 {
        let seen = self.checker.so_far();
        seen.duplicated + seen.reordered + seen.corrupted + seen.unexpected
    }

    /// What came of it, given how often each emitter has published.
    pub(super) fn judge(&mut self, published: &[u64]) -> Judged {
        let mut verdict = self.checker.verdict(published);
        verdict.corrupted += self.wrong_tags;
        let slow = self.slow.as_ref().map(|checker| SlowJudged {
            verdict: checker.verdict(published),
            overflowed: checker.gaps().get(&GapReason::Overflow).map_or(0, |count| count.events),
        });
        let (latency, slices) = self.recorder.result();
        let gaps: Gaps = self.checker.gaps().clone();
        Judged { verdict, latency, slices, gaps, slow, ..Judged::default() }
    }
}
