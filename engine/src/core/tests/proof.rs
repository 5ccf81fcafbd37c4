//! Publisher ids that are proven, made, or refused; keys that only routers set.

use millrace_proto::control::{ControlFrame, Grant, Hello, OpenReceiver, RefusedReason};
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::stream::stream_kind;
use millrace_proto::{DecodeError, Epoch, PROTOCOL_VERSION, PublisherId, PublisherKey, PublisherSecret};

use super::world::{PUBLISH, World};
use crate::core::metrics::DropReason;
use crate::transport::{ConnKey, StreamKey};

const SECRET: PublisherSecret = PublisherSecret([3; 32]);

/// A client with a secret, or none.
fn client(world: &mut World, number: u64, secret: Option<PublisherSecret>) -> ConnKey {
    let conn = ConnKey(number);
    world.core.client_connected(world.now, conn);
    let hello = Hello { version: PROTOCOL_VERSION, secret, ..Hello::default() };
    world.say(conn, &ControlFrame::Hello(hello));
    conn
}

/// Publishes one event under an id.
fn publish(world: &mut World, conn: ConnKey, id: PublisherId, index: u64, tags: &str) {
    let mut bytes = Vec::new();
    if !world.memory.input.contains_key(&(conn, PUBLISH)) {
        frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
    }
    let key = PublisherKey { publisher: id, epoch: Epoch(1) };
    data::put_define_indexed_publisher(&mut bytes, 0, key, index);
    world.send(conn, PUBLISH, &bytes);
    // The numbers are defined: the helper adds the tag set and the run.
    world.publish(conn, tags, 0, &["x"]);
}

/// The ids that a receiver's stream defines.
fn ids(world: &World, conn: ConnKey) -> Vec<PublisherId> {
    let mut ids = Vec::new();
    let Some(written) = world.memory.written.get(&(conn, StreamKey(3))) else { return ids };
    let mut reader = FrameReader::new();
    reader
        .feed::<DecodeError>(written, data::FRAME_BYTES_MAX, |kind, body| {
            if kind == data::kind::DEFINE_PUBLISHER
                && let DataFrame::DefinePublisher { publisher, .. } = data::decode(kind, body)?
            {
                ids.push(publisher.publisher);
            }
            Ok(())
        })
        .unwrap();
    ids
}

fn refusals(world: &mut World, conn: ConnKey) -> Vec<RefusedReason> {
    let frames = world.control_frames(conn);
    frames
        .into_iter()
        .filter_map(
            |frame| if let ControlFrame::Refused(refused) = frame { Some(refused.reason) } else { None },
        )
        .collect()
}

fn listener(world: &mut World) -> ConnKey {
    world.receiver(1, OpenReceiver::default(), &["*"])
}

#[test]
fn ids_that_follow_from_the_secret_pass_and_others_are_refused() {
    let mut world = World::new();
    let receiver = listener(&mut world);
    let granted = ControlFrame::Grant(Grant { bytes: 1 << 20, ..Grant::default() });
    world.say(receiver, &granted);
    let publisher = client(&mut world, 2, Some(SECRET));
    let proven = PublisherId::derive(&SECRET, "", 5);
    publish(&mut world, publisher, proven, 5, "a=1");
    publish(&mut world, publisher, proven, 4, "a=1");
    publish(&mut world, publisher, PublisherId(7), 0, "a=1");
    assert_eq!(ids(&world, receiver), [proven]);
    assert_eq!(refusals(&mut world, publisher), [RefusedReason::Publisher; 2]);
    let metrics = world.core.metrics();
    assert_eq!((metrics.publishers_refused, metrics.dropped[DropReason::Publisher as usize]), (2, 2));
    assert_eq!(metrics.events_in, 3);
}

#[test]
fn a_client_without_a_secret_gets_ids_that_no_other_connection_may_claim() {
    let mut world = World::new();
    let receiver = listener(&mut world);
    let granted = ControlFrame::Grant(Grant { bytes: 1 << 20, ..Grant::default() });
    world.say(receiver, &granted);
    let (honest, other) = (client(&mut world, 2, None), client(&mut world, 3, None));
    publish(&mut world, honest, PublisherId(7), 0, "a=1");
    publish(&mut world, other, PublisherId(7), 0, "a=1");
    let seen = ids(&world, receiver);
    assert!(seen.len() == 2 && seen[0] != seen[1] && !seen.contains(&PublisherId(7)), "{seen:?}");
    publish(&mut world, other, seen[0], 0, "a=1");
    assert_eq!(ids(&world, receiver), seen);
    assert_eq!(refusals(&mut world, other), [RefusedReason::Publisher]);
    assert_eq!(world.core.metrics().dropped[DropReason::Publisher as usize], 1);
}

#[test]
fn keys_that_only_routers_set_are_refused_from_clients() {
    let mut world = World::new();
    let publisher = client(&mut world, 2, None);
    publish(&mut world, publisher, PublisherId(7), 0, "millrace/x=1");
    assert_eq!(refusals(&mut world, publisher), [RefusedReason::ReservedKey]);
    let metrics = world.core.metrics();
    assert_eq!((metrics.tag_sets_refused, metrics.dropped[DropReason::ReservedKey as usize]), (1, 1));
}
