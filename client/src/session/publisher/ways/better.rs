//! Which of two outcomes of one event is the better one.

use std::cmp::Reverse;

use crate::session::publisher::outcome::Outcome;

/// Whether an outcome stands, whatever another router says. One that has found no receiver may know
/// less of the cluster than the other router.
pub(super) const fn is_best(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Confirmed { receivers: 1.. })
}

/// The better of what two routers say of one event: where it is confirmed, then where more
/// receivers have it.
pub(super) fn better(one: Outcome, other: Outcome) -> Outcome {
    if rank(&other) > rank(&one) { other } else { one }
}

fn rank(outcome: &Outcome) -> (u8, u64, Reverse<u64>) {
    let (rank, receivers, missed) = match outcome {
        Outcome::Confirmed { receivers: receivers @ 1.. } => (7, *receivers, 0),
        Outcome::AtRecipients { recipients } => (6, 0, recipients.len() as u64),
        Outcome::Partial { receivers: receivers @ 1.., missed, .. } => (5, *receivers, *missed),
        Outcome::Confirmed { .. } => (4, 0, 0),
        Outcome::Partial { missed, .. } => (3, 0, *missed),
        Outcome::Unknown => (2, 0, 0),
        Outcome::Dropped { .. } => (1, 0, 0),
        Outcome::GivenUp { .. } => (0, 0, 0),
    };
    (rank, receivers, Reverse(missed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::publisher::{GivenUp, OutcomeReason};

    #[test]
    fn confirmed_is_best_and_more_receivers_are_better() {
        let partial = |receivers, missed| Outcome::Partial { receivers, missed, reasons: Vec::new() };
        let rising = [
            Outcome::GivenUp { why: GivenUp::Expired },
            Outcome::Dropped { reason: OutcomeReason::Overflow },
            Outcome::Unknown,
            partial(0, 1),
            Outcome::Confirmed { receivers: 0 },
            partial(2, 3),
            partial(2, 1),
            partial(3, 9),
            Outcome::Confirmed { receivers: 1 },
            Outcome::Confirmed { receivers: 2 },
        ];
        for (at, worse) in rising.iter().enumerate() {
            for best in &rising[at..] {
                assert_eq!(better(worse.clone(), best.clone()), *best);
                assert_eq!(better(best.clone(), worse.clone()), *best);
            }
        }
        assert_eq!(rising.iter().filter(|outcome| is_best(outcome)).count(), 2);
    }
}
