//! Publishers wait a little for receivers, and never in vain.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, Grant, OpenReceiver};
use millrace_proto::{Incarnation, ReceiverNumber, RouterId};

use super::world::{World, open};
use crate::core::{Core, CoreConfig, DropReason};
use crate::message::ToCore;
use crate::transport::ConnKey;

/// Room for some thirty runs of one small event.
const QUEUE_BYTES: u64 = 4_800;

fn paced_world() -> World {
    let mut world = World::new();
    let config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
    world.core = Core::new(config, world.now);
    world.core.handle_message(world.now, &mut world.memory, ToCore::Synced(true));
    world
}

/// A receiver that may be written `grant` bytes.
fn receiver(world: &mut World, number: u64, grant: u64) -> ConnKey {
    world.receiver(number, OpenReceiver { grant, queue_bytes: QUEUE_BYTES, ..open() }, &["*"])
}

fn publish(world: &mut World, publisher: ConnKey, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        world.publish(publisher, "host=a", seq, &["event"]);
    }
}

fn dropped(world: &World) -> u64 {
    world.core.metrics().dropped[DropReason::ReceiverOverflow as usize]
}

fn later(world: &mut World, time: Duration) {
    world.now = world.now + time;
    world.core.turn(world.now, &mut world.memory);
}

#[test]
fn a_publisher_is_left_unread_while_its_receiver_is_half_full_and_nothing_is_dropped() {
    let mut world = paced_world();
    let slow = receiver(&mut world, 1, 100);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    let read = world.core.metrics().events_in;
    assert!((10..30).contains(&read), "{read} of 60 were read: half of the queue");
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(slow, &ControlFrame::Grant(grant));
    later(&mut world, Duration::from_millis(1));
    assert_eq!(world.core.metrics().events_in, 60);
    assert_eq!(dropped(&world), 0);
    assert_eq!(world.stream(slow).len(), 60);
    assert!(world.core.metrics().publishers_paced > 0);
}

#[test]
fn a_publisher_waits_for_a_receiver_that_takes_nothing_no_longer_than_the_limit() {
    let mut world = paced_world();
    receiver(&mut world, 1, 0);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    assert!(world.core.metrics().events_in < 30);
    assert!(world.core.poll_timeout().is_some(), "somebody has to look again");
    later(&mut world, Duration::from_millis(251));
    assert_eq!(world.core.metrics().events_in, 60);
    assert!(dropped(&world) > 0, "it overflows by its own policy");
    publish(&mut world, publisher, 60..100);
    assert_eq!(world.core.metrics().events_in, 100, "nobody waits for it again");
}

#[test]
fn nobody_waits_for_a_receiver_that_stalls_beside_one_that_does_not() {
    let mut world = paced_world();
    receiver(&mut world, 1, 0);
    let fast = receiver(&mut world, 2, 1 << 20);
    let publisher = world.client(3);
    publish(&mut world, publisher, 0..60);
    assert_eq!(world.core.metrics().events_in, 60);
    assert_eq!(world.stream(fast).len(), 60);
    assert_eq!(world.core.metrics().publishers_paced, 0);
}

#[test]
fn a_publisher_that_leaves_while_it_waits_leaves_no_timer() {
    let mut world = paced_world();
    receiver(&mut world, 1, 0);
    let publisher = world.client(2);
    publish(&mut world, publisher, 0..60);
    world.core.closed(world.now, &mut world.memory, publisher, None);
    later(&mut world, Duration::from_secs(1));
    assert!(world.core.metrics().events_in < 30);
}
