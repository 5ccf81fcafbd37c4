//! Payload patterns that cost more than a turn has, and selectors that take more than one
//! connection may have.

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{CloseReceiver, ControlFrame, RefusedReason, Subscribe, Unsubscribe};
use millrace_proto::{SubscriptionNumber, control};

use super::world::{World, open};
use crate::core::{CoreLimits, DropReason, SelectorLimits};
use crate::payload::ScanLimits;
use crate::transport::ConnKey;

/// A world in which a turn scans `work_per_turn` bytes.
fn slow(work_per_turn: usize, wait_bytes_per_receiver: usize) -> World {
    let mut world = World::new();
    let scans = ScanLimits { work_per_turn, wait_bytes_per_receiver, ..ScanLimits::default() };
    world.core.set_limits(CoreLimits { scans, ..CoreLimits::default() });
    world
}

fn turns(world: &mut World, count: usize) {
    for _ in 0..count {
        world.settle();
    }
}

#[test]
fn a_costly_event_waits_in_its_order_and_holds_up_nobody_else() {
    let mut world = slow(1_000, 1 << 20);
    let costly = world.receiver(1, open(), &["payload ~ /a.*b/", "severity=high"]);
    let other = world.receiver(2, open(), &["*"]);
    let publisher = world.client(3);
    let large = "a".repeat(10_000);
    world.publish(publisher, "host=x", 0, &["ab", &large, "a-b"]);
    world.publish(publisher, "severity=high", 3, &["plain"]);
    assert_eq!(world.stream(other).len(), 4);
    assert!(world.core.poll_timeout().is_some_and(|due| due <= world.now));
    turns(&mut world, 5);
    assert_eq!(world.stream(costly), ["0 ab [0]"]);
    turns(&mut world, 40);
    assert_eq!(world.stream(costly), ["0 ab [0]", "2 a-b [0]", "3 plain [1]"]);
    let metrics = world.core.metrics();
    assert_eq!((metrics.pattern_waits, metrics.pattern_wait_bytes), (2, 0));
    assert_eq!(metrics.dropped.iter().sum::<u64>(), 0);
}

#[test]
fn what_has_no_room_to_wait_is_a_gap_of_its_own_reason_behind_what_waits() {
    let mut world = slow(1_000, 12_000);
    let costly = world.receiver(1, open(), &["payload ~ /a.*b/"]);
    let publisher = world.client(3);
    let large = "a".repeat(10_000) + "b";
    world.publish(publisher, "host=x", 0, &[&large]);
    world.publish(publisher, "host=x", 1, &[&large]);
    world.publish(publisher, "host=x", 2, &["ab"]);
    turns(&mut world, 60);
    assert_eq!(
        world.stream(costly),
        [format!("0 {large} [0]"), "gap pattern_budget 1".into(), "2 ab [0]".into()]
    );
    assert_eq!(world.core.metrics().dropped[DropReason::PatternBudget as usize], 1);
}

#[test]
fn what_waits_when_its_receiver_is_closed_is_counted_and_gone() {
    let mut world = slow(1_000, 1 << 20);
    let costly = world.receiver(1, open(), &["payload ~ /a.*b/"]);
    let publisher = world.client(3);
    world.publish(publisher, "host=x", 0, &[&"a".repeat(10_000), "ab"]);
    world.say(costly, &ControlFrame::CloseReceiver(CloseReceiver { receiver: ReceiverNumber(0) }));
    turns(&mut world, 3);
    let metrics = world.core.metrics();
    assert_eq!(metrics.dropped[DropReason::ReceiverGone as usize], 2);
    assert_eq!((metrics.pattern_wait_bytes, metrics.selector_bytes), (0, 0));
    assert!(world.core.poll_timeout().is_none_or(|due| due > world.now));
}

#[test]
fn what_waits_is_delivered_as_it_was_asked_for_though_its_subscription_ended() {
    let mut world = slow(1_000, 1 << 20);
    let costly = world.receiver(1, open(), &["payload ~ /a+b/", "payload ~ /x+y/"]);
    let publisher = world.client(3);
    world.publish(publisher, "host=x", 0, &[&("a".repeat(10_000) + "b")]);
    let subscription = SubscriptionNumber(0);
    world.say(costly, &ControlFrame::Unsubscribe(Unsubscribe { receiver: ReceiverNumber(0), subscription }));
    turns(&mut world, 60);
    assert_eq!(world.stream(costly).len(), 1);
    world.publish(publisher, "host=x", 1, &["ab", "xy"]);
    assert_eq!(world.stream(costly).last().map(String::as_str), Some("2 xy [1]"));
}

fn bounded(selectors: SelectorLimits) -> World {
    let mut world = World::new();
    world.core.set_limits(CoreLimits { selectors, ..CoreLimits::default() });
    world
}

fn subscribe(world: &mut World, conn: ConnKey, subscription: u32, selectors: Vec<String>) {
    let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(subscription));
    world.say(
        conn,
        &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
    );
}

/// Subscriptions that were refused with `limit`, and what the last of them was told.
fn refused(world: &World, conn: ConnKey) -> (Vec<u64>, String) {
    let (mut numbers, mut message) = (Vec::new(), String::new());
    for frame in world.control_frames(conn) {
        if let ControlFrame::Refused(control::Refused {
            reason: RefusedReason::Limit,
            subscription,
            message: told,
            ..
        }) = frame
        {
            numbers.extend(subscription);
            message = told;
        }
    }
    (numbers, message)
}

#[test]
fn loose_selectors_are_bounded_per_connection_and_others_are_not_concerned() {
    let mut world = bounded(SelectorLimits { loose_per_connection: 3, ..SelectorLimits::default() });
    let greedy = world.receiver(1, open(), &["x=*a*", "!y"]);
    let other = world.receiver(2, open(), &["x=*c*"]);
    subscribe(&mut world, greedy, 2, vec!["x=*d*".into(), "x=*e*".into()]);
    subscribe(&mut world, greedy, 3, (0..50).map(|n| format!("host={n},x=*f*")).collect());
    // A replacement counts what goes.
    subscribe(&mut world, greedy, 0, vec!["x>1".into(), "x<0".into()]);
    let (numbers, message) = refused(&world, greedy);
    assert_eq!(numbers, [2]);
    assert!(message.contains("limits.loose_selectors_per_connection"), "{message}");
    assert_eq!(refused(&world, other).0, [0; 0]);
    assert_eq!((world.core.metrics().loose_selectors, world.core.metrics().refused_selectors), (4, 1));
}

#[test]
fn slow_globs_count_as_several_loose_selectors() {
    let mut world = bounded(SelectorLimits { loose_per_connection: 40, ..SelectorLimits::default() });
    let client = world.receiver(1, open(), &["x=*a?b*", "x!=*a-longer-text-than-that*"]);
    subscribe(&mut world, client, 2, vec!["x=*web-db*".into(), "x=*.a.*".into(), "x=web?".into()]);
    subscribe(&mut world, client, 3, vec!["x=a*b*c*d*e*".into(), format!("x=*{}*", "a".repeat(400))]);
    subscribe(&mut world, client, 4, vec!["x=*c?d*".into()]);
    assert_eq!(refused(&world, client).0, [4]);
    assert_eq!(world.core.metrics().loose_selectors, (16 + 3) + 3 + (4 + 6));
}

#[test]
fn selectors_behind_one_crowded_tag_and_many_equal_ones_are_loose() {
    let mut world = bounded(SelectorLimits { loose_per_connection: 10, ..SelectorLimits::default() });
    let crowd = world.receiver(1, open(), &[]);
    subscribe(&mut world, crowd, 0, (0..64).map(|n| format!("cluster=c1,!z{n}")).collect());
    subscribe(&mut world, crowd, 1, (64..75).map(|n| format!("cluster=c1,!z{n}")).collect());
    assert_eq!(refused(&world, crowd).0, [1]);
    let same = world.receiver(2, open(), &[]);
    for subscription in 0..40 {
        subscribe(&mut world, same, subscription, vec!["a=b".into()]);
    }
    assert_eq!(refused(&world, same).0, (26..40).collect::<Vec<u64>>());
}

#[test]
fn bytes_of_selectors_and_patterns_are_bounded_and_come_back() {
    let mut world = bounded(SelectorLimits { bytes_per_connection: 40_000, ..SelectorLimits::default() });
    let greedy = world.receiver(1, open(), &[]);
    let long = |n: u32| {
        format!("host=h{n},x in ({})", (0..200).map(|v| v.to_string()).collect::<Vec<_>>().join(","))
    };
    for n in 0..40 {
        subscribe(&mut world, greedy, n, vec![long(n)]);
    }
    let (numbers, message) = refused(&world, greedy);
    assert!(numbers.len() > 10 && numbers.len() < 35, "{numbers:?}");
    assert!(message.contains("limits.selector_bytes_per_connection"), "{message}");
    assert!(world.core.metrics().selector_bytes <= 40_000);
    let patterns = world.receiver(2, open(), &[]);
    for n in 0..40 {
        subscribe(&mut world, patterns, n, vec![format!("host=h,payload ~ /[a-z]{{1,60}}{n}/")]);
    }
    assert!(!refused(&world, patterns).0.is_empty());
    assert!(world.core.metrics().selector_bytes <= 80_000);
    for conn in [greedy, patterns] {
        world.core.closed(world.now, &mut world.memory, conn, None);
    }
    let metrics = world.core.metrics();
    assert_eq!((metrics.selector_bytes, metrics.loose_selectors), (0, 0));
}
