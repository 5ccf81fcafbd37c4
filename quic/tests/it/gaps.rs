//! Streams that arrive full of holes: quinn keeps at most 1,024 separate pieces of a stream, looks
//! when it holds twice as many, and closes the connection when they cannot be merged.

use std::time::Duration;

use millrace_quic::{CloseReason, ConnId, CoreSettings, ServerSettings, StreamId, TransportSettings};

use crate::tls;
use crate::world::{CLIENT, Faults, SERVER, World};

/// Code of INTERNAL_ERROR, RFC 9000 §20.1.
const INTERNAL_ERROR: u64 = 1;

/// A client whose congestion window lets everything out at once.
fn eager() -> TransportSettings {
    TransportSettings { initial_window_bytes: Some(16 << 20), ..TransportSettings::client_facing() }
}

/// Connects, in addition to whoever has, and opens a stream to the server.
fn connect(world: &mut World) -> (ConnId, StreamId) {
    let before = world.nodes[SERVER].app.connected.len();
    let conn = world.dial(tls::client_with(eager()), None);
    world.run_until("connected", |world| {
        world.nodes[CLIENT].app.is_connected(conn) && world.nodes[SERVER].app.connected.len() > before
    });
    (conn, world.io(CLIENT, |_, io| io.open_bi(conn)).unwrap())
}

/// Sends each piece in packets of its own, of which every second one is lost.
fn send_full_of_holes(world: &mut World, key: (ConnId, StreamId), pieces: &[&[u8]], pause: Duration) {
    for piece in pieces {
        world.io(CLIENT, |app, io| app.send(io, key, piece, false));
        world.run_for(pause);
        world.cut = !world.cut;
    }
    world.cut = false;
}

#[test]
fn stream_with_too_many_holes_ends_its_connection_and_no_other() {
    let mut world = World::new(1, Faults::NONE);
    let (holey, neighbour) = (connect(&mut world), connect(&mut world));
    // No time passes, so the sender cannot learn of the holes and fill them.
    send_full_of_holes(&mut world, holey, &[&b"x"[..]; 4_200], Duration::ZERO);
    world.run_until("closed", |world| world.nodes[CLIENT].app.reason(holey.0).is_some());

    let reason = world.nodes[CLIENT].app.reason(holey.0);
    assert!(matches!(reason, Some(CloseReason::Remote { code: INTERNAL_ERROR, .. })), "{reason:?}");
    let [(closed, reason)] = &world.nodes[SERVER].app.closed[..] else { panic!("one connection is over") };
    assert_eq!(*closed, world.nodes[SERVER].app.connected[0].0);
    assert!(matches!(reason, CloseReason::Protocol { code: INTERNAL_ERROR, .. }), "{reason:?}");
    assert_eq!(world.nodes[SERVER].driver.metrics().closed, 1);

    let before = world.now;
    world.io(CLIENT, |app, io| app.send(io, neighbour, b"hello", true));
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&neighbour));
    assert!(world.now - before < Duration::from_millis(50));
    assert_eq!(world.nodes[CLIENT].app.received[&neighbour], b"hello");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.nodes[SERVER].driver.connections(), 1, "the memory of the other was returned");
}

#[test]
fn window_towards_clients_is_too_small_for_full_packets_to_leave_too_many_holes() {
    const PIECE: usize = 1_100;
    // The most that one stream can have: all that the connection may.
    let window = TransportSettings::client_facing().receive_window_bytes;
    let transport =
        TransportSettings { stream_receive_window_bytes: window, ..TransportSettings::client_facing() };
    let server = ServerSettings { transport, ..tls::server() };
    // So far away that all is sent before the first packet arrives.
    let far = Faults { delay: Duration::from_millis(500), ..Faults::NONE };
    let mut world = World::with(2, far, server, CoreSettings::default());
    world.nodes[SERVER].app.echo = false;
    let key = connect(&mut world);
    world.run_for(Duration::from_secs(5));

    let data: Vec<u8> = (0..window).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let pieces: Vec<_> = data.chunks(PIECE).collect();
    let before = world.nodes[SERVER].driver.metrics().datagrams_in;
    send_full_of_holes(&mut world, key, &pieces, Duration::from_micros(100));
    world.run_for(Duration::from_millis(600));
    let arrived = world.nodes[SERVER].driver.metrics().datagrams_in - before;
    assert!(arrived > 900, "{arrived} packets with holes between them");

    world.io(CLIENT, |_, io| io.finish(key.0, key.1)).unwrap();
    world.run_until("all", |world| !world.nodes[SERVER].app.ended.is_empty());
    assert!(world.nodes[SERVER].app.received.values().all(|received| *received == data), "the bytes differ");
    assert_eq!(world.nodes[SERVER].app.closed, []);
}
