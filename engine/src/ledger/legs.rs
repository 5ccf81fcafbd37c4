//! The legs of one outlet that its reader has not answered, by number.
//!
//! An outlet inserts a leg when it writes the copy, under a number that both ends count. The leg
//! leaves with its answer, whole or event by event. An answer that comes twice, or that nobody
//! asked for, finds no leg and changes nothing.

use std::collections::BTreeMap;

use super::book::{EntryId, Ledger};
use super::verdict::{Span, Tally};

/// A leg that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The entry that it is a leg of.
    pub entry: EntryId,
    /// Seq of the first event that was written.
    first: u64,
    /// Its events without an answer, in rising order, mostly one span.
    spans: Vec<Span>,
}

/// The unanswered legs of one outlet: at most as many as the core has entries, once
/// [swept](Self::sweep).
#[derive(Debug, Default)]
pub struct Legs(BTreeMap<u64, Leg>);

impl Legs {
    /// Inserts a leg that was written under a number above all before it.
    pub fn insert(&mut self, number: u64, entry: EntryId, span: Span) {
        self.0.insert(number, Leg { entry, first: span.first, spans: vec![span] });
    }

    /// Whether no leg is unanswered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many legs are unanswered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Answers `count` numbers from `first` on. The cost is that of the unanswered legs among them,
    /// however large the count is.
    pub fn answer(&mut self, first: u64, count: u64, tally: Tally, ledger: &mut Ledger) {
        while let Some((&number, _)) = self.0.range(first..first.saturating_add(count)).next() {
            if let Some(leg) = self.0.remove(&number) {
                leg.end(tally, ledger);
            }
        }
    }

    /// The unanswered numbers among `count` from `first` on.
    #[must_use]
    pub fn among(&self, first: u64, count: u64) -> Vec<u64> {
        self.0.range(first..first.saturating_add(count)).map(|(&number, _)| number).collect()
    }

    /// Answers `events` events of a leg, `offset` behind its first.
    pub fn answer_part(&mut self, number: u64, offset: u64, events: u64, tally: Tally, ledger: &mut Ledger) {
        let Some(leg) = self.0.get_mut(&number) else { return };
        let from = leg.first.saturating_add(offset);
        let to = from.saturating_add(events);
        let mut left = Vec::new();
        for span in std::mem::take(&mut leg.spans) {
            let cut = |from: u64, to: u64| {
                let events = to.checked_sub(from).and_then(|events| u32::try_from(events).ok())?;
                (events > 0).then_some(Span { first: from, events })
            };
            let (start, end) = (span.first, span.end());
            if let Some(answered) = cut(start.max(from), end.min(to)) {
                ledger.end(leg.entry, answered, tally);
                left.extend(cut(start, answered.first));
                left.extend(cut(answered.end(), end));
            } else {
                left.push(span);
            }
        }
        leg.spans = left;
        if leg.spans.is_empty() {
            self.0.remove(&number);
        }
    }

    /// Ends all unanswered legs with this tally, because their reader is gone.
    pub fn end_all(&mut self, tally: Tally, ledger: &mut Ledger) {
        for leg in std::mem::take(&mut self.0).into_values() {
            leg.end(tally, ledger);
        }
    }

    /// Forgets legs whose entry has ended.
    pub fn sweep(&mut self, ledger: &Ledger) {
        self.0.retain(|_, leg| ledger.has(leg.entry));
    }
}

impl Leg {
    fn end(self, tally: Tally, ledger: &mut Ledger) {
        for span in self.spans {
            ledger.end(self.entry, span, tally);
        }
    }
}
