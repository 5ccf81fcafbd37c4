//! Receivers that are opened and closed, and their subscriptions.

use millrace_proto::control::{CloseReceiver, ControlFrame, Subscribe};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};

use super::world::{CONTROL, World, open};
use crate::message::{CoreOutput, ToControl};
use crate::transport::StreamKey;

#[test]
fn a_closed_receiver_takes_its_interest_with_it() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["host=a", "host=b"]);
    world.core.closed(world.now, &mut world.memory, receiver, None);
    let removed = std::iter::from_fn(|| world.core.poll_output()).find_map(|output| match output {
        CoreOutput::ToControl(ToControl::Interest { remove, .. }) => Some(remove.len()),
        _ => None,
    });
    assert_eq!(removed, Some(2));
    let metrics = world.core.metrics();
    assert_eq!((metrics.receivers, metrics.selectors, metrics.clients), (0, 0, 0));
}

#[test]
fn a_receiver_that_is_closed_gets_what_was_written_before_its_stream_ends() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    world.memory.room = Some(120);
    for seq in 0..5 {
        world.publish(publisher, "host=a", seq, &["some event"]);
    }
    let close = CloseReceiver { receiver: ReceiverNumber(0) };
    world.say(receiver, &ControlFrame::CloseReceiver(close));
    assert_eq!(world.memory.finished, []);
    world.memory.room = None;
    world.core.writable(world.now, &mut world.memory, receiver, StreamKey(3));
    world.settle();
    assert_eq!(world.memory.finished, [(receiver, StreamKey(3))]);
    assert_eq!(world.stream(receiver).len(), 5);
    assert_eq!(world.core.metrics().receivers, 0);
}

#[test]
fn a_stream_that_is_stopped_behind_the_close_of_its_receiver_ends_no_other_receiver() {
    let mut world = World::new();
    let conn = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    world.memory.room = Some(60);
    world.publish(publisher, "host=a", 0, &["some event that does not fit the room of its stream"]);
    let close = CloseReceiver { receiver: ReceiverNumber(0) };
    world.say(conn, &ControlFrame::CloseReceiver(close));
    world.say(conn, &ControlFrame::OpenReceiver(open()));
    assert_eq!(world.core.metrics().receivers, 2, "the first of number 0 has not written everything");
    world.core.stopped(world.now, &mut world.memory, conn, StreamKey(3));
    world.memory.room = None;
    let other = world.receiver(3, open(), &["*"]);
    world.core.closed(world.now, &mut world.memory, conn, None);
    assert_eq!(world.core.metrics().receivers, 1);
    world.publish(publisher, "host=a", 1, &["for another client"]);
    assert_eq!(world.stream(other), ["1 for another client [0]"]);
}

#[test]
fn a_request_for_a_receiver_that_was_closed_is_not_for_the_next_one_of_its_number() {
    let mut world = World::new();
    let conn = world.client(1);
    let mut bytes = Vec::new();
    let receiver = ReceiverNumber(0);
    let subscription = SubscriptionNumber(0);
    ControlFrame::OpenReceiver(open()).encode(&mut bytes);
    ControlFrame::Subscribe(Subscribe {
        receiver,
        subscription,
        selectors: vec!["host=a".into()],
        ..Subscribe::default()
    })
    .encode(&mut bytes);
    ControlFrame::CloseReceiver(CloseReceiver { receiver }).encode(&mut bytes);
    ControlFrame::OpenReceiver(open()).encode(&mut bytes);
    world.send(conn, CONTROL, &bytes);
    assert_eq!(world.core.metrics().selectors, 0);
    let acknowledged = |frame: &ControlFrame| matches!(frame, ControlFrame::Subscribed(_));
    assert!(!world.control_frames(conn).iter().any(acknowledged));
}

#[test]
fn selectors_that_are_still_being_read_count_against_the_bound() {
    let mut world = World::new();
    let conn = world.client(1);
    let mut bytes = Vec::new();
    let receiver = ReceiverNumber(0);
    ControlFrame::OpenReceiver(open()).encode(&mut bytes);
    for number in 0..4 {
        let selectors = (0..400).map(|index| format!("host=h{number}-{index}")).collect();
        let subscription = SubscriptionNumber(number);
        ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() })
            .encode(&mut bytes);
    }
    world.send(conn, CONTROL, &bytes);
    // One turn does not take all of them.
    (0..4).for_each(|_| world.settle());
    assert_eq!(world.core.metrics().selectors, 800);
    assert_eq!(world.core.metrics().refused, 2);
}

#[test]
fn receivers_that_are_closed_and_not_read_are_bounded() {
    let mut world = World::new();
    let conn = world.client(1);
    let publisher = world.client(2);
    world.memory.room = Some(60);
    for round in 0..20_u64 {
        world.say(conn, &ControlFrame::OpenReceiver(open()));
        let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(0));
        let selectors = vec!["*".to_owned()];
        world.say(
            conn,
            &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
        );
        world.publish(publisher, "host=a", round, &["some event that does not fit the room of its stream"]);
        world.say(conn, &ControlFrame::CloseReceiver(CloseReceiver { receiver }));
    }
    assert_eq!(world.core.metrics().receivers, 8, "as many as the client announced");
    assert!(world.core.metrics().refused >= 12);
}
