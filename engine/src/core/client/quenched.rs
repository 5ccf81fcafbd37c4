//! What a core keeps of a client whose publishers it tells what nobody wants.

use std::time::Duration;

use crate::core::path::Path;
use crate::time::Time;

/// Sets of one publisher that are quenched within a second, at most: half of the thousand changes
/// that its client hears, because each may be taken back.
pub(super) const QUENCHES_PER_SECOND: usize = 500;
/// What a client was told of its tag sets. The sets' own state stands at their numbers.
#[derive(Debug, Default)]
pub(in crate::core) struct Quench {
    /// Of the last Quench or Unquench.
    pub(super) version: u64,
    pub(super) answered: u64,
    /// When the core looks next, if there is such a time.
    pub(super) due: Option<Time>,
    /// What the last look saw: the states of both indexes, and how many sets were ever defined.
    pub(super) seen: ((u64, u64), u64),
    /// Sets that are quenched.
    pub(super) quenched: u64,
    /// When the present second of changes began, and how many sets it has quenched.
    pub(super) second: (Time, usize),
}

impl Quench {
    /// Sets that may be quenched now.
    pub(super) fn room(&mut self, now: Time) -> usize {
        if now.since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        QUENCHES_PER_SECOND - self.second.1
    }

    pub(super) fn set_quenched(&mut self, path: &mut Path, quenched: u64) {
        path.metrics.quenched_tag_sets = path.metrics.quenched_tag_sets + quenched - self.quenched;
        self.quenched = quenched;
    }
}
