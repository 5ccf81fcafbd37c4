//! What one receiver asked for, and when: which events it may get, and which it must.
//!
//! ```text
//! asked ────────── effective ─────────────────── unsubscribe asked ──── unsubscribed
//!   │ may be delivered │ must be delivered (or a gap) │ may be delivered │
//! ```
//!
//! An event counts as inside a span when it was published after the span began and received by its
//! router so long before it ended that it had time to arrive (`settle_ns`). A lapse (a lost
//! session) ends the obligation until the subscription is effective again.

use millrace_proto::{PublisherId, RouterId, Selector, TagSetRef};

use super::history::EventRecord;
use crate::oracle::{PatternError, words_taken};
use crate::workload::{WordMask, Words};

/// Subscriptions of one receiver over time, in the order in which it asked.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    records: Vec<Record>,
    /// When its session was lost.
    lapses: Vec<u64>,
}

/// One subscription from asking to the end. A number that is used again is another record.
#[derive(Debug, Clone)]
pub struct Record {
    number: u32,
    selectors: Vec<(Selector, WordMask)>,
    asked_at: u64,
    removed_at: Option<u64>,
    obligations: Vec<Obligation>,
}

#[derive(Debug, Clone)]
struct Obligation {
    from: u64,
    until: Option<u64>,
    left_out: LeftOut,
}

/// Who does not know of a subscription that is effective in the cluster, as its receiver was told.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    /// Routers that had not acknowledged: events that enter there are not owed.
    pub routers: Vec<RouterId>,
    /// Routers that nobody knows may have been left out, too: what enters at one is owed once
    /// something that entered there has been delivered.
    pub is_unknown: bool,
    /// Publishers that have not answered: what they leave out is not owed.
    pub publishers: Vec<PublisherId>,
}

impl Obligation {
    /// Whether it is for events that are published at `published_at` and enter `entry`.
    fn includes(&self, entry: RouterId, published_at: u64, reached_from: Option<u64>) -> bool {
        !self.left_out.routers.contains(&entry)
            && (!self.left_out.is_unknown || reached_from.is_some_and(|from| from <= published_at))
    }

    /// Whether it is for what this publisher leaves out; for nobody it is for what is sent.
    fn knows(&self, publisher: Option<PublisherId>) -> bool {
        publisher.is_none_or(|publisher| !self.left_out.publishers.contains(&publisher))
    }
}

impl Interest {
    /// The receiver asks for a subscription.
    ///
    /// # Errors
    /// [`PatternError`] when a payload pattern does not compile; nothing changes.
    pub fn ask(
        &mut self,
        number: u32,
        selectors: Vec<Selector>,
        at: u64,
        words: &Words,
    ) -> Result<(), PatternError> {
        let with_words = |selector| words_taken(&selector, words).map(|mask| (selector, mask));
        let selectors = selectors.into_iter().map(with_words).collect::<Result<_, _>>()?;
        self.records.push(Record {
            number,
            selectors,
            asked_at: at,
            removed_at: None,
            obligations: Vec::new(),
        });
        Ok(())
    }

    /// The receiver learns that a subscription is effective in the cluster, `left_out` excepted.
    pub fn effective(&mut self, number: u32, at: u64, left_out: LeftOut) {
        if let Some(record) = self.latest(number) {
            record.end_obligation(at);
            record.obligations.push(Obligation { from: at, until: None, left_out });
        }
    }

    /// The receiver may get from here on whatever matches, however old it is.
    pub fn reach_back(&mut self) {
        self.records.iter_mut().for_each(|record| record.asked_at = 0);
    }

    /// The receiver's session is lost: nothing is owed until a subscription is effective again.
    pub fn lapse(&mut self, at: u64) {
        self.lapses.push(at);
        self.records.iter_mut().for_each(|record| record.end_obligation(at));
    }

    /// The receiver asks to end a subscription.
    pub fn unsubscribe(&mut self, number: u32, at: u64) {
        if let Some(record) = self.latest(number) {
            record.end_obligation(at);
        }
    }

    /// The receiver knows that nothing published from here on may come for a subscription.
    pub fn unsubscribed(&mut self, number: u32, at: u64) {
        if let Some(record) = self.latest(number) {
            record.end_obligation(at);
            record.removed_at = Some(at);
        }
    }

    /// The subscriptions that match a tag set, each with the words that it takes.
    #[must_use]
    pub fn matching(&self, tags: TagSetRef<'_>) -> Vec<(&Record, WordMask)> {
        let mask = |record: &Record| {
            let matching = record.selectors.iter().filter(|(selector, _)| selector.matches_tags(tags));
            matching.fold(0, |words, &(_, taken)| words | taken)
        };
        self.records.iter().map(|record| (record, mask(record))).filter(|&(_, words)| words != 0).collect()
    }

    /// Whether its session was lost at a time between.
    #[must_use]
    pub fn has_lapsed(&self, from: u64, until: u64) -> bool {
        self.lapses.iter().any(|at| (from..=until).contains(at))
    }

    fn latest(&mut self, number: u32) -> Option<&mut Record> {
        self.records.iter_mut().rev().find(|record| record.number == number)
    }
}

impl Record {
    /// Its number within the receiver.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Whether an event that matches may be delivered for it.
    #[must_use]
    pub fn may_take(&self, event: &EventRecord) -> bool {
        event.received_at.is_none_or(|received| received >= self.asked_at)
            && self.removed_at.is_none_or(|removed| event.published_at <= removed)
    }

    /// Whether an event that matches must be delivered for it, or a gap in its place. Something
    /// that entered the same router and was published at `reached_from` has been delivered.
    #[must_use]
    pub fn must_take(&self, event: &EventRecord, settle_ns: u64, reached_from: Option<u64>) -> bool {
        let (Some(received), Some(entry)) = (event.received_at, event.entry) else {
            return false;
        };
        self.obligations.iter().any(|span| {
            span.from <= event.published_at
                && span.until.is_none_or(|until| received.saturating_add(settle_ns) <= until)
                && span.includes(entry, event.published_at, reached_from)
                && span.knows(event.left_out_by)
        })
    }

    /// Whether it was effective from `from` until `until`, without a break, for events that enter
    /// `entry`. Something that entered there and was published at `reached_from` has been
    /// delivered.
    #[must_use]
    pub fn is_effective(&self, from: u64, until: u64, entry: RouterId, reached_from: Option<u64>) -> bool {
        self.obligations.iter().any(|span| {
            span.from <= from
                && span.until.is_none_or(|ended| until <= ended)
                && span.includes(entry, from, reached_from)
        })
    }

    /// Whether the receiver asked to end it, or it was asked anew, at a time between.
    #[must_use]
    pub fn has_ended(&self, from: u64, until: u64) -> bool {
        let ends = self.obligations.iter().filter_map(|span| span.until).chain(self.removed_at);
        ends.into_iter().any(|at| (from..=until).contains(&at))
    }

    fn end_obligation(&mut self, at: u64) {
        if let Some(span) = self.obligations.last_mut() {
            span.until.get_or_insert(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RouterId = RouterId(1);
    const B: RouterId = RouterId(2);

    fn event(published_at: u64, received_at: u64, entry: RouterId) -> EventRecord {
        EventRecord {
            published_at,
            entry: Some(entry),
            received_at: Some(received_at),
            is_resent: false,
            left_out_by: None,
        }
    }

    #[test]
    fn spans_say_what_may_and_what_must_be_delivered() {
        let mut interest = Interest::default();
        interest.ask(3, vec![Selector::parse("*").unwrap()], 100, &Words::default()).unwrap();
        interest.effective(3, 200, LeftOut { routers: vec![B], ..LeftOut::default() });
        interest.unsubscribe(3, 300);
        interest.unsubscribed(3, 400);
        let record = &interest.records[0];
        let check = |event: EventRecord| (record.may_take(&event), record.must_take(&event, 20, None));
        assert_eq!(check(event(50, 90, A)), (false, false), "before it asked");
        assert_eq!(check(event(90, 110, A)), (true, false), "on the boundary");
        assert_eq!(check(event(150, 250, A)), (true, false), "published before it was effective");
        assert_eq!(check(event(200, 280, A)), (true, true));
        assert_eq!(check(event(200, 280, B)), (true, false), "entered through a router that was left out");
        assert_eq!(check(event(200, 281, A)), (true, false), "perhaps still on its way");
        assert_eq!(check(event(401, 410, A)), (false, false));
        let unknown = EventRecord { received_at: None, ..event(210, 0, A) };
        assert_eq!(check(unknown), (true, false), "nobody knows whether it entered");
    }

    #[test]
    fn what_enters_where_nobody_looked_is_owed_once_something_came_from_there() {
        let mut interest = Interest::default();
        interest.ask(0, vec![Selector::parse("*").unwrap()], 0, &Words::default()).unwrap();
        interest.effective(0, 100, LeftOut { is_unknown: true, ..LeftOut::default() });
        let must = |reached| interest.records[0].must_take(&event(150, 160, A), 0, reached);
        assert!(!must(None) && !must(Some(151)) && must(Some(150)));
    }

    #[test]
    fn a_lapse_lasts_until_effective_again() {
        let mut interest = Interest::default();
        interest.ask(0, vec![Selector::parse("*").unwrap()], 0, &Words::default()).unwrap();
        interest.effective(0, 100, LeftOut::default());
        interest.lapse(200);
        interest.effective(0, 300, LeftOut::default());
        let must =
            |published, received| interest.records[0].must_take(&event(published, received, A), 0, None);
        assert!(must(100, 200) && must(300, 301));
        assert!(!must(190, 201) && !must(250, 310));
    }
}
