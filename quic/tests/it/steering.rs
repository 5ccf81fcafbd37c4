//! Several cores on one port: steering by the kernel, the guard when it fails, and ids that stay on
//! their core.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_quic::{
    Admission, Arrival, ClientSettings, ConnId, Core, CoreSettings, Dial, ServerSettings, SocketId, StreamId,
    TransportSettings, steer,
};

use crate::peer::Peer;
use crate::tls;
use crate::world::{Faults, SERVER, World};

/// A router of several cores on one port, and a client core, run in turn on one thread.
struct Router {
    cores: Vec<Core<Peer>>,
    client: Core<Peer>,
    via: SocketId,
    settings: Arc<ClientSettings>,
    addr: SocketAddr,
}

impl Router {
    fn new(cores: u16, is_steered: bool, server: &ServerSettings) -> Self {
        let group = steer::bind_group("127.0.0.1:0".parse().unwrap(), cores).unwrap();
        if !is_steered {
            group.detach().unwrap();
        }
        let numbered = (0..cores).zip(group.sockets);
        let make = |(core, socket)| {
            let settings = CoreSettings { core, cores, ..CoreSettings::default() };
            Core::new(settings, Some(server.clone()), Some(socket), Peer::of_many_cores()).unwrap()
        };
        let cores = numbered.map(make).collect();
        let mut client = Core::new(CoreSettings::default(), None, None, Peer::default()).unwrap();
        let via = client.with_io(|_, io| io.add_socket("127.0.0.1:0".parse().unwrap())).unwrap();
        let keep_alive = Some(Duration::from_secs(5));
        let settings =
            tls::client_with(TransportSettings { keep_alive, ..TransportSettings::client_facing() });
        Self { cores, client, via, settings, addr: group.addr }
    }

    fn dial(&mut self, shard: u16) -> ConnId {
        let dial = Dial {
            remote: self.addr,
            server_name: "localhost".into(),
            client: self.settings.clone(),
            via: self.via,
            shard: Some(shard),
        };
        self.client.with_io(|_, io| io.connect(&dial)).unwrap()
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        // Ten thousand connections take their time on a busy host.
        let end = Instant::now() + Duration::from_secs(120);
        while !done(self) {
            assert!(Instant::now() < end, "never came: {what}");
            self.client.turn(Duration::from_micros(100));
            for core in 0..self.cores.len() {
                self.cores[core].turn(Duration::from_micros(100));
                let foreign = std::mem::take(self.cores[core].app_mut().foreign.as_mut().unwrap());
                for (owner, segment) in foreign {
                    self.cores[usize::from(owner)].with_io(|_, io| io.inject(segment));
                }
            }
        }
    }

    fn connect_all(&mut self, shards: std::ops::Range<u16>) -> Vec<ConnId> {
        let conns: Vec<_> = shards.map(|shard| self.dial(shard)).collect();
        self.run_until("connected", |router| {
            conns.iter().all(|conn| router.client.app().is_connected(*conn))
                && router.cores.iter().map(|core| core.app().connected.len()).sum::<usize>() >= conns.len()
        });
        conns
    }

    fn echo_all(&mut self, conns: &[ConnId], bytes: usize) {
        let keys: Vec<(ConnId, StreamId)> = conns
            .iter()
            .map(|conn| {
                self.client.with_io(|app, io| {
                    let key = (*conn, io.open_bi(*conn).unwrap());
                    app.send(io, key, &vec![9; bytes], true);
                    key
                })
            })
            .collect();
        self.run_until("echoes", |router| keys.iter().all(|key| router.client.app().ended.contains_key(key)));
        for key in keys {
            assert_eq!(self.client.app().received[&key].len(), bytes);
        }
    }

    fn foreign(&self) -> u64 {
        self.cores.iter().map(|core| core.metrics().foreign_out).sum()
    }

    /// Addresses that the router sends to.
    fn remotes(&mut self) -> BTreeSet<SocketAddr> {
        let of_core = |core: &mut Core<Peer>| {
            core.with_io(|app, io| {
                app.connected.iter().filter_map(|(conn, _)| io.remote_addr(*conn)).collect::<Vec<_>>()
            })
        };
        self.cores.iter_mut().flat_map(of_core).collect()
    }

    fn per_core(&self) -> Vec<usize> {
        self.cores.iter().map(|core| core.app().connected.len()).collect()
    }
}

#[test]
fn shard_in_the_first_packet_chooses_the_core_and_all_packets_stay_there() {
    let mut router = Router::new(3, true, &tls::server());
    let conns = router.connect_all(0..9);
    router.echo_all(&conns, 100_000);
    assert_eq!(router.per_core(), [3, 3, 3]);
    assert_eq!(router.foreign(), 0);
}

#[test]
fn connections_stay_on_their_core_through_retry_and_migration() {
    let admission = Admission { handshakes_per_second: 10_000, burst: 20_000 };
    let mut server = ServerSettings { admission, ..tls::server() };
    // Below half from the second on.
    server.admission.burst = 2;
    let mut router = Router::new(2, true, &server);
    let conns = router.connect_all(0..6);
    assert_eq!(router.per_core(), [3, 3]);
    router.via = router.client.with_io(|_, io| io.add_socket("127.0.0.1:0".parse().unwrap())).unwrap();
    for conn in &conns {
        let via = router.via;
        assert!(router.client.with_io(|_, io| io.migrate(*conn, via)));
    }
    router.echo_all(&conns, 50_000);
    assert_eq!(router.foreign(), 0);
    assert_eq!(router.cores.iter().map(Core::connections).collect::<Vec<_>>(), [3, 3]);
}

/// Connections that are dialled, or that move, between two looks at the network.
const WAVE: usize = 100;

/// Connects so many, keeps all of them busy, moves each to a source port of its own while bytes are
/// on their way, and checks that every byte comes back and nobody was closed.
fn all_migrate_under_load(count: usize, is_steered: bool) {
    let admission = Admission { handshakes_per_second: 1_000_000, burst: 1_000_000 };
    let mut router = Router::new(2, is_steered, &ServerSettings { admission, ..tls::server() });
    let mut conns = Vec::new();
    while conns.len() < count {
        let wave = WAVE.min(count - conns.len());
        conns.extend((0..wave).map(|number| router.dial(u16::try_from(number).unwrap())));
        router.run_until("connected", |router| router.client.app().connected.len() >= conns.len());
    }
    let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let (before, after) = bytes.split_at(2000);
    let keys: Vec<_> = conns
        .iter()
        .map(|conn| {
            router.client.with_io(|app, io| {
                let key = (*conn, io.open_bi(*conn).unwrap());
                app.send(io, key, before, false);
                key
            })
        })
        .collect();
    for wave in keys.chunks(WAVE) {
        router.client.with_io(|app, io| {
            for key in wave {
                let via = io.add_socket("127.0.0.1:0".parse().unwrap()).unwrap();
                assert!(io.migrate(key.0, via));
                app.send(io, *key, after, true);
            }
        });
        let turns = router.client.app().turns + 3;
        router.run_until("a few turns", |router| router.client.app().turns >= turns);
    }
    router.run_until("echoes", |router| router.client.app().ended.len() == keys.len());
    assert!(keys.iter().all(|key| router.client.app().received[key] == bytes));
    assert!(router.client.app().closed.is_empty());
    let sum = |f: fn(&Core<Peer>) -> u64| router.cores.iter().map(f).sum::<u64>();
    assert_eq!(router.cores.iter().map(Core::connections).sum::<usize>(), count);
    assert_eq!(sum(|core| core.app().closed.len() as u64), 0);
    // Packets under ids that were retired meanwhile may come late and be answered; a client knows
    // those ids no more.
    assert_eq!(sum(|core| core.metrics().drops.foreign), 0);
    assert_eq!(router.foreign() == 0, is_steered);
    // The router follows with the last acknowledgement at the latest.
    let end = Instant::now() + Duration::from_secs(20);
    while router.remotes().len() < count {
        assert!(Instant::now() < end, "not each is at a source port of its own");
        let turns = router.client.app().turns + 10;
        router.run_until("a few turns", |router| router.client.app().turns >= turns);
    }
}

#[test]
fn hundreds_of_connections_migrate_under_load_and_all_stay_up() {
    all_migrate_under_load(500, true);
}

#[test]
fn connections_migrate_under_load_without_the_steering_program() {
    all_migrate_under_load(100, false);
}

#[test]
#[ignore = "takes 10,000 sockets and a minute: cargo test --release -p millrace-quic --test it -- --ignored migrate"]
fn ten_thousand_connections_migrate_under_load_and_all_stay_up() {
    all_migrate_under_load(10_000, true);
}

#[test]
fn without_the_steering_program_nothing_is_lost_or_reset() {
    let mut router = Router::new(3, false, &tls::server());
    // One client socket, so the kernel gives all packets to one core: two thirds are for others.
    let conns = router.connect_all(0..9);
    router.echo_all(&conns, 100_000);
    assert_eq!(router.per_core(), [3, 3, 3]);
    assert!(router.foreign() > 50, "{}", router.foreign());
    assert!(router.client.app().closed.is_empty());
    let sum = |f: fn(&Core<Peer>) -> u64| router.cores.iter().map(f).sum::<u64>();
    assert_eq!(sum(|core| core.metrics().answers), 0);
    assert_eq!(sum(|core| core.metrics().drops.foreign), 0);
    assert_eq!(sum(|core| core.metrics().foreign_in), router.foreign());
}

#[test]
fn segments_that_nobody_takes_are_dropped_and_never_answered() {
    let mut router = Router::new(2, false, &tls::server());
    let conns = router.connect_all(0..4);
    for core in &mut router.cores {
        core.app_mut().foreign = None;
    }
    let conns: Vec<_> = conns.into_iter().collect();
    for conn in &conns {
        router.client.with_io(|app, io| {
            let key = (*conn, io.open_bi(*conn).unwrap());
            app.send(io, key, b"hello", true);
        });
    }
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        router.client.turn(Duration::from_micros(100));
        router.cores.iter_mut().for_each(|core| {
            core.turn(Duration::from_micros(100));
        });
    }
    assert!(router.cores.iter().map(|core| core.metrics().drops.foreign).sum::<u64>() > 0);
    assert!(router.client.app().closed.is_empty(), "a sibling's connection was reset");
}

/// A short packet whose id has this steering value.
fn short_packet(value: u16, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x45; bytes];
    packet[2..4].copy_from_slice(&value.to_be_bytes());
    packet
}

#[test]
fn merged_buffer_of_several_cores_is_taken_apart() {
    let core = CoreSettings { core: 1, cores: 3, ..CoreSettings::default() };
    let mut world = World::with(1, Faults::NONE, tls::server(), core);
    world.nodes[SERVER].app.foreign = Some(Vec::new());
    let buffer: Vec<u8> = [0, 1, 2, 4, 5].iter().flat_map(|value| short_packet(*value, 100)).collect();
    // The last datagram of a merged buffer may be shorter.
    let buffer = &buffer[..buffer.len() - 40];
    let now = world.now;
    let node = &mut world.nodes[SERVER];
    let remote = "10.0.0.9:9".parse().unwrap();
    let arrival = Arrival { socket: SocketId::SHARED, remote, local_ip: None, ecn: None };
    node.driver.handle_buffer(now, &mut node.net, &arrival, buffer, 100);
    while node.driver.dispatch_next(now, &mut node.net, &mut node.app) {}
    while node.driver.dispatch_aside(now, &mut node.net, &mut node.app) {}
    let foreign = node.app.foreign.take().unwrap();
    let owners: Vec<_> = foreign.iter().map(|(owner, segment)| (*owner, segment.data.len())).collect();
    assert_eq!(owners, [(0, 100), (2, 100), (2, 60)]);
    // Two were ours, of connections that are gone: those, and only those, are answered with a
    // reset.
    assert_eq!(node.driver.metrics().answers, 2);
    assert_eq!(node.driver.metrics().foreign_out, 3);

    // A sibling's mistake does not travel on.
    let (_, segment) = foreign.into_iter().next().unwrap();
    node.driver.inject(now, &mut node.net, segment);
    assert_eq!(node.driver.metrics().drops.foreign, 1);
}

#[test]
fn guard_leaves_sockets_of_their_own_port_alone() {
    let core = CoreSettings { core: 1, cores: 3, ..CoreSettings::default() };
    let mut world = World::with(1, Faults::NONE, tls::server(), core);
    let lane = world.io(SERVER, |_, io| io.add_socket("10.0.0.1:0".parse().unwrap())).unwrap();
    let now = world.now;
    let node = &mut world.nodes[SERVER];
    let remote = "10.0.0.9:9".parse().unwrap();
    let arrival = Arrival { socket: lane, remote, local_ip: None, ecn: None };
    node.driver.handle_buffer(now, &mut node.net, &arrival, &short_packet(0, 100), 100);
    assert_eq!(node.driver.metrics().foreign_out, 0);
    assert_eq!(node.driver.metrics().answers, 0, "an id of another core is never answered");
}
