//! The simulated network: connections and streams as QUIC gives them, without packets, ciphers or bandwidth.
//!
//! A connection joins a host that dialled and a router. Its streams are ordered byte streams with a window each; nothing
//! orders two streams. Loss is delay, as QUIC sends again. What is sent into a partition waits for its end, and is void
//! when the connection dies first. A connection whose other end has vanished dies at its idle timeout, or by a stateless
//! reset once the other host answers again.
//!
//! Invariant: bytes of a stream arrive in order, each once, or the connection is reported as closed.

mod conditions;
mod stream;
mod tamper;
mod tap;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, StreamKey};
use millrace_proto::{CloseCode, RouterId};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

pub use conditions::{Conditions, Latency, up_to};
pub use millrace_verify::checker::copies::Place;
pub use tamper::Bug;
pub use tap::Crossing;
pub(crate) use tap::Crossings;
pub(crate) use tap::batch as tap_batch;
pub use wire::Wire;

use crate::event::Event;
use crate::queue::Queue;
use stream::Half;
use tamper::Tamper;
use tap::Tap;

/// Bidirectional streams that an end may open.
const BI_MAX: u64 = 4;
/// How long a dial may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A first packet without an answer is sent again after this time.
const INITIAL_RETRY: Duration = Duration::from_millis(400);
/// A connection sends something at least this often (keep-alive), and so meets a reset.
const KEEP_ALIVE: Duration = Duration::from_millis(250);

/// A machine of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A router.
    Router(u32),
    /// A client.
    Client(u32),
}

/// A process on a host, and its core that holds an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The process's life; 0 for clients.
    pub life: u32,
    /// The core; 0 for clients.
    pub core: u16,
}

/// Which end of a connection: 0 dialled.
type Side = usize;

/// What travels between two ends.
#[derive(Debug)]
pub enum Packet {
    /// The dialling end asks for a connection.
    Initial,
    /// The other end agrees.
    Accept,
    /// The dialling end confirms.
    Established,
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: StreamKey,
        /// The bytes.
        bytes: Bytes,
    },
    /// Bytes of a stream have arrived, as they were sent in one packet.
    Ack {
        /// The stream.
        stream: StreamKey,
    },
    /// The end of a stream.
    Fin {
        /// The stream.
        stream: StreamKey,
    },
    /// The writer of a stream may write up to a limit.
    Window {
        /// The stream.
        stream: StreamKey,
        /// The limit.
        limit: u64,
    },
    /// The reader of a stream wants no more.
    Stop {
        /// The stream.
        stream: StreamKey,
    },
    /// The other end may open so many unidirectional streams in all.
    Streams {
        /// So many.
        limit: u64,
    },
    /// The connection is closed.
    Close {
        /// Why.
        code: CloseCode,
    },
}

/// What happens on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A packet arrives.
    Packet {
        /// The connection.
        conn: u64,
        /// The end at which it arrives.
        to: usize,
        /// The packet.
        packet: Packet,
    },
    /// A dialling end has waited for an answer.
    InitialRetry {
        /// The connection.
        conn: u64,
    },
    /// A dial has lasted too long.
    ConnectTimeout {
        /// The connection.
        conn: u64,
    },
    /// An end may have heard nothing for its idle timeout.
    Idle {
        /// The connection.
        conn: u64,
        /// The end.
        side: usize,
    },
    /// An end sends to one that is no more, which may be answered by a reset.
    Reset {
        /// The connection.
        conn: u64,
        /// The end.
        side: usize,
    },
}

/// What an end of a connection learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The connection is there. For the end that did not dial this is the first it hears.
    Connected {
        /// Between routers.
        peer: bool,
    },
    /// The other end opened a stream.
    StreamOpened(StreamKey),
    /// A stream can be read.
    Readable(StreamKey),
    /// A stream takes more.
    Writable(StreamKey),
    /// The other host has acknowledged bytes of a stream. QUIC does not tell; a process works in the same turn.
    Acknowledged,
    /// More streams may be opened.
    StreamsAvailable,
    /// The reader of a stream wants no more.
    Stopped(StreamKey),
    /// The connection is gone.
    Closed(Option<CloseCode>),
}

/// A notice and whom it is for.
pub type Notices = Vec<(Endpoint, ConnKey, Notice)>;

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

/// Who a router's process is.
#[derive(Debug, Clone, Copy)]
struct Process {
    id: RouterId,
    life: u32,
    cores: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody at this end has heard of the connection.
    Unknown,
    Connecting,
    Open,
    Gone,
}

#[derive(Debug)]
struct End {
    at: Endpoint,
    state: State,
    /// Since when nothing can be heard.
    silent_since: Option<Time>,
    /// The other end is no more: the silence has no end.
    peer_gone: bool,
    /// Nothing arrives here before.
    not_before: Time,
    /// On their way here when the path was cut.
    held: Vec<Packet>,
    uni_max: u64,
    uni_opened: u64,
    bi_opened: u64,
    uni_blocked: bool,
    /// Unidirectional streams that this end allows the other.
    uni_allowed: u64,
}

#[derive(Debug)]
struct Connection {
    peer: bool,
    /// Steers to the core `shard % cores`.
    shard: u16,
    ends: [End; 2],
    /// By id; halves by the side that writes.
    streams: BTreeMap<u64, [Half; 2]>,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    rng: Pcg64Mcg,
    conditions: Conditions,
    processes: BTreeMap<u32, Process>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    crossings: Crossings,
    notices: Notices,
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

    /// What faults do.
    pub const fn conditions(&mut self) -> &mut Conditions {
        &mut self.conditions
    }

    /// Where taps note what crosses.
    pub(crate) fn crossings(&self) -> Crossings {
        Crossings::clone(&self.crossings)
    }

    /// A congestion window that never changes: a quarter of a stream's window, so that what streams may hold ahead is less
    /// than that.
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
        let ends = [end(from, State::Connecting, 1, first), end(nobody, State::Unknown, first, 1)];
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

    fn arrive(&mut self, queue: &mut Queue<Event>, conn: u64, to: Side, packet: Packet) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match packet {
            Packet::Initial => {
                let end = &mut connection.ends[1];
                let Host::Router(router) = end.at.host else { return };
                let Some(process) = self.processes.get(&router) else { return };
                if end.state == State::Unknown {
                    end.state = State::Connecting;
                    end.at.life = process.life;
                    end.at.core = connection.shard % process.cores;
                    self.send(queue, conn, 0, Packet::Accept);
                }
                return;
            }
            Packet::Accept if connection.ends[0].state == State::Connecting => {
                connection.ends[0].state = State::Open;
                self.notice(conn, 0, Notice::Connected { peer: self.connections[&conn].peer });
                self.send(queue, conn, 1, Packet::Established);
                self.allow_streams(queue, conn, 0, 64);
                return;
            }
            Packet::Established if connection.ends[1].state == State::Connecting => {
                connection.ends[1].state = State::Open;
                let peer = connection.peer;
                self.notice(conn, 1, Notice::Connected { peer });
                return;
            }
            _ => {}
        }
        if connection.ends[to].state != State::Open {
            if let (Packet::Close { .. }, State::Connecting) = (&packet, connection.ends[to].state) {
                self.die(queue, conn, to);
            }
            return;
        }
        match packet {
            Packet::Data { stream, bytes } => {
                if wire::is_acknowledged(connection.peer, stream) {
                    self.send(queue, conn, 1 - to, Packet::Ack { stream });
                }
                self.arrive_in_stream(conn, to, stream, Some(bytes));
            }
            Packet::Ack { stream } => {
                if let Some(halves) = connection.streams.get_mut(&stream.0) {
                    halves[to].unacknowledged.pop_front();
                    self.notice(conn, to, Notice::Acknowledged);
                }
            }
            Packet::Fin { stream } => self.arrive_in_stream(conn, to, stream, None),
            Packet::Window { stream, limit } => {
                let half = connection.streams.get_mut(&stream.0).map(|halves| &mut halves[to]);
                if half.is_some_and(|half| half.allow(limit)) {
                    self.notice(conn, to, Notice::Writable(stream));
                }
            }
            Packet::Stop { stream } => {
                if let Some(halves) = connection.streams.get_mut(&stream.0) {
                    halves[to].stopped = true;
                    self.notice(conn, to, Notice::Stopped(stream));
                }
            }
            Packet::Streams { limit } => {
                let end = &mut connection.ends[to];
                end.uni_max = end.uni_max.max(limit);
                if std::mem::take(&mut end.uni_blocked) {
                    self.notice(conn, to, Notice::StreamsAvailable);
                }
            }
            Packet::Close { code } => {
                self.gone(conn, to);
                self.notice(conn, to, Notice::Closed(Some(code)));
            }
            Packet::Initial | Packet::Accept | Packet::Established => {}
        }
    }

    fn arrive_in_stream(&mut self, conn: u64, to: Side, stream: StreamKey, bytes: Option<Bytes>) {
        let window = self.config.window;
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let halves =
            connection.streams.entry(stream.0).or_insert_with(|| [Half::new(window), Half::new(window)]);
        let half = &mut halves[1 - to];
        match bytes {
            Some(bytes) => half.arrive(bytes),
            None => half.arrive_end(),
        }
        let opener = usize::from(stream.0 & 1 != 0);
        let news = !std::mem::replace(&mut half.announced, true) && opener != to;
        if news {
            self.notice(conn, to, Notice::StreamOpened(stream));
        }
        self.notice(conn, to, Notice::Readable(stream));
    }

    fn notice(&mut self, conn: u64, side: Side, notice: Notice) {
        let Some(connection) = self.connections.get(&conn) else { return };
        self.notices.push((connection.ends[side].at, key(conn, side), notice));
    }

    /// Sends a packet to an end: it waits while the path is cut.
    fn send(&mut self, queue: &mut Queue<Event>, conn: u64, to: Side, packet: Packet) {
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

    fn schedule(&mut self, queue: &mut Queue<Event>, conn: u64, to: Side, packet: Packet) {
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

    /// An end hears nothing from here on.
    fn silent(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        let idle = self.config.idle_timeout;
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let end = &mut connection.ends[side];
        if end.state != State::Gone && end.state != State::Unknown && end.silent_since.is_none() {
            end.silent_since = Some(queue.now());
            queue.after(idle, Event::Net(NetEvent::Idle { conn, side }));
        }
    }

    /// An end is no more and says nothing.
    fn vanish(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.ends[1 - side].peer_gone = true;
        self.gone(conn, side);
        self.silent(queue, conn, 1 - side);
        let wait = KEEP_ALIVE.mul_f64(self.rng.random_range(0.4..1.4));
        queue.after(wait, Event::Net(NetEvent::Reset { conn, side: 1 - side }));
    }

    fn gone(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.ends[side].state = State::Gone;
        connection.ends[side].held = Vec::new();
        let other = connection.ends[1 - side].state;
        if other == State::Gone || other == State::Unknown {
            // Notices for this connection are addressed already.
            self.forget_later(conn, side);
        }
    }

    /// Both ends are gone: what is on its way is void.
    fn forget_later(&mut self, conn: u64, side: Side) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.streams.clear();
            connection.ends[1 - side].state = State::Gone;
        }
    }

    /// Forgets connections that both ends have left.
    pub fn sweep(&mut self) {
        self.connections.retain(|_, connection| connection.ends.iter().any(|end| end.state != State::Gone));
    }

    /// An end gives up.
    fn die(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        self.notice(conn, side, Notice::Closed(None));
        self.vanish(queue, conn, side);
    }

    fn meet_reset(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let [own, other] = [&connection.ends[side], &connection.ends[1 - side]];
        if own.state == State::Gone || own.state == State::Unknown {
            return;
        }
        let cut = self.conditions.cut(own.at.host, other.at.host)
            || self.conditions.cut(other.at.host, own.at.host);
        let answers = match other.at.host {
            Host::Router(router) => self.processes.contains_key(&router),
            Host::Client(_) => true,
        };
        if answers && !cut && own.state == State::Open {
            self.die(queue, conn, side);
        } else {
            queue.after(KEEP_ALIVE, Event::Net(NetEvent::Reset { conn, side }));
        }
    }

    /// An end allows the other `more` unidirectional streams.
    fn allow_streams(&mut self, queue: &mut Queue<Event>, conn: u64, side: Side, more: u64) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let end = &mut connection.ends[side];
        end.uni_allowed += more;
        let limit = end.uni_allowed;
        self.send(queue, conn, 1 - side, Packet::Streams { limit });
    }

    /// Prepares a stream that `side` opens: taps and bugs are put on lanes.
    fn open(&mut self, conn: u64, side: Side, uni: bool) -> Option<StreamKey> {
        let Self { config, processes, connections, crossings, .. } = self;
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

/// The key by which one end knows a connection.
const fn key(conn: u64, side: Side) -> ConnKey {
    ConnKey(conn << 1 | side as u64)
}
