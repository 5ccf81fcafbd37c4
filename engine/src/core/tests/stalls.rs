//! Receivers that take nothing cost a bounded number of copies.

use std::time::Duration;

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{ControlFrame, Grant, OpenReceiver};

use super::world::{World, open};
use crate::core::{CoreLimits, DropReason};
use crate::transport::{ConnKey, StreamKey};

/// The stream that all receivers of a connection share.
const SHARED: StreamKey = StreamKey(3);

/// A core that keeps a quarter of so many copies for a connection.
fn world(stalled_copies_per_second: u64) -> World {
    let mut world = World::new();
    let mut limits = CoreLimits { pace_max: Duration::ZERO, ..CoreLimits::default() };
    limits.queues.stalled_copies_per_second = stalled_copies_per_second;
    world.core.set_limits(limits);
    world
}

fn still() -> OpenReceiver {
    OpenReceiver { grant: 0, ..open() }
}

fn grant(world: &mut World, conn: ConnKey, receiver: u32) {
    world.say(conn, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(receiver), bytes: 1 << 20 }));
}

/// Events and lost events that lines tell a receiver of.
fn told(lines: &[String], receiver: u32) -> (usize, u64) {
    let own = format!("for {receiver} ");
    let gaps = lines.iter().filter(|line| line.ends_with(&format!("for [{receiver}]")));
    let lost =
        gaps.filter_map(|line| line.strip_prefix("gap overflow ")?.split_once(' ')?.0.parse::<u64>().ok());
    (lines.iter().filter(|line| line.contains(&own)).count(), lost.sum())
}

#[test]
fn receivers_that_take_nothing_are_passed_over_when_their_connection_has_had_its_copies() {
    let mut world = world(400);
    let greedy = world.sharing(1);
    for receiver in 0..4 {
        world.open_with(greedy, receiver, still(), &["*"]);
    }
    let modest = world.receiver(2, still(), &["*"]);
    let taking = world.receiver(3, open(), &["*"]);
    let publisher = world.client(4);
    for seq in 0..50 {
        world.publish(publisher, "a=1", seq, &["x"]);
    }
    let metrics = world.core.metrics();
    assert!((100..190).contains(&metrics.passed_over), "{} of 200", metrics.passed_over);
    assert_eq!(metrics.dropped[DropReason::ReceiverOverflow as usize], metrics.passed_over);
    assert_eq!(world.stream(taking).len(), 50);
    grant(&mut world, modest, 0);
    assert_eq!(world.stream(modest).len(), 50, "a part of the copies is another connection's");

    for receiver in 0..4 {
        grant(&mut world, greedy, receiver);
    }
    let lines = world.shared(greedy);
    for receiver in 0..4 {
        let (events, lost) = told(&lines, receiver);
        assert_eq!((events as u64 + lost, events > 2), (50, true), "{lines:?}");
    }
    // Who takes something gets what comes.
    world.publish(publisher, "a=1", 50, &["x"]);
    assert_eq!(world.shared(greedy).last().map(String::as_str), Some("50 x for 0 [0], 1 [0], 2 [0], 3 [0]"));
    assert_eq!(world.core.queued().bytes, 0);
}

#[test]
fn a_gap_stands_behind_what_waits_of_a_receiver_that_is_passed_over() {
    let mut world = world(4);
    let own = world.receiver(1, still(), &["*"]);
    let publisher = world.client(2);
    for seq in 0..10 {
        world.publish(publisher, "a=1", seq, &["x"]);
    }
    assert_eq!(world.core.metrics().passed_over, 7);
    grant(&mut world, own, 0);
    world.publish(publisher, "a=1", 10, &["x"]);
    assert_eq!(world.stream(own), ["0 x [0]", "1 x [0]", "2 x [0]", "gap overflow 7", "10 x [0]"]);
}

#[test]
fn receivers_that_are_new_and_have_a_grant_are_passed_over_when_they_have_taken_next_to_nothing() {
    let mut world = world(400);
    world.memory.room = Some(1 << 10);
    let greedy = world.sharing(1);
    world.open_with(greedy, 0, open(), &["full"]);
    let publisher = world.client(2);
    for seq in 0..3 {
        world.publish(publisher, "full=1", seq, &["x".repeat(30_000).as_str()]);
    }
    // The stream takes nothing any more. Each of them is closed long before it counts as stalled.
    for receiver in 1..5 {
        world.open_with(greedy, receiver, open(), &["a"]);
    }
    for seq in 3..63 {
        world.publish(publisher, "a=1", seq, &["x"]);
    }
    let metrics = world.core.metrics();
    let copied = 4 * 60 - metrics.passed_over;
    assert!(
        (150..=190).contains(&copied),
        "{copied}: 16 for each are free, and 100 are its connection's part"
    );

    world.memory.room = None;
    world.core.writable(world.now, &mut world.memory, greedy, SHARED);
    world.turns(300);
    let lines = world.shared(greedy);
    for receiver in 1..5 {
        let (events, lost) = told(&lines, receiver);
        assert_eq!((events as u64 + lost, events > 16), (60, true), "{receiver}: {lines:?}");
    }
    world.publish(publisher, "a=1", 63, &["y"]);
    assert_eq!(world.shared(greedy).last().map(String::as_str), Some("63 y for 1 [0], 2 [0], 3 [0], 4 [0]"));
}
