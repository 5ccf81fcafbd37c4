//! The judge against small runs whose result is known.

use std::time::Duration;

use millrace_client::GapReason;
use millrace_proto::RouterId;

use super::{Judge, Judged};
use crate::chaos::note::{Got, Seen};
use crate::chaos::proxy::Weather;
use crate::chaos::said::{End, Label, Said};
use crate::chaos::settings::{ChaosSettings, Confirm, With};

const SECOND: u64 = 1_000_000;
const ID: RouterId = RouterId(7);

/// One publisher on router 0, and one receiver that is effective from second 1 on.
fn judge(confirm: Confirm) -> Judge {
    judge_with(confirm, With::Groups)
}

fn judge_with(confirm: Confirm, with: With) -> Judge {
    let mut judge = Judge::new(ChaosSettings {
        duration: Duration::from_secs(60),
        seed: 1,
        routers: 2,
        cores: 1,
        publishers: 1,
        receivers: 1,
        rate: 1,
        payload_bytes: 28,
        confirm,
        with: vec![with],
        weather: Weather::default(),
        folder: None,
    });
    judge.router(0, ID);
    judge.seen(0, 0, &Seen::Attached { router: 0 });
    judge.seen(0, SECOND, &Seen::Effective { left_out: Vec::new(), unanswered: 0 });
    judge.said(0, 0, Said::Attached { at_us: SECOND, router: 0, session: 1 });
    judge
}

fn publish(judge: &mut Judge, at_us: u64, seqs: std::ops::Range<u64>) {
    judge.said(0, 0, Said::Published { at_us, seqs, emitter: 0 });
}

fn end(judge: &mut Judge, at_us: u64, seqs: std::ops::Range<u64>, end: End) {
    judge.said(0, 0, Said::Ended { at_us, seqs, end, receivers: 1 });
}

fn get(judge: &mut Judge, at_us: u64, published_us: u64, seqs: &[u64]) {
    let label = Label { life: 0, session: 1, count: 0 };
    let is_marked = false;
    let got = seqs.iter().map(|&seq| Got { emitter: 0, seq, label, published_us, is_marked }).collect();
    judge.seen(0, at_us, &Seen::Events(got));
}

/// A member of the group, by its number behind the receiver, takes an event.
fn take(judge: &mut Judge, member: u16, at_us: u64, seq: u64, is_marked: bool) {
    let label = Label { life: 0, session: 1, count: 0 };
    let got = Got { emitter: 0, seq, label, published_us: at_us, is_marked };
    judge.seen(1 + member, at_us, &Seen::Events(vec![got]));
}

fn gap(judge: &mut Judge, at_us: u64, reason: GapReason, router: Option<RouterId>) {
    judge.seen(0, at_us, &Seen::Gap { reason, router });
}

#[test]
fn what_is_confirmed_was_taken_by_a_member_of_the_group_and_by_another_one_with_a_mark() {
    let mut judge = judge(Confirm::Delivered);
    publish(&mut judge, SECOND, 0..1);
    for member in [1, 2] {
        judge.seen(member, SECOND, &Seen::Attached { router: 0 });
        judge.seen(member, 2 * SECOND, &Seen::Effective { left_out: Vec::new(), unanswered: 0 });
    }
    publish(&mut judge, 3 * SECOND, 1..5);
    end(&mut judge, 4 * SECOND, 0..5, End::Confirmed);
    get(&mut judge, 4 * SECOND, 3 * SECOND, &[0, 1, 2, 3, 4]);
    take(&mut judge, 0, 3 * SECOND, 1, false);
    take(&mut judge, 1, 3 * SECOND, 1, true);
    take(&mut judge, 0, 3 * SECOND, 2, false);
    take(&mut judge, 1, 3 * SECOND, 2, false);
    take(&mut judge, 1, 3 * SECOND, 3, true);
    let judged = judge.finish();
    // Nobody took 4, two took 2 without a mark, and nobody was there when 0 was published.
    assert_eq!((judged.group_judged, judged.group_lost, judged.group_twice), (4, 1, 1));
    assert!(!judged.is_clean());
}

#[test]
fn what_is_confirmed_comes_to_the_far_cluster_once_unless_a_process_on_the_way_was_gone() {
    let far = 2;
    for (gone, expected) in
        [(None, (2, 1, 1)), (Some(0), (0, 0, 1)), (Some(far), (0, 0, 1)), (Some(1), (2, 1, 1))]
    {
        let mut judge = judge_with(Confirm::Delivered, With::Forwarding);
        judge.seen(1, 0, &Seen::Attached { router: far });
        judge.seen(1, SECOND, &Seen::Effective { left_out: Vec::new(), unanswered: 0 });
        // Before, demand may have been unknown.
        publish(&mut judge, 2 * SECOND - 1, 0..1);
        publish(&mut judge, 3 * SECOND, 1..3);
        end(&mut judge, 3 * SECOND + 5, 0..3, End::Confirmed);
        let label = Label { life: 0, session: 1, count: 0 };
        for is_marked in [false, true, false] {
            let got = Got { emitter: 0, seq: 1, label, published_us: 3 * SECOND, is_marked };
            judge.seen(1, 4 * SECOND, &Seen::Events(vec![got]));
        }
        if let Some(router) = gone {
            judge.gone(5 * SECOND, router, true);
        }
        let judged = judge.finish();
        assert_eq!((judged.far_judged, judged.far_lost, judged.far_twice), expected, "{gone:?}");
    }
}

#[test]
fn the_numbers_of_a_set_come_once_and_to_the_end() {
    let number = |judge: &mut Judge, at_us, numbers: &[u64]| {
        let got = numbers.iter().map(|&number| Got {
            emitter: 0,
            seq: 0,
            label: Label::of(number),
            published_us: at_us,
            is_marked: false,
        });
        judge.seen(1, at_us, &Seen::Events(got.collect()));
    };
    let mut judge = judge_with(Confirm::Delivered, With::Standby);
    number(&mut judge, SECOND, &[5, 6, 9, 9]);
    assert!(!judge.ears_have(9), "there are two receivers");
    judge.set_ended(10, 3);
    let judged = judge.finish();
    assert_eq!((judged.set_delivered, judged.set_takeovers, judged.set_twice), (4, 3, 1));
    assert_eq!((judged.set_lost, judged.set_told, judged.set_stalled), (2, 0, 2));
}

#[test]
fn what_is_confirmed_and_has_come_is_right() {
    let mut judge = judge(Confirm::Delivered);
    publish(&mut judge, 2 * SECOND, 0..3);
    get(&mut judge, 2 * SECOND + 10, 2 * SECOND, &[0, 1, 2]);
    end(&mut judge, 2 * SECOND + 20, 0..3, End::Confirmed);
    publish(&mut judge, SECOND / 2, 3..4);
    end(&mut judge, 3 * SECOND, 3..4, End::Confirmed);
    judge.fault(6 * SECOND);
    let judged = judge.finish();
    let expected = Judged {
        published: 4,
        confirmed: 4,
        expected_pairs: 4,
        judged_pairs: 3,
        pairs_near_faults: 3,
        delivered: 3,
        ..Judged::default()
    };
    assert_eq!(judged, expected, "what was published before the subscription is not judged");
    assert!(judged.is_clean());
}

#[test]
fn what_is_confirmed_and_never_came_is_lost() {
    for (confirm, lost) in [(Confirm::Delivered, 1), (Confirm::Routed, 0)] {
        let mut judge = judge(confirm);
        publish(&mut judge, 2 * SECOND, 0..2);
        get(&mut judge, 2 * SECOND + 10, 2 * SECOND, &[1]);
        end(&mut judge, 3 * SECOND, 0..2, End::Confirmed);
        gap(&mut judge, 4 * SECOND, GapReason::Overflow, None);
        let judged = judge.finish();
        assert_eq!(
            (judged.judged_pairs, judged.confirmed_lost),
            (2, lost),
            "a queue that overflows is a gap"
        );
        assert_eq!(judged.is_clean(), lost == 0);
    }
    let mut judge = judge(Confirm::Routed);
    publish(&mut judge, 2 * SECOND, 0..1);
    end(&mut judge, 3 * SECOND, 0..1, End::Confirmed);
    assert_eq!(judge.finish().confirmed_lost, 1);
}

#[test]
fn a_session_that_ends_before_the_confirm_and_a_router_that_joined_are_not_judged() {
    let lapses: [fn(&mut Judge); 4] = [
        |judge| judge.seen(0, 3 * SECOND, &Seen::Lapsed),
        |judge| judge.gone(2 * SECOND + 5, 0, true),
        |judge| gap(judge, 3 * SECOND, GapReason::Joined, Some(ID)),
        |judge| judge.seen(0, 2 * SECOND - 1, &Seen::Effective { left_out: vec![ID], unanswered: 0 }),
    ];
    for lapse in lapses {
        let mut judge = judge(Confirm::Delivered);
        lapse(&mut judge);
        publish(&mut judge, 2 * SECOND, 0..1);
        end(&mut judge, 2 * SECOND + 10, 0..1, End::Confirmed);
        let judged = judge.finish();
        assert_eq!((judged.judged_pairs, judged.confirmed_lost), (0, 0));
        assert!(!judged.is_clean(), "nothing was judged");
    }
}

#[test]
fn what_a_router_confirmed_before_it_was_killed_is_judged() {
    let mut judge = judge(Confirm::Delivered);
    judge.router(1, RouterId(8));
    judge.seen(0, SECOND + 1, &Seen::Attached { router: 1 });
    publish(&mut judge, 2 * SECOND, 0..1);
    end(&mut judge, 2 * SECOND + 10, 0..1, End::Confirmed);
    judge.gone(2 * SECOND + 20, 0, true);
    gap(&mut judge, 4 * SECOND, GapReason::RouterLost, Some(ID));
    let judged = judge.finish();
    assert_eq!((judged.judged_pairs, judged.confirmed_lost), (1, 1));
}

#[test]
fn a_partial_event_that_is_missed_needs_a_gap() {
    for (gap_us, unexplained) in [(None, 1), (Some(4 * SECOND), 0), (Some(SECOND + 1), 1)] {
        let mut judge = judge(Confirm::Delivered);
        if let Some(gap_us) = gap_us {
            gap(&mut judge, gap_us, GapReason::LaneOverflow, None);
        }
        publish(&mut judge, 2 * SECOND, 0..1);
        end(&mut judge, 3 * SECOND, 0..1, End::Partial);
        assert_eq!(judge.finish().unexplained_gaps, unexplained, "{gap_us:?}");
    }
}

#[test]
fn copies_disorder_and_strangers_are_counted() {
    let mut judge = judge(Confirm::Delivered);
    publish(&mut judge, 2 * SECOND, 0..4);
    get(&mut judge, 2 * SECOND + 10, 2 * SECOND, &[0, 2, 1, 0, 3]);
    end(&mut judge, 3 * SECOND, 0..4, End::Confirmed);
    let label = Label { life: 0, session: 1, count: 0 };
    let stranger = Got { emitter: 99, seq: 0, label, published_us: 0, is_marked: false };
    judge.seen(0, 3 * SECOND, &Seen::Events(vec![stranger]));
    judge.seen(0, 3 * SECOND, &Seen::Removed(5));
    let judged = judge.finish();
    assert_eq!((judged.duplicates, judged.duplicates_before_removal), (1, 6));
    assert_eq!((judged.reordered, judged.unexpected), (1, 1));
    assert_eq!(judged.findings.len(), 2, "{:?}", judged.findings);
}

#[test]
fn what_may_have_been_sent_again_is_not_out_of_order() {
    let mut judge = judge(Confirm::Delivered);
    publish(&mut judge, 2 * SECOND, 0..3);
    get(&mut judge, 2 * SECOND + 10, 2 * SECOND, &[0, 2]);
    get(&mut judge, 2 * SECOND + SECOND / 2, 2 * SECOND, &[1]);
    end(&mut judge, 3 * SECOND, 0..3, End::Confirmed);
    assert_eq!(judge.finish().reordered, 0, "behind the pause of an event that is tried again");

    let mut judge = self::judge(Confirm::Delivered);
    publish(&mut judge, 2 * SECOND, 0..3);
    get(&mut judge, 2 * SECOND + 10, 2 * SECOND, &[0, 2, 1]);
    judge.said(0, 1, Said::Attached { at_us: 2 * SECOND + 20, router: 0, session: 1 });
    end(&mut judge, 3 * SECOND, 0..3, End::Confirmed);
    assert_eq!(judge.finish().reordered, 0, "it went out in two sessions");
}

#[test]
fn an_event_that_nobody_has_and_whose_end_is_unknown_vanished_unless_it_is_pending() {
    for (pending, vanished) in [(0, 1), (1, 0)] {
        let mut judge = judge(Confirm::Delivered);
        publish(&mut judge, 2 * SECOND, 0..2);
        get(&mut judge, 2 * SECOND + 10, 2 * SECOND, &[1]);
        judge.said(0, 0, Said::Left { at_us: 9 * SECOND, pending });
        let judged = judge.finish();
        assert_eq!((judged.vanished, judged.pending), (vanished, pending));
    }
}
