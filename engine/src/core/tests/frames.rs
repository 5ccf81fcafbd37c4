//! Which control frames are handled when: clients take turns, and wait for neither what ends nor
//! each other for long.

use millrace_proto::control::{ControlFrame, OpenReceiver, Ping, Subscribe};
use millrace_proto::mesh::{InterestRequest, LinkFrame, MeshFrame, PeerHello, Tickets};
use millrace_proto::{CloseCode, ReceiverNumber, SubscriptionNumber};

use super::world::{CONTROL, World, lane, open};
use crate::core::agenda::FRAMES_PER_TURN;
use crate::core::connection::Connection;
use crate::core::mail::OUTPUTS_MAX;
use crate::message::{CoreOutput, ToControl, ToCore};
use crate::transport::ConnKey;

impl World {
    /// What has arrived, without the end of a turn behind it.
    fn hear(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.memory.input.entry((conn, CONTROL)).or_default().extend(bytes);
        self.core.readable(self.now, &mut self.memory, conn, CONTROL);
    }

    fn subscribe_to(&mut self, conn: ConnKey, subscription: u32, selectors: u32) {
        let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(subscription));
        let selectors = (0..selectors).map(|n| format!("host=h{n}")).collect();
        self.say(
            conn,
            &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
        );
    }

    fn was_answered(&self, conn: ConnKey) -> bool {
        self.control_frames(conn).iter().any(|frame| matches!(frame, ControlFrame::Pong(_)))
    }

    /// Bytes of a client's control stream that were read and not handled.
    fn unhandled(&self, conn: ConnKey) -> usize {
        match self.core.connections.get(&conn) {
            Some(Connection::Client(client)) => client.control.input.len(),
            _ => 0,
        }
    }
}

fn ping() -> Vec<u8> {
    let mut bytes = Vec::new();
    ControlFrame::Ping(Ping { nonce: 7 }).encode(&mut bytes);
    bytes
}

#[test]
fn frames_are_handled_in_every_turn_however_many_selectors_go_in_it() {
    let mut world = World::new();
    let patient = world.client(1);
    let leaving: Vec<ConnKey> = (2..12).map(|number| world.receiver(number, open(), &[])).collect();
    for &conn in &leaving {
        world.subscribe_to(conn, 0, 300);
    }
    for (turn, &conn) in leaving.iter().enumerate() {
        world.core.closed(world.now, &mut world.memory, conn, None);
        if turn == 0 {
            world.hear(patient, &ping());
        }
        world.core.turn(world.now, &mut world.memory);
    }
    assert!(world.was_answered(patient));
}

#[test]
fn many_small_frames_wait_as_the_bytes_that_they_came_in() {
    let mut world = World::new();
    let client = world.client(1);
    let frames = 20_000;
    // Frames of a type that nobody knows, and without a body.
    world.hear(client, &[0x3f, 0x00].repeat(frames));
    assert!(world.unhandled(client) <= super::super::client::CONTROL_READ_BYTES);
    let mut turns = 0;
    while world.core.metrics().frames_skipped < frames as u64 {
        let before = world.core.metrics().frames_skipped;
        world.core.turn(world.now, &mut world.memory);
        let handled = world.core.metrics().frames_skipped - before;
        assert!((1..=FRAMES_PER_TURN as u64).contains(&handled), "{handled} after {before}");
        assert!(world.unhandled(client) <= super::super::client::CONTROL_READ_BYTES);
        turns += 1;
    }
    assert!(turns > 50);
    assert_eq!(world.unhandled(client), 0);
}

#[test]
fn frames_that_straddle_reads_come_out_whole() {
    let mut world = World::new();
    let client = world.receiver(1, open(), &[]);
    let mut bytes = Vec::new();
    for number in 0..4 {
        let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(number));
        let selectors = (0..100).map(|n| format!("host=h{n}{}", "x".repeat(100))).collect();
        ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() })
            .encode(&mut bytes);
    }
    bytes.extend(ping());
    for piece in bytes.chunks(5_000) {
        world.hear(client, piece);
        world.settle();
    }
    world.settle();
    assert!(world.was_answered(client));
    assert_eq!((world.core.metrics().selectors, world.unhandled(client)), (400, 0));
    assert_eq!(world.memory.closed, []);
}

#[test]
fn frames_of_lanes_wait_for_control_and_not_for_clients() {
    let mut world = World::new();
    let peer = lane(&mut world, false, true);
    world.core.stream_opened(world.now, &mut world.memory, peer, CONTROL);
    let mut hello = Vec::new();
    MeshFrame::from(PeerHello::default()).encode(&mut hello);
    world.hear(peer, &hello);
    world.settle();
    let clients: Vec<ConnKey> = (10..30).map(|number| world.client(number)).collect();
    for &client in &clients {
        world.hear(client, &[0x3f, 0x00].repeat(5_000));
    }
    let mut frame = Vec::new();
    MeshFrame::from(Ping { nonce: 7 }).encode(&mut frame);
    world.hear(peer, &frame);
    let answered = |world: &World| world.memory.written.get(&(peer, CONTROL)).map_or(0, Vec::len);
    let before = answered(&world);
    assert!(before > 0, "a lane is read at once while control keeps up");

    world.core.mail.fill(OUTPUTS_MAX);
    world.hear(peer, &frame);
    world.core.turn(world.now, &mut world.memory);
    assert_eq!(answered(&world), before, "control does not keep up");
    world.core.mail.fill(0);
    world.core.turn(world.now, &mut world.memory);
    assert!(answered(&world) > before);
}

#[test]
fn what_a_message_of_control_costs_is_told_with_what_it_replaces() {
    let mut world = World::new();
    let client = world.receiver(1, open(), &[]);
    world.subscribe_to(client, 0, 300);
    assert_eq!(world.core.selectors_moved(), 300);
    world.subscribe_to(client, 0, 1);
    assert_eq!(world.core.selectors_moved(), 300 + 1 + 300);
    world.say(client, &ControlFrame::OpenReceiver(OpenReceiver { receiver: ReceiverNumber(1), ..open() }));
    world.core.handle_message(world.now, &mut world.memory, ToCore::Synced(true));
    assert_eq!(world.core.selectors_moved(), 601);
}

#[test]
fn link_frames_go_to_control_and_frames_of_the_lane_stay_at_its_core() {
    let mut world = World::new();
    let conn = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    PeerHello::default().encode(&mut bytes);
    Ping { nonce: 7 }.encode(&mut bytes);
    InterestRequest { version: 3 }.encode(&mut bytes);
    world.memory.input.insert((conn, CONTROL), bytes.into());
    world.core.stream_opened(world.now, &mut world.memory, conn, CONTROL);
    world.core.readable(world.now, &mut world.memory, conn, CONTROL);
    let told: Vec<CoreOutput> = std::iter::from_fn(|| world.core.poll_output()).collect();
    assert!(
        matches!(
            told[..],
            [
                CoreOutput::ToControl(ToControl::LaneHello { .. }),
                CoreOutput::ToControl(ToControl::LinkFrame { frame: LinkFrame::InterestRequest(_), .. })
            ]
        ),
        "{told:?}"
    );
    let mut feature = Vec::new();
    Tickets::default().encode(&mut feature);
    world.send(conn, CONTROL, &feature);
    assert_eq!(world.memory.closed, [(conn, CloseCode::Unexpected)], "a feature that is not listed");
}
