//! Datagrams grow to what the first hop takes, and connections live where a later one takes less.

use crate::world::{CLIENT, Faults, SERVER, World};

/// The largest datagrams, payload in bytes, that client and server send after an echo of 400,000
/// bytes, and the probes that each needed to know.
fn largest(route_mtu: usize, payload_bytes_max: usize) -> [(u16, u64); 2] {
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
        .map(|(node, conn)| world.io(node, |_, io| io.stats(conn)).unwrap())
        .map(|stats| (stats.mtu_bytes, stats.mtu_probes))
}

#[test]
fn jumbo_frames_are_filled_after_one_probe() {
    assert_eq!(largest(9_000, usize::MAX), [(8_952, 1); 2]);
}

#[test]
fn usual_frames_are_filled_after_one_probe_and_nothing_larger_is_tried() {
    assert_eq!(largest(1_500, usize::MAX), [(1_452, 1); 2]);
}

#[test]
fn path_that_takes_less_than_its_first_hop_is_found_out() {
    for (bytes, probes) in largest(9_000, 1_452) {
        assert!((1_200..=1_452).contains(&bytes) && probes <= 6, "{bytes} bytes, {probes} probes");
    }
    for (bytes, probes) in largest(1_500, 1_400) {
        assert!((1_300..=1_400).contains(&bytes) && probes <= 4, "{bytes} bytes, {probes} probes");
    }
}
