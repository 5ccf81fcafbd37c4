//! Publishers with a confirm level, against outcomes written by hand.

use millrace_proto::control::{self, OutcomeKind, SeqRanges, TableCapacity};
use millrace_proto::data::{self, DataFrame, flag};
use millrace_proto::frame::FrameReader;
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};
use proptest::prelude::*;

use super::window::UNCONFIRMED_MAX;
use super::*;
use crate::session::SessionError;
use crate::time::Time;

const NOW: Time = Time::ZERO;

/// A publisher at level *routed*, whose events get runs of their own.
fn publisher(change: impl FnOnce(&mut PublisherConfig)) -> PublisherSession {
    let mut config = PublisherConfig::new(PublisherKey { publisher: PublisherId(5), epoch: Epoch(2) });
    config.level = ConfirmLevel::Routed;
    config.linger_ns = 0;
    change(&mut config);
    let mut session = PublisherSession::new(config);
    start(&mut session);
    session
}

fn start(session: &mut PublisherSession) {
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(u64::MAX / 2);
}

fn publish(session: &mut PublisherSession, count: u64) {
    for at in 0..count {
        let tags = TagSet::new([("host", format!("web-{}", at % 7))]).unwrap();
        session.publish(NOW, &tags, at, b"x").unwrap();
    }
}

/// First seq, count, floor and flags of the runs that go out now.
fn written(session: &mut PublisherSession) -> Vec<(u64, u64, u64, u64)> {
    let mut runs = Vec::new();
    let mut reader = FrameReader::new();
    while let Some(chunk) = session.take_output(NOW) {
        reader
            .feed::<SessionError>(&chunk, data::FRAME_BYTES_MAX, |kind, body| {
                if kind == data::kind::RUN
                    && let DataFrame::Run { hop, body } = data::decode(kind, body)?
                {
                    runs.push((body.first_seq(), body.count(), body.floor(), hop.flags));
                }
                Ok(())
            })
            .unwrap();
    }
    runs
}

fn said(kind: OutcomeKind, seqs: &[(u64, u64)]) -> control::Outcome {
    let mut ranges = SeqRanges::new();
    assert!(seqs.iter().all(|&(first, count)| ranges.push(first, count)));
    control::Outcome { kind, seqs: ranges, receivers: 2, ..control::Outcome::default() }
}

fn confirm(session: &mut PublisherSession, seqs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    session.on_outcome(&said(OutcomeKind::Confirmed, seqs)).unwrap();
    let news = std::iter::from_fn(|| session.poll_ended());
    news.map(|ended| {
        assert_eq!(ended.outcome, Outcome::Confirmed { receivers: 2 });
        (ended.seqs.start, ended.seqs.end)
    })
    .collect()
}

#[test]
fn runs_carry_the_level_and_each_event_ends_once_in_any_order() {
    for (level, bits) in [(ConfirmLevel::None, 0), (ConfirmLevel::Routed, 1), (ConfirmLevel::Delivered, 2)] {
        let mut session = publisher(|config| config.level = level);
        publish(&mut session, 1);
        assert_eq!(written(&mut session), [(0, 1, 0, bits)]);
    }
    let mut session = publisher(|_| {});
    publish(&mut session, 10);
    assert_eq!(written(&mut session).len(), 10);
    session.on_received(10).unwrap();
    assert!(!session.is_flushed() && session.is_waiting() && session.expects_answer(NOW));
    assert_eq!(confirm(&mut session, &[(3, 2), (7, 1)]), [(3, 5), (7, 8)]);
    assert_eq!(confirm(&mut session, &[(2, 4)]), [(2, 3), (5, 6)], "what has ended ends not again");
    assert_eq!(session.settled(), 0);
    assert_eq!(confirm(&mut session, &[(0, 10)]), [(0, 2), (6, 7), (8, 10)]);
    assert!(session.is_flushed() && !session.expects_answer(NOW));
}

#[test]
fn what_has_no_outcome_goes_out_again_with_its_ids_marked_and_above_the_floor() {
    let mut session = publisher(|_| {});
    publish(&mut session, 6);
    written(&mut session);
    session.on_received(6).unwrap();
    confirm(&mut session, &[(0, 2), (4, 1)]);
    publish(&mut session, 1);
    assert!(session.stream_lost().is_empty(), "nothing is unknown");
    start(&mut session);
    let resent = 1 | flag::RESENT;
    let runs = written(&mut session);
    assert_eq!(runs, [(2, 1, 2, resent), (3, 1, 2, resent), (5, 1, 2, resent), (6, 1, 2, 1)]);
    session.on_received(7).unwrap();
    confirm(&mut session, &[(2, 5)]);
    assert!(session.is_flushed());
}

#[test]
fn a_run_of_which_one_event_is_open_goes_out_again_whole() {
    let mut session = publisher(|_| {});
    let tags = TagSet::from_texts(["host=web-1"]).unwrap();
    for _ in 0..4 {
        session.publish(NOW, &tags, 1, b"x").unwrap();
    }
    assert_eq!(written(&mut session), [(0, 4, 0, 1)]);
    confirm(&mut session, &[(0, 3)]);
    assert_eq!(session.settled(), 3);
    session.publish(NOW, &tags, 1, b"x").unwrap();
    assert_eq!(written(&mut session), [(4, 1, 0, 1)], "receivers keep what may come again");
    session.stream_lost();
    start(&mut session);
    assert_eq!(written(&mut session), [(0, 4, 0, 1 | flag::RESENT), (4, 1, 0, 1 | flag::RESENT)]);
}

#[test]
fn outcomes_of_what_was_never_sent_are_refused() {
    let mut session = publisher(|_| {});
    publish(&mut session, 2);
    let early = session.on_outcome(&said(OutcomeKind::Confirmed, &[(0, 1)]));
    assert!(matches!(early, Err(SessionError::Unexpected { .. })));
    written(&mut session);
    assert!(session.on_outcome(&said(OutcomeKind::Confirmed, &[(1, 2)])).is_err());
    let mut session = publisher(|config| config.level = ConfirmLevel::None);
    publish(&mut session, 1);
    written(&mut session);
    assert!(session.on_outcome(&said(OutcomeKind::Confirmed, &[(0, 1)])).is_err());
}

#[test]
fn kinds_are_told_and_few_receivers_are_not_enough() {
    let told = |kind, min_receivers| {
        let mut session = publisher(|config| config.min_receivers = min_receivers);
        publish(&mut session, 1);
        written(&mut session);
        let said =
            control::Outcome { missed: 1, reasons: vec![OutcomeReason::Timeout], ..said(kind, &[(0, 1)]) };
        session.on_outcome(&said).unwrap();
        session.poll_ended().unwrap().outcome
    };
    let partial = |missed, reason| Outcome::Partial { receivers: 2, missed, reasons: vec![reason] };
    assert_eq!(told(OutcomeKind::Confirmed, 2), Outcome::Confirmed { receivers: 2 });
    assert_eq!(told(OutcomeKind::Confirmed, 3), partial(1, OutcomeReason::FewReceivers));
    assert_eq!(told(OutcomeKind::Partial, 0), partial(1, OutcomeReason::Timeout));
    assert_eq!(told(OutcomeKind::Other, 0), partial(1, OutcomeReason::Timeout));
    assert_eq!(told(OutcomeKind::Dropped, 0), Outcome::Dropped { reason: OutcomeReason::Timeout });
    assert_eq!(told(OutcomeKind::Unknown, 0), Outcome::Unknown);
    let nobody = control::Outcome { receivers: 0, ..said(OutcomeKind::Confirmed, &[(0, 1)]) };
    assert_eq!(Outcome::of(&nobody, 0), Outcome::Confirmed { receivers: 0 });
    assert_eq!(Outcome::of(&nobody, 1), Outcome::Dropped { reason: OutcomeReason::FewReceivers });
}

#[test]
fn the_window_is_bounded_and_outcomes_make_room() {
    let mut session = publisher(|config| config.buffer_bytes = 64 << 20);
    let tags = TagSet::from_texts(["host=web-1"]).unwrap();
    for _ in 0..UNCONFIRMED_MAX {
        session.publish(NOW, &tags, 1, b"x").unwrap();
    }
    assert_eq!(session.publish(NOW, &tags, 1, b"x"), Err(PublishError::WouldBlock));
    let sent: u64 = written(&mut session).iter().map(|run| run.1).sum();
    assert_eq!(sent, UNCONFIRMED_MAX);
    // The first event is late, and holds up its run only.
    confirm(&mut session, &[(1, UNCONFIRMED_MAX - 1)]);
    session.publish(NOW, &tags, 1, b"x").unwrap();
    assert_eq!(session.settled(), 0);
}

#[test]
fn at_a_router_that_does_not_confirm_events_end_as_unknown() {
    let mut session = publisher(|_| {});
    session.cannot_confirm();
    publish(&mut session, 2);
    assert_eq!(written(&mut session)[0].3, 0, "no level");
    session.on_received(2).unwrap();
    assert_eq!(session.poll_ended(), Some(Ended { seqs: 0..2, outcome: Outcome::Unknown }));
    assert!(session.is_flushed());
    session.stream_lost();
    start(&mut session);
    publish(&mut session, 1);
    assert_eq!(written(&mut session)[0].3, 1, "the next one confirms");
}

proptest! {
    /// Whatever ends in whatever order, with lost streams between: each event ends once, and what
    /// has not ended goes out again.
    #[test]
    fn every_event_ends_once(
        steps in prop::collection::vec((0_u64..40, 1_u64..12, prop::bool::weighted(0.2), 0_u64..9), 1..60)
    ) {
        let mut session = publisher(|_| {});
        let (mut sent, mut ended) = (0, std::collections::BTreeSet::new());
        for (first, count, is_lost, more) in steps {
            publish(&mut session, more);
            if is_lost {
                session.stream_lost();
                start(&mut session);
                let again: std::collections::BTreeSet<u64> =
                    written(&mut session).iter().flat_map(|run| run.0..run.0 + run.1).collect();
                prop_assert!((0..session.next_seq()).all(|seq| ended.contains(&seq) || again.contains(&seq)));
            } else {
                written(&mut session);
            }
            // A router speaks only of what it got on this connection.
            sent = session.unreceived().end;
            let first = first.min(sent);
            let count = count.min(sent - first);
            for (start, end) in confirm(&mut session, &[(first, count)]) {
                for seq in start..end {
                    prop_assert!(ended.insert(seq));
                }
            }
        }
        confirm(&mut session, &[(0, sent)]);
        prop_assert!(session.is_flushed());
        prop_assert_eq!(session.queued_bytes(), 0);
    }
}
