//! A simulated client: the client library's sessions on one connection, and a program that uses them.
//!
//! A client has a publisher or receivers. When its connection is lost it dials another router after a pause, as the
//! library's shell does; events that were on their way are unknown, and each receiver's next session is another one for the
//! checkers.

mod publisher;
mod receivers;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::session::{ConnectionConfig, ConnectionEvent, ConnectionSession};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamKey, Transport};
use millrace_proto::control::TableCapacity;
use millrace_proto::{CloseCode, RouterId};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

pub use publisher::{Publisher, PublisherSetup};
pub use receivers::{ReceiverSetup, Receivers};

use crate::event::Event;
use crate::network::{Endpoint, Host, Network, Notice, Wire};
use crate::queue::Queue;
use crate::record::Record;

/// Bytes that a client reads from a stream at a time.
const READ_BYTES: usize = 16 * 1024;

/// What is around a client.
#[derive(Debug)]
pub struct Around<'a> {
    /// The network.
    pub network: &'a mut Network,
    /// What happens next.
    pub queue: &'a mut Queue<Event>,
    /// Chance.
    pub rng: &'a mut Pcg64Mcg,
    /// What is recorded.
    pub record: &'a mut Record,
    /// Ids of the routers by number.
    pub routers: &'a [RouterId],
    /// How far the wall clock of each router's neighbourhood is off, ns.
    pub clock_offsets: &'a BTreeMap<u32, i64>,
}

/// What a client does.
#[derive(Debug)]
pub enum Role {
    /// It publishes.
    Publisher(Box<Publisher>),
    /// It receives.
    Receivers(Receivers),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher(publisher) => publisher.fmt(f),
            Self::Receivers(receivers) => receivers.fmt(f),
        }
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    index: u32,
    role: Role,
    tables: TableCapacity,
    link: Option<Link>,
    last_router: Option<u32>,
    timer: Option<Time>,
    /// Connections that were lost.
    pub losses: u64,
}

/// The connection of the moment.
#[derive(Debug)]
struct Link {
    conn: ConnKey,
    router: u32,
    session: ConnectionSession,
    control: Option<StreamKey>,
    out: Outbox,
    heard: Time,
}

/// Bytes that a stream has not taken.
#[derive(Debug, Default)]
struct Outbox(VecDeque<Bytes>);

impl Outbox {
    fn push(&mut self, bytes: Bytes) {
        self.0.push_back(bytes);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn write(&mut self, wire: &mut Wire<'_>, conn: ConnKey, stream: StreamKey) {
        while let Some(bytes) = self.0.front_mut() {
            if wire.write(conn, stream, bytes).is_err() {
                self.0.clear();
            } else if bytes.is_empty() {
                self.0.pop_front();
            } else {
                return;
            }
        }
    }
}

impl Client {
    /// A client that has not dialled.
    #[must_use]
    pub const fn new(index: u32, role: Role, tables: TableCapacity) -> Self {
        Self { index, role, tables, link: None, last_router: None, timer: None, losses: 0 }
    }

    /// Its number.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// What it does.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// The router that has answered its Hello.
    #[must_use]
    pub fn router(&self) -> Option<u32> {
        self.link.as_ref().filter(|link| link.session.is_welcomed()).map(|link| link.router)
    }

    /// Whether nothing is left to do: it is connected, its events are received, its subscriptions in force.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.router().is_some()
            && match &self.role {
                Role::Publisher(publisher) => publisher.is_done(),
                Role::Receivers(receivers) => receivers.are_effective(),
            }
    }

    /// Connects to a router.
    pub fn dial(&mut self, around: &mut Around<'_>) {
        if self.link.is_some() {
            return;
        }
        let routers = u32::try_from(around.routers.len()).unwrap_or(1);
        let router = loop {
            let router = around.rng.random_range(0..routers);
            if Some(router) != self.last_router || around.rng.random_range(0..4) == 0 {
                break router;
            }
        };
        self.last_router = Some(router);
        let now = around.queue.now();
        let from = Endpoint { host: Host::Client(self.index), life: 0, core: 0 };
        let shard = around.rng.random_range(0..4096);
        let conn = around.network.connect(around.queue, from, router, false, shard);
        let (receivers, received_within_us) = match &self.role {
            Role::Publisher(publisher) => (0, publisher.received_within_us()),
            Role::Receivers(receivers) => (receivers.count(), 0),
        };
        let config = ConnectionConfig {
            tables: self.tables,
            receivers,
            received_within_us,
            ..ConnectionConfig::default()
        };
        let session = ConnectionSession::new(config, now);
        self.link = Some(Link { conn, router, session, control: None, out: Outbox::default(), heard: now });
        self.flow(around);
    }

    /// Learns something of its connection.
    pub fn notice(&mut self, conn: ConnKey, notice: Notice, around: &mut Around<'_>) {
        let now = around.queue.now();
        let Some(link) = self.link.as_mut().filter(|link| link.conn == conn) else { return };
        match notice {
            Notice::Closed(_) => {
                self.lose(None, around);
                return;
            }
            Notice::Connected { .. } => {
                let mut wire = Wire { network: around.network, queue: around.queue };
                link.control = wire.open_bi(conn);
                link.heard = now;
            }
            Notice::StreamOpened(stream) => {
                if let Role::Receivers(receivers) = &mut self.role {
                    receivers.stream_opened(stream);
                }
            }
            Notice::Readable(stream) => {
                link.heard = now;
                self.read(stream, around);
            }
            Notice::Writable(_) | Notice::Acknowledged | Notice::StreamsAvailable | Notice::Stopped(_) => {}
        }
        self.flow(around);
    }

    /// It leaves a router that goes away, if it is still connected to it.
    pub fn leave(&mut self, conn: ConnKey, around: &mut Around<'_>) {
        if self.link.as_ref().is_some_and(|link| link.conn == conn) {
            self.lose(Some(CloseCode::Done), around);
        }
    }

    /// Its timer is due.
    pub fn timer(&mut self, around: &mut Around<'_>) {
        if self.timer.is_none_or(|timer| timer > around.queue.now()) {
            return;
        }
        self.timer = None;
        self.flow(around);
    }

    /// Its program publishes.
    pub fn publish(&mut self, around: &mut Around<'_>) {
        let Role::Publisher(publisher) = &mut self.role else { return };
        let offset = self.last_router.and_then(|router| around.clock_offsets.get(&router)).copied();
        if publisher.publish(offset.unwrap_or(0), around) {
            let pause = Duration::from_micros(around.rng.random_range(1_000..30_000));
            around.queue.after(pause, Event::Publish { client: self.index });
        }
        self.flow(around);
    }

    /// Its program changes a subscription.
    pub fn churn(&mut self, around: &mut Around<'_>) {
        let welcomed = self.link.as_mut().filter(|link| link.session.is_welcomed());
        if let (Role::Receivers(receivers), Some(link)) = (&mut self.role, welcomed) {
            receivers.churn(&mut link.session, around);
        }
        self.flow(around);
    }

    /// Lets the application of a receiver stand still, or go on.
    pub fn set_slow(&mut self, receiver: u32, slow: bool, around: &mut Around<'_>) {
        if let Role::Receivers(receivers) = &mut self.role {
            receivers.set_slow(receiver, slow);
        }
        self.flow(around);
    }

    fn read(&mut self, stream: StreamKey, around: &mut Around<'_>) {
        let now = around.queue.now();
        let Some(link) = &mut self.link else { return };
        let mut wire = Wire { network: around.network, queue: around.queue };
        let mut wrong = None;
        let is_control = link.control == Some(stream);
        loop {
            let state = wire.read(link.conn, stream, READ_BYTES, &mut |chunk| {
                if wrong.is_some() {
                    return;
                }
                wrong = if is_control {
                    link.session.control_data(now, chunk).err()
                } else if let Role::Receivers(receivers) = &mut self.role {
                    link.session.heard(now);
                    receivers.data(stream, chunk, around.record).err()
                } else {
                    None
                };
            });
            if state != ReadState::More || wrong.is_some() {
                break;
            }
        }
        if let Some(error) = wrong {
            let index = self.index;
            around.record.findings.add("session", || format!("client {index}: {error}"));
            self.lose(Some(error.close_code()), around);
        }
    }

    /// Takes what the sessions have to say and passes it on.
    fn flow(&mut self, around: &mut Around<'_>) {
        let now = around.queue.now();
        let Some(link) = &mut self.link else { return };
        if link.session.poll_timeout().is_some_and(|due| due <= now) {
            link.session.handle_timeout(now);
        }
        while let Some(event) = self.link.as_mut().and_then(|link| link.session.poll_event()) {
            if !self.event(event, around) {
                return;
            }
        }
        let Some(link) = &mut self.link else { return };
        let attentive = match &mut self.role {
            Role::Publisher(publisher) => {
                let mut wire = Wire { network: around.network, queue: around.queue };
                let router = around.routers[link.router as usize];
                publisher.write(now, link.conn, router, &mut wire, around.record);
                publisher.expects_answer(now)
            }
            Role::Receivers(receivers) => {
                receivers.grant(&mut link.session);
                true
            }
        };
        link.session.set_attentive(now, attentive);
        if let Some(control) = link.control {
            let mut wire = Wire { network: around.network, queue: around.queue };
            while let Some(bytes) = link.session.poll_control_output() {
                link.out.push(bytes);
            }
            link.out.write(&mut wire, link.conn, control);
        }
        let publisher = match &self.role {
            Role::Publisher(publisher) => publisher.poll_timeout(now),
            Role::Receivers(_) => None,
        };
        let due = [link.session.poll_timeout(), publisher].into_iter().flatten().min();
        if let Some(due) = due.map(|due| due.max(now + Duration::from_micros(10)))
            && self.timer.is_none_or(|timer| timer > due)
        {
            self.timer = Some(due);
            around.queue.at(due, Event::ClientTimer { client: self.index });
        }
    }

    /// Handles what the router said; false when the connection is gone by that.
    fn event(&mut self, event: ConnectionEvent, around: &mut Around<'_>) -> bool {
        let now = around.queue.now();
        let Some(link) = &mut self.link else { return false };
        let router = around.routers[link.router as usize];
        match (event, &mut self.role) {
            (ConnectionEvent::Welcomed(welcome), Role::Publisher(publisher)) => publisher.started(&welcome),
            (ConnectionEvent::Welcomed(_), Role::Receivers(receivers)) => {
                receivers.started(self.tables, &mut link.session, around);
            }
            (ConnectionEvent::Credit { bytes }, Role::Publisher(publisher)) => publisher.credit(bytes),
            (ConnectionEvent::Received { next_seq }, Role::Publisher(publisher)) => {
                if let Err(error) = publisher.received(next_seq, router, now, around.record) {
                    let index = self.index;
                    around.record.findings.add("session", || format!("client {index}: {error}"));
                    self.lose(Some(error.close_code()), around);
                    return false;
                }
            }
            (ConnectionEvent::Subscribed(subscribed), Role::Receivers(receivers)) => {
                receivers.subscribed(&subscribed, now, around.record);
            }
            (ConnectionEvent::Refused(refused), _) => {
                let index = self.index;
                around.record.findings.add("session", || format!("client {index} was refused: {refused:?}"));
            }
            (ConnectionEvent::Dead { .. }, _) => {
                self.lose(Some(CloseCode::Timeout), around);
                return false;
            }
            (ConnectionEvent::Goaway(goaway), _) => {
                // Some stay until they are sent away.
                if around.rng.random_range(0..3) > 0 {
                    let leave = Event::ClientLeave { client: self.index, conn: link.conn };
                    around.queue.after(Duration::from_micros(goaway.delay_us), leave);
                }
            }
            (ConnectionEvent::Credit { .. }, Role::Receivers(_)) => {}
            (other, _) => {
                let index = self.index;
                around.record.findings.add("session", || format!("client {index} did not expect {other:?}"));
            }
        }
        true
    }

    /// The connection is gone, or given up with a code.
    fn lose(&mut self, code: Option<CloseCode>, around: &mut Around<'_>) {
        let Some(link) = self.link.take() else { return };
        self.losses += 1;
        if let Some(code) = code {
            Wire { network: around.network, queue: around.queue }.close(link.conn, code.code(), "");
        }
        match &mut self.role {
            Role::Publisher(publisher) => publisher.lost(),
            Role::Receivers(receivers) => receivers.lost(link.heard, around.record),
        }
        let pause = Duration::from_micros(around.rng.random_range(10_000..300_000));
        around.queue.after(pause, Event::ClientDial { client: self.index });
    }
}
