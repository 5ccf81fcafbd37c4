//! Policy `block`: publishers with a confirm level wait for a receiver as long as it takes, and
//! nobody else does.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, Grant, OpenReceiver, OverflowPolicy, Subscribe};
use millrace_proto::feature::{self, Features};
use millrace_proto::{Incarnation, ReceiverNumber, RouterId, SubscriptionNumber};

use super::confirms::ROUTED;
use super::pacing_peers::Routers;
use super::world::{World, open, tag_of};
use crate::core::{CoreConfig, CoreLimits, DropReason};
use crate::transport::ConnKey;

/// Room for some thirty runs of one small event.
const QUEUE_BYTES: u64 = 4_800;
const SECOND: Duration = Duration::from_secs(1);

/// A receiver that takes nothing and blocks.
fn standing_still(queue_bytes: u64) -> OpenReceiver {
    OpenReceiver { grant: 0, queue_bytes, policy: OverflowPolicy::Block, ..open() }
}

fn publish(world: &mut World, publisher: ConnKey, tags: &str, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        world.publish_with(publisher, tags, seq, &["event"], ROUTED);
    }
}

fn take_all(world: &mut World, receiver: ConnKey) {
    world.say(receiver, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 }));
}

fn refused(world: &World) -> u64 {
    world.core.metrics().dropped[DropReason::ReceiverBusy as usize]
}

/// Events whose outcome a publisher was told, all of which are confirmed.
fn confirmed(world: &World, publisher: ConnKey) -> usize {
    let told = world.told(publisher);
    assert!(told.iter().all(|line| line.starts_with("confirmed")), "{told:?}");
    told.iter().map(|line| line.split(']').next().unwrap_or_default().split(',').count()).sum()
}

#[test]
fn a_queue_that_blocks_has_room_for_what_is_on_its_way_however_little_was_asked_for() {
    let mut config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
    config.limits.queues.blocking_bytes_min = 2 * QUEUE_BYTES;
    let mut world = World::with(config);
    world.receiver(1, standing_still(1), &["host=a"]);
    let held = world.confirming(3, 0);
    publish(&mut world, held, "host=a", 0..60);
    let read = world.core.metrics().events_in;
    assert!((20..60).contains(&read), "{read} of 60 were read: half of the least queue");
    assert_eq!(refused(&world), 0);
}

#[test]
fn a_publisher_with_a_level_waits_as_long_as_its_receiver_stands_still_and_nobody_else_does() {
    let mut world = World::new();
    let still = world.receiver(1, standing_still(QUEUE_BYTES), &["host=a"]);
    let taker = world.taker(2, "host=b");
    let (held, free) = (world.confirming(3, 0), world.confirming(4, 0));
    publish(&mut world, held, "host=a", 0..60);
    let read = world.core.metrics().events_in;
    assert!((10..30).contains(&read), "{read} of 60 were read: half of the queue");
    for second in 0..60 {
        world.pass(SECOND);
        publish(&mut world, free, "host=b", second..second + 1);
    }
    assert_eq!(world.core.metrics().events_in, read + 60, "the one waits, the other does not");
    assert_eq!((confirmed(&world, free), world.stream(taker).len()), (60, 60));
    let late = world.receiver(5, open(), &["host=b"]);
    publish(&mut world, free, "host=b", 60..61);
    assert_eq!(world.stream(late).len(), 1, "who subscribes meanwhile is served");
    take_all(&mut world, still);
    world.pass(Duration::from_millis(1));
    assert_eq!((world.stream(still).len(), refused(&world)), (60, 0));
    assert_eq!(confirmed(&world, held), 60);
}

#[test]
fn what_does_not_fit_is_refused_with_a_gap_and_told() {
    for level in [0, ROUTED] {
        let mut world = World::new();
        let still = world.receiver(1, standing_still(QUEUE_BYTES), &["host=a"]);
        let publisher = world.confirming(2, 0);
        // One read takes all of them, so that nobody is asked in between.
        let large = "x".repeat(400);
        world.publish_with(publisher, "host=a", 0, &[&large], level);
        for seq in 1..40 {
            let bytes = super::confirms::run("host=a", seq, &[&large], level);
            world.memory.input.entry((publisher, super::world::PUBLISH)).or_default().extend(bytes);
        }
        world.core.readable(world.now, &mut world.memory, publisher, super::world::PUBLISH);
        world.settle();
        assert!(refused(&world) > 10, "{level}");
        take_all(&mut world, still);
        let stream = world.stream(still);
        assert!(stream.iter().any(|line| line.starts_with("gap overflow")), "{stream:?}");
        let busy = world.told(publisher).iter().filter(|line| line.ends_with("busy")).count();
        assert_eq!(busy > 0, level > 0, "{:?}", world.told(publisher));
    }
}

#[test]
fn queues_that_block_are_set_aside_and_give_way_to_nobody() {
    let mut world = World::new();
    let mut limits = CoreLimits::default();
    limits.queues.budget_bytes = 100_000;
    limits.pace_max = Duration::ZERO;
    world.core.set_limits(limits);
    let still = world.receiver(1, standing_still(30_000), &["host=a"]);
    let greedy = OpenReceiver { grant: 0, queue_bytes: 1 << 20, ..open() };
    let greedy = world.receiver(2, greedy, &["host=b"]);
    let too_much = world.receiver(3, standing_still(30_000), &[]);
    let of_group = OpenReceiver { group: "g".to_owned(), ..standing_still(1_000) };
    let member = world.confirming(4, 0);
    world.say(member, &ControlFrame::OpenReceiver(of_group));
    for conn in [too_much, member] {
        let frames = world.control_frames(conn);
        assert!(frames.iter().any(|frame| matches!(frame, ControlFrame::Refused(_))), "{frames:?}");
    }
    let publisher = world.confirming(5, 0);
    publish(&mut world, publisher, "host=a", 0..40);
    let other = world.confirming(6, 0);
    let large = "x".repeat(1_000);
    for seq in 0..200 {
        world.publish_with(other, "host=b", seq, &[&large], 0);
        assert!(world.core.queued().bytes <= 100_000);
    }
    take_all(&mut world, greedy);
    assert!(world.stream(greedy)[0].starts_with("gap overflow"), "the other one gives way");
    take_all(&mut world, still);
    assert_eq!((world.stream(still).len(), refused(&world)), (40, 0));
}

#[test]
fn publishers_behind_a_peer_and_on_other_cores_wait_as_long_too() {
    let features = Features::default().with(feature::PACING).with(feature::CONFIRMS);
    for (counts, lane, has) in [([1, 1], [0, 0], 0), ([1, 2], [0, 0], 1), ([2, 2], [1, 1], 0)] {
        let mut routers = Routers::new(counts, lane, features);
        let conn = ConnKey(1);
        let at = &mut routers.cores[1][has];
        at.confirming(1, 0);
        at.say(conn, &ControlFrame::OpenReceiver(standing_still(QUEUE_BYTES)));
        let subscribe = Subscribe {
            subscription: SubscriptionNumber(0),
            selectors: vec!["*".to_owned()],
            ..Subscribe::default()
        };
        at.say(conn, &ControlFrame::Subscribe(subscribe));
        let publisher = routers.cores[0][0].confirming(2, 0);
        let tag = tag_of(u16::try_from(lane[0]).unwrap(), u16::try_from(counts[0]).unwrap());
        for seq in 0..60 {
            publish(&mut routers.cores[0][0], publisher, &tag, seq..seq + 1);
            routers.settle();
        }
        let read = routers.read();
        assert!((10..45).contains(&read), "{read} of 60 were read: {counts:?} {lane:?} {has}");
        for _ in 0..200 {
            routers.later(Duration::from_millis(100));
        }
        assert_eq!(routers.read(), read, "{counts:?} {lane:?} {has}");
        take_all(&mut routers.cores[1][has], conn);
        for _ in 0..3 {
            routers.later(Duration::from_millis(1));
        }
        assert_eq!(routers.read(), 60, "{counts:?} {lane:?} {has}");
        assert_eq!(routers.cores[1][has].stream(conn).len(), 60, "{counts:?} {lane:?} {has}");
        assert_eq!(routers.cores[1].iter().map(refused).sum::<u64>(), 0);
    }
}
