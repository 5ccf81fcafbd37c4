//! How fast a receiver takes the runs that wait for it.

use crate::time::Time;

/// A receiver stalls that has taken nothing for so long, or less than this part of what waits.
const STALLED_NS: u64 = 250_000_000;
const STALLED_PART: u64 = 10;

/// Bytes that one receiver took since its queue last began to fill, measured at the end of each
/// turn that touched the queue.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Backlogged {
    /// When the queue began to fill.
    pub(in crate::core) since: Time,
    /// When it last took something, or when the queue began to fill.
    pub(in crate::core) taken_at: Time,
    /// Bytes that had been written to the receiver in all when the queue began to fill, and at the
    /// last measurement.
    written_before: u64,
    written: u64,
}

impl Backlogged {
    /// The queue of a receiver begins to fill, to which `written` bytes have been written.
    pub(in crate::core) const fn begin(now: Time, written: u64) -> Self {
        Self { since: now, taken_at: now, written_before: written, written }
    }

    /// Measures again.
    pub(in crate::core) const fn look(&mut self, now: Time, written: u64) {
        if written > self.written {
            self.taken_at = now;
            self.written = written;
        }
    }

    /// Bytes taken since the queue began to fill.
    pub(in crate::core) const fn taken(&self) -> u64 {
        self.written - self.written_before
    }

    /// Whether nothing was taken for a while, or next to nothing of what waits: `bytes`.
    pub(in crate::core) fn has_stalled(&self, now: Time, bytes: u64) -> bool {
        let is_still = now.nanos_since(self.taken_at) > STALLED_NS;
        let is_slow = now.nanos_since(self.since) > STALLED_NS && self.taken() < bytes / STALLED_PART;
        is_still || is_slow
    }

    /// Bytes taken per second.
    pub(in crate::core) fn rate(&self, now: Time) -> u64 {
        per_second(self.taken(), now.nanos_since(self.since))
    }
}

/// Bytes per second over `ns` nanoseconds, a millisecond at least.
pub(in crate::core) fn per_second(bytes: u64, ns: u64) -> u64 {
    let per_second = u128::from(bytes) * 1_000_000_000 / u128::from(ns.max(1_000_000));
    u64::try_from(per_second).unwrap_or(u64::MAX)
}
