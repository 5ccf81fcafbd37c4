//! The network: dials, timers, faults, and sending.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, StreamKey};
use millrace_proto::RouterId;
use millrace_verify::checker::copies::Place;
use rand_pcg::Pcg64Mcg;

use super::conditions::{Conditions, Latency};
use super::connection::{Connection, End, Process, State};
use super::packet::{Endpoint, Host, Notices, Packet, Side, key};
use super::quench_tap::{QuenchTap, Quenchings};
use super::stream::Half;
use super::tamper::{Bug, Tamper};
use super::tap::{Crossings, Tap};
use crate::event::{Event, NetEvent};
use crate::queue::Queue;

/// Bidirectional streams that an end may open.
const BI_MAX: u64 = 4;
/// Unidirectional streams that a router that has dialled a peer may have open: as
/// `TransportSettings::lane` of the `quic` crate.
const LANE_STREAMS: u64 = 16;
/// How long a dial may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A first packet without an answer is sent again after this time.
const INITIAL_RETRY: Duration = Duration::from_millis(400);

/// Settings of a network.
#[derive(Debug, Clone, Copy)]
pub struct NetworkConfig {
    /// Times of packets.
    pub latency: Latency,
    /// Window of each stream, bytes.
    pub window: u64,
    /// Silence after which a connection is dead.
    pub idle_timeout: Duration,
    /// Unidirectional streams that a dialling end allows at first; more follow.
    pub uni_first: u64,
    /// A bug put in on purpose.
    pub bug: Option<Bug>,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    pub(super) config: NetworkConfig,
    pub(super) rng: Pcg64Mcg,
    pub(super) conditions: Conditions,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) next: u64,
    pub(super) crossings: Crossings,
    pub(super) quenchings: Quenchings,
    pub(super) notices: Notices,
}

impl Network {
    /// A network without connections.
    #[must_use]
    pub fn new(config: NetworkConfig, rng: Pcg64Mcg) -> Self {
        Self {
            conditions: Conditions::new(config.latency),
            config,
            rng,
            processes: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 1,
            crossings: Crossings::default(),
            quenchings: Quenchings::default(),
            notices: Vec::new(),
        }
    }

    /// A router's process starts.
    pub fn process_started(&mut self, router: u32, id: RouterId, life: u32, cores: u16) {
        self.processes.insert(router, Process { id, life, cores });
    }

    /// A router's process is gone, and with it its ends of connections.
    pub fn process_died(&mut self, queue: &mut Queue<Event>, router: u32) {
        self.processes.remove(&router);
        let conns: Vec<u64> = self.connections.keys().copied().collect();
        for conn in conns {
            for side in 0..2 {
                let end = self.connections.get(&conn).map(|it| &it.ends[side]);
                if end.is_some_and(|end| end.at.host == Host::Router(router) && end.state != State::Gone) {
                    self.vanish(queue, conn, side);
                }
            }
        }
    }

    /// The process at this end is gone without a word.
    pub fn abandon(&mut self, queue: &mut Queue<Event>, conn: ConnKey) {
        let (conn, side) = (conn.0 >> 1, usize::from(conn.0 & 1 != 0));
        if self.connections.get(&conn).is_some_and(|it| it.ends[side].state != State::Gone) {
            self.vanish(queue, conn, side);
        }
    }

    /// What faults do.
    pub const fn conditions(&mut self) -> &mut Conditions {
        &mut self.conditions
    }

    /// Where taps note what crosses.
    pub(crate) fn crossings(&self) -> Crossings {
        Crossings::clone(&self.crossings)
    }

    /// Where taps note which tag sets are quenched.
    pub(crate) fn quenchings(&self) -> Quenchings {
        Quenchings::clone(&self.quenchings)
    }

    /// A congestion window that never changes: a quarter of a stream's window, so that what streams
    /// may hold ahead is less than that.
    #[must_use]
    pub const fn congestion_window(&self) -> u64 {
        self.config.window / 4
    }

    /// Connections that some end still holds.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The fullest stream: bytes that have arrived and were not read, and its window.
    #[must_use]
    pub fn fullest(&self) -> (usize, u64) {
        let halves = self.connections.values().flat_map(|conn| conn.streams.values().flatten());
        halves.map(|half| (half.unread(), half.window())).max().unwrap_or((0, 1))
    }

    /// Whether the other end of a connection has something to write for which a stream's window has
    /// no room.
    #[must_use]
    pub fn is_crowded(&self, conn: ConnKey) -> bool {
        let (conn, side) = (conn.0 >> 1, usize::from(conn.0 & 1 != 0));
        let streams = self.connections.get(&conn).into_iter().flat_map(|it| it.streams.values());
        streams.into_iter().any(|halves| halves[1 - side].blocked)
    }

    /// Begins a connection. The dialling end hears `Connected` or `Closed`.
    pub fn connect(
        &mut self,
        queue: &mut Queue<Event>,
        from: Endpoint,
        to: u32,
        peer: bool,
        shard: u16,
    ) -> ConnKey {
        let conn = self.next;
        self.next += 1;
        let nobody = Endpoint { host: Host::Router(to), life: 0, core: 0 };
        let end = |at, state, uni_max, uni_allowed| End {
            at,
            state,
            silent_since: None,
            peer_gone: false,
            not_before: Time::ZERO,
            held: Vec::new(),
            uni_max,
            uni_opened: 0,
            bi_opened: 0,
            uni_blocked: false,
            uni_allowed,
        };
        let first = self.config.uni_first;
        // A client publishes on one stream; a router that dials a peer also answers for its
        // history.
        let of_dialler = if peer { LANE_STREAMS } else { 1 };
        let ends =
            [end(from, State::Connecting, of_dialler, first), end(nobody, State::Unknown, first, of_dialler)];
        self.connections.insert(conn, Connection { peer, shard, ends, streams: BTreeMap::new() });
        self.send(queue, conn, 1, Packet::Initial);
        queue.after(INITIAL_RETRY, Event::Net(NetEvent::InitialRetry { conn }));
        queue.after(CONNECT_TIMEOUT, Event::Net(NetEvent::ConnectTimeout { conn }));
        key(conn, 0)
    }

    /// The host on which a network event happens.
    #[must_use]
    pub fn host_of(&self, event: &NetEvent) -> Option<Host> {
        let (conn, side) = match *event {
            NetEvent::Packet { conn, to, .. } => (conn, to),
            NetEvent::InitialRetry { conn } | NetEvent::ConnectTimeout { conn } => (conn, 0),
            NetEvent::Idle { conn, side } | NetEvent::Reset { conn, side } => (conn, side),
        };
        Some(self.connections.get(&conn)?.ends[side].at.host)
    }

    /// Faults have changed: who hears whom?
    pub fn conditions_changed(&mut self, queue: &mut Queue<Event>) {
        let conns: Vec<u64> = self.connections.keys().copied().collect();
        for (conn, to) in conns.into_iter().flat_map(|conn| [(conn, 0), (conn, 1)]) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let cut = self.conditions.cut(connection.ends[1 - to].at.host, connection.ends[to].at.host);
            if cut {
                self.silent(queue, conn, to);
                continue;
            }
            let gone = connection.ends[1 - to].state == State::Gone;
            let end = &mut connection.ends[to];
            if !end.peer_gone {
                end.silent_since = None;
            }
            for packet in std::mem::take(&mut end.held) {
                if !gone || matches!(packet, Packet::Close { .. }) {
                    self.schedule(queue, conn, to, packet);
                }
            }
        }
    }

    /// Handles an event; says who learns what.
    pub fn handle(&mut self, queue: &mut Queue<Event>, event: NetEvent) -> Notices {
        match event {
            NetEvent::Packet { conn, to, packet } => self.arrive(queue, conn, to, packet),
            NetEvent::InitialRetry { conn } => {
                let waits = self.connections.get(&conn).is_some_and(|it| {
                    it.ends[0].state == State::Connecting && it.ends[1].state == State::Unknown
                });
                if waits {
                    self.send(queue, conn, 1, Packet::Initial);
                    queue.after(INITIAL_RETRY, Event::Net(NetEvent::InitialRetry { conn }));
                }
            }
            NetEvent::ConnectTimeout { conn } => {
                if self.connections.get(&conn).is_some_and(|it| it.ends[0].state == State::Connecting) {
                    self.die(queue, conn, 0);
                }
            }
            NetEvent::Idle { conn, side } => {
                let idle = self.config.idle_timeout;
                let since = self.connections.get(&conn).and_then(|it| it.ends[side].silent_since);
                if since.is_some_and(|since| queue.now() >= since + idle) {
                    self.die(queue, conn, side);
                }
            }
            NetEvent::Reset { conn, side } => self.meet_reset(queue, conn, side),
        }
        std::mem::take(&mut self.notices)
    }

    /// Sends a packet to an end: it waits while the path is cut.
    pub(super) fn send(&mut self, queue: &mut Queue<Event>, conn: u64, to: Side, packet: Packet) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let ends = &mut connection.ends;
        if ends[to].state == State::Gone {
            return;
        }
        if self.conditions.cut(ends[1 - to].at.host, ends[to].at.host) {
            ends[to].held.push(packet);
            return;
        }
        self.schedule(queue, conn, to, packet);
    }

    pub(super) fn schedule(&mut self, queue: &mut Queue<Event>, conn: u64, to: Side, packet: Packet) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Connection { ends, streams, .. } = connection;
        let delay = match packet {
            // Nothing else waits for it.
            Packet::Ack { .. } => self.config.latency.base,
            _ => self.conditions.delay(&mut self.rng, ends[1 - to].at.host, ends[to].at.host),
        };
        let mut at = (queue.now() + delay).max(ends[to].not_before);
        match &packet {
            Packet::Data { stream, .. } | Packet::Fin { stream } => {
                if let Some(halves) = streams.get_mut(&stream.0) {
                    let half = &mut halves[1 - to];
                    at = at.max(half.last_arrival + Duration::from_nanos(1));
                    half.last_arrival = at;
                }
            }
            Packet::Established => ends[to].not_before = at + Duration::from_nanos(1),
            _ => {}
        }
        queue.at(at, Event::Net(NetEvent::Packet { conn, to, packet }));
    }

    /// Forgets connections that both ends have left.
    pub fn sweep(&mut self) {
        self.connections.retain(|_, connection| connection.ends.iter().any(|end| end.state != State::Gone));
    }

    /// An end allows the other `more` unidirectional streams.
    pub(super) fn allow_streams(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side, more: u64) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let end = &mut connection.ends[side];
        end.uni_allowed += more;
        let limit = end.uni_allowed;
        self.send(queue, conn, 1 - side, Packet::Streams { limit });
    }

    /// Prepares a stream that `side` opens: taps and bugs are put on lanes.
    pub(super) fn open(&mut self, conn: u64, side: Side, uni: bool) -> Option<StreamKey> {
        let Self { config, processes, connections, crossings, quenchings, .. } = self;
        let connection = connections.get_mut(&conn)?;
        let place = |end: &End| match end.at.host {
            Host::Router(router) => {
                processes.get(&router).map(|process| Place { router: process.id, core: end.at.core })
            }
            Host::Client(_) => None,
        };
        let places = connection
            .peer
            .then(|| Some((place(&connection.ends[side])?, place(&connection.ends[1 - side])?)));
        let told_by = place(&connection.ends[1 - side]).filter(|_| !connection.peer && !uni);
        let end = &mut connection.ends[side];
        if end.state != State::Open {
            return None;
        }
        let (opened, limit) =
            if uni { (&mut end.uni_opened, end.uni_max) } else { (&mut end.bi_opened, BI_MAX) };
        if *opened >= limit {
            end.uni_blocked |= uni;
            return None;
        }
        let id = *opened << 2 | u64::from(uni) << 1 | side as u64;
        *opened += 1;
        let mut halves = [Half::new(config.window), Half::new(config.window)];
        if let Some((from, to)) = places.flatten().filter(|_| uni) {
            halves[side].tap = Some(Tap::new(from, to, Crossings::clone(crossings)));
        }
        halves[1 - side].quench_tap =
            told_by.map(|core| QuenchTap::new(conn, core, Quenchings::clone(quenchings)));
        if let Some(bug) = config.bug.filter(|&bug| connection.peer && Tamper::concerns_control(bug) != uni) {
            for half in &mut halves {
                half.tamper = Some(Tamper::new(bug));
            }
        }
        connection.streams.insert(id, halves);
        Some(StreamKey(id))
    }

    /// Chooses among hosts and times; one source of chance for what is outside the processes.
    pub const fn rng(&mut self) -> &mut Pcg64Mcg {
        &mut self.rng
    }

    /// Routers whose process is up.
    #[must_use]
    pub fn up(&self) -> BTreeSet<u32> {
        self.processes.keys().copied().collect()
    }
}
