//! The driver on a simulated network: faults, timers and ends of connections in virtual time.

use std::time::Duration;

use bytes::BytesMut;
use millrace_quic::{
    Arrival, CloseReason, ConnId, CoreSettings, Keys, Network, ReadState, ServerSettings, SocketId, StreamId,
    TransportSettings, WideProtocol,
};
use proptest::prelude::*;

use crate::tls;
use crate::world::{CLIENT, Faults, SERVER, World};

fn send_bi(world: &mut World, conn: ConnId, data: &[u8]) -> (ConnId, StreamId) {
    world.io(CLIENT, |app, io| {
        let stream = io.open_bi(conn).unwrap();
        app.send(io, (conn, stream), data, true);
        (conn, stream)
    })
}

fn pattern(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

#[test]
fn every_byte_arrives_in_order_over_a_bad_network() {
    for seed in 0..6 {
        let mut world = World::new(seed, Faults::BAD);
        let conn = world.connect();
        let data = pattern(400_000);
        let key = send_bi(&mut world, conn, &data);
        world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
        assert!(world.nodes[CLIENT].app.received[&key] == data, "seed {seed}: the echo differs");
        assert!(world.nodes[SERVER].driver.packets_lost() > 0, "seed {seed}: there were no faults");
    }
}

#[test]
fn migration_over_a_bad_network_loses_nothing() {
    let mut world = World::new(11, Faults::BAD);
    let conn = world.connect();
    let data = pattern(600_000);
    let key = send_bi(&mut world, conn, &data);
    for _ in 0..3 {
        world.run_for(Duration::from_millis(120));
        world.io(CLIENT, |_, io| {
            let via = io.add_socket("10.0.0.2:0".parse().unwrap()).unwrap();
            assert!(io.migrate(conn, via));
        });
    }
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
    assert!(world.nodes[CLIENT].app.received[&key] == data, "the echo differs");
    let id = world.nodes[SERVER].app.connected[0].0;
    let last = world.nodes[CLIENT].net.local_addr(SocketId::new(3, 0));
    assert_eq!(world.io(SERVER, |_, io| io.remote_addr(id)), last);
}

#[test]
fn unread_stream_holds_the_sender_back_and_goes_on_when_read() {
    let mut world = World::new(1, Faults::NONE);
    world.nodes[SERVER].app.reading = false;
    let conn = world.connect();
    let data = pattern(8 << 20);
    let key = send_bi(&mut world, conn, &data);
    world.run_for(Duration::from_secs(5));
    assert!(!world.nodes[CLIENT].app.sent_all());
    let (id, _) = world.nodes[SERVER].app.connected[0];
    let received = world.io(SERVER, |_, io| io.stats(id).unwrap().bytes_in);
    let window = u64::from(TransportSettings::client_facing().stream_receive_window_bytes);
    assert!(received < window + window / 4, "{received} bytes came in past a window of {window}");
    let theirs = world.nodes[SERVER].app.opened[0];
    world.io(SERVER, |app, io| app.read_now(io, theirs));
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
    assert!(world.nodes[CLIENT].app.received[&key] == data, "the echo differs");
}

#[test]
fn blocked_stream_does_not_hold_up_its_neighbours() {
    let mut world = World::new(2, Faults::NONE);
    let conn = world.connect();
    let other = world.connect();
    world.nodes[SERVER].app.reading = false;
    send_bi(&mut world, conn, &pattern(4 << 20));
    world.run_for(Duration::from_secs(2));
    world.nodes[SERVER].app.reading = true;
    let key = send_bi(&mut world, other, b"hello");
    let before = world.now;
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
    assert!(world.now - before < Duration::from_millis(50));
}

#[test]
fn reads_are_as_large_as_asked_and_wake_brings_the_rest() {
    let mut world = World::new(3, Faults::NONE);
    world.nodes[SERVER].app.read_max = 700;
    let conn = world.connect();
    let data = pattern(30_000);
    let key = send_bi(&mut world, conn, &data);
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
    assert!(world.nodes[CLIENT].app.received[&key] == data, "the echo differs");
}

#[test]
fn reset_and_stop_tell_their_codes() {
    let mut world = World::new(4, Faults::NONE);
    let conn = world.connect();
    let reset = world.io(CLIENT, |app, io| {
        let stream = io.open_uni(conn).unwrap();
        app.send(io, (conn, stream), b"some", false);
        stream
    });
    let stopped = world.io(CLIENT, |app, io| {
        let stream = io.open_uni(conn).unwrap();
        app.send(io, (conn, stream), b"more", false);
        stream
    });
    world.run_until("opened", |world| world.nodes[SERVER].app.opened.len() == 2);
    world.io(CLIENT, |_, io| io.reset(conn, reset, 77));
    let id = world.nodes[SERVER].app.connected[0].0;
    world.io(SERVER, |_, io| io.stop(id, stopped, 88));
    world.run_until("both told", |world| {
        !world.nodes[CLIENT].app.stopped.is_empty() && !world.nodes[SERVER].app.ended.is_empty()
    });
    assert_eq!(world.nodes[SERVER].app.ended[&(id, reset)], ReadState::Reset(77));
    assert_eq!(world.nodes[CLIENT].app.stopped, vec![((conn, stopped), 88)]);
}

#[test]
fn streams_beyond_the_limit_wait_for_streams_available() {
    let mut world = World::new(5, Faults::NONE);
    let conn = world.connect();
    let limit = TransportSettings::client_facing().uni_streams;
    let opened: Vec<_> = world.io(CLIENT, |_, io| std::iter::from_fn(|| io.open_uni(conn)).collect());
    assert_eq!(opened.len(), usize::try_from(limit).unwrap());
    let before = world.nodes[CLIENT].app.available;
    world.io(CLIENT, |app, io| app.send(io, (conn, opened[0]), b"x", true));
    world.run_until("available", |world| world.nodes[CLIENT].app.available > before);
    assert!(world.io(CLIENT, |_, io| io.open_uni(conn)).is_some());
}

#[test]
fn silence_ends_both_sides_and_returns_their_memory() {
    let mut world = World::new(6, Faults::NONE);
    let conn = world.connect();
    world.cut = true;
    send_bi(&mut world, conn, b"into the void");
    world.run_for(Duration::from_secs(120));
    assert_eq!(world.nodes[CLIENT].app.reason(conn), Some(&CloseReason::TimedOut));
    assert_eq!(world.nodes[SERVER].app.closed.len(), 1);
    assert_eq!(world.nodes[CLIENT].driver.connections() + world.nodes[SERVER].driver.connections(), 0);
    assert!(world.nodes[CLIENT].driver.next_timeout().is_none());
}

#[test]
fn dial_into_the_void_times_out() {
    let mut world = World::new(7, Faults::NONE);
    world.cut = true;
    let conn = world.dial(tls::client(), None);
    world.run_until("closed", |world| world.nodes[CLIENT].app.reason(conn).is_some());
    assert_eq!(world.nodes[CLIENT].app.reason(conn), Some(&CloseReason::TimedOut));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.nodes[CLIENT].driver.connections(), 0);
}

/// Restarts the server without a word, with these settings, lets the client speak, and returns how
/// its connection ended.
fn after_restart(server: ServerSettings) -> (Option<CloseReason>, u64) {
    let mut world = World::new(8, Faults::NONE);
    let conn = world.connect();
    world.run_for(Duration::from_secs(1));
    world.restart(SERVER, Some(server));
    send_bi(&mut world, conn, &pattern(2_000));
    world.run_for(Duration::from_millis(100));
    (world.nodes[CLIENT].app.reason(conn).cloned(), world.nodes[SERVER].driver.metrics().answers)
}

#[test]
fn restarted_router_resets_its_predecessors_connections_at_once() {
    let (reason, answers) = after_restart(tls::server());
    assert_eq!(reason, Some(CloseReason::Reset));
    assert!(answers > 0);
}

#[test]
fn neighbour_cannot_reset_connections_that_are_not_its_own() {
    let neighbour = ServerSettings { keys: Keys::derive(&[7; 32], "router-1:7400"), ..tls::server() };
    let (reason, answers) = after_restart(neighbour);
    assert_eq!(reason, None);
    assert!(answers > 0, "it tried");
}

#[test]
fn slot_of_a_closed_connection_is_reused_under_another_name() {
    let mut world = World::new(9, Faults::NONE);
    let old = world.connect();
    world.io(CLIENT, |_, io| io.close(old, 0, b""));
    world.run_until("memory returned", |world| {
        world.nodes[CLIENT].driver.connections() + world.nodes[SERVER].driver.connections() == 0
    });
    let new = world.dial(tls::client(), None);
    world.run_until("connected", |world| world.nodes[CLIENT].app.is_connected(new));
    assert_eq!(old.index(), new.index());
    assert_ne!(old, new);
    world.io(CLIENT, |_, io| {
        assert_eq!(io.open_uni(old), None);
        assert!(io.stats(old).is_none());
        io.close(old, 0, b"");
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.nodes[CLIENT].app.reason(new), None);
}

#[test]
fn many_connections_come_and_go_without_a_trace() {
    let mut world = World::new(10, Faults::BAD);
    let client = tls::client();
    for _ in 0..3 {
        let conns: Vec<_> = (0..40).map(|_| world.dial(client.clone(), None)).collect();
        world.run_until("connected", |world| {
            conns.iter().all(|conn| world.nodes[CLIENT].app.is_connected(*conn))
        });
        for conn in conns {
            world.io(CLIENT, |_, io| io.close(conn, 0, b"bye"));
        }
        world.run_for(Duration::from_secs(60));
        assert_eq!(world.nodes[CLIENT].driver.connections(), 0);
        assert_eq!(world.nodes[SERVER].driver.connections(), 0);
    }
    let server = world.nodes[SERVER].driver.metrics();
    assert_eq!(server.closed, server.connected);
}

#[test]
fn blocked_socket_holds_packets_and_sends_them_when_it_is_free() {
    let mut world = World::new(12, Faults::NONE);
    let conn = world.connect();
    world.run_for(Duration::from_secs(1));
    world.nodes[CLIENT].net.blocked = true;
    let key = send_bi(&mut world, conn, &pattern(50_000));
    world.run_for(Duration::from_millis(500));
    assert!(world.nodes[SERVER].app.opened.is_empty());
    world.nodes[CLIENT].net.blocked = false;
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
    assert_eq!(world.nodes[CLIENT].driver.packets_lost(), 0);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let core = CoreSettings { core: 2, cores: 2, ..Default::default() };
    let settings = millrace_quic::DriverSettings { core, server: None, seed: [0; 32], mtu_discovery: false };
    let error = millrace_quic::Driver::new(&settings).unwrap_err();
    assert_eq!(error.to_string(), "setting `core` is out of range");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn garbage_is_survived(
        packets in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..1400)), 1..40),
        stride in 1..1500_usize,
    ) {
        let mut world = World::new(13, Faults::NONE);
        let now = world.now;
        let node = &mut world.nodes[SERVER];
        for (as_initial, mut bytes) in packets {
            if as_initial {
                // Like a hello of QUIC version 1, so that more of the parser is reached.
                let head = [0xc3, 0, 0, 0, 1, 8];
                let end = bytes.len().min(head.len());
                bytes[..end].copy_from_slice(&head[..end]);
                bytes.resize(1200, 0);
            }
            let arrival = Arrival {
                socket: SocketId::SHARED, remote: "10.9.9.9:9".parse().unwrap(), local_ip: None, ecn: None,
            };
            node.driver.handle_buffer(now, &mut node.net, &arrival, &BytesMut::from(&bytes[..]), stride);
        }
        world.run_for(Duration::from_secs(1));
        let conn = world.dial(tls::client(), None);
        world.run_until("connected", |world| world.nodes[CLIENT].app.is_connected(conn));
    }
}

/// What arrives on one stream of an accepted connection that reads nothing, and whether the server
/// could queue as much.
fn in_flight(wide: &[u8]) -> (usize, bool) {
    const BYTES: usize = 6 << 20;
    let lane = TransportSettings::lane();
    let wide = WideProtocol { alpn: wide.to_vec(), transport: lane.clone() };
    let server = ServerSettings { wide: Some(wide), ..tls::server() };
    let mut world = World::with(7, Faults::NONE, server, CoreSettings::default());
    world.nodes[SERVER].app.reading = false;
    let conn = world.dial(tls::client_with(lane), None);
    world.run_until("connected", |world| !world.nodes[SERVER].app.connected.is_empty());
    let accepted = world.nodes[SERVER].app.connected[0].0;
    world.io(CLIENT, |app, io| {
        let stream = io.open_uni(conn).unwrap();
        app.send(io, (conn, stream), &vec![1; BYTES], false);
    });
    world.run_for(Duration::from_secs(5));
    let queued = world.io(SERVER, |app, io| {
        let key = app.opened[0];
        app.read_now(io, key);
        let stream = io.open_uni(accepted).unwrap();
        app.send(io, (accepted, stream), &vec![1; BYTES], false);
        app.sent_all()
    });
    let key = world.nodes[SERVER].app.opened[0];
    (world.nodes[SERVER].app.received[&key].len(), queued)
}

#[test]
fn accepted_connection_of_the_wide_protocol_has_as_much_in_flight_as_the_dialling_side() {
    assert_eq!(in_flight(tls::ALPN), (6 << 20, true));
}

#[test]
fn accepted_connection_of_another_protocol_is_held_by_the_window_of_all_its_streams() {
    let window = usize::try_from(TransportSettings::client_facing().receive_window_bytes).unwrap();
    assert_eq!(in_flight(b"wide/1"), (window, false));
}
