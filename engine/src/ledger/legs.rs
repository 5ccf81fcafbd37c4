//! What the numbers of an outlet stand for: legs that its reader has not answered.
//!
//! A leg comes in when it is written, under the number that both ends count, and leaves with its
//! answer, whole or event by event. What is answered twice, or was never asked, finds nothing here
//! and changes nothing.

use std::collections::BTreeMap;

use super::book::{EntryId, Ledger};
use super::verdict::{Span, Tally};

/// A leg that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Its entry.
    pub entry: EntryId,
    /// Seq of the first event that was written.
    first: u64,
    /// Its events, as far as they were not answered: in rising order, mostly one span.
    spans: Vec<Span>,
}

/// The unanswered legs of one outlet. Bounded by the entries of the core, once
/// [swept](Self::sweep).
#[derive(Debug, Default)]
pub struct Legs(BTreeMap<u64, Leg>);

impl Legs {
    /// A leg was written under a number, which is above all before it.
    pub fn insert(&mut self, number: u64, entry: EntryId, span: Span) {
        self.0.insert(number, Leg { entry, first: span.first, spans: vec![span] });
    }

    /// Whether none is unanswered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Legs that are unanswered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `count` numbers from `first` on were answered. Costs what is unanswered among them, however
    /// many they are.
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

    /// Some events of a leg were answered: `events` of them, `offset` behind its first.
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

    /// Its reader is gone: all that is unanswered ends with this.
    pub fn end_all(&mut self, tally: Tally, ledger: &mut Ledger) {
        for leg in std::mem::take(&mut self.0).into_values() {
            leg.end(tally, ledger);
        }
    }

    /// Forgets legs whose entry is over.
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
