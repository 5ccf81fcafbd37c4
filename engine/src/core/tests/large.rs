//! Large events: passed on without a copy, in the order of everything else.

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{ControlFrame, Grant, OpenReceiver};

use super::{World, open};
use crate::transport::StreamKey;

const DELIVER: StreamKey = StreamKey(3);

fn large() -> String {
    "large ".repeat(1000)
}

fn publish_all(world: &mut World) {
    let publisher = world.client(9);
    world.publish(publisher, "host=a", 0, &["small"]);
    world.publish(publisher, "host=a", 1, &[&large()]);
    world.publish(publisher, "host=a", 2, &["between"]);
    world.publish(publisher, "host=b", 3, &[&large()]);
    world.publish(publisher, "host=a", 4, &[&large(), "last"]);
}

fn everything() -> Vec<String> {
    ["0 small [0]", &format!("1 {} [0]", large()), "2 between [0]", &format!("3 {} [0]", large())]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("4 {} [0]", large()), "5 last [0]".to_owned()])
        .collect()
}

#[test]
fn they_keep_their_place_among_small_ones_written_or_queued() {
    let mut world = World::new();
    let at_once = world.receiver(1, open(), &["*"]);
    let later = world.receiver(2, OpenReceiver { grant: 0, ..open() }, &["*"]);
    publish_all(&mut world);
    assert_eq!(world.stream(at_once), everything());
    assert_eq!(world.stream(later), Vec::<String>::new());
    // A grant that ends within: a frame is begun only below it.
    for bytes in [1, 3_000, 1 << 20] {
        world.say(later, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(0), bytes }));
    }
    assert_eq!(world.stream(later), everything());
}

#[test]
fn a_stream_that_takes_a_few_bytes_at_a_time_gets_all_of_them_in_order() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    world.memory.room = Some(50);
    publish_all(&mut world);
    for room in (50..30_000).step_by(701) {
        world.memory.room = Some(room);
        world.core.writable(&mut world.memory, receiver, DELIVER);
        world.settle();
    }
    assert_eq!(world.stream(receiver), everything());
}

#[test]
fn all_streams_hold_the_same_buffer() {
    let mut world = World::new();
    world.receiver(1, open(), &["*"]);
    world.receiver(2, open(), &["host=a"]);
    world.receiver(3, OpenReceiver { grant: 0, ..open() }, &["*"]);
    world.memory.congestion_window = 1 << 20;
    world.memory.unacknowledged = Some(Vec::new());
    publish_all(&mut world);
    world.say(
        crate::transport::ConnKey(3),
        &ControlFrame::Grant(Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 }),
    );
    let held = world.memory.unacknowledged.take().unwrap();
    let mut places: Vec<_> =
        held.iter().filter(|bytes| bytes.len() > 4_000).map(|bytes| bytes.as_ptr()).collect();
    assert_eq!(places.len(), 8, "three for each that takes everything, two for the other");
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 3);
}
