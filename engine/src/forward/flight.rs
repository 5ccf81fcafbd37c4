//! What was written to a far router and may have to be written again.
//!
//! Runs stand in the order of the stream. The router says of a publisher how far it has read; the
//! runs of a link have holes, and those of one publisher may come in any order, because different
//! cores route them. So only a run that ends higher than all before of its publisher answers for
//! what stands before it in the stream: when the router has read that one, it has read those.
//!
//! ```text
//! stream   p 1–5   p 9–9   p 6–8   q 1–1
//! answers  p ≥ 6   p ≥ 10   –      q ≥ 2        Received (p, 10): the first two are read
//! ```
//!
//! A run whose end is asked for stays until that is told, or the connection ends.

use std::collections::VecDeque;

use hashbrown::HashMap;
use millrace_proto::control::{Outcome, OutcomeKind, Received};

use super::run::CrossingRun;

/// Bytes of runs under way, at most: what a fast link of 30 ms holds.
const BYTES_MAX: u64 = 4 << 20;
/// Runs under way, at most.
const RUNS_MAX: usize = 4096;
/// Events under way, at most: no publisher has more without an outcome.
const EVENTS_MAX: u64 = millrace_proto::limits::UNCONFIRMED_PER_PUBLISHER_MAX;

/// A run under way.
#[derive(Debug)]
struct Sent {
    run: CrossingRun,
    /// Number of its publisher on the stream.
    publisher: Option<u64>,
    /// Seq of its first event.
    first_seq: u64,
    /// Whether it ends higher than all before of its publisher.
    answers: bool,
    /// Whether the router has read it.
    is_received: bool,
    /// Events whose end is to be told, and was not.
    untold: u64,
}

/// The runs under way on one connection.
#[derive(Debug, Default)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    bytes: u64,
    events: u64,
    /// The highest seq that was sent of each publisher, and one more.
    ends: HashMap<u64, u64, ahash::RandomState>,
}

/// How events ended in the far cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ended {
    /// Confirmed ones.
    pub(super) confirmed: u64,
    /// Others.
    pub(super) unconfirmed: u64,
}

impl Flight {
    /// Whether another run may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < BYTES_MAX && self.sent.len() < RUNS_MAX && self.events < EVENTS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// A run was written; `publisher` is its publisher's number on the stream, and `first_seq` the
    /// seq of its first event.
    pub(super) fn sent(&mut self, run: CrossingRun, publisher: Option<u64>, first_seq: u64, confirms: bool) {
        let end = first_seq + run.events;
        let answers = publisher.is_some_and(|number| {
            let highest = self.ends.entry(number).or_default();
            let is_higher = end > *highest;
            *highest = end.max(*highest);
            is_higher
        });
        let untold = if confirms && publisher.is_some() { run.events } else { 0 };
        self.bytes += run.bytes();
        self.events += run.events;
        self.sent.push_back(Sent { run, publisher, first_seq, answers, is_received: false, untold });
    }

    /// A number stands for another publisher from here on.
    pub(super) fn forget_publisher(&mut self, number: u64) {
        self.ends.remove(&number);
        for sent in self.sent.iter_mut().filter(|sent| sent.publisher == Some(number)) {
            // Nothing is told of the former publisher any more: a later run answers for it.
            (sent.publisher, sent.answers, sent.untold) = (None, false, 0);
        }
    }

    /// The router has read a publisher's runs up to a seq.
    pub(super) fn received(&mut self, received: &Received) {
        let is_read = |sent: &Sent| {
            let end = sent.first_seq + sent.run.events;
            sent.answers && sent.publisher == Some(received.publisher) && end <= received.next_seq
        };
        if let Some(last) = self.sent.iter().rposition(is_read) {
            self.sent.iter_mut().take(last + 1).for_each(|sent| sent.is_received = true);
            self.settle();
        }
    }

    /// The far cluster says how events ended.
    pub(super) fn ended(&mut self, outcome: &Outcome) -> Ended {
        let mut ended = 0;
        for sent in self.sent.iter_mut().filter(|sent| sent.publisher == Some(outcome.publisher)) {
            let (first, end) = (sent.first_seq, sent.first_seq + sent.run.events);
            let common = outcome
                .seqs
                .iter()
                .map(|(from, count)| end.min(from.saturating_add(count)).saturating_sub(first.max(from)));
            let common = common.sum::<u64>().min(sent.untold);
            sent.untold -= common;
            ended += common;
            // Whoever is told of its end knows that it was read.
            sent.is_received |= common > 0;
        }
        self.settle();
        match outcome.kind {
            OutcomeKind::Confirmed => Ended { confirmed: ended, unconfirmed: 0 },
            _ => Ended { confirmed: 0, unconfirmed: ended },
        }
    }

    /// Forgets the runs about which nothing more is to be heard.
    fn settle(&mut self) {
        let (mut bytes, mut events) = (0, 0);
        self.sent.retain(|sent| {
            let is_over = sent.is_received && sent.untold == 0;
            if is_over {
                bytes += sent.run.bytes();
                events += sent.run.events;
            }
            !is_over
        });
        self.bytes -= bytes;
        self.events -= events;
    }

    /// The connection has ended: what is to be written again, in order.
    pub(super) fn end(self) -> impl DoubleEndedIterator<Item = CrossingRun> {
        self.sent.into_iter().map(|sent| sent.run)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_proto::control::SeqRanges;
    use millrace_proto::{PublisherKey, TagSet};

    use super::*;
    use crate::forward::ClusterPath;

    fn run(events: u64) -> CrossingRun {
        CrossingRun {
            tags: TagSet::new([("a", "1")]).unwrap(),
            publisher: PublisherKey::default(),
            flags: 0,
            path: ClusterPath::EMPTY,
            body: Bytes::from_static(b"body"),
            events,
        }
    }

    fn left(flight: &Flight) -> Vec<u64> {
        flight.sent.iter().map(|sent| sent.first_seq).collect()
    }

    #[test]
    fn a_run_that_ends_highest_answers_for_all_before_it() {
        let mut flight = Flight::default();
        for (publisher, first, events) in [(0, 1, 5), (0, 9, 1), (0, 6, 3), (1, 1, 1)] {
            flight.sent(run(events), Some(publisher), first, false);
        }
        flight.received(&Received { publisher: 0, next_seq: 9 });
        assert_eq!(left(&flight), [9, 6, 1]);
        flight.received(&Received { publisher: 0, next_seq: 10 });
        assert_eq!(left(&flight), [6, 1]);
        flight.received(&Received { publisher: 1, next_seq: 2 });
        assert!(flight.is_empty());
        assert_eq!((flight.bytes, flight.events), (0, 0));
    }

    #[test]
    fn a_run_whose_end_is_asked_for_stays_until_it_is_told() {
        let mut flight = Flight::default();
        flight.sent(run(3), Some(0), 4, true);
        flight.received(&Received { publisher: 0, next_seq: 7 });
        assert_eq!(left(&flight), [4]);
        let outcome = |kind, first, count| {
            let mut seqs = SeqRanges::new();
            assert!(seqs.push(first, count));
            Outcome { publisher: 0, kind, seqs, ..Outcome::default() }
        };
        let ended = flight.ended(&outcome(OutcomeKind::Confirmed, 0, 6));
        assert_eq!((ended, left(&flight)), (Ended { confirmed: 2, unconfirmed: 0 }, vec![4]));
        let ended = flight.ended(&outcome(OutcomeKind::Partial, 6, 9));
        assert_eq!(ended, Ended { confirmed: 0, unconfirmed: 1 });
        assert!(flight.is_empty());
    }

    #[test]
    fn a_number_that_is_given_anew_is_answered_by_what_follows() {
        let mut flight = Flight::default();
        flight.sent(run(2), Some(0), 8, true);
        flight.forget_publisher(0);
        flight.sent(run(1), Some(0), 0, false);
        flight.received(&Received { publisher: 0, next_seq: 1 });
        assert!(flight.is_empty());
    }
}
