//! Events reach the receivers that select them.

use std::time::Duration;

use millrace_proto::control::ControlFrame;
use millrace_proto::data::{self};
use millrace_proto::{Epoch, PublisherId, PublisherKey};

use super::world::{PUBLISH, World, open};
use crate::core::DropReason;

#[test]
fn an_event_reaches_those_who_asked_for_it_once_with_the_subscriptions_that_matched() {
    let mut world = World::new();
    let web = world.receiver(1, open(), &["service=web", "host=a*"]);
    let other = world.receiver(2, open(), &["service=db"]);
    let publisher = world.client(3);
    world.publish(publisher, "service=web,host=a1", 0, &["one", "two"]);
    world.publish(publisher, "service=web,host=b1", 2, &["three"]);
    assert_eq!(world.stream(web), ["0 one [0, 1]", "1 two [0, 1]", "2 three [0]"]);
    assert_eq!(world.stream(other), Vec::<String>::new());
    assert_eq!(world.core.metrics().events_in, 3);
}

#[test]
fn payload_patterns_choose_events_within_a_run() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["payload ~ /bad/", "payload ~ /very/"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 10, &["good", "bad", "very bad", "good", "bad"]);
    assert_eq!(world.stream(receiver), ["11 bad [0]", "12 very bad [0, 1]", "14 bad [0]"]);
}

#[test]
fn a_run_that_is_cut_off_is_counted_however_its_stream_was_lost() {
    for reset in [true, false] {
        let mut world = World::new();
        let publisher = world.client(1);
        world.publish(publisher, "host=a", 0, &["x"]);
        world.send(publisher, PUBLISH, &[0x14, 0x40]);
        if reset {
            world.memory.reset.insert((publisher, PUBLISH));
            world.core.readable(world.now, &mut world.memory, publisher, PUBLISH);
        }
        world.core.closed(world.now, &mut world.memory, publisher, None);
        assert_eq!(world.core.metrics().dropped[DropReason::StreamLost as usize], 1);
    }
}

#[test]
fn a_number_that_names_another_publisher_starts_to_be_received_anew() {
    let mut world = World::new();
    let publisher = world.client(1);
    world.publish(publisher, "host=a", 100, &["x"]);
    let mut bytes = Vec::new();
    let other = PublisherKey { publisher: PublisherId(8), epoch: Epoch(1) };
    data::put_define_publisher(&mut bytes, 0, other);
    world.send(publisher, PUBLISH, &bytes);
    world.publish(publisher, "host=a", 3, &["y"]);
    world.now = world.now + Duration::from_millis(25);
    world.settle();
    let received =
        |frame| if let ControlFrame::Received(received) = frame { Some(received.next_seq) } else { None };
    assert_eq!(world.control_frames(publisher).into_iter().filter_map(received).next_back(), Some(4));
}
