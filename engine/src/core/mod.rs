//! One core of a router: the sessions of its connections, and the shards that it owns.
//!
//! The shell feeds a core what happens on its connections, what its siblings and control send, and the time; at the end of
//! each turn it calls [`Core::turn`], which writes what has gathered. Afterwards it takes the mail:
//! [`Core::next_to_control`], [`Core::next_batch`].
//!
//! ```text
//! publish stream ─┐                                   ┌─ receiver ─ stream
//! lane ───────────┼─ inbound: runs ─ routing (owner) ─┼─ lane ───── stream      outbound: one writer each
//! sibling batch ──┘                                   └─ sibling ── batch
//! ```
//!
//! Invariants: no input blocks; a run is copied at most once per location; nothing is dropped without a count in
//! [`CoreMetrics`] and, where a receiver would have got it, a gap in that receiver's stream.

mod ahead;
mod behind;
mod client;
mod config;
mod inbound;
mod lane;
mod leaving;
mod metrics;
mod outbound;
mod publisher;
mod queue;
mod receiver;
mod routing;
mod sibling;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::CloseCode;

pub use config::CoreConfig;
pub use metrics::{CoreMetrics, DropReason};

use crate::message::{CoreIndex, ToControl, ToCore, Token};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey, Transport};
use ahead::Wakes;
use behind::Behind;
use client::{ClientSession, PendingSubscription};
use inbound::RunReader;
use lane::{Acceptance, Accepted, LaneSession};
use leaving::Ending;
use receiver::ReceiverSlot;
use routing::Routing;

/// Messages that may wait for control before control streams of clients and lanes are left unread: what clients bring in
/// four turns. One client's share of a turn, or one read of a lane, may come on top, and what ends with connections. Each
/// message is at most a frame of 64 KiB, so some 64 MiB wait here when control does not keep up, and the rest in the windows
/// of those who send it.
pub const TO_CONTROL_MAX: usize = 1024;

#[derive(Debug)]
enum Connection {
    Client(Box<ClientSession>),
    Lane(Box<LaneSession>),
}

/// Work on clients' control frames that one turn takes: well below a millisecond. A frame counts as one, a selector that
/// goes as one, and one that comes as a quarter, for here it is but passed on: it is filed when control has read it, at the
/// pace of whoever hands in control's messages ([`Core::selectors_moved`]). What is left waits for the next turn, behind
/// events.
const CONTROL_PER_TURN: usize = 256;

/// The part of it that one client takes before it is the next one's turn, and that frames have in each turn, however many
/// selectors went with connections and replaced subscriptions.
const CONTROL_PER_CLIENT: usize = 64;

/// Times at which publishers are told what was received are whole multiples of this: those that are due within it are told
/// in one turn.
const RECEIVED_STEP: Duration = Duration::from_millis(1);

/// Receivers whose streams are fetched together before they are written.
const WRITE_WINDOW: usize = 16;

/// What waits for receivers at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// Bytes in queues, above the streams.
    pub bytes: u64,
    /// Receivers that have any.
    pub receivers: u64,
    /// Bytes in streams that the receivers' hosts have not acknowledged.
    pub ahead_bytes: u64,
    /// The part of it that belongs to the receiver with the most.
    pub ahead_bytes_most: u64,
}

/// One core of a router. See the [module's description](self).
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    routing: Routing,
    connections: HashMap<ConnKey, Connection, ahash::RandomState>,
    pending: HashMap<Token, PendingSubscription, ahash::RandomState>,
    last_token: u64,
    /// Bounded by [`TO_CONTROL_MAX`] for what frames lead to; besides that, an end of each connection and an answer to each
    /// message of control.
    to_control: VecDeque<ToControl>,
    sibling_readers: Vec<RunReader>,
    synced: bool,
    alternates: Vec<String>,
    /// Grace in microseconds, once the router is going away.
    draining: Option<u64>,
    ending: Ending,
    /// Nothing more is routed: lanes are finished as soon as they are there.
    lanes_over: bool,
    /// Streams with more to read, next turn.
    unread: BTreeSet<(ConnKey, StreamKey)>,
    /// A mailbox towards a sibling is above half.
    pressed: bool,
    /// Publish streams that are left unread meanwhile: at most one for each client.
    paused: BTreeSet<(ConnKey, StreamKey)>,
    /// What is left of this turn's work on control frames.
    control_left: usize,
    /// Selectors that were filed or taken out.
    selectors_moved: u64,
    /// Control streams of clients that are left unread while control does not keep up, or this turn's work on them is done.
    clients_behind: Behind,
    /// Control streams of lanes that are left unread while control does not keep up. They come before clients.
    lanes_behind: Behind,
    /// Publishers that are to be told what was received, each at most once, and when.
    unreported: BTreeSet<(Time, ConnKey)>,
    dirty_clients: Vec<ConnKey>,
    lingering: BTreeSet<(Time, ReceiverSlot)>,
    /// Receivers with something queued whose streams have room again.
    wakes: Arc<Wakes>,
    lanes: Vec<ConnKey>,
    lanes_due: Time,
    /// One for each connection of the last `hello_timeout`: bounded by the handshakes that the shell admits in that time.
    awaiting_hello: VecDeque<(Time, ConnKey)>,
}

impl Core {
    /// A core without connections.
    #[must_use]
    pub fn new(config: CoreConfig, now: Time) -> Self {
        let sibling_readers = (0..config.cores).map(|_| RunReader::new(config.lane_tables, false)).collect();
        Self {
            routing: Routing::new(&config),
            connections: HashMap::default(),
            pending: HashMap::default(),
            last_token: 0,
            to_control: VecDeque::new(),
            sibling_readers,
            synced: false,
            alternates: Vec::new(),
            draining: None,
            ending: Ending::NotBegun,
            lanes_over: false,
            unread: BTreeSet::new(),
            pressed: false,
            paused: BTreeSet::new(),
            control_left: CONTROL_PER_TURN,
            selectors_moved: 0,
            clients_behind: Behind::new(),
            lanes_behind: Behind::new(),
            unreported: BTreeSet::new(),
            dirty_clients: Vec::new(),
            lingering: BTreeSet::new(),
            wakes: Arc::default(),
            lanes: Vec::new(),
            lanes_due: now,
            awaiting_hello: VecDeque::new(),
            config,
        }
    }

    /// A client's connection is there.
    pub fn client_connected(&mut self, now: Time, conn: ConnKey) {
        self.connections.insert(conn, Connection::Client(Box::new(ClientSession::new())));
        self.awaiting_hello.push_back((now + self.config.hello_timeout, conn));
        self.routing.metrics.clients += 1;
    }

    /// A peer's connection is there: one that was dialled ([`ToCore::LaneDialled`]), or an incoming one.
    pub fn peer_connected(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey) {
        self.lane_connected(now, transport, conn);
    }

    /// The other side opened a stream.
    pub fn stream_opened(&mut self, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        match self.connections.get(&conn) {
            Some(Connection::Client(_)) if self.is_ending() => {}
            Some(Connection::Client(_)) => self.client_stream(transport, conn, stream),
            Some(Connection::Lane(_)) => self.lane_stream(transport, conn, stream),
            None => {}
        }
    }

    /// A stream has something to read, or has ended.
    pub fn readable(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        match self.connections.get(&conn) {
            Some(Connection::Client(_)) if self.is_ending() => {}
            Some(Connection::Client(_)) => self.client_readable(now, transport, conn, stream),
            Some(Connection::Lane(_)) => self.lane_readable(now, transport, conn, stream),
            None => {}
        }
    }

    /// A stream that took less than was offered takes more.
    pub fn writable(&mut self, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        match self.connections.get_mut(&conn) {
            Some(Connection::Client(client)) => {
                if let Some(&slot) = client.streams.get(&stream) {
                    self.routing.receivers.mark(slot);
                } else {
                    self.mark_client(conn);
                }
            }
            Some(Connection::Lane(_)) => self.write_lane_control(transport, conn),
            None => {}
        }
    }

    /// The other side allows more streams.
    pub fn streams_available(&mut self, transport: &mut dyn Transport, conn: ConnKey) {
        self.open_streams(transport, conn);
    }

    /// The reader of a stream does not want more of it.
    pub fn stopped(&mut self, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        if matches!(self.connections.get(&conn), Some(Connection::Lane(_))) {
            return self.lane_stopped(transport, conn, "a stream of this lane was stopped");
        }
        let Some(client) = self.client(conn) else { return };
        if client.control == Some(stream) {
            self.close_connection(transport, conn, CloseCode::Done, "the control stream was stopped");
            return;
        }
        let Some(slot) = client.streams.remove(&stream) else { return };
        client.closing.retain(|&closing| closing != slot);
        if let Some(receiver) = self.remove_receiver(slot) {
            let number = receiver.number;
            // Of one that its client has closed the end was told, and its number may be another's.
            if !receiver.closing
                && let Some(client) = self.client(conn)
            {
                client.receivers.remove(&number);
                let reason = "its stream was stopped".to_owned();
                millrace_proto::control::ReceiverClosed { receiver: number, reason }.encode(&mut client.out);
                self.mark_client(conn);
            }
            transport.finish(conn, stream);
        }
    }

    /// A connection is gone. `code` is what the other side gave, if it closed the connection.
    pub fn closed(&mut self, conn: ConnKey, code: Option<CloseCode>) {
        match self.connections.remove(&conn) {
            Some(Connection::Client(client)) => {
                self.routing.metrics.clients -= 1;
                let cut =
                    client.publish.as_ref().is_some_and(|publish| !publish.finished && publish.is_cut());
                self.routing.metrics.drop(DropReason::StreamLost, u64::from(cut));
                if let Some(due) = client.publish.as_ref().and_then(|publish| publish.due) {
                    self.unreported.remove(&(due, conn));
                }
                for slot in client.receivers.into_values().chain(client.closing) {
                    self.remove_receiver(slot);
                }
            }
            Some(Connection::Lane(lane)) => self.lane_closed(conn, &lane, code),
            None => {}
        }
    }

    /// A message from control.
    pub fn control(&mut self, now: Time, transport: &mut dyn Transport, message: ToCore) {
        match message {
            ToCore::Prepared { token, result } => self.prepared(token, result),
            ToCore::Effective { token, stage, left_out, unanswered } => {
                self.effective(token, stage, left_out, unanswered);
            }
            ToCore::Directory { version, index, joined } => {
                self.routing.directory = index;
                self.routing.joined(&joined);
                let position = self.routing.position;
                self.to_control.push_back(ToControl::Applied { version, position });
            }
            ToCore::Synced(synced) => self.set_synced(synced),
            ToCore::LaneDialled { dial, conn, hello } => self.lane_dialled(now, dial, conn, hello),
            ToCore::AcceptLane {
                conn,
                peer,
                router,
                lane: _,
                epoch,
                outgoing,
                incoming,
                missed,
                lost,
                hello,
                tables,
            } => {
                let accepted = Accepted { peer, router, outgoing, incoming, epoch };
                let acceptance = Acceptance { accepted, hello, tables, missed, lost };
                self.accept_lane(transport, conn, acceptance);
            }
            ToCore::CloseLane { conn, hello, code } => self.end_lane(transport, conn, hello, code),
            ToCore::LaneFrame { conn, frame } => self.send_lane_frame(transport, conn, &frame),
            ToCore::Alternates(alternates) => self.alternates = alternates,
            ToCore::Drain { grace_us } => self.drain(grace_us),
        }
    }

    /// The next message for control, to be taken until there is none after each call into the core.
    pub fn next_to_control(&mut self) -> Option<ToControl> {
        self.to_control.pop_front()
    }

    /// The next batch for a sibling's mailbox: to be taken only when the mailbox has room. What is not taken waits here,
    /// bounded, and presses back on publishers.
    pub fn next_batch(&mut self, to: CoreIndex) -> Option<Vec<u8>> {
        self.routing.siblings.get_mut(usize::from(to))?.as_mut()?.take_batch()
    }

    /// Says whether a mailbox towards a sibling is above half. While one is, publish streams are left unread; lanes, mail and
    /// control are not. Nothing here watches mailboxes: call this, and [`Core::turn`], when that changes.
    pub const fn set_pressed(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Whether a sibling cannot keep up.
    fn is_pressed(&self) -> bool {
        self.pressed || self.routing.siblings_pressed(self.config.link_queue_bytes)
    }

    /// Selectors that were filed or taken out since the start. Whoever hands in what control says ([`Core::control`]) sees
    /// by it what a message has cost, and when to go on with the next turn.
    #[must_use]
    pub const fn selectors_moved(&self) -> u64 {
        self.selectors_moved
    }

    const fn is_ending(&self) -> bool {
        !matches!(self.ending, Ending::NotBegun)
    }

    /// Whether a client's control stream has to wait because control does not keep up, because this turn's work on control
    /// frames is done, or because others wait; it is read in its turn.
    fn client_waits_for_control(&mut self, conn: ConnKey, stream: StreamKey) -> bool {
        let others_wait = !self.clients_behind.is_empty() || !self.lanes_behind.is_empty();
        let waits = self.control_left == 0 || !self.has_room_for_control() || others_wait;
        if waits {
            self.put_client_behind(conn, stream);
        }
        waits
    }

    /// Whether a lane's control stream has to wait because control does not keep up; it is read in its turn.
    fn lane_waits_for_control(&mut self, conn: ConnKey, stream: StreamKey) -> bool {
        let waits = !self.has_room_for_control() || !self.lanes_behind.is_empty();
        if waits && self.lanes_behind.insert(conn, stream) {
            self.routing.metrics.control_paused += 1;
        }
        waits
    }

    fn put_client_behind(&mut self, conn: ConnKey, stream: StreamKey) {
        if self.clients_behind.insert(conn, stream) {
            self.routing.metrics.control_paused += 1;
        }
    }

    fn has_room_for_control(&self) -> bool {
        self.to_control.len() < TO_CONTROL_MAX
    }

    /// Reads control streams that were left unread: those of lanes first, for routers are few, and wait for each other.
    fn read_behind(&mut self, now: Time, transport: &mut dyn Transport) {
        while self.has_room_for_control()
            && let Some((conn, stream)) = self.lanes_behind.pop()
        {
            self.read_lane_control(transport, conn, stream);
        }
        self.control_left = self.control_left.max(CONTROL_PER_CLIENT);
        while self.control_left > 0
            && self.has_room_for_control()
            && let Some((conn, stream)) = self.clients_behind.pop()
        {
            self.read_client_control(now, transport, conn, stream);
        }
    }

    /// Ends a turn: reads what was left unread, keeps time, and writes what has gathered.
    pub fn turn(&mut self, now: Time, transport: &mut dyn Transport) {
        match self.ending {
            Ending::NotBegun => {}
            Ending::Told => self.ending = Ending::Over,
            Ending::Over => self.end_clients(transport),
        }
        if !self.paused.is_empty() {
            if self.is_pressed() {
                self.routing.metrics.paused_turns += 1;
            } else {
                self.unread.append(&mut self.paused);
            }
        }
        for (conn, stream) in std::mem::take(&mut self.unread) {
            self.readable(now, transport, conn, stream);
        }
        self.read_behind(now, transport);
        self.report_received(now);
        if !self.lanes.is_empty() && now >= self.lanes_due {
            self.lanes_due = now + self.config.lane_ping / 4;
            self.tend_lanes(now, transport);
        }
        self.close_unhelloed(now, transport);
        while let Some(&(due, slot)) = self.lingering.first() {
            if due > now {
                break;
            }
            self.lingering.pop_first();
            self.write_receiver(now, transport, slot);
        }
        if self.wakes.any() {
            for slot in self.wakes.take() {
                self.routing.receivers.mark(slot);
            }
        }
        let dirty = std::mem::take(&mut self.routing.receivers.dirty);
        for window in dirty.chunks(WRITE_WINDOW) {
            let receivers = window.iter().filter_map(|&slot| self.routing.receivers.get(slot));
            for (conn, stream) in receivers.filter_map(|receiver| Some((receiver.conn, receiver.stream?))) {
                transport.fetch(conn, stream);
            }
            for &slot in window {
                self.write_dirty(now, transport, slot);
            }
        }
        self.write_peers(transport);
        for conn in std::mem::take(&mut self.dirty_clients) {
            self.write_client(transport, conn);
        }
        self.control_left = CONTROL_PER_TURN;
    }

    /// When [`Core::turn`] is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let is_behind = !self.clients_behind.is_empty() || !self.lanes_behind.is_empty();
        if (is_behind && self.has_room_for_control())
            || (self.is_ending() && self.routing.metrics.clients > 0)
            || !self.unread.is_empty()
            || !self.dirty_clients.is_empty()
            || !self.routing.receivers.dirty.is_empty()
            || self.wakes.any()
        {
            return Some(Time::ZERO);
        }
        let lanes = (!self.lanes.is_empty()).then_some(self.lanes_due);
        let hello = self.awaiting_hello.front().map(|&(due, _)| due);
        let linger = self.lingering.first().map(|&(due, _)| due);
        let received = self.unreported.first().map(|&(due, _)| due);
        [received, lanes, hello, linger].into_iter().flatten().min()
    }

    /// What this core has counted.
    #[must_use]
    pub fn metrics(&self) -> CoreMetrics {
        let mut metrics = self.routing.metrics.clone();
        metrics.queued_bytes = 0;
        metrics
    }

    /// What waits for receivers. Visits every receiver.
    pub fn queued(&mut self) -> Queued {
        let mut total = Queued::default();
        for (_, receiver) in self.routing.receivers.iter_mut() {
            let bytes = receiver.writer.queued_bytes();
            total.bytes += bytes;
            total.receivers += u64::from(bytes > 0);
            let ahead = receiver.writer.ahead_bytes() as u64;
            total.ahead_bytes += ahead;
            total.ahead_bytes_most = total.ahead_bytes_most.max(ahead);
        }
        total
    }

    /// The route cache, for its metrics.
    #[must_use]
    pub fn routes(&self) -> &crate::routes::RouteCache {
        &self.routing.routes
    }

    /// Position that the next run of this core's shards will get.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.routing.position
    }

    fn clients(&self) -> Vec<ConnKey> {
        let is_client = |(conn, connection): (&ConnKey, &Connection)| {
            matches!(connection, Connection::Client(_)).then_some(*conn)
        };
        let mut clients: Vec<ConnKey> = self.connections.iter().filter_map(is_client).collect();
        clients.sort_unstable();
        clients
    }

    fn client(&mut self, conn: ConnKey) -> Option<&mut ClientSession> {
        match self.connections.get_mut(&conn) {
            Some(Connection::Client(client)) => Some(client),
            _ => None,
        }
    }

    fn lane(&mut self, conn: ConnKey) -> Option<&mut LaneSession> {
        match self.connections.get_mut(&conn) {
            Some(Connection::Lane(lane)) => Some(lane),
            _ => None,
        }
    }

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    fn mark_client(&mut self, conn: ConnKey) {
        if let Some(client) = self.client(conn)
            && !client.dirty
            && !client.out.is_empty()
        {
            client.dirty = true;
            self.dirty_clients.push(conn);
        }
    }

    /// Closes a connection that this side no longer wants, and counts why.
    fn close_connection(
        &mut self,
        transport: &mut dyn Transport,
        conn: ConnKey,
        code: CloseCode,
        reason: &str,
    ) {
        self.routing.metrics.close(code);
        transport.close(conn, code.code(), reason);
        self.closed(conn, None);
    }

    fn set_synced(&mut self, synced: bool) {
        self.synced = synced;
        if !synced {
            return;
        }
        let window = self.config.credit_bytes;
        for conn in self.clients() {
            if let Some(client) = self.client(conn) {
                client.extend_credit(window);
                self.mark_client(conn);
            }
        }
    }

    fn report_received(&mut self, now: Time) {
        while let Some(&(due, conn)) = self.unreported.first() {
            if due > now {
                return;
            }
            self.unreported.pop_first();
            let Some(client) = self.client(conn) else { continue };
            if let Some(publish) = &mut client.publish {
                publish.due = None;
                publish.report(&mut client.out);
                self.mark_client(conn);
            }
        }
    }

    fn close_unhelloed(&mut self, now: Time, transport: &mut dyn Transport) {
        while let Some(&(due, conn)) = self.awaiting_hello.front() {
            if due > now {
                break;
            }
            self.awaiting_hello.pop_front();
            let waiting = match self.connections.get(&conn) {
                Some(Connection::Client(client)) => !client.said_hello(),
                Some(Connection::Lane(lane)) => !lane.said_hello,
                None => false,
            };
            if self.clients_behind.has(conn) || self.lanes_behind.has(conn) {
                // Its hello may be among what was left unread.
                self.awaiting_hello.push_back((now + self.config.hello_timeout, conn));
            } else if waiting {
                self.close_connection(transport, conn, CloseCode::Timeout, "no hello");
            }
        }
    }
}
