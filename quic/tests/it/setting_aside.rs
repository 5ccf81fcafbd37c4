//! Packets that give way while a core is behind.

use std::time::Duration;

use millrace_quic::{Admission, Arrival, ConnId, CoreSettings, ServerSettings, SocketId};

use crate::tls;
use crate::world::{CLIENT, Faults, SERVER, World};

/// Connections that have been silent for a while, and one that was heard a moment ago.
fn silent_and_in_use(silent: usize) -> (World, Vec<ConnId>, ConnId) {
    let admission = Admission { handshakes_per_second: 10_000, burst: 1_000 };
    let core = CoreSettings { handshakes_per_turn: 8, ..CoreSettings::default() };
    let mut world = World::with(1, Faults::NONE, ServerSettings { admission, ..tls::server() }, core);
    let silent: Vec<_> = (0..silent).map(|_| world.dial(tls::client(), None)).collect();
    let in_use = world.connect();
    world.run_for(Duration::from_secs(2));
    assert!(silent.iter().all(|conn| world.nodes[CLIENT].app.is_connected(*conn)));
    world.io(CLIENT, |app, io| {
        let key = (in_use, io.open_bi(in_use).unwrap());
        app.send(io, key, b"a moment ago", true);
    });
    world.run_for(Duration::from_millis(20));
    (world, silent, in_use)
}

#[test]
fn who_is_in_use_is_heard_before_those_who_were_silent_while_a_core_is_behind() {
    let (mut world, silent, in_use) = silent_and_in_use(100);
    world.is_behind = true;
    world.step();
    for conn in silent {
        world.io(CLIENT, |_, io| io.close(conn, 0, b""));
    }
    world.dial(tls::client(), None);
    let key = world.io(CLIENT, |app, io| {
        let key = (in_use, io.open_bi(in_use).unwrap());
        app.send(io, key, b"in time", true);
        key
    });
    world.turn_every(Duration::from_millis(1), 1);
    let (now, server) = (world.now, &mut world.nodes[SERVER]);
    let heard = server.app.received.len();
    while server.driver.dispatch_next(now, &mut server.net, &mut server.app) {}
    assert_eq!(server.app.received.len(), heard + 1);
    while server.driver.dispatch_aside(now, &mut server.net, &mut server.app) {}
    assert_eq!(server.app.closed.len(), 0, "nobody has opened their packets");
    assert!(server.driver.metrics().packets_set_aside > 100);
    assert!(server.driver.has_work(), "they do not wait for another packet");
    while server.driver.hear_aside(now, &mut server.net) {}
    while server.driver.dispatch_aside(now, &mut server.net, &mut server.app) {}
    assert_eq!(server.app.closed.len(), 100);
    world.is_behind = false;
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
}

#[test]
fn a_core_that_is_not_behind_sets_nothing_aside() {
    let (mut world, silent, _) = silent_and_in_use(10);
    for conn in silent {
        world.io(CLIENT, |_, io| io.close(conn, 0, b""));
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.nodes[SERVER].app.closed.len(), 10);
    assert_eq!(world.nodes[SERVER].driver.metrics().packets_set_aside, 0);
}

#[test]
fn packets_that_find_no_room_have_the_oldest_opened() {
    let mut world = World::new(1, Faults::NONE);
    let (now, server) = (world.now, &mut world.nodes[SERVER]);
    server.driver.begin_turn(now, &mut server.net, true);
    // No Initial that anybody sent: too short for one.
    let arrival = Arrival {
        socket: SocketId::SHARED,
        remote: "10.0.0.9:9".parse().unwrap(),
        local_ip: None,
        ecn: None,
    };
    let packet = [0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0];
    for _ in 0..10_000 {
        server.driver.handle_buffer(now, &mut server.net, &arrival, &packet, packet.len());
    }
    assert_eq!(server.driver.metrics().packets_set_aside, 10_000);
    let mut waiting = 0;
    while server.driver.hear_aside(now, &mut server.net) {
        waiting += 1;
    }
    assert_eq!(waiting, 8_192);
    assert_eq!(server.driver.metrics().drops.unroutable, 10_000);
}

#[test]
fn nothing_is_lost_on_a_bad_network_while_a_core_is_behind() {
    let mut world = World::new(7, Faults::BAD);
    world.is_behind = true;
    let conn = world.connect();
    for round in 0..20_u8 {
        let key = world.io(CLIENT, |app, io| {
            let key = (conn, io.open_bi(conn).unwrap());
            app.send(io, key, &[round; 5_000], true);
            key
        });
        world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
        // Longer than what counts as in use.
        world.run_for(Duration::from_millis(200));
    }
    assert!(world.nodes[SERVER].driver.metrics().packets_set_aside > 20);
}
