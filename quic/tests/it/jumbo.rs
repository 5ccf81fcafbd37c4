//! Datagrams grow to what the first hop takes, and connections live where a later one takes less.

use crate::world::{CLIENT, Faults, SERVER, World};

/// The largest datagrams, payload in bytes, that client and server send after an echo of 400,000
/// bytes.
fn largest(route_mtu: usize, payload_bytes_max: usize) -> [u16; 2] {
    let mut world = World::new(5, Faults::NONE);
    for node in &mut world.nodes {
        node.net.route_mtu = route_mtu;
    }
    world.payload_bytes_max = payload_bytes_max;
    let conn = world.connect();
    let data = vec![7; 400_000];
    let key = world.io(CLIENT, |app, io| {
        let stream = io.open_bi(conn).unwrap();
        app.send(io, (conn, stream), &data, true);
        (conn, stream)
    });
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
    assert!(world.nodes[CLIENT].app.received[&key] == data, "the echo differs");
    let accepted = world.nodes[SERVER].app.connected[0].0;
    [(CLIENT, conn), (SERVER, accepted)]
        .map(|(node, conn)| world.io(node, |_, io| io.stats(conn)).unwrap().mtu_bytes)
}

#[test]
fn jumbo_frames_are_filled() {
    for bytes in largest(9_000, usize::MAX) {
        assert!((8_000..=8_952).contains(&bytes), "{bytes} bytes of 8,952");
    }
}

#[test]
fn usual_frames_are_filled_and_nothing_larger_is_tried() {
    for bytes in largest(1_500, usize::MAX) {
        assert!((1_400..=1_452).contains(&bytes), "{bytes} bytes of 1,452");
    }
}

#[test]
fn path_that_takes_less_than_its_first_hop_is_found_out() {
    for bytes in largest(9_000, 1_452) {
        assert!((1_200..=1_452).contains(&bytes), "{bytes} bytes of 1,452");
    }
}
