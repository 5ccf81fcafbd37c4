//! A run in which one event is published at level *delivered* and acknowledged by one receiver is
//! accepted; each lie about it is found by the checker that is meant to.

use millrace_proto::control::{OutcomeKind, OutcomeReason};
use millrace_proto::{RouterId, Selector, TagSet};

use super::cluster::{ClusterChecker, Delivery};
use super::interest::LeftOut;
use super::publication::{Cause, End, Level, Sent, Told};
use super::repeats::Vouched;
use super::session::Session;
use crate::payload::Stamp;
use crate::workload::Words;

const A: RouterId = RouterId(1);
const SECOND: u64 = 1_000_000_000;
const TIMEOUT: u64 = 5 * SECOND;
/// When the event is published and sent.
const PUBLISHED: u64 = 10;
const TAKEN: u64 = 20;
const ACKNOWLEDGED: u64 = 30;
const TOLD: u64 = 40;

fn tags() -> TagSet {
    TagSet::from_texts(["host=a"]).unwrap()
}

fn told(kind: OutcomeKind, receivers: u64, reasons: &[OutcomeReason]) -> Told {
    let missed = u64::from(kind == OutcomeKind::Partial);
    Told { kind, receivers, missed, reasons: reasons.to_vec() }
}

fn confirmed(receivers: u64) -> Told {
    told(OutcomeKind::Confirmed, receivers, &[])
}

/// A checker behind the publish: receiver 7 has session 0, whose subscription is effective.
fn begin() -> ClusterChecker {
    let mut checker = ClusterChecker::new(vec![tags()], Words::default(), 10);
    checker.began(0, Session::new(7, true));
    checker.asked(0, 0, vec![Selector::parse("host=a").unwrap()], 1).unwrap();
    checker.effective(0, 0, 5, LeftOut::default());
    assert_eq!(checker.published(0, PUBLISHED, None), 0);
    checker.asked_confirm(0, 0, Level::Delivered, 0);
    checker.sent(0, 0, Sent { at: PUBLISHED, router: A });
    checker
}

fn take(checker: &mut ClusterChecker) {
    let mut payload = [0; 32];
    Stamp { emitter: 0, n: 0, scheduled_ns: 0 }.encode(b"", &mut payload).unwrap();
    checker.delivered(Delivery {
        receiver: 0,
        tags: tags().borrow(),
        payload: &payload,
        matched: &[0],
        at: TAKEN,
        vouched: Vouched::Once,
    });
}

fn end(checker: &mut ClusterChecker, at: u64, told: Told) {
    checker.ended(0, 0, End { at, router: A, told });
}

/// The checkers that find something in a run that `change` makes.
fn found_by(change: impl FnOnce(&mut ClusterChecker)) -> Vec<&'static str> {
    let mut checker = begin();
    change(&mut checker);
    let findings = checker.report(100 * SECOND, TIMEOUT, false).findings;
    let mut names: Vec<_> = findings.first.iter().map(|finding| finding.checker).collect();
    names.dedup();
    names
}

/// The same, where the receiver takes the event and acknowledges it first.
fn found_behind_ack(change: impl FnOnce(&mut ClusterChecker)) -> Vec<&'static str> {
    found_by(|checker| {
        take(checker);
        checker.acknowledged(0, 0, 0, ACKNOWLEDGED);
        change(checker);
    })
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_true_confirm_is_accepted_and_judged() {
    assert_eq!(found_behind_ack(|checker| end(checker, TOLD, confirmed(1))), NOTHING);
    let mut checker = begin();
    take(&mut checker);
    checker.acknowledged(0, 0, 0, ACKNOWLEDGED);
    end(&mut checker, TOLD, confirmed(1));
    let sums = checker.report(100 * SECOND, TIMEOUT, false).confirmed;
    assert_eq!((sums.published, sums.confirmed, sums.judged_pairs, sums.prompt), (1, 1, 1, 1));
}

#[test]
fn a_confirm_of_what_a_receiver_does_not_have_is_found() {
    assert_eq!(found_by(|checker| end(checker, TOLD, confirmed(0))), ["confirms"]);
    let early = found_by(|checker| {
        take(checker);
        end(checker, ACKNOWLEDGED - 1, confirmed(1));
        checker.acknowledged(0, 0, 0, ACKNOWLEDGED);
    });
    assert_eq!(early, ["confirms"]);
    let few = found_behind_ack(|checker| end(checker, TOLD, confirmed(0)));
    assert_eq!(few, ["confirms"], "fewer receivers than have it");
}

#[test]
fn a_receiver_that_left_is_nobody_who_was_promised_the_event() {
    let left = |checker: &mut ClusterChecker| {
        checker.lapsed(0, TOLD);
        end(checker, TOLD, confirmed(0));
    };
    assert_eq!(found_by(left), NOTHING);
}

#[test]
fn untrue_outcomes_are_found() {
    use OutcomeKind::{Dropped, Partial};
    use OutcomeReason::{CannotAcknowledge, Departed, Overflow, PeerLost, Timeout};

    assert_eq!(found_by(|_| ()), ["outcomes"], "no outcome");
    assert_eq!(found_by(|checker| checker.gone(0, 0, Cause::ProcessEnded)), NOTHING);
    let untrue = [
        confirmed(2),
        told(Partial, 1, &[]),
        told(Dropped, 0, &[OutcomeReason::FewReceivers]),
        told(Partial, 0, &[CannotAcknowledge]),
        told(Partial, 0, &[Departed]),
        told(Partial, 0, &[Overflow]),
        told(Partial, 0, &[PeerLost]),
    ];
    for told in untrue {
        let found = found_behind_ack(|checker| end(checker, TOLD, told.clone()));
        assert!(found.contains(&"outcomes"), "{told:?}: {found:?}");
    }
    let early = found_behind_ack(|checker| end(checker, TOLD, told(Partial, 0, &[Timeout])));
    assert!(early.contains(&"outcomes"));
    let twice = |checker: &mut ClusterChecker| (0..2).for_each(|_| end(checker, TOLD, confirmed(1)));
    assert_eq!(found_behind_ack(twice), ["outcomes"]);
    let reopened = |checker: &mut ClusterChecker| {
        checker.reopened(0, 0);
        twice(checker);
    };
    assert_eq!(found_behind_ack(reopened), NOTHING);
}

#[test]
fn an_outcome_that_is_late_is_found_unless_its_own_receiver_is_slow() {
    let late = |checker: &mut ClusterChecker| end(checker, 3 * SECOND, confirmed(1));
    assert_eq!(found_behind_ack(late), ["starvation"]);
    let slow = |checker: &mut ClusterChecker| {
        checker.stalled(0, true, TAKEN);
        late(checker);
    };
    assert_eq!(found_behind_ack(slow), NOTHING);
    for (from, until, expected) in
        [(0, PUBLISHED - 1, &["starvation"][..]), (0, TAKEN, &[]), (2 * SECOND, 3 * SECOND, &[])]
    {
        let crowded = |checker: &mut ClusterChecker| {
            checker.crowded(0, from, from);
            checker.crowded(0, from, until);
            late(checker);
        };
        assert_eq!(found_behind_ack(crowded), expected, "its path was full from {from} until {until}");
    }
    let disturbed = |checker: &mut ClusterChecker| {
        checker.disturbed(0, Some(SECOND));
        late(checker);
    };
    assert_eq!(found_behind_ack(disturbed), NOTHING);
    let endless = |checker: &mut ClusterChecker| {
        checker.stalled(0, true, TAKEN);
        end(checker, 6 * SECOND, confirmed(1));
    };
    assert_eq!(found_behind_ack(endless), ["starvation"], "longer than the timeout");
}

#[test]
fn what_comes_twice_or_is_removed_though_it_never_came_is_found() {
    let again = |checker: &mut ClusterChecker| {
        checker.sent(0, 0, Sent { at: TAKEN, router: A });
        take(checker);
        end(checker, TOLD, confirmed(1));
    };
    assert_eq!(found_behind_ack(again), ["repeats"]);
    let removed = |checker: &mut ClusterChecker| {
        checker.removed(0, 0, 0);
        end(checker, TOLD, confirmed(1));
    };
    assert_eq!(found_behind_ack(removed), NOTHING);
    let never = found_by(|checker| {
        checker.removed(0, 0, 0);
        checker.gone(0, 0, Cause::PowerLost);
    });
    assert_eq!(never, ["repeats"]);
}
