//! How full a receiver's queue is, since when it fills, and how fast it drains.

use super::ReceiverQueue;
use crate::core::outlet::backlogged::Backlogged;
use crate::time::Time;

impl ReceiverQueue {
    /// Whether a run that was just queued began to fill the queue, or found it crowded.
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
            self.backlogged = None;
        } else {
            let written = self.written;
            self.backlogged.get_or_insert(Backlogged::begin(now, written)).look(now, written);
        }
    }

    pub(super) fn count_crowd(&mut self) {
        self.is_notable = self.queue.bytes() > 0 && (self.backlogged.is_none() || self.is_crowded());
    }
}
