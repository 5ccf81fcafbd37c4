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
mod metrics;
mod outbound;
mod publisher;
mod receiver;
mod routing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::data::Gap;
use millrace_proto::run::RunBody;
use millrace_proto::{CloseCode, DecodeError};

pub use config::CoreConfig;
pub use metrics::{CoreMetrics, DropReason};
pub use routing::UNROUTED;

use crate::message::{CoreIndex, ToControl, ToCore, Token};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey, Transport};
use ahead::Wakes;
use behind::Behind;
use client::{ClientSession, PendingSubscription};
use inbound::{KnownTags, RunPublisher, RunReader, RunSink, Window};
use lane::{Acceptance, Accepted, LaneSession};
use outbound::RunWriter;
use receiver::ReceiverSlot;
use routing::{Routing, Scope};

/// A receiver that gathers writes at once when this much has gathered.
const LINGER_BYTES: usize = 16 * 1024;

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

/// How far the end in order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotBegun,
    /// Clients are not listened to. They were told what was received, which leaves with this turn.
    Told,
    /// Clients are closed.
    Over,
}

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

    /// A batch of a sibling core.
    ///
    /// # Errors
    /// [`DecodeError`] means a defect of this program: the batch is lost, and so are later ones that use its numbers.
    pub fn batch(&mut self, from: CoreIndex, batch: &[u8]) -> Result<(), DecodeError> {
        let Some(reader) = self.sibling_readers.get_mut(usize::from(from)) else { return Ok(()) };
        reader.feed(batch, &mut SiblingSink { routing: &mut self.routing, router: self.config.router })
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

    /// Begins the end in order: nothing is read from clients any more, they are told what was received, and closed with
    /// `going_away` by the second turn from here: what a connection is told in the turn that closes it never leaves. What
    /// they published may still be on its way to its owner. The end of a router goes on when no core [has
    /// batches](Core::has_batches) and all batches were taken in: then [`Core::finish_lanes`] on each.
    pub fn close_clients(&mut self, now: Time, transport: &mut dyn Transport) {
        self.turn(now, transport);
        self.ending = Ending::Told;
        self.clients_behind = Behind::new();
        for conn in self.clients() {
            if let Some(client) = self.client(conn) {
                client.report();
            }
            self.write_client(transport, conn);
        }
    }

    fn end_clients(&mut self, transport: &mut dyn Transport) {
        for conn in self.clients() {
            self.close_connection(transport, conn, CloseCode::GoingAway, "this router is going away");
        }
    }

    /// Whether runs wait for a sibling's mailbox.
    #[must_use]
    pub fn has_batches(&self) -> bool {
        self.routing.has_batches()
    }

    /// Whether everything for peers was handed to the transport.
    #[must_use]
    pub fn has_written_lanes(&self) -> bool {
        self.routing.peers.iter().flatten().all(|lane| lane.writer.is_empty())
    }

    /// Finishes the streams to peers behind what is queued for them: nothing more is routed. Call [`Core::turn`] until
    /// the transport has sent it.
    pub fn finish_lanes(&mut self, transport: &mut dyn Transport) {
        self.lanes_over = true;
        for lane in self.routing.peers.iter_mut().flatten() {
            lane.finished = true;
        }
        self.write_peers(transport);
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
        transport.close(conn, code, reason);
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

    /// Tells clients to move, each after its own part of the grace.
    fn drain(&mut self, grace_us: u64) {
        let grace_us = grace_us.min(millrace_proto::varint::MAX);
        self.draining = Some(grace_us);
        let clients = self.clients();
        let count = clients.len() as u64;
        for (index, conn) in clients.into_iter().enumerate() {
            let goaway = millrace_proto::control::Goaway {
                delay_us: (grace_us / 2).saturating_mul(index as u64) / count.max(1),
                alternates: self.alternates.clone(),
                reason: "this router is going away".into(),
                grace_us,
            };
            // Who has not said Hello yet is told behind its Welcome.
            if let Some(client) = self.client(conn).filter(|client| client.said_hello()) {
                client.report();
                goaway.encode(&mut client.out);
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

    /// Writes a receiver that has gathered something, now or when its linger is over.
    fn write_dirty(&mut self, now: Time, transport: &mut dyn Transport, slot: ReceiverSlot) {
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        receiver.dirty = false;
        if receiver.overflowed {
            let conn = receiver.conn;
            let reason = "a receiver's queue overflowed and its policy is disconnect";
            self.close_connection(transport, conn, CloseCode::Overflow, reason);
            return;
        }
        let full = receiver.writer.out_bytes() >= LINGER_BYTES || receiver.writer.can_gather_no_more();
        if receiver.linger.is_zero() || full {
            self.write_receiver(now, transport, slot);
        } else if receiver.due.is_none() && receiver.writer.has_output() {
            let due = now + receiver.linger;
            receiver.due = Some(due);
            self.lingering.insert((due, slot));
        }
    }

    fn write_receiver(&mut self, _now: Time, transport: &mut dyn Transport, slot: ReceiverSlot) {
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        if let Some(due) = receiver.due.take() {
            self.lingering.remove(&(due, slot));
        }
        let Some(stream) = receiver.stream else {
            self.finish_closed(transport, slot);
            return;
        };
        let ahead = transport.congestion_window(receiver.conn).saturating_mul(2);
        let ahead = ahead.clamp(self.config.stream_ahead_min as u64, self.config.stream_ahead_max as u64);
        receiver.writer.set_ahead(usize::try_from(ahead).unwrap_or(usize::MAX));
        let bytes = write_runs(transport, receiver.conn, stream, &mut receiver.writer);
        receiver.writer.wait_for_room(slot);
        let written = receiver.writer.take_written();
        self.routing.metrics.bytes_out += bytes;
        self.routing.metrics.events_out += written.events;
        self.routing.metrics.gaps += written.gaps;
        if receiver.closing {
            self.finish_closed(transport, slot);
        }
    }

    fn write_client(&mut self, transport: &mut dyn Transport, conn: ConnKey) {
        let out_max = self.config.control_out_bytes;
        let Some(client) = self.client(conn) else { return };
        client.dirty = false;
        let Some(stream) = client.control else { return };
        write_out(transport, conn, stream, &mut client.out);
        if client.out.len() > out_max {
            self.close_connection(transport, conn, CloseCode::Busy, "control frames are not read");
        }
    }
}

/// Writes control frames; what the stream does not take stays.
fn write_out(transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey, out: &mut Vec<u8>) {
    if out.is_empty() {
        return;
    }
    let mut bytes = Bytes::from(std::mem::take(out));
    if transport.write(conn, stream, &mut bytes).is_ok() && !bytes.is_empty() {
        out.extend_from_slice(&bytes);
    }
}

/// Writes runs until the stream takes no more or nothing is left; returns the bytes taken.
fn write_runs(
    transport: &mut dyn Transport,
    conn: ConnKey,
    stream: StreamKey,
    writer: &mut RunWriter,
) -> u64 {
    let mut taken = 0;
    loop {
        let mut bytes = writer.take();
        if bytes.is_empty() {
            return taken;
        }
        let offered = bytes.len();
        if transport.write(conn, stream, &mut bytes).is_err() {
            return taken;
        }
        taken += (offered - bytes.len()) as u64;
        if !bytes.is_empty() {
            writer.put_back(bytes);
            return taken;
        }
        writer.pump();
    }
}

struct SiblingSink<'a> {
    routing: &'a mut Routing,
    router: millrace_proto::RouterId,
}

impl RunSink for SiblingSink<'_> {
    fn fetch(&mut self, window: &Window) {
        self.routing.fetch(window, Scope::Core);
    }

    #[inline]
    fn run(
        &mut self,
        tags: &mut KnownTags,
        publisher: RunPublisher,
        hop: &millrace_proto::data::HopHeader<'_>,
        body: &RunBody<'_>,
    ) {
        self.routing.sibling_run(tags, publisher.key, hop.flags, body);
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        self.routing.gap_to_all(gap);
        // The mailbox itself dropped runs, and they may have been on their way to this core as their owner: whoever would
        // have got them from here must know. A gap that names a router was told to everyone by the core that read it.
        if gap.router.is_none() {
            let gap = Gap { router: Some(self.router), ..gap.clone() };
            self.routing.gap_to_siblings(&gap);
            self.routing.gap_to_peers(&gap);
        }
        Ok(())
    }

    fn preamble(&mut self, _: u64, _: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }

    fn skipped(&mut self) {}
}
