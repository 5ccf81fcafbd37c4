//! What becomes of events of which two routers speak.
//!
//! ```text
//!  first router:   ──── confirmed at 2 ──────────▶ ended      ──── partial ─── waits ┐
//!  second router:  ──────────────── told later: old news      ──── confirmed at 1 ───┴▶ ended
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::better::{better, is_best};
use crate::session::publisher::finals::Finals;
use crate::session::publisher::outcome::{Ended, Outcome};
use crate::session::side::Side;
use crate::time::{SECOND_NS, Time};

/// How long an outcome waits for a better one, and how long a lost router is counted on: what
/// routers take at most to say what became of an event.
pub(super) const WAIT_NS: u64 = 30 * SECOND_NS;

/// Whether a router answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Presence {
    /// There was none.
    #[default]
    Never,
    Here,
    /// It is lost since then.
    Away(Time),
}

/// What one router has told, of events that the other one has not.
#[derive(Debug, Clone)]
struct Told {
    end: u64,
    by: Side,
    outcome: Outcome,
    /// From when on it stands; none: when the other one has told.
    due: Option<Time>,
}

/// Which events have ended, and how.
#[derive(Debug)]
pub(super) struct Ends {
    ended: Finals,
    /// By first seq; none overlap, and none has ended: so both windows bound them.
    told: BTreeMap<u64, Told>,
    /// Those of them that are due at some time.
    due: BTreeSet<(Time, u64)>,
    presence: [Presence; 2],
    news: VecDeque<Ended>,
}

impl Ends {
    /// All below `first_seq` have ended.
    pub(super) fn new(first_seq: u64) -> Self {
        Self {
            ended: Finals::below(first_seq),
            told: BTreeMap::new(),
            due: BTreeSet::new(),
            presence: [Presence::Never; 2],
            news: VecDeque::new(),
        }
    }

    /// Which have ended.
    pub(super) const fn ended(&self) -> &Finals {
        &self.ended
    }

    /// How events ended, each once.
    pub(super) fn poll(&mut self) -> Option<Ended> {
        self.news.pop_front()
    }

    /// There is a router.
    pub(super) const fn opened(&mut self, side: Side) {
        self.presence[side as usize] = Presence::Here;
    }

    /// It is lost: what its absence leaves no doubt about has ended.
    pub(super) fn lost(&mut self, side: Side, now: Time) {
        self.presence[side as usize] = Presence::Away(now);
        let stands: Vec<u64> = self
            .told
            .iter()
            .filter(|(_, told)| told.by != side && self.stands(told.by, &told.outcome, now))
            .map(|(&first, _)| first)
            .collect();
        for first in stands {
            self.end_as_told(first);
        }
    }

    /// Whether an outcome is not improved by the other router.
    fn stands(&self, by: Side, outcome: &Outcome, now: Time) -> bool {
        if is_best(outcome) {
            return true;
        }
        match self.presence[by.other() as usize] {
            Presence::Never => true,
            Presence::Here => false,
            Presence::Away(since) => {
                matches!(outcome, Outcome::Confirmed { .. } | Outcome::GivenUp { .. })
                    || now.nanos_since(since) >= WAIT_NS
            }
        }
    }

    /// A router, or the store of its session, says what became of events.
    pub(super) fn told(&mut self, by: Side, seqs: Range<u64>, outcome: &Outcome, now: Time) {
        for part in self.ended.pending_in(seqs) {
            let mut from = part.start;
            for (known, theirs) in self.take(&part) {
                self.told_first(by, from..known.start, outcome, now);
                from = known.end;
                self.end(known, better(theirs.outcome, outcome.clone()));
            }
            self.told_first(by, from..part.end, outcome, now);
        }
    }

    /// As [`Ends::told`], of events of which the other router has told nothing.
    fn told_first(&mut self, by: Side, seqs: Range<u64>, outcome: &Outcome, now: Time) {
        if seqs.is_empty() {
            return;
        }
        if self.stands(by, outcome, now) {
            return self.end(seqs, outcome.clone());
        }
        let due = (!matches!(outcome, Outcome::GivenUp { .. })).then(|| now.after(WAIT_NS));
        self.insert(seqs.start, Told { end: seqs.end, by, outcome: outcome.clone(), due });
    }

    /// Without a confirm level: a router has received events, but for those that its session gave
    /// up.
    pub(super) fn received(&mut self, by: Side, seqs: Range<u64>) {
        for part in self.ended.pending_in(seqs) {
            let mut from = part.start;
            for (known, told) in self.take(&part) {
                self.ended.insert(from..known.start);
                from = known.end;
                if told.by == by {
                    self.insert(known.start, Told { end: known.end, ..told });
                } else {
                    self.ended.insert(known);
                }
            }
            self.ended.insert(from..part.end);
        }
    }

    /// Ends what has waited long enough.
    pub(super) fn turn(&mut self, now: Time) {
        while let Some(&(_, first)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.end_as_told(first);
        }
    }

    /// When [`Ends::turn`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|&(due, _)| due)
    }

    fn end(&mut self, seqs: Range<u64>, outcome: Outcome) {
        // There are never more ranges than events that have not ended, which the windows bound.
        self.ended.insert(seqs.clone());
        self.news.push_back(Ended { seqs, outcome });
    }

    fn end_as_told(&mut self, first: u64) {
        if let Some(Told { end, outcome, .. }) = self.remove(first) {
            self.end(first..end, outcome);
        }
    }

    /// Takes out what was told of `seqs`, ascending.
    fn take(&mut self, seqs: &Range<u64>) -> Vec<(Range<u64>, Told)> {
        let before = self.told.range(..=seqs.start).next_back();
        let from = before.filter(|(_, told)| told.end > seqs.start).map_or(seqs.start, |(&first, _)| first);
        let firsts: Vec<u64> = self.told.range(from..seqs.end).map(|(&first, _)| first).collect();
        let mut taken = Vec::with_capacity(firsts.len());
        for first in firsts {
            let Some(told) = self.remove(first) else { continue };
            if first < seqs.start {
                self.insert(first, Told { end: seqs.start, ..told.clone() });
            }
            if told.end > seqs.end {
                self.insert(seqs.end, told.clone());
            }
            taken.push((first.max(seqs.start)..told.end.min(seqs.end), told));
        }
        taken
    }

    fn insert(&mut self, first: u64, told: Told) {
        if let Some(due) = told.due {
            self.due.insert((due, first));
        }
        self.told.insert(first, told);
    }

    fn remove(&mut self, first: u64) -> Option<Told> {
        let told = self.told.remove(&first)?;
        if let Some(due) = told.due {
            self.due.remove(&(due, first));
        }
        Some(told)
    }
}
