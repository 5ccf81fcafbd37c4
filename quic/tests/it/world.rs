//! A network in virtual time: nodes of one driver each, and packets that get lost, late, doubled or
//! mixed up.
//!
//! Seeded; TLS inside of quinn has its own randomness, so runs repeat in their faults but not bit
//! for bit.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use millrace_quic::{
    Arrival, ClientSettings, ConnId, CoreSettings, Dial, Driver, DriverSettings, Io, Network, Outgoing,
    ServerSettings, SocketId,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::peer::Peer;
use crate::tls;

/// What happens to packets on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Part of the datagrams that never arrive.
    pub(crate) loss: f64,
    /// Part that arrives twice.
    pub(crate) doubled: f64,
    pub(crate) delay: Duration,
    /// Added at random; more than the gap between packets mixes them up.
    pub(crate) jitter: Duration,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { loss: 0.0, doubled: 0.0, delay: Duration::from_millis(1), jitter: Duration::ZERO };
    pub(crate) const BAD: Self = Self {
        loss: 0.05,
        doubled: 0.03,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(8),
    };
}

#[derive(Debug)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    data: Vec<u8>,
}

/// The sockets of one node.
#[derive(Debug)]
pub(crate) struct SimNet {
    ip: IpAddr,
    sockets: Vec<Option<SocketAddr>>,
    pub(crate) blocked: bool,
    /// What it says about the first hop.
    pub(crate) route_mtu: usize,
    sent: VecDeque<Packet>,
}

impl Network for SimNet {
    fn add_socket(&mut self, _: SocketAddr) -> io::Result<SocketId> {
        let index = u16::try_from(self.sockets.len()).unwrap();
        self.sockets.push(Some(SocketAddr::new(self.ip, 10_000 + index)));
        Ok(SocketId::new(index, 0))
    }

    fn remove_socket(&mut self, socket: SocketId) {
        self.sockets[usize::from(socket.index())] = None;
    }

    fn local_addr(&self, socket: SocketId) -> Option<SocketAddr> {
        self.sockets.get(usize::from(socket.index())).copied().flatten()
    }

    fn segments_max(&self, _: SocketId) -> usize {
        8
    }

    fn route_mtu(&self, _: SocketAddr) -> usize {
        self.route_mtu
    }

    fn is_blocked(&self, _: SocketId) -> bool {
        self.blocked
    }

    fn send(&mut self, outgoing: Outgoing, data: &mut Vec<u8>) {
        assert!(!self.blocked, "nothing is sent to a blocked socket");
        let Some(from) = self.local_addr(outgoing.socket) else { return };
        let size = outgoing.segment_size.map_or(data.len(), usize::from);
        for segment in data.chunks(size) {
            self.sent.push_back(Packet { from, to: outgoing.destination, data: segment.to_vec() });
        }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) driver: Driver,
    pub(crate) net: SimNet,
    pub(crate) app: Peer,
}

impl Node {
    fn io<R>(&mut self, now: Instant, f: impl FnOnce(&mut Peer, &mut Io<'_>) -> R) -> R {
        self.driver.with_io(now, &mut self.net, &mut self.app, f)
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) faults: Faults,
    /// The server's socket always has more than a turn receives.
    pub(crate) is_behind: bool,
    /// No packet arrives at all.
    pub(crate) cut: bool,
    /// Larger UDP payloads do not arrive.
    pub(crate) payload_bytes_max: usize,
    rng: Pcg64Mcg,
    flying: BTreeMap<(Instant, u64), Packet>,
    sequence: u64,
}

/// The server, at 10.0.0.1:7400.
pub(crate) const SERVER: usize = 0;
/// The client.
pub(crate) const CLIENT: usize = 1;

impl World {
    /// A server that echoes, and a client.
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self::with(seed, faults, tls::server(), CoreSettings::default())
    }

    pub(crate) fn with(seed: u64, faults: Faults, server: ServerSettings, core: CoreSettings) -> Self {
        let mut world = Self {
            now: Instant::now(),
            nodes: Vec::new(),
            faults,
            is_behind: false,
            cut: false,
            payload_bytes_max: usize::MAX,
            rng: Pcg64Mcg::seed_from_u64(seed),
            flying: BTreeMap::new(),
            sequence: 0,
        };
        world.add_node(Some(server), core, Peer::echo());
        world.add_node(None, CoreSettings::default(), Peer::default());
        world
    }

    pub(crate) fn add_node(&mut self, server: Option<ServerSettings>, core: CoreSettings, app: Peer) {
        let number = u8::try_from(self.nodes.len() + 1).unwrap();
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
        let settings = DriverSettings { core, server, seed: self.rng.random(), mtu_discovery: true };
        let net = SimNet {
            ip,
            sockets: vec![Some(SocketAddr::new(ip, 7400))],
            blocked: false,
            route_mtu: 1_500,
            sent: VecDeque::new(),
        };
        self.nodes.push(Node { driver: Driver::new(&settings).unwrap(), net, app });
    }

    /// A node that has lost its memory.
    pub(crate) fn restart(&mut self, node: usize, server: Option<ServerSettings>) {
        let settings = DriverSettings {
            core: CoreSettings::default(),
            server,
            seed: self.rng.random(),
            mtu_discovery: true,
        };
        self.nodes[node].driver = Driver::new(&settings).unwrap();
        self.nodes[node].app = Peer::echo();
    }

    pub(crate) fn dial(&mut self, client: std::sync::Arc<ClientSettings>, shard: Option<u16>) -> ConnId {
        let dial = Dial {
            remote: self.nodes[SERVER].net.local_addr(SocketId::SHARED).unwrap(),
            server_name: "localhost".into(),
            client,
            via: SocketId::SHARED,
            shard,
        };
        let now = self.now;
        self.nodes[CLIENT].io(now, |_, io| io.connect(&dial)).unwrap()
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        let conn = self.dial(tls::client(), None);
        self.run_until("connected", |world| {
            world.nodes[CLIENT].app.is_connected(conn) && !world.nodes[SERVER].app.connected.is_empty()
        });
        conn
    }

    pub(crate) fn io<R>(&mut self, node: usize, f: impl FnOnce(&mut Peer, &mut Io<'_>) -> R) -> R {
        let now = self.now;
        self.nodes[node].io(now, f)
    }

    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now + Duration::from_secs(600);
        while !done(self) {
            assert!(self.now < end, "never came: {what}");
            let is_alive = self.step();
            assert!(is_alive || done(self), "came to rest before: {what}");
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.work();
            self.now = self.next().map_or(end, |next| next.min(end));
            self.deliver();
        }
        self.work();
    }

    /// So many turns of all nodes, one in each `period`, whether they have something to do or not.
    pub(crate) fn turn_every(&mut self, period: Duration, turns: u32) {
        for _ in 0..turns {
            self.work();
            self.now += period;
            self.deliver();
        }
    }

    /// Lets all nodes work, and moves the clock to what comes next. `false` when nothing ever will.
    pub(crate) fn step(&mut self) -> bool {
        self.work();
        let Some(next) = self.next() else { return false };
        self.now = next;
        self.deliver();
        true
    }

    fn work(&mut self) {
        let now = self.now;
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let Node { driver, net, app } = node;
            while driver.hear_aside(now, net) {}
            driver.begin_turn(now, net, self.is_behind && number == SERVER);
            while driver.fire_next(now) {}
            while driver.dispatch_next(now, net, app) {}
            while driver.dispatch_aside(now, net, app) {}
            driver.with_io(now, net, app, millrace_quic::App::turn);
            if !net.blocked {
                driver.unpark();
            }
            while driver.transmit_next(now, net) {}
            while driver.transmit_aside(now, net) {}
        }
        for node in 0..self.nodes.len() {
            while let Some(packet) = self.nodes[node].net.sent.pop_front() {
                self.launch(packet);
            }
        }
    }

    /// When something happens next, not before now.
    fn next(&self) -> Option<Instant> {
        let timeouts = self.nodes.iter().filter_map(|node| node.driver.next_timeout());
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let is_busy = self.nodes.iter().any(|node| node.driver.has_work() && !node.net.blocked);
        let next = timeouts.chain(arrival).chain(is_busy.then_some(self.now)).min()?;
        Some(next.max(self.now))
    }

    fn launch(&mut self, packet: Packet) {
        let copies = 1 + usize::from(self.rng.random_bool(self.faults.doubled));
        for _ in 0..copies {
            let fits = packet.data.len() <= self.payload_bytes_max;
            if self.cut || !fits || self.rng.random_bool(self.faults.loss) {
                continue;
            }
            let jitter = self.faults.jitter.mul_f64(self.rng.random());
            let at = self.now + self.faults.delay + jitter;
            self.sequence += 1;
            let copy = Packet { from: packet.from, to: packet.to, data: packet.data.clone() };
            self.flying.insert((at, self.sequence), copy);
        }
    }

    /// Hands over the packets that have arrived by now.
    pub(crate) fn deliver(&mut self) {
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let packet = entry.remove();
            let now = self.now;
            for Node { driver, net, .. } in &mut self.nodes {
                let found = net.sockets.iter().position(|local| *local == Some(packet.to));
                let Some(index) = found else { continue };
                let socket = SocketId::new(u16::try_from(index).unwrap(), 0);
                let arrival =
                    Arrival { socket, remote: packet.from, local_ip: Some(packet.to.ip()), ecn: None };
                driver.handle_buffer(now, net, &arrival, &packet.data, packet.data.len());
            }
        }
    }
}
