//! Live runs that wait until the replay of their source is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_proto::data::GapReason;

use super::queue::{Overflow, Popped, QueuePolicy, RunQueue};
use super::total::Total;
use crate::core::run::{Fate, RunOut};

/// Bytes of live runs that wait for the replays of one receiver, at most.
const HELD_BYTES_MAX: u64 = 8 << 20;
/// All receivers of a core together: an eighth of what may wait for receivers.
const HELD_PART: u64 = 8;

/// How much may wait for the replays of a core's receivers: each has the same share. Only the
/// core's thread writes it, as it does a [`Total`].
#[derive(Debug, Clone)]
pub(in crate::core) struct HeldBudget {
    queued: Total,
    held: Total,
    each_max: Arc<AtomicU64>,
}

impl HeldBudget {
    /// What waits counts in `queued`, too.
    pub(in crate::core) fn new(queued: Total) -> Self {
        Self { queued, held: Total::default(), each_max: Arc::new(AtomicU64::new(HELD_BYTES_MAX)) }
    }

    /// Divides what may wait among so many receivers.
    pub(in crate::core) fn divide(&self, queue_budget_bytes: u64, receivers: usize) {
        let each = queue_budget_bytes / HELD_PART / (receivers.max(1) as u64);
        self.each_max.store(each.min(HELD_BYTES_MAX), Ordering::Relaxed);
    }

    /// Bytes that may wait for the replays of one receiver.
    pub(in crate::core) fn each_max(&self) -> u64 {
        self.each_max.load(Ordering::Relaxed)
    }

    /// Bytes that wait.
    pub(in crate::core) fn bytes(&self) -> u64 {
        self.held.bytes()
    }
}

impl Default for HeldBudget {
    fn default() -> Self {
        Self::new(Total::default())
    }
}

/// Runs in order, each with its position.
#[derive(Debug)]
pub(in crate::core) struct HeldRuns {
    runs: RunQueue,
    budget: HeldBudget,
    /// Position of the last run.
    last: u64,
    /// Live runs do not wait: the replay brings them, because more than may wait came before it was
    /// near its end.
    is_left: bool,
    /// Bytes of live runs that were left to the replay since it was made longer for them.
    left_bytes: u64,
}

impl HeldRuns {
    /// Nothing yet, and at most [`HELD_BYTES_MAX`].
    pub(in crate::core) fn new(budget: HeldBudget) -> Self {
        let (bytes_max, overflow) = (HELD_BYTES_MAX, Overflow::Refuse);
        let policy = QueuePolicy { bytes_max, overflow, reason: GapReason::Overrun };
        let runs = RunQueue::new(policy, budget.queued.clone());
        Self { runs, budget, last: 0, is_left: false, left_bytes: 0 }
    }

    /// Bytes that a run will take.
    pub(in crate::core) fn bytes_of(run: &RunOut<'_>) -> u64 {
        RunQueue::bytes_of(run)
    }

    /// Keeps a run, unless there is no room.
    pub(in crate::core) fn hold(&mut self, run: &RunOut<'_>, position: u64) -> bool {
        let is_held = self.counted(|runs| runs.offer(run, position, |_| {}).0 == Fate::Kept);
        self.last = if is_held { position } else { self.last };
        is_held
    }

    /// Position of the last run that has waited.
    pub(in crate::core) const fn last(&self) -> u64 {
        self.last
    }

    /// Whether live runs are left to the replay.
    pub(in crate::core) const fn is_left(&self) -> bool {
        self.is_left
    }

    /// Live runs are left to the replay from here on, and these bytes of them. Says whether so much
    /// was left that the replay is made longer, as if it had waited and was dropped.
    pub(in crate::core) const fn leave(&mut self, bytes: u64) -> bool {
        self.is_left = true;
        self.left_bytes += bytes;
        let is_longer = self.left_bytes >= HELD_BYTES_MAX;
        if is_longer {
            self.left_bytes = 0;
        }
        is_longer
    }

    /// Live runs wait from here on.
    pub(in crate::core) const fn wait(&mut self) {
        self.is_left = false;
    }

    /// Bytes of the runs.
    pub(in crate::core) const fn bytes(&self) -> u64 {
        self.runs.bytes()
    }

    /// Takes the oldest run with its position; `false` when there is none.
    pub(in crate::core) fn take(&mut self, mut give: impl FnMut(&RunOut<'_>, u64)) -> bool {
        self.counted(|runs| {
            runs.pop(|item| {
                if let Popped::Run(run, position) = item {
                    give(&run, position);
                }
            })
        })
    }

    /// Drops everything, and tells `lost` of each run that is a leg of an entry.
    pub(in crate::core) fn clear(&mut self, lost: impl FnMut(&RunOut<'_>)) {
        self.counted(|runs| runs.clear(lost));
    }

    /// Changes the runs, and counts what that has changed of their room.
    fn counted<T>(&mut self, change: impl FnOnce(&mut RunQueue) -> T) -> T {
        let before = self.runs.room();
        let changed = change(&mut self.runs);
        self.budget.held.take(before);
        self.budget.held.add(self.runs.room());
        changed
    }
}

impl Drop for HeldRuns {
    fn drop(&mut self) {
        self.clear(|_| {});
    }
}
