//! Live runs that wait until the replay of their source is done.

use millrace_proto::data::GapReason;

use super::queue::{Overflow, Popped, QueuePolicy, RunQueue};
use super::total::Total;
use crate::core::run::{Fate, RunOut};

/// Runs in order, each with its position.
#[derive(Debug)]
pub(in crate::core) struct HeldRuns(RunQueue);

impl HeldRuns {
    /// Nothing yet; at most so many bytes, which count in `total`, too.
    pub(in crate::core) fn new(bytes_max: u64, total: Total) -> Self {
        let policy = QueuePolicy { bytes_max, overflow: Overflow::Refuse, reason: GapReason::Overrun };
        Self(RunQueue::new(policy, total))
    }

    /// Keeps a run, unless there is no room.
    pub(in crate::core) fn hold(&mut self, run: &RunOut<'_>, position: u64) -> bool {
        self.0.offer(run, position, |_| {}).0 == Fate::Kept
    }

    /// Bytes of the runs.
    pub(in crate::core) const fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Takes the oldest run with its position; `false` when there is none.
    pub(in crate::core) fn take(&mut self, mut give: impl FnMut(&RunOut<'_>, u64)) -> bool {
        self.0.pop(|item| {
            if let Popped::Run(run, position) = item {
                give(&run, position);
            }
        })
    }

    /// Drops everything, and tells `lost` of each run that is a leg of an entry.
    pub(in crate::core) fn clear(&mut self, lost: impl FnMut(&RunOut<'_>)) {
        self.0.clear(lost);
    }
}
