//! How full a receiver's queue is, since when it fills, and how fast it drains.

use millrace_proto::data::Gap;

use super::ReceiverQueue;
use crate::core::outlet::backlogged::Backlogged;
use crate::core::run::Fate;
use crate::time::Time;

/// A receiver that has had fewer runs has hardly taken anything.
const FEW_RUNS: u64 = 16;
/// Fewer may wait for one that has just been opened, and whose stream is not ready.
const FEW_WAITING: usize = 16;
/// A queue that fills is looked at with each so many runs.
const LOOKED_AT_EVERY: usize = 16;

impl ReceiverQueue {
    /// Whether a run that was just queued began to fill the queue, or found it crowded or stalled.
    #[inline]
    pub(in crate::core) const fn is_notable(&self) -> bool {
        self.is_notable
    }

    /// Notes the time of that. Returns whether more than half of the queue is taken, so that
    /// publishers may have to wait.
    #[cold]
    pub(in crate::core) fn note(&mut self, now: Time) -> bool {
        self.keep_time(now);
        self.count_crowd();
        self.is_crowded()
    }

    /// Whether publishers with a confirm level wait for it for as long as it takes.
    pub(in crate::core) const fn blocks(&self) -> bool {
        self.queue.blocks()
    }

    const fn is_crowded(&self) -> bool {
        self.queue.bytes() > self.queue.bytes_max() / 2
    }

    /// Whether at most a quarter of the queue is taken, so that no publisher has to wait.
    pub(in crate::core) const fn is_relieved(&self) -> bool {
        self.queue.bytes() <= self.queue.bytes_max() / 4
    }

    /// What was taken since the queue last began to fill; none while nothing waits.
    pub(in crate::core) const fn backlogged(&self) -> Option<Backlogged> {
        self.backlogged
    }

    /// Measures how fast the queue drains: at the end of each turn that touched it.
    #[inline]
    pub(in crate::core) fn keep_time(&mut self, now: Time) {
        if self.queue.is_empty() {
            (self.backlogged, self.is_stalled) = (None, false);
        } else {
            let written = self.written;
            // One that has hardly taken anything yet may be one of many that are opened in vain.
            let is_still = self.runs < FEW_RUNS && (!self.has_grant() || self.queue.len() >= FEW_WAITING);
            let backlogged = self.backlogged.get_or_insert(Backlogged::begin(now, written));
            backlogged.look(now, written);
            self.is_stalled = is_still || backlogged.has_stalled(now, self.queue.bytes());
        }
    }

    pub(super) fn count_crowd(&mut self) {
        let is_due = self.is_stalled || self.queue.len().is_multiple_of(LOOKED_AT_EVERY);
        self.is_notable =
            self.queue.bytes() > 0 && (is_due || self.backlogged.is_none() || self.is_crowded());
    }
}

impl ReceiverQueue {
    /// Whether something waits of which the receiver takes nothing, or next to nothing: as of the
    /// last time it was looked at.
    pub(in crate::core) const fn is_stalled(&self) -> bool {
        self.is_stalled && !self.passed.is_on
    }

    /// Whether runs are counted instead of queued.
    #[inline]
    pub(in crate::core) const fn is_passed_over(&self) -> bool {
        self.passed.is_on
    }

    /// Counts runs from here on instead of queueing them, until the receiver takes something. One
    /// whose policy ends it goes on until its queue is full. Of one that `is_plain`, nothing else
    /// has to be looked at.
    pub(in crate::core) fn pass_over(&mut self, is_plain: bool) {
        self.passed.is_on = self.queue.may_drop() && !self.queue.is_empty();
        self.passed.is_plain = is_plain;
    }

    /// Whether all runs are passed over, whatever their payload is.
    #[inline]
    pub(in crate::core) const fn is_plain(&self) -> bool {
        self.passed.is_plain
    }

    /// The receiver has subscriptions for which more than tags counts.
    pub(in crate::core) const fn make_not_plain(&mut self) {
        self.passed.is_plain = false;
    }

    /// Counts a run that is passed over, and of which the receiver counts nothing itself.
    #[inline]
    pub(in crate::core) const fn skip(&mut self, events: u64) {
        self.passed.events += events;
        self.passed.skipped += events;
    }

    /// Events of runs that were skipped so far.
    pub(in crate::core) const fn skipped(&self) -> u64 {
        self.passed.skipped
    }

    /// Counts a run that is passed over.
    #[inline]
    pub(super) const fn count_passed_over(&mut self, events: u64) -> Fate {
        self.passed.events += events;
        Fate::Refused
    }

    /// Has a gap stand for what was passed over, behind all that waits.
    #[inline]
    pub(super) fn tell_passed_over(&mut self) {
        if self.passed.events > 0 {
            let events = std::mem::take(&mut self.passed.events);
            self.queue.push_gap(Gap { reason: self.queue.gap_reason(), events, router: None });
        }
    }
}
