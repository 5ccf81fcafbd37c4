//! Runs that name recipients, until it is known how they ended at each.
//!
//! The ledger follows each copy in an entry of its own, whose origin is the recipient's place here.
//! When the last copy has ended, the publisher is told of all of them at once.

use millrace_proto::control::{Outcome, OutcomeKind, OutcomeReason, RecipientOutcome, SeqRanges};

use crate::ledger::{Span, Tally, Told};
use crate::transport::ConnKey;

/// Names a run with recipients, while not all copies have ended.
pub type DirectId = u32;

/// The publisher that wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publisher {
    /// Its connection.
    pub conn: ConnKey,
    /// Its number there.
    pub number: u32,
    /// How many publishers had the number before it.
    pub life: u32,
}

/// A run with recipients.
#[derive(Debug)]
struct Direct {
    publisher: Publisher,
    span: Span,
    /// Each recipient, and how the run ended there as far as it has.
    recipients: Vec<(Box<str>, Tally)>,
    /// Events at recipients that have not ended.
    left: u64,
}

/// The runs of one core whose recipients have not all been heard of. Each has an entry of the
/// ledger for each recipient, so that the ledger's bounds are theirs, too.
#[derive(Debug, Default)]
pub struct Directs {
    slots: Vec<Option<Direct>>,
    free: Vec<DirectId>,
}

impl Directs {
    /// Follows the copies of a run.
    pub fn open<'n>(
        &mut self,
        publisher: Publisher,
        span: Span,
        names: impl Iterator<Item = &'n str>,
    ) -> DirectId {
        let recipients: Vec<_> = names.map(|name| (name.into(), Tally::NONE)).collect();
        let left = recipients.len() as u64 * u64::from(span.events);
        let direct = Some(Direct { publisher, span, recipients, left });
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = direct;
            return id;
        }
        self.slots.push(direct);
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    /// Events of a run have ended at one recipient. Returns whom to tell what, when that was the
    /// last of the run.
    pub fn ended(
        &mut self,
        id: DirectId,
        recipient: u8,
        events: u32,
        tally: Tally,
    ) -> Option<(ConnKey, Told)> {
        let slot = self.slots.get_mut(id as usize)?;
        let direct = slot.as_mut()?;
        let (_, so_far) = direct.recipients.get_mut(usize::from(recipient))?;
        // All events of a run go the same way: one tally stands for them.
        *so_far =
            if *so_far == Tally::NONE || so_far.kind() == OutcomeKind::Confirmed { tally } else { *so_far };
        direct.left = direct.left.saturating_sub(u64::from(events));
        if direct.left > 0 {
            return None;
        }
        let direct = slot.take()?;
        self.free.push(id);
        Some((direct.publisher.conn, direct.told()))
    }

    /// Runs that are followed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Direct {
    fn told(self) -> Told {
        let Self { publisher: Publisher { number, life, .. }, span, recipients, .. } = self;
        let all = recipients.iter().fold(Tally::NONE, |sum, (_, tally)| sum.and(*tally));
        let recipients: Vec<_> =
            recipients.into_iter().map(|(name, tally)| at_recipient(name, tally)).collect();
        let is = |kind| move |one: &RecipientOutcome| one.kind == kind;
        let kind = if recipients.iter().all(is(OutcomeKind::Confirmed)) {
            OutcomeKind::Confirmed
        } else if recipients.iter().all(is(OutcomeKind::Dropped)) {
            OutcomeKind::Dropped
        } else {
            OutcomeKind::Partial
        };
        let (mut seqs, events) = (SeqRanges::new(), u64::from(span.events));
        seqs.push(span.first, events);
        let outcome = Outcome {
            publisher: number.into(),
            kind,
            seqs,
            receivers: all.receivers.into(),
            missed: all.missed.into(),
            reasons: all.reasons.iter().collect(),
            recipients,
        };
        Told { number, life, outcome, events }
    }
}

/// How a run ended at one recipient: whether it has it, has it not, or nobody can tell.
fn at_recipient(name: Box<str>, tally: Tally) -> RecipientOutcome {
    use OutcomeReason::{Busy, LaneOverflow, MailboxOverflow, NoReceiver, Overflow, TooLarge};
    let reason = tally.reasons.iter().next();
    let kind = match reason {
        None => OutcomeKind::Confirmed,
        Some(Busy | LaneOverflow | MailboxOverflow | NoReceiver | Overflow | TooLarge) => {
            OutcomeKind::Dropped
        }
        Some(_) => OutcomeKind::Unknown,
    };
    RecipientOutcome { name: name.into(), kind, reason: reason.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_told_of_all_recipients_when_the_last_copy_has_ended() {
        let (mut directs, span) = (Directs::default(), Span { first: 7, events: 2 });
        let publisher = Publisher { conn: ConnKey(3), number: 0, life: 1 };
        let id = directs.open(publisher, span, ["desk", "till", "door"].into_iter());
        let missed = Tally::missed(OutcomeReason::NoReceiver);
        assert_eq!(directs.ended(id, 1, 2, missed), None);
        assert_eq!(directs.ended(id, 0, 1, Tally::TAKEN), None);
        assert_eq!(directs.ended(id, 0, 1, Tally::missed(OutcomeReason::Timeout)), None);
        assert_eq!(directs.ended(id, 9, 2, missed), None, "one that is not there");
        let (conn, told) = directs.ended(id, 2, 2, Tally::TAKEN).unwrap();
        assert_eq!((conn, told.events, told.outcome.kind), (ConnKey(3), 2, OutcomeKind::Partial));
        let said: Vec<_> =
            told.outcome.recipients.iter().map(|one| (one.name.as_str(), one.kind, one.reason)).collect();
        let (unknown, dropped, confirmed) =
            (OutcomeKind::Unknown, OutcomeKind::Dropped, OutcomeKind::Confirmed);
        let expected = [
            ("desk", unknown, OutcomeReason::Timeout),
            ("till", dropped, OutcomeReason::NoReceiver),
            ("door", confirmed, OutcomeReason::Other),
        ];
        assert_eq!(said, expected);
        assert!(directs.is_empty());
        assert_eq!(directs.ended(id, 2, 2, Tally::TAKEN), None, "it is told once");
    }
}
