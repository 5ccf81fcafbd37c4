//! The connections of one thread, as the app on top of our QUIC loop: to a Millrace router with the client's sessions, or to
//! a relay that passes publish streams on as they are. Encoding, decoding and checking are the same for both.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use millrace_client::session::{
    ConnectionEvent, ConnectionSession, DeliveredRun, DeliverySink, PreambleReader, PublisherSession,
    ReceiverSession, SessionError, TagHandle,
};
use millrace_client::time::Time;
use millrace_proto::control::{Stage, TableCapacity};
use millrace_proto::data::Gap;
use millrace_proto::frame;
use millrace_proto::{CloseCode, ReceiverNumber};
use millrace_quic::{App, CloseReason, ConnId, ConnectedInfo, Io, ReadState, StreamId};

use super::TICK;
use crate::load::Load;

/// Bytes read from one stream before the next one's turn.
const READ_BYTES: usize = 256 * 1024;
/// The first frame of a publish stream is far smaller.
const PREAMBLE_BYTES_MAX: usize = 256;
/// More than any run publishes.
const RELAY_CREDIT: u64 = 1 << 60;

/// One connection; `session` is absent towards a relay.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) session: Option<ConnectionSession>,
    pub(super) role: Role,
    pub(super) control: Option<StreamId>,
    pub(super) pending: Bytes,
}

/// What a connection is for: the index of its publisher or receiver.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Publisher(usize),
    Receiver(usize),
}

/// The publishing half.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) session: PublisherSession,
    pub(super) conn: Option<ConnId>,
    pub(super) stream: Option<StreamId>,
    pub(super) pending: Bytes,
}

/// A stream with deliveries.
#[derive(Debug)]
struct Incoming {
    receiver: usize,
    state: Begin,
    session: ReceiverSession,
}

#[derive(Debug)]
enum Begin {
    /// A router's stream begins with its own preamble …
    Delivery(PreambleReader),
    /// … a relayed one with the publisher's.
    Publish(Vec<u8>),
    Done,
}

/// The app. See the module.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) load: Load,
    pub(super) base: Instant,
    pub(super) connections: Vec<Connection>,
    pub(super) by_id: HashMap<ConnId, usize, ahash::RandomState>,
    pub(super) publishers: Vec<Publisher>,
    /// By emitter.
    pub(super) handles: Vec<TagHandle>,
    incoming: HashMap<(ConnId, StreamId), Incoming, ahash::RandomState>,
    pub(super) receiver: millrace_client::session::ReceiverConfig,
    /// Connections that can be used: connected, and subscribed or with credit where that is needed.
    pub(super) ready: usize,
    pub(super) failed: Option<String>,
    looked_at: Instant,
}

impl Clients {
    pub(super) fn new(load: Load, receiver: millrace_client::session::ReceiverConfig) -> Self {
        let now = Instant::now();
        Self {
            load,
            base: now,
            connections: Vec::new(),
            by_id: HashMap::default(),
            publishers: Vec::new(),
            handles: Vec::new(),
            incoming: HashMap::default(),
            receiver,
            ready: 0,
            failed: None,
            looked_at: now,
        }
    }

    pub(super) fn time(&self, now: Instant) -> Time {
        Time::from_nanos(
            u64::try_from(now.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX),
        )
    }

    fn fail(&mut self, what: impl Into<String>) {
        self.failed.get_or_insert(what.into());
    }

    fn publish(&mut self, now: Instant) {
        let time = self.time(now);
        let count = self.publishers.len();
        for _ in 0..self.load.budget(now) {
            let (emitter, time_ns, payload) = self.load.next(now);
            let publisher = &mut self.publishers[emitter % count];
            // A full queue is one reason to stop; there is no other for payloads of this size.
            if publisher.session.publish(time, self.handles[emitter], time_ns, payload).is_err() {
                break;
            }
            self.load.taken();
        }
        for publisher in &mut self.publishers {
            publisher.session.flush();
        }
    }

    fn write(&mut self, io: &mut Io<'_>, number: usize) {
        let time = self.time(io.now());
        let publisher = &mut self.publishers[number];
        let Some(conn) = publisher.conn else { return };
        loop {
            if publisher.pending.is_empty() {
                let Some(bytes) = publisher.session.take_output(time) else { return };
                publisher.pending = bytes;
            }
            if publisher.stream.is_none() {
                publisher.stream = io.open_uni(conn);
            }
            let Some(stream) = publisher.stream else { return };
            let mut chunks = [std::mem::take(&mut publisher.pending)];
            if io.write(conn, stream, &mut chunks).is_err() {
                return;
            }
            let [rest] = chunks;
            publisher.pending = rest;
            if !publisher.pending.is_empty() {
                return;
            }
        }
    }

    fn write_control(&mut self, io: &mut Io<'_>, index: usize) {
        let connection = &mut self.connections[index];
        let (Some(stream), Some(session)) = (connection.control, &mut connection.session) else { return };
        loop {
            if connection.pending.is_empty() {
                let Some(bytes) = session.poll_control_output() else { return };
                connection.pending = bytes;
            }
            let mut chunks = [std::mem::take(&mut connection.pending)];
            if io.write(connection.id, stream, &mut chunks).is_err() {
                return;
            }
            let [rest] = chunks;
            connection.pending = rest;
            if !connection.pending.is_empty() {
                return;
            }
        }
    }

    fn control_events(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(session) = &mut connection.session else { return };
        while let Some(event) = session.poll_event() {
            match (event, connection.role) {
                (ConnectionEvent::Welcomed(welcome), Role::Publisher(number)) => {
                    self.publishers[number].session.stream_started(welcome.tables);
                }
                (ConnectionEvent::Credit { bytes }, Role::Publisher(number)) => {
                    let publisher = &mut self.publishers[number].session;
                    self.ready += usize::from(publisher.next_seq() == 0 && bytes > 0);
                    publisher.on_credit(bytes);
                }
                (ConnectionEvent::Received { next_seq }, Role::Publisher(number)) => {
                    if let Err(error) = self.publishers[number].session.on_received(next_seq) {
                        self.failed.get_or_insert(error.to_string());
                    }
                }
                (ConnectionEvent::Subscribed(subscribed), _) if subscribed.stage == Stage::Cluster => {
                    self.ready += 1;
                }
                (ConnectionEvent::Refused(refused), _) => {
                    self.failed.get_or_insert(format!("refused: {refused:?}"));
                }
                (ConnectionEvent::Dead { .. }, _) => {
                    self.failed.get_or_insert("the router fell silent".into());
                }
                _ => {}
            }
        }
    }

    fn read_control(&mut self, io: &mut Io<'_>, index: usize, stream: StreamId) {
        let time = self.time(io.now());
        let connection = &mut self.connections[index];
        let (id, Some(session)) = (connection.id, &mut connection.session) else { return };
        let mut wrong = None;
        let outcome = io.read(id, stream, READ_BYTES, &mut |chunk| {
            if wrong.is_none() {
                wrong = session.control_data(time, chunk).err();
            }
        });
        if outcome.state == ReadState::More {
            io.wake(id, stream);
        }
        if let Some(error) = wrong {
            self.fail(error.to_string());
        }
        self.control_events(index);
    }

    fn read_deliveries(&mut self, io: &mut Io<'_>, index: usize, stream: StreamId) {
        // Its own look at the clock: latency counts the work that this thread has done since it woke.
        let now = Instant::now();
        let time = self.time(now);
        let now_ns = self.load.ns(now);
        let connection = &mut self.connections[index];
        let id = connection.id;
        let Some(incoming) = self.incoming.get_mut(&(id, stream)) else { return };
        let load = &mut self.load;
        let mut wrong = None;
        let outcome = io.read(id, stream, READ_BYTES, &mut |chunk| {
            if wrong.is_none() {
                wrong = incoming.data(chunk, load, now_ns).err();
            }
        });
        if outcome.state == ReadState::More {
            io.wake(id, stream);
        }
        if let Some(grant) = incoming.session.poll_grant()
            && let Some(session) = &mut connection.session
        {
            session.heard(time);
            session.grant(ReceiverNumber(0), grant);
        }
        if let Some(error) = wrong {
            self.fail(error.to_string());
        }
    }
}

impl Incoming {
    #[inline]
    fn data(&mut self, mut chunk: &[u8], load: &mut Load, now_ns: u64) -> Result<(), SessionError> {
        match &mut self.state {
            Begin::Done => {}
            Begin::Delivery(preamble) => {
                let Some((_, taken)) = preamble.feed(chunk)? else { return Ok(()) };
                chunk = &chunk[taken..];
                self.state = Begin::Done;
            }
            Begin::Publish(partial) => {
                let before = partial.len();
                partial.extend_from_slice(chunk);
                let Some((_, _, taken)) = frame::split(partial, PREAMBLE_BYTES_MAX)? else { return Ok(()) };
                chunk = &chunk[taken - before..];
                self.state = Begin::Done;
            }
        }
        let mut sink = Sink { receiver: self.receiver, load, now_ns };
        self.session.data(chunk, &mut sink)?;
        self.session.consumed(chunk.len() as u64);
        Ok(())
    }
}

struct Sink<'a> {
    receiver: usize,
    load: &'a mut Load,
    now_ns: u64,
}

impl DeliverySink for Sink<'_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        for event in run.events() {
            self.load.deliver(self.receiver, event.payload, self.now_ns);
        }
    }

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {
        // What it stands for is missed by its numbers.
    }
}

impl App for Clients {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        let connection = &mut self.connections[index];
        if connection.session.is_some() {
            connection.control = io.open_bi(conn);
            self.write_control(io, index);
            return;
        }
        self.ready += 1;
        if let Role::Publisher(number) = connection.role {
            let session = &mut self.publishers[number].session;
            session.stream_started(TableCapacity::CLIENT);
            session.on_credit(RELAY_CREDIT);
        }
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        let connection = &self.connections[index];
        let Role::Receiver(receiver) = connection.role else { return };
        let state = match connection.session {
            Some(_) => Begin::Delivery(PreambleReader::new()),
            None => Begin::Publish(Vec::new()),
        };
        let session = ReceiverSession::new(self.receiver);
        self.incoming.insert((conn, stream), Incoming { receiver, state, session });
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        if self.connections[index].control == Some(stream) {
            self.read_control(io, index, stream);
        } else {
            self.read_deliveries(io, index, stream);
        }
        self.write_control(io, index);
    }

    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        match self.connections[index].role {
            Role::Publisher(number) if self.connections[index].control != Some(stream) => {
                self.write(io, number);
            }
            _ => self.write_control(io, index),
        }
    }

    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, code: u64) {
        self.fail(format!("a stream was stopped with code {code}"));
    }

    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {}

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        if self.by_id.contains_key(&conn) && *reason != CloseReason::Local {
            self.fail(format!("a connection was lost: {reason}"));
        }
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        self.looked_at = now;
        self.publish(now);
        for number in 0..self.publishers.len() {
            self.write(io, number);
        }
        let time = self.time(now);
        for index in 0..self.connections.len() {
            let Some(session) = &mut self.connections[index].session else { continue };
            if session.poll_timeout().is_some_and(|due| due <= time) {
                session.handle_timeout(time);
                self.control_events(index);
                self.write_control(io, index);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.load.is_open().then(|| self.looked_at + TICK)
    }
}

impl Clients {
    /// Closes all connections.
    pub(super) fn close(&mut self, io: &mut Io<'_>) {
        for connection in &self.connections {
            io.close(connection.id, CloseCode::Done.code(), b"");
        }
    }
}
