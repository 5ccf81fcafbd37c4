//! Receivers that ask for the past of another router: its owner's ring is read over the lane.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, Grant, SourcePosition, Subscribe};
use millrace_proto::data::{GapReason, Source};
use millrace_proto::{Incarnation, RouterId, SubscriptionNumber};

use super::far_cluster::{Cluster, FAR, FAR_OWNER, LANE, far_source};
use super::replays::{Random, Said, asks, said, seqs, since};
use super::world::tag_of;
use crate::history::{FarOwner, FarOwners};
use crate::time::Time;

#[test]
fn the_past_of_another_router_comes_flagged_and_its_live_runs_follow() {
    for deliveries in [0, 1] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        (0..300).for_each(|seq| cluster.publish_far(seq, &"x".repeat(1000)));
        cluster.settle();
        let receiver = asks(&mut cluster.near[1], deliveries, 1 << 30, since("*"));
        cluster.settle();
        (300..310).for_each(|seq| cluster.publish_far(seq, "live"));
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        let far: Vec<_> = said
            .iter()
            .filter_map(|said| match said {
                Said::Event { owner: FAR_OWNER, position, seq, replayed } => {
                    Some((*position, *seq, *replayed))
                }
                _ => None,
            })
            .collect();
        let expected: Vec<_> = (0..310).map(|seq| (seq, seq, seq < 300)).collect();
        assert_eq!(far, expected, "deliveries {deliveries}");
        assert!(said.contains(&Said::Begins { owner: FAR_OWNER, from: 0, to: 300, oldest: 0 }));
        assert!(said.contains(&Said::Joined { owner: FAR_OWNER, to: 300 }));
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "{said:?}");
        assert_eq!(cluster.far.core.metrics().events_replayed_to_peers, 300);
    }
}

#[test]
fn no_interleaving_of_two_routers_misses_repeats_or_reorders() {
    for seed in 0..24 {
        let mut random = Random(seed);
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let publisher = cluster.near[0].client(1);
        let (mut far, mut near) = (0, 0);
        let mut publish = |cluster: &mut Cluster, random: &mut Random| {
            if random.below(3) == 0 {
                cluster.near[0].publish(publisher, &tag_of(near % 2, 2), u64::from(near), &["near"]);
                near += 1;
            } else {
                cluster.publish_far(far, "some event of the far router");
                far += 1;
            }
            (far, u64::from(near))
        };
        let mut last = (0, 0);
        for _ in 0..random.below(300) {
            last = publish(&mut cluster, &mut random);
        }
        let deliveries = random.below(2);
        let (mut granted, mut receiver) = (300, None);
        for _ in 0..900 {
            match random.below(16) {
                0..=3 => last = publish(&mut cluster, &mut random),
                4 | 5 => drop(cluster.carry(0)),
                6 | 7 => drop(cluster.carry(1)),
                8 | 9 => {
                    let most = 1 + usize::try_from(random.below(300)).unwrap();
                    cluster.carry_lane(true, most);
                }
                10 | 11 => drop(cluster.carry_lane(false, usize::MAX)),
                12 => cluster.far.turns(1),
                13 => cluster.near[0].turns(1),
                14 => cluster.near[1].turns(1),
                _ => match receiver {
                    None => receiver = Some(asks(&mut cluster.near[1], deliveries, granted, since("*"))),
                    Some(conn) => {
                        granted += random.below(600);
                        let grant = Grant { bytes: granted, ..Grant::default() };
                        cluster.near[1].say(conn, &ControlFrame::Grant(grant));
                    }
                },
            }
        }
        let receiver = receiver.unwrap();
        let grant = Grant { bytes: 1 << 30, ..Grant::default() };
        cluster.near[1].say(receiver, &ControlFrame::Grant(grant));
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "seed {seed}");
        assert_eq!(seqs(&said, FAR_OWNER), (0..last.0).collect::<Vec<_>>(), "seed {seed}, far");
        let (first, second) = (seqs(&said, 0), seqs(&said, 1));
        assert!(first.is_sorted() && second.is_sorted(), "seed {seed}: {first:?} {second:?}");
        let mut near = [first, second].concat();
        near.sort_unstable();
        assert_eq!(near, (0..last.1).collect::<Vec<_>>(), "seed {seed}, near");
    }
}

#[test]
fn a_router_that_dies_during_its_replay_is_a_gap_and_the_rest_goes_on() {
    for carried in 0..20 {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let publisher = cluster.near[1].client(1);
        (0..200).for_each(|seq| cluster.publish_far(seq, &"x".repeat(1000)));
        cluster.settle();
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
        die_after(&mut cluster, carried);
        cluster.near[1].publish(publisher, &tag_of(1, 2), 0, &["live"]);
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        let far = seqs(&said, FAR_OWNER);
        assert_eq!(far, (0..far.len() as u64).collect::<Vec<_>>(), "carried {carried}");
        assert!(said.contains(&Said::Gap("router_lost")), "carried {carried}: {said:?}");
        assert_eq!(seqs(&said, 1), [0], "carried {carried}: what is live goes on");
        let world = &cluster.near[1];
        assert!(!world.core.path.receivers.iter().any(|receiver| receiver.joins.is_some()), "{carried}");
    }
}

#[test]
fn a_gap_stands_behind_what_came_of_a_router_though_one_was_told_for_its_other_owners() {
    for carried in 0..20 {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        (0..200).for_each(|seq| cluster.publish_far(seq, &"x".repeat(1000)));
        cluster.settle();
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        let missing = vec![(FAR, GapReason::RouterLost)];
        cluster.tell_owners(FarOwners { owners: vec![owner], missing, ended: Vec::new() });
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
        die_after(&mut cluster, carried);
        let said = said(&cluster.near[1], receiver);
        let last = said.iter().rposition(|said| matches!(said, Said::Event { owner: FAR_OWNER, .. }));
        let gap = said.iter().rposition(|said| *said == Said::Gap("router_lost"));
        assert!(last < gap, "carried {carried}: {said:?}");
    }
}

/// Carries so many steps of a replay; then the far router dies.
pub(super) fn die_after(cluster: &mut Cluster, carried: u64) {
    for _ in 0..carried {
        cluster.carry(1);
        cluster.carry_lane(false, usize::MAX);
        cluster.far.turns(1);
        cluster.carry_lane(true, 2_000);
        cluster.near[0].turns(1);
        cluster.carry(0);
        cluster.near[1].turns(1);
    }
    cluster.near[0].core.closed(cluster.near[0].now, &mut cluster.near[0].memory, LANE, None);
    cluster.tell_owners(FarOwners::default());
    cluster.carried.iter_mut().for_each(|(_, done)| *done = usize::MAX);
    cluster.far.memory.written.retain(|(conn, _), _| *conn != LANE);
    cluster.near[0].memory.written.retain(|(conn, _), _| *conn != LANE);
    cluster.settle();
}

#[test]
fn routers_that_cannot_be_asked_are_named_by_a_gap() {
    let gone = RouterId(6);
    for reason in [GapReason::RouterLost, GapReason::Evicted] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        cluster.tell_owners(FarOwners {
            owners: vec![owner],
            missing: vec![(gone, reason)],
            ended: Vec::new(),
        });
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        assert_eq!(said[0], Said::Gap(reason.name()), "the gap comes first");
        assert_eq!(seqs(&said, FAR_OWNER), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn how_far_a_life_had_come_that_is_over_is_not_told_to_quiet_receivers() {
    for is_over in [false, true] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let subscribe = Subscribe { selectors: vec!["host".to_owned()], since_us: 1, ..Subscribe::default() };
        let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
        (0..10).for_each(|seq| cluster.publish_far(seq, "event"));
        cluster.settle();
        if is_over {
            cluster.tell_owners(FarOwners::default());
            cluster.settle();
        }
        cluster.pass(5);
        let said = said(&cluster.near[1], receiver);
        let names_far = |said: &Said| matches!(said, Said::Cursor(told) if told.contains_key(&FAR_OWNER));
        assert_eq!(said.iter().any(names_far), !is_over, "{said:?}");
    }
}

#[test]
fn runs_that_come_late_are_not_given_again_to_who_has_had_them_elsewhere() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    let missing = vec![(FAR, GapReason::RouterLost)];
    cluster.tell_owners(FarOwners { owners: Vec::new(), missing, ended: Vec::new() });
    let Source { router, incarnation, owner } = far_source();
    let cursor = vec![SourcePosition { router, incarnation, owner, position: 7 }];
    let subscribe = Subscribe { selectors: vec!["host".to_owned()], cursor, ..Subscribe::default() };
    let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
    cluster.settle();
    assert!(cluster.near[1].core.path.positions.replays.active.is_empty(), "nothing is to be done");
    for seq in 0..10 {
        cluster.publish_far(seq, "event");
        cluster.settle();
    }
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [7, 8, 9]);
    cluster.tell_owners(FarOwners::default());
    cluster.settle();
    let world = &cluster.near[1];
    assert!(!world.core.path.receivers.iter().any(|receiver| receiver.joins.is_some()));
}

#[test]
fn runs_that_come_late_are_told_from_those_had_elsewhere_also_when_their_router_is_back_first() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    let missing = vec![(FAR, GapReason::RouterLost)];
    cluster.tell_owners(FarOwners { owners: Vec::new(), missing, ended: Vec::new() });
    let Source { router, incarnation, owner } = far_source();
    let cursor = vec![SourcePosition { router, incarnation, owner, position: 7 }];
    let subscribe = Subscribe { selectors: vec!["host".to_owned()], cursor, ..Subscribe::default() };
    let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
    cluster.settle();
    let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
    cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended: Vec::new() });
    cluster.settle();
    for seq in 0..10 {
        cluster.publish_far(seq, "event");
        cluster.settle();
    }
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [7, 8, 9]);
    let world = &cluster.near[1];
    assert!(!world.core.path.receivers.iter().any(|receiver| receiver.joins.is_some()));
}

#[test]
fn an_answer_that_comes_after_its_lane_was_silent_is_no_fault_of_the_peer() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
    cluster.settle();
    let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
    for _ in 0..3 {
        cluster.near[1].turns(1);
        cluster.carry(1);
        cluster.near[0].turns(1);
    }
    cluster.near[0].now = cluster.near[0].now + Duration::from_secs(2);
    cluster.near[0].turns(1);
    cluster.settle();
    assert!(said(&cluster.near[1], receiver).contains(&Said::Gap("router_lost")));
    assert_eq!(cluster.near[0].memory.closed, []);
    let again = Subscribe { subscription: SubscriptionNumber(1), ..since("*") };
    cluster.near[1].say(receiver, &ControlFrame::Subscribe(again));
    cluster.settle();
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [0, 1, 2, 3, 4]);
}

#[test]
fn who_is_asked_before_it_has_accepted_the_lane_answers_behind_its_stream_of_runs() {
    let mut cluster = Cluster::accepted_by_one();
    cluster.far.client(1);
    (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
    let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
    cluster.settle();
    cluster.accept_far();
    cluster.settle();
    (5..7).for_each(|seq| cluster.publish_far(seq, "live"));
    cluster.settle();
    assert_eq!(cluster.near[0].memory.closed, []);
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), (0..7).collect::<Vec<_>>());
}

#[test]
fn a_life_that_ended_with_what_is_asked_for_is_named_by_a_gap_first() {
    let at = |cluster: &Cluster, back: Duration| {
        Time::from_nanos(cluster.near[1].now.as_nanos() - u64::try_from(back.as_nanos()).unwrap())
    };
    let half = Duration::from_millis(500);
    let short = Subscribe { since_us: 1_000, ..since("*") };
    let cursor =
        vec![SourcePosition { router: FAR, incarnation: Incarnation(6), owner: FAR_OWNER, position: 0 }];
    let named = Subscribe { cursor, ..since("*") };
    for (subscribe, gaps) in [(since("*"), 1), (short, 0), (named, 0)] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let ended = vec![(FAR, at(&cluster, half))];
        (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
        cluster.settle();
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended });
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, subscribe);
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        let told = said.iter().filter(|said| **said == Said::Gap("evicted")).count();
        assert_eq!(told, gaps, "{said:?}");
        assert!(gaps == 0 || said[0] == Said::Gap("evicted"), "{said:?}");
    }
}

#[test]
fn news_of_a_life_that_ended_come_before_the_runs_of_the_next_one() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
    // Nothing may be written yet.
    let receiver = asks(&mut cluster.near[1], 1, 1, since("*"));
    cluster.settle();
    let (owner, now) = (FarOwner { source: far_source(), core: 0, conn: LANE }, cluster.near[1].now);
    let ended = vec![(RouterId(6), now)];
    cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended });
    let grant = Grant { bytes: 1 << 30, ..Grant::default() };
    cluster.near[1].say(receiver, &ControlFrame::Grant(grant));
    cluster.settle();
    let said = said(&cluster.near[1], receiver);
    assert_eq!(said.iter().filter(|said| **said == Said::Gap("evicted")).count(), 1, "{said:?}");
}

#[test]
fn a_cursor_goes_on_at_another_router_and_is_advanced_for_quiet_receivers() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..10).for_each(|seq| cluster.publish_far(seq, "event"));
    cluster.settle();
    let Source { router, incarnation, owner } = far_source();
    let cursor = vec![SourcePosition { router, incarnation, owner, position: 7 }];
    let subscribe = Subscribe { selectors: vec!["host".to_owned()], cursor, ..Subscribe::default() };
    let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
    cluster.settle();
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [7, 8, 9]);
    cluster.pass(5);
    let cursors = said(&cluster.near[1], receiver);
    let last = cursors.iter().rev().find_map(|said| match said {
        Said::Cursor(positions) => Some(positions.clone()),
        _ => None,
    });
    assert_eq!(last.unwrap()[&FAR_OWNER], 10);
}

#[test]
fn what_live_runs_overtake_is_replayed_further_and_then_given_up_with_a_gap() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    let payload = "x".repeat(100_000);
    (0..3).for_each(|seq| cluster.publish_far(seq, &payload));
    cluster.settle();
    // Nothing may be written, so that everything live waits.
    let receiver = asks(&mut cluster.near[1], 1, 1, since("*"));
    cluster.settle();
    for seq in 3..360 {
        cluster.publish_far(seq, &payload);
        cluster.settle();
    }
    let grant = Grant { bytes: 1 << 30, ..Grant::default() };
    cluster.near[1].say(receiver, &ControlFrame::Grant(grant));
    cluster.settle();
    let said = said(&cluster.near[1], receiver);
    let far = seqs(&said, FAR_OWNER);
    assert!(far.is_sorted_by(|one, next| one < next), "{far:?}");
    assert_eq!(far.last(), Some(&359));
    assert!(said.contains(&Said::Gap("overrun")), "{far:?}");
}
