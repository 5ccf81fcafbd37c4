//! What became of the legs of runs: of the copies for single locations.
//!
//! An outlet says it of the run that was pushed, and of the older runs that gave way for it. The counters are the first
//! reader. The second is the sibling core that handed a run over: it is told how many events were lost here
//! ([`ToSibling::Missed`](crate::message::ToSibling::Missed)).

use crate::core::metrics::{CoreMetrics, DropReason};
use crate::core::run::{Fate, RunOut};
use crate::message::CoreIndex;

/// Events that siblings handed over and that were lost here, since each was told last: by core.
#[derive(Debug)]
pub(in crate::core) struct Missed(Vec<u64>);

impl Missed {
    pub(super) fn new(cores: CoreIndex) -> Self {
        Self(vec![0; usize::from(cores)])
    }

    /// What is to be told to a sibling, if anything.
    pub(in crate::core) fn take(&mut self, core: CoreIndex) -> Option<u64> {
        self.0.get_mut(usize::from(core)).map(std::mem::take).filter(|&events| events > 0)
    }
}

/// Where fates are told.
#[derive(Debug)]
pub(super) struct Fates<'a> {
    pub(super) metrics: &'a mut CoreMetrics,
    pub(super) missed: &'a mut Missed,
}

impl Fates<'_> {
    /// A run was dropped at a location.
    #[cold]
    pub(super) fn lost(&mut self, run: &RunOut<'_>, reason: DropReason) {
        self.metrics.drop(reason, run.events);
        if let Some(missed) = run.from.and_then(|core| self.missed.0.get_mut(usize::from(core))) {
            *missed += run.events;
        }
    }

    /// What became of a run at a location, whose queue drops for the reason `overflow`. Returns the events lost.
    #[inline]
    pub(super) fn tell(&mut self, fate: Fate, run: &RunOut<'_>, overflow: DropReason) -> u64 {
        match fate {
            Fate::Kept => return 0,
            Fate::Refused => self.lost(run, overflow),
            Fate::TooLarge => self.lost(run, DropReason::TooLarge),
        }
        run.events
    }
}
