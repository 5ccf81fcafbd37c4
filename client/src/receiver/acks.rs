//! Acknowledgements of a receiver's application that its router has yet to be told.
//!
//! Only runs that were published at level *delivered* are acknowledged, and those that a group
//! gave, by their tickets; and only on the connection that they came on: the router counts the runs
//! of each receiver from 0.

use std::collections::VecDeque;

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{Ack, AckKind, SeqRanges, Ticket};
use millrace_proto::limits::TICKETS_PER_FRAME_MAX;

use super::batch::Receipt;
use crate::time::{MILLISECOND_NS, Time};

/// How long acknowledgements are gathered, because each frame costs packets and a publisher that
/// waits for confirms publishes on meanwhile.
const GATHER_NS: u64 = 20 * MILLISECOND_NS;
/// Most ranges that an application can leave unacknowledged. The oldest give way, because routers
/// give up runs that are not acknowledged in time.
const RANGES_MAX: usize = 65_536;

/// Tickets that an application can leave unacknowledged, at most: more than a router gives it.
const TICKETS_MAX: usize = 65_536;

/// Runs by their numbers, as ranges, and by their tickets.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// First number and count of each, rising.
    ranges: VecDeque<(u64, u64)>,
    tickets: VecDeque<Ticket>,
    /// The connection that they came on.
    connection: u64,
    /// How many were added since [`Runs::take_count`].
    count: u64,
}

impl Runs {
    /// Adds a run of a connection; those of an older one are forgotten.
    pub(super) fn push(&mut self, connection: u64, receipt: Receipt) {
        self.count += 1;
        match receipt {
            Receipt::Run(number) => self.push_range(connection, (number, 1)),
            Receipt::Ticket { ticket, generation } => {
                self.push_ticket(connection, Ticket { ticket, generation });
            }
        }
    }

    fn push_ticket(&mut self, connection: u64, ticket: Ticket) {
        self.begin(connection);
        if self.tickets.len() == TICKETS_MAX {
            self.tickets.pop_front();
        }
        self.tickets.push_back(ticket);
    }

    fn begin(&mut self, connection: u64) {
        if self.connection != connection {
            self.connection = connection;
            self.ranges.clear();
            self.tickets.clear();
        }
    }

    fn push_range(&mut self, connection: u64, (first, count): (u64, u64)) {
        self.begin(connection);
        match self.ranges.back_mut() {
            Some((before, have)) if *before + *have == first => *have += count,
            _ => {
                if self.ranges.len() == RANGES_MAX {
                    self.ranges.pop_front();
                }
                self.ranges.push_back((first, count));
            }
        }
    }

    /// How many were added since the last call.
    pub(super) const fn take_count(&mut self) -> u64 {
        std::mem::replace(&mut self.count, 0)
    }

    /// The connection that they came on.
    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    /// Forgets the last `receipts` that were added on a connection.
    pub(super) fn forget_from(&mut self, connection: u64, receipts: usize) {
        if self.connection != connection {
            return;
        }
        let tickets = receipts.min(self.tickets.len());
        self.tickets.truncate(self.tickets.len() - tickets);
        let mut left = (receipts - tickets) as u64;
        while left > 0
            && let Some((_, count)) = self.ranges.back_mut()
        {
            let forgotten = left.min(*count);
            *count -= forgotten;
            left -= forgotten;
            if *count == 0 {
                self.ranges.pop_back();
            }
        }
    }

    /// Moves all runs of `other`, which are newer, here. Returns whether the connection's task does
    /// not know yet that there are some: runs of an older connection may stand here, because it was
    /// lost before their router was told.
    pub(super) fn append(&mut self, other: &mut Self) -> bool {
        let connection = other.connection;
        let is_news = self.is_empty() || self.connection != connection;
        other.ranges.drain(..).for_each(|range| self.push_range(connection, range));
        other.tickets.drain(..).for_each(|ticket| self.push_ticket(connection, ticket));
        is_news
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.tickets.is_empty()
    }

    /// Whether a group waits for some of them.
    pub(super) fn has_tickets(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// The frames that answer for runs of the connection; those of another one are forgotten.
    fn take(&mut self, receiver: ReceiverNumber, connection: u64, kind: AckKind) -> Vec<Ack> {
        self.begin(connection);
        let (mut frames, mut runs) = (Vec::new(), SeqRanges::new());
        let frame = |runs| Ack { receiver, kind, runs, ..Ack::default() };
        for (first, count) in self.ranges.drain(..) {
            if !runs.push(first, count) {
                frames.push(frame(std::mem::take(&mut runs)));
                runs.push(first, count);
            }
        }
        if !runs.is_empty() {
            frames.push(frame(runs));
        }
        while !self.tickets.is_empty() {
            let tickets = self.tickets.drain(..self.tickets.len().min(TICKETS_PER_FRAME_MAX)).collect();
            frames.push(Ack { receiver, kind, tickets, ..Ack::default() });
        }
        frames
    }
}

/// What an application has answered for and its router has yet to be told.
#[derive(Debug, Default)]
pub(super) struct Answered {
    taken: Runs,
    refused: Runs,
}

impl Answered {
    /// Moves all runs of `runs` here, which the application has taken or refused. Returns as
    /// [`Runs::append`].
    pub(super) fn append(&mut self, kind: AckKind, runs: &mut Runs) -> bool {
        match kind {
            AckKind::Taken => self.taken.append(runs),
            _ => self.refused.append(runs),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.refused.is_empty()
    }

    /// Whether a group waits for some of them.
    pub(super) fn has_tickets(&self) -> bool {
        self.taken.has_tickets() || self.refused.has_tickets()
    }

    /// The frames that answer for runs of the connection; those of another one are forgotten.
    pub(super) fn take(&mut self, receiver: ReceiverNumber, connection: u64) -> Vec<Ack> {
        let mut frames = self.taken.take(receiver, connection, AckKind::Taken);
        frames.append(&mut self.refused.take(receiver, connection, AckKind::Refused));
        frames
    }
}

/// Receivers of a connection that have acknowledged something, oldest first, each once.
#[derive(Debug, Default)]
pub(super) struct Due(VecDeque<(Time, ReceiverNumber)>);

impl Due {
    /// Notes that a receiver has acknowledged something.
    pub(super) fn add(&mut self, now: Time, receiver: ReceiverNumber) {
        if !self.0.iter().any(|&(_, known)| known == receiver) {
            self.0.push_back((now.after(GATHER_NS), receiver));
        }
    }

    /// The next receiver whose acknowledgements are due.
    pub(super) fn next(&mut self, now: Time) -> Option<ReceiverNumber> {
        self.0.pop_front_if(|(due, _)| *due <= now).map(|(_, receiver)| receiver)
    }

    /// When the acknowledgements of the next receiver are due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.front().map(|&(due, _)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVER: ReceiverNumber = ReceiverNumber(3);
    const TAKEN: AckKind = AckKind::Taken;

    #[test]
    fn runs_are_told_as_ranges_in_as_many_frames_as_it_takes() {
        let mut runs = Runs::default();
        [0, 1, 2, 5].into_iter().for_each(|number| runs.push(1, Receipt::Run(number)));
        let frames = runs.take(RECEIVER, 1, TAKEN);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].runs.iter().collect::<Vec<_>>(), [(0, 3), (5, 1)]);
        (0..2000).for_each(|number| runs.push(1, Receipt::Run(2 * number)));
        assert_eq!(runs.take(RECEIVER, 1, TAKEN).len(), 2);
        assert!(runs.is_empty());
    }

    #[test]
    fn what_came_on_another_connection_is_forgotten() {
        let mut runs = Runs::default();
        runs.push(1, Receipt::Run(7));
        runs.push(2, Receipt::Run(0));
        assert_eq!(runs.take(RECEIVER, 2, TAKEN)[0].runs.iter().collect::<Vec<_>>(), [(0, 1)]);
        runs.push(2, Receipt::Run(1));
        assert!(runs.take(RECEIVER, 3, TAKEN).is_empty());
    }

    #[test]
    fn the_last_that_were_added_are_forgotten_by_number_and_by_ticket() {
        let mut runs = Runs::default();
        [0, 1, 2, 5, 6].into_iter().for_each(|number| runs.push(1, Receipt::Run(number)));
        runs.forget_from(2, 3);
        runs.forget_from(1, 3);
        assert_eq!(runs.take(RECEIVER, 1, TAKEN)[0].runs.iter().collect::<Vec<_>>(), [(0, 2)]);
        (0..4).for_each(|ticket| runs.push(1, Receipt::Ticket { ticket, generation: 1 }));
        runs.forget_from(1, 3);
        assert_eq!(runs.take(RECEIVER, 1, TAKEN)[0].tickets.len(), 1);
    }

    #[test]
    fn what_was_not_told_on_a_lost_connection_does_not_keep_the_next_one_from_being_told() {
        let of = |connection, number| {
            let mut runs = Runs::default();
            runs.push(connection, Receipt::Run(number));
            runs
        };
        let mut acknowledged = Runs::default();
        assert!(acknowledged.append(&mut of(1, 0)));
        assert!(!acknowledged.append(&mut of(1, 1)), "the task knows");
        assert!(acknowledged.append(&mut of(2, 0)), "another task, which does not");
        assert_eq!(acknowledged.take(RECEIVER, 2, TAKEN)[0].runs.iter().collect::<Vec<_>>(), [(0, 1)]);
    }

    #[test]
    fn tickets_stand_behind_runs_and_are_forgotten_with_their_connection() {
        let ticket = |ticket| Receipt::Ticket { ticket, generation: 1 };
        let mut runs = Runs::default();
        runs.push(1, Receipt::Run(4));
        (0..3000).for_each(|number| runs.push(1, ticket(number)));
        let frames = runs.take(RECEIVER, 1, TAKEN);
        let counts: Vec<_> =
            frames.iter().map(|frame| (frame.runs.is_empty(), frame.tickets.len())).collect();
        assert_eq!(counts, [(false, 0), (true, 2048), (true, 952)]);
        runs.push(1, ticket(9));
        assert!(runs.has_tickets() && runs.take(RECEIVER, 2, TAKEN).is_empty());
    }

    #[test]
    fn what_is_refused_is_told_beside_what_is_taken() {
        let of = |ticket| {
            let mut runs = Runs::default();
            runs.push(1, Receipt::Ticket { ticket, generation: 1 });
            runs
        };
        let mut answered = Answered::default();
        assert!(answered.append(AckKind::Taken, &mut of(7)) && answered.append(AckKind::Refused, &mut of(8)));
        let told: Vec<_> =
            answered.take(RECEIVER, 1).iter().map(|ack| (ack.kind, ack.tickets[0].ticket)).collect();
        assert_eq!(told, [(AckKind::Taken, 7), (AckKind::Refused, 8)]);
        assert!(answered.is_empty());
    }

    #[test]
    fn acknowledgements_are_gathered() {
        let (mut due, start) = (Due::default(), Time::from_nanos(5));
        due.add(start, RECEIVER);
        due.add(start.after(1), RECEIVER);
        assert_eq!(due.deadline(), Some(start.after(GATHER_NS)));
        assert_eq!(due.next(start), None);
        assert_eq!(due.next(start.after(GATHER_NS)), Some(RECEIVER));
        assert_eq!(due.next(start.after(GATHER_NS)), None);
    }
}
