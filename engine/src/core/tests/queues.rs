//! Queues of receivers: what waits, what gives way, what is gathered.

use std::time::Duration;

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{ControlFrame, Grant, OpenReceiver, OverflowPolicy};
use millrace_proto::data::GapReason;

use super::world::{World, open};
use crate::core::DropReason;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

#[test]
fn without_a_grant_the_oldest_events_give_way_and_a_gap_stands_where_they_were() {
    let mut world = World::new();
    let receiver = world.receiver(1, OpenReceiver { grant: 0, queue_bytes: 600, ..open() }, &["*"]);
    let publisher = world.client(2);
    for seq in 0..10 {
        world.publish(publisher, "host=a", seq, &["event"]);
    }
    assert_eq!(world.stream(receiver), Vec::<String>::new());
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(receiver, &ControlFrame::Grant(grant));
    let stream = world.stream(receiver);
    let dropped = world.core.metrics().dropped[DropReason::ReceiverOverflow as usize];
    assert_eq!(stream[0], format!("gap overflow {dropped}"));
    assert_eq!(stream.len() as u64, 1 + 10 - dropped);
    assert_eq!(stream.last().map(String::as_str), Some("9 event [0]"));
}

#[test]
fn an_event_larger_than_the_queue_is_a_gap_with_its_own_reason() {
    let mut world = World::new();
    let policy = OverflowPolicy::Disconnect;
    let receiver = world.receiver(1, OpenReceiver { grant: 0, queue_bytes: 600, policy, ..open() }, &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["small"]);
    world.publish(publisher, "host=a", 1, &[&"x".repeat(1000)]);
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(receiver, &ControlFrame::Grant(grant));
    assert_eq!(world.stream(receiver), ["0 small [0]", "gap too_large 1"]);
    assert_eq!(world.core.metrics().dropped[DropReason::TooLarge as usize], 1);
    assert_eq!(world.memory.closed, []);
}

#[test]
fn drop_newest_leaves_the_gap_behind_what_was_kept() {
    let mut world = World::new();
    let policy = OverflowPolicy::DropNewest;
    let receiver = world.receiver(1, OpenReceiver { grant: 0, queue_bytes: 600, policy, ..open() }, &["*"]);
    let publisher = world.client(2);
    for seq in 0..10 {
        world.publish(publisher, "host=a", seq, &["event"]);
    }
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(receiver, &ControlFrame::Grant(grant));
    let stream = world.stream(receiver);
    assert_eq!(stream[0], "0 event [0]");
    assert_eq!(stream.last(), Some(&format!("gap {} {}", GapReason::Overflow.name(), 11 - stream.len())));
}

#[test]
fn a_stream_that_takes_little_at_a_time_gets_everything_in_order() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    world.memory.room = Some(10);
    for seq in 0..50 {
        world.publish(publisher, "host=a", seq, &["some event"]);
    }
    for room in (10..20_000).step_by(150) {
        world.memory.room = Some(room);
        world.core.writable(world.now, &mut world.memory, receiver, StreamKey(3));
        world.settle();
    }
    let expected: Vec<String> = (0..50).map(|seq| format!("{seq} some event [0]")).collect();
    assert_eq!(world.stream(receiver), expected);
}

/// A receiver whose host acknowledges nothing, and events of 1,000 bytes for it until some are
/// dropped.
fn unacknowledged(congestion_window: u64) -> (World, ConnKey) {
    let mut world = World::new();
    world.memory.congestion_window = congestion_window;
    world.memory.unacknowledged = Some(Vec::new());
    let open = OpenReceiver { grant: 1 << 30, queue_bytes: 20_000, ..open() };
    let receiver = world.receiver(1, open, &["*"]);
    let publisher = world.client(2);
    let payload = "x".repeat(1000);
    for seq in 0..3000 {
        world.publish(publisher, "host=a", seq, &[&payload]);
    }
    (world, receiver)
}

#[test]
fn a_stream_runs_ahead_of_acknowledgements_by_twice_the_congestion_window_within_its_bounds() {
    for (congestion_window, bound) in
        [(0, 32 << 10), (10_000, 32 << 10), (100_000, 200_000), (1 << 30, 1 << 20)]
    {
        let (world, receiver) = unacknowledged(congestion_window);
        let ahead = world.core.queued().ahead_bytes;
        assert!((bound..bound + 1100).contains(&ahead), "{congestion_window}: {ahead}");
        let written = world.memory.written[&(receiver, StreamKey(3))].len() as u64;
        assert_eq!(written, ahead);
        assert!(world.core.queued().bytes <= 20_000);
        assert!(world.core.metrics().dropped[DropReason::ReceiverOverflow as usize] > 1000);
    }
}

#[test]
fn what_a_stream_does_not_hold_drops_its_oldest_in_the_queue_and_goes_on_when_it_is_acknowledged() {
    let (mut world, receiver) = unacknowledged(0);
    let before = world.stream(receiver).len();
    assert_eq!(world.core.poll_timeout().filter(|&due| due == Time::ZERO), None);
    while let Some(acknowledged) = world.memory.unacknowledged.as_mut().filter(|held| !held.is_empty()) {
        acknowledged.remove(0);
        world.core.turn(world.now, &mut world.memory);
    }
    let stream = world.stream(receiver);
    let dropped = world.core.metrics().dropped[DropReason::ReceiverOverflow as usize];
    assert_eq!(stream[before], format!("gap overflow {dropped}"));
    assert_eq!(stream.len() as u64, 3000 - dropped + 1);
    assert!(stream.last().is_some_and(|line| line.starts_with("2999 ")));
    let queued = world.core.queued();
    assert_eq!((queued.bytes, queued.receivers, queued.ahead_bytes), (0, 0, 0));
}

#[test]
fn a_receiver_that_lingers_is_written_when_its_time_is_over_or_enough_has_gathered() {
    let mut world = World::new();
    let lingering = world.receiver(1, OpenReceiver { linger_us: 100_000, ..open() }, &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["early"]);
    world.now = world.now + Duration::from_millis(99);
    world.settle();
    assert_eq!(world.stream(lingering), Vec::<String>::new());
    assert!(world.core.poll_timeout().is_some_and(|due| due <= world.now + Duration::from_millis(1)));
    world.now = world.now + Duration::from_millis(1);
    world.settle();
    assert_eq!(world.stream(lingering), ["0 early [0]"]);
    let payload = "x".repeat(crate::core::outlet::LINGER_BYTES);
    world.publish(publisher, "host=a", 1, &[&payload]);
    assert_eq!(world.stream(lingering).len(), 2, "enough has gathered");
}
