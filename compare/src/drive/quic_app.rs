//! The connections of one thread, as the app on top of our QUIC loop: to a Millrace router with the
//! client's sessions, or to a relay that passes publish streams on as they are. Encoding, decoding
//! and checking are the same for both.

use std::collections::HashMap;
use std::time::Instant;

use millrace_attach::{ClientConnection, Event, Failure, Publishing};
use millrace_client::session::{
    DeliveredRun, DeliverySink, PublisherSession, ReceiverConfig, ReceiverSession, SessionError, TagHandle,
};
use millrace_client::time::Time;
use millrace_proto::control::{Ack, AckKind, Stage, TableCapacity, Ticket};
use millrace_proto::data::Gap;
use millrace_proto::frame;
use millrace_proto::limits::TICKETS_PER_FRAME_MAX;
use millrace_proto::{CloseCode, ReceiverNumber};
use millrace_quic::{App, CloseReason, ConnId, ConnectedInfo, Io, StreamId};
use millrace_sansio::{ReadState, Transport};

use super::link::TICK;
use crate::load::Load;

/// Bytes read from one stream before the next one's turn.
const READ_BYTES: usize = 256 * 1024;
/// The first frame of a publish stream is far smaller.
const PREAMBLE_BYTES_MAX: usize = 256;
/// More than any run publishes.
const RELAY_CREDIT: u64 = 1 << 60;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) side: Side,
    pub(super) role: Role,
}

/// What is on the other side of a connection.
#[derive(Debug)]
pub(super) enum Side {
    /// A Millrace router.
    Router(Box<ClientConnection>),
    /// A relay: it takes publish streams and gives them back, and has no control stream.
    Relay(ConnId, Publishing),
}

impl Connection {
    fn id(&self) -> ConnId {
        match &self.side {
            Side::Router(connection) => connection.id(),
            Side::Relay(id, _) => *id,
        }
    }
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
    /// The index of its connection, once it is dialled.
    pub(super) connection: Option<usize>,
}

/// A publish stream that a relay passes on.
#[derive(Debug)]
struct Relayed {
    /// What arrived of the publisher's preamble, until it is complete.
    preamble: Option<Vec<u8>>,
    session: ReceiverSession,
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
    relayed: HashMap<(ConnId, StreamId), Relayed, ahash::RandomState>,
    pub(super) receiver: ReceiverConfig,
    /// Connections that can be used: connected, and subscribed or with credit where that is needed.
    pub(super) ready: usize,
    pub(super) failed: Option<String>,
    looked_at: Instant,
    /// Of what members of a group have taken, until the end of the read.
    tickets: Vec<Ticket>,
}

impl Clients {
    pub(super) fn new(load: Load, receiver: ReceiverConfig) -> Self {
        let now = Instant::now();
        Self {
            load,
            base: now,
            connections: Vec::new(),
            by_id: HashMap::default(),
            publishers: Vec::new(),
            handles: Vec::new(),
            relayed: HashMap::default(),
            receiver,
            ready: 0,
            failed: None,
            looked_at: now,
            tickets: Vec::new(),
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
        let Publisher { session, connection } = &mut self.publishers[number];
        let Some(index) = *connection else { return };
        match &mut self.connections[index].side {
            Side::Router(connection) => connection.publish(io, time, session),
            Side::Relay(id, publishing) => publishing.write(io, *id, time, session),
        };
    }

    fn flush(&mut self, io: &mut Io<'_>, index: usize) {
        if let Side::Router(connection) = &mut self.connections[index].side {
            connection.flush(io);
        }
    }

    fn events(&mut self, io: &mut Io<'_>, index: usize) {
        let Self { connections, publishers, ready, failed, .. } = self;
        let Connection { side: Side::Router(connection), role } = &mut connections[index] else { return };
        let mut publisher = match *role {
            Role::Publisher(number) => Some(&mut publishers[number].session),
            Role::Receiver(_) => None,
        };
        loop {
            match connection.poll_event(io, publisher.as_deref_mut()) {
                Ok(Some(Event::Welcomed(welcome))) => {
                    if let Some(publisher) = &mut publisher {
                        publisher.stream_started(welcome.tables);
                    }
                }
                Ok(Some(Event::Credit { bytes })) => {
                    let is_first = publisher.as_ref().is_some_and(|it| it.next_seq() == 0 && bytes > 0);
                    *ready += usize::from(is_first);
                }
                Ok(Some(Event::Subscribed(subscribed))) => {
                    *ready += usize::from(subscribed.stage == Stage::Cluster);
                }
                Ok(Some(Event::Refused(refused))) => {
                    failed.get_or_insert(format!("refused: {refused:?}"));
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(failure) => {
                    failed.get_or_insert(failure.to_string());
                    return;
                }
            }
        }
    }

    fn read(&mut self, io: &mut Io<'_>, index: usize, stream: StreamId) {
        // Its own look at the clock: latency counts the work that this thread has done since it
        // woke.
        let now = Instant::now();
        let time = self.time(now);
        let now_ns = self.load.ns(now);
        let Self { connections, relayed, load, tickets, .. } = self;
        let Connection { side, role } = &mut connections[index];
        let receiver = match *role {
            Role::Receiver(receiver) => receiver,
            // Only a control stream is read.
            Role::Publisher(_) => 0,
        };
        let mut sink = Sink { receiver, load, now_ns, tickets };
        let (id, read) = match side {
            Side::Router(connection) => {
                (connection.id(), connection.readable(io, time, stream, READ_BYTES, &mut sink))
            }
            Side::Relay(id, _) => {
                let Some(relayed) = relayed.get_mut(&(*id, stream)) else { return };
                (*id, relayed.read(io, *id, stream, &mut sink).map_err(Failure::from))
            }
        };
        if let Side::Router(connection) = side {
            for some in tickets.chunks(TICKETS_PER_FRAME_MAX) {
                let (kind, tickets) = (AckKind::Taken, some.to_vec());
                connection.acknowledge(&Ack { kind, tickets, ..Ack::default() });
            }
            tickets.clear();
        }
        match read {
            Ok(ReadState::More) => io.wake(id, stream),
            Ok(_) => {}
            Err(failure) => self.fail(failure.to_string()),
        }
    }
}

impl Relayed {
    fn new(receiver: ReceiverConfig) -> Self {
        Self { preamble: Some(Vec::new()), session: ReceiverSession::new(receiver) }
    }

    fn read(
        &mut self,
        io: &mut Io<'_>,
        id: ConnId,
        stream: StreamId,
        sink: &mut Sink<'_>,
    ) -> Result<ReadState, SessionError> {
        let mut wrong = None;
        let state = Transport::read(io, id, stream, READ_BYTES, &mut |chunk| {
            if wrong.is_none() {
                wrong = self.data(chunk, sink).err();
            }
        });
        // A relay asks for no grants: this only moves the bound on what may arrive.
        self.session.poll_grant();
        wrong.map_or(Ok(state), Err)
    }

    #[inline]
    fn data(&mut self, mut chunk: &[u8], sink: &mut Sink<'_>) -> Result<(), SessionError> {
        if let Some(partial) = &mut self.preamble {
            let before = partial.len();
            partial.extend_from_slice(chunk);
            let Some((_, _, taken)) = frame::split(partial, PREAMBLE_BYTES_MAX)? else { return Ok(()) };
            chunk = &chunk[taken - before..];
            self.preamble = None;
        }
        self.session.data(chunk, sink)?;
        self.session.consumed(chunk.len() as u64);
        Ok(())
    }
}

struct Sink<'a> {
    receiver: usize,
    load: &'a mut Load,
    now_ns: u64,
    tickets: &'a mut Vec<Ticket>,
}

impl DeliverySink for Sink<'_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        for event in run.events() {
            self.load.deliver(self.receiver, event.payload, self.now_ns);
        }
        self.tickets.extend(run.ticket.map(|(ticket, generation)| Ticket { ticket, generation }));
    }

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {
        // What it stands for is missed by its numbers.
    }
}

impl App for Clients {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        let Connection { side, role } = &mut self.connections[index];
        match (side, *role) {
            (Side::Router(connection), _) => {
                connection.connected(io);
                connection.flush(io);
                return;
            }
            (Side::Relay(..), Role::Publisher(number)) => {
                let session = &mut self.publishers[number].session;
                session.stream_started(TableCapacity::CLIENT);
                session.on_credit(RELAY_CREDIT);
            }
            (Side::Relay(..), Role::Receiver(_)) => {}
        }
        self.ready += 1;
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        match &mut self.connections[index].side {
            Side::Router(connection) => connection.stream_opened(stream),
            Side::Relay(..) => {
                self.relayed.insert((conn, stream), Relayed::new(self.receiver));
            }
        }
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        self.read(io, index, stream);
        self.events(io, index);
        self.flush(io, index);
    }

    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, _: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        if let Role::Publisher(number) = self.connections[index].role {
            self.write(io, number);
        }
        self.flush(io, index);
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
            let Side::Router(connection) = &mut self.connections[index].side else { continue };
            if connection.poll_timeout().is_some_and(|due| due <= time) {
                connection.handle_timeout(time);
                self.events(io, index);
                self.flush(io, index);
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
            io.close(connection.id(), CloseCode::Done.code(), b"");
        }
    }
}
