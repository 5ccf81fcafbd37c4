//! What became of the legs of runs, which are their copies for single locations.
//!
//! An outlet reports the run that was pushed, and the older runs that gave way for it. Counters
//! read that first. The sibling core that handed a run over reads it second: it learns how many
//! events were lost here ([`ToSibling::Missed`](crate::message::ToSibling::Missed)).

use millrace_proto::control::OutcomeReason;

use crate::core::metrics::{CoreMetrics, DropReason};
use crate::core::run::{Fate, RunOut};
use crate::ledger::{Answer, Ledger, Level, Tally};
use crate::message::CoreIndex;

/// Events that siblings handed over and that were lost here since each of them was told, by core.
#[derive(Debug)]
pub(in crate::core) struct Missed(Vec<u64>);

impl Missed {
    pub(super) fn new(cores: CoreIndex) -> Self {
        Self(vec![0; usize::from(cores)])
    }

    /// Takes the count for a sibling, if it is not zero.
    pub(in crate::core) fn take(&mut self, core: CoreIndex) -> Option<u64> {
        self.0.get_mut(usize::from(core)).map(std::mem::take).filter(|&events| events > 0)
    }
}

/// Answers for siblings about runs that they have handed over, by core. At most as many as entries
/// that siblings' runs have had since the rings between cores were last emptied.
#[derive(Debug)]
pub(in crate::core) struct Answers(Vec<Vec<Answer>>);

impl Answers {
    pub(super) fn new(cores: CoreIndex) -> Self {
        Self(vec![Vec::new(); usize::from(cores)])
    }

    pub(in crate::core) fn add(&mut self, core: CoreIndex, answers: Vec<Answer>) {
        if let Some(waiting) = self.0.get_mut(usize::from(core)) {
            waiting.extend(answers);
        }
    }

    /// Takes the answers for a sibling, if there are any.
    pub(in crate::core) fn take(&mut self, core: CoreIndex) -> Option<Vec<Answer>> {
        self.0.get_mut(usize::from(core)).map(std::mem::take).filter(|answers| !answers.is_empty())
    }
}

/// Where outlets report fates.
#[derive(Debug)]
pub(super) struct Fates<'a> {
    pub(super) metrics: &'a mut CoreMetrics,
    pub(super) missed: &'a mut Missed,
    pub(super) ledger: &'a mut Ledger,
}

impl Fates<'_> {
    /// Counts a run that was dropped at a location.
    #[cold]
    pub(super) fn lost(&mut self, run: &RunOut<'_>, reason: DropReason) {
        self.metrics.drop(reason, run.events);
        if let Some(missed) = run.from.and_then(|core| self.missed.0.get_mut(usize::from(core))) {
            *missed += run.events;
        }
        self.end(run, Tally::missed(reason.outcome()));
    }

    /// Counts a run for which so many receivers are passed over.
    #[cold]
    pub(super) fn pass_over(&mut self, receivers: u64, run: &RunOut<'_>) {
        let events = run.events * receivers;
        self.metrics.passed_over += events;
        self.lost(&RunOut { entry: None, events, ..*run }, DropReason::ReceiverOverflow);
        if run.entry.is_some() {
            (0..receivers).for_each(|_| self.count(run, Tally::NONE, Fate::Refused));
        }
    }

    /// Counts a run that a receiver does not get, and that is no leg of its own.
    #[cold]
    pub(super) fn miss(&mut self, run: &RunOut<'_>, reason: DropReason) {
        self.metrics.drop(reason, run.events);
        if let Some(entry) = run.entry {
            self.ledger.count(entry, run.span(), Tally::missed(reason.outcome()));
        }
    }

    /// Counts a run that a receiver does not get live, because its replay brings it: whether that
    /// arrives nobody can tell, so that no confirm depends on it.
    #[cold]
    pub(super) fn leave_to_replay(&mut self, run: &RunOut<'_>) {
        if let Some(entry) = run.entry {
            self.ledger.count(entry, run.span(), Tally::missed(OutcomeReason::Overflow));
        }
    }

    /// Opens a leg for a copy whose run has an entry.
    #[inline]
    pub(super) fn add(&mut self, run: &RunOut<'_>) {
        if let Some(entry) = run.entry {
            self.ledger.add(entry, run.span());
        }
    }

    /// Ends the leg of a copy whose run has an entry.
    pub(super) fn end(&mut self, run: &RunOut<'_>, tally: Tally) {
        if let Some(entry) = run.entry {
            self.ledger.end(entry, run.span(), tally);
        }
    }

    /// Counts the fate of a run at a location whose queue drops for the reason `overflow`. Returns
    /// the events lost.
    #[inline]
    pub(super) fn tell(&mut self, fate: Fate, run: &RunOut<'_>, overflow: DropReason) -> u64 {
        match fate {
            Fate::Kept => return 0,
            Fate::Refused => self.lost(run, overflow),
            Fate::Busy => self.lost(run, DropReason::ReceiverBusy),
            Fate::TooLarge => self.lost(run, DropReason::TooLarge),
        }
        run.events
    }
}

/// How a receiver's copy counts for the run's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// The run has no entry.
    Untold,
    /// As a leg, which ends when the receiver's application acknowledges.
    Open,
    /// With this tally, as soon as the copy is kept.
    Counted(Tally),
}

impl Fates<'_> {
    /// How the copy of a run for a receiver counts for the run's entry. Opens the leg if it is one.
    #[inline]
    pub(super) fn begin(&mut self, run: &RunOut<'_>, acknowledges: bool) -> Copied {
        match run.entry {
            None => Copied::Untold,
            Some(_) => self.begin_told(run, acknowledges),
        }
    }

    #[cold]
    fn begin_told(&mut self, run: &RunOut<'_>, acknowledges: bool) -> Copied {
        let Some(entry) = run.entry else { return Copied::Untold };
        match Level::of_flags(run.flags) {
            Some(Level::Delivered) if acknowledges => {
                self.ledger.add(entry, run.span());
                Copied::Open
            }
            Some(Level::Delivered) => Copied::Counted(Tally::missed(OutcomeReason::CannotAcknowledge)),
            _ => Copied::Counted(Tally::TAKEN),
        }
    }

    /// Counts a copy that is no leg of its own by its fate.
    #[cold]
    pub(super) fn count(&mut self, run: &RunOut<'_>, kept: Tally, fate: Fate) {
        let Some(entry) = run.entry else { return };
        let tally = match fate {
            Fate::Kept => kept,
            Fate::Refused => Tally::missed(OutcomeReason::Overflow),
            Fate::Busy => Tally::missed(OutcomeReason::Busy),
            Fate::TooLarge => Tally::missed(OutcomeReason::TooLarge),
        };
        self.ledger.count(entry, run.span(), tally);
    }
}
