//! Large events: passed on to receivers without a copy, in the order of everything else.

use millrace_proto::control::{ControlFrame, Grant, OpenReceiver};
use millrace_proto::data;
use millrace_proto::run::RunBuilder;
use millrace_proto::{ReceiverNumber, field, varint};

use super::world::{PUBLISH, World, open};
use crate::transport::StreamKey;

const DELIVER: StreamKey = StreamKey(3);

fn large() -> String {
    "large ".repeat(2000)
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
    for bytes in [1, 6_000, 1 << 20] {
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
    for room in (50..50_000).step_by(701) {
        world.memory.room = Some(room);
        world.core.writable(world.now, &mut world.memory, receiver, DELIVER);
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
        held.iter().filter(|bytes| bytes.len() > 8_000).map(|bytes| bytes.as_ptr()).collect();
    assert_eq!(places.len(), 8, "three for each that takes everything, two for the other");
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 3);
}

#[test]
fn a_small_event_in_a_large_frame_is_copied_so_that_it_keeps_no_more_than_itself() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    world.memory.congestion_window = 1 << 20;
    world.memory.unacknowledged = Some(Vec::new());
    let publisher = world.client(9);
    world.publish(publisher, "host=a", 0, &["first"]);
    let (mut run, mut body) = (RunBuilder::default(), Vec::new());
    run.start(1, 1, 5);
    run.push(5, b"small");
    run.finish(&mut body);
    // A field of the hop header that a later version may have.
    let mut hop = Vec::new();
    [0, 0, 0].into_iter().for_each(|part| varint::put(&mut hop, part));
    field::put_bytes(&mut hop, 99, &[7; 20_000]);
    let mut frame = Vec::new();
    varint::put(&mut frame, data::kind::RUN);
    varint::put(&mut frame, (varint::size(hop.len() as u64) + hop.len() + body.len()) as u64);
    varint::put_prefixed(&mut frame, &hop);
    frame.extend_from_slice(&body);
    world.send(publisher, PUBLISH, &frame);
    assert_eq!(world.stream(receiver), ["0 first [0]", "1 small [0]"]);
    let held = world.memory.unacknowledged.take().unwrap();
    assert_eq!(held.iter().filter(|bytes| bytes.len() == body.len()).count(), 0, "no piece of its own");
}
