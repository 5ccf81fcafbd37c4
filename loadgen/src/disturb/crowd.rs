//! Many light clients on one thread: they dial, subscribe, and dial again when they lose their
//! connection. When and after which pause is decided by the client library's [`Attachment`]; what
//! the clients do besides is their [`Behaviour`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_attach::ControlStream;
use millrace_client::session::attachment::{AttemptId, Cause, Input, Output, Router, Verdict};
use millrace_client::session::{Attachment, AttachmentConfig, ConnectionEvent, ConnectionSession};
use millrace_client::time::Time;
use millrace_proto::CloseCode;
use millrace_proto::control::Stage;
use millrace_quic::{App, ClientSettings, CloseReason, ConnId, ConnectedInfo, Dial, Io, SocketId, StreamId};

use super::control::{self, READ_BYTES};
use super::kind::{Disturbance, Order};
use super::outcome::Outcome;
use crate::fleet::dial::session;
use crate::fleet::{Epochs, Target};

/// Sockets that a crowd shares.
const SOCKETS_MAX: usize = 256;
/// Handshakes begun per turn: each costs some 100 µs here, and nobody is heard meanwhile.
const DIALS_PER_TURN: usize = 16;
/// Handshakes under way while a crowd first connects, which is no storm.
const CALM_DIALS_MAX: usize = 16;
/// How long a connection may take to be made: twice as long as in the client library, because one
/// thread plays all clients, and what thousands of hosts do at once it does one after the other.
const CONNECT_NS: u64 = 10_000_000_000;
/// QUIC's codes of TLS alerts begin here (RFC 9001 §4.8).
const TLS_ALERTS: u64 = 0x100;
/// Idle clients ping this often.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often sessions' clocks are looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// How many clients are ready, for whoever waits for them.
#[derive(Debug, Default)]
pub(super) struct Ready {
    count: AtomicU64,
    /// Why a router refused a client for good, in words.
    refused: Mutex<Option<String>>,
}

impl Ready {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Why a client gave up, if one did.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a crowd's clients do.
pub(super) trait Behaviour {
    /// Receivers that each connection may open.
    fn receivers(&self) -> u32;
    /// A client has a new connection: what it asks for at once.
    fn open(&mut self, client: usize, session: &mut ConnectionSession);
    /// A subscription of a client is effective in the cluster, or refused.
    fn answered(&mut self, client: usize, answer: &ConnectionEvent, now: Instant);
    /// Clients that are ready: connected, and effective as far as they asked at once.
    fn ready(&self) -> u64;
    /// The disturbance begins.
    fn begin(&mut self, order: Disturbance, clients: &mut Clients, io: &mut Io<'_>, now: Time);
    /// The disturbance is over.
    fn end(&mut self, now: Instant);
    /// Once per turn; what came of the disturbance, when that is known after its end.
    fn turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Outcome>;
    /// When it has something to do.
    fn deadline(&self) -> Option<Instant>;
}

#[derive(Debug)]
struct Client {
    attachment: Attachment<Target, CloseReason>,
    /// The one connection, from its dial on.
    control: Option<ControlStream>,
    /// The attempt that made it.
    attempt: AttemptId,
    is_welcomed: bool,
    dirty: bool,
    /// When its attachment is to be asked; tells an old alarm from the present one.
    alarm: Option<Time>,
}

impl Router for Target {
    type Address = SocketAddr;

    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    /// A crowd stays with the routers that the run names.
    fn named(_: &str) -> Option<Self> {
        None
    }
}

/// The connections of a crowd.
#[derive(Debug)]
pub(super) struct Clients {
    clients: Vec<Client>,
    by_id: HashMap<ConnId, usize, ahash::RandomState>,
    settings: Arc<ClientSettings>,
    sockets: Vec<SocketId>,
    /// Clients that may dial as soon as handshakes may begin.
    waiting: VecDeque<usize>,
    alarms: BinaryHeap<Reverse<(Time, usize)>>,
    /// The newest refusal that ended a client's search.
    refused: Option<CloseReason>,
    dirty: Vec<usize>,
    pending: usize,
    /// Dials begun so far.
    pub(super) dials: u64,
    /// Whether few handshakes may be under way.
    is_calm: bool,
}

impl Clients {
    /// A client's session, to ask for something; `None` while it is not connected.
    pub(super) fn session(&mut self, client: usize) -> Option<&mut ConnectionSession> {
        self.mark(client);
        let client = self.clients.get_mut(client)?;
        client.control.as_mut().filter(|_| client.is_welcomed).map(|control| &mut control.session)
    }

    /// All clients leave their connections and dial anew, as fast as this thread can.
    pub(super) fn reconnect(&mut self, io: &mut Io<'_>, now: Time) {
        self.is_calm = false;
        self.pending = 0;
        self.waiting.clear();
        for (number, client) in self.clients.iter_mut().enumerate() {
            if let Some(control) = client.control.take() {
                self.by_id.remove(&control.id());
                io.close(control.id(), CloseCode::Done.code(), b"");
            }
            client.is_welcomed = false;
            client.alarm = None;
            client.attachment.restart(now);
            self.waiting.push_back(number);
        }
    }

    fn mark(&mut self, client: usize) {
        if !std::mem::replace(&mut self.clients[client].dirty, true) {
            self.dirty.push(client);
        }
    }

    /// A client has no connection any more: its attachment knows what comes next.
    fn lost(&mut self, number: usize, reason: CloseReason, now: Time) {
        let client = &mut self.clients[number];
        let verdict = verdict(&reason);
        let attempt = client.attempt;
        if std::mem::take(&mut client.is_welcomed) {
            client.attachment.handle(Input::Lost { attempt, verdict }, now);
        } else {
            self.pending = self.pending.saturating_sub(1);
            client.attachment.handle(Input::Failed { attempt, verdict, error: reason }, now);
        }
        client.control = None;
        self.set_alarm(number);
    }

    /// Comes back to a client's attachment when it says.
    fn set_alarm(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let due = client.attachment.poll_timeout();
        if due != client.alarm {
            client.alarm = due;
            self.alarms.extend(due.map(|due| Reverse((due, number))));
        }
    }

    /// Asks the attachments whose time has come. Those that would dial wait for their turn.
    fn ring(&mut self, io: &mut Io<'_>, now: Time) {
        while let Some(&Reverse((due, number))) = self.alarms.peek()
            && due <= now
        {
            self.alarms.pop();
            let client = &mut self.clients[number];
            if client.alarm != Some(due) {
                continue;
            }
            client.alarm = None;
            if client.control.is_some() {
                // A dial that takes too long: nothing that begins a handshake comes of it.
                self.follow(io, number, now);
            } else {
                self.waiting.push_back(number);
            }
        }
    }

    /// Does what a client's attachment says but for dialling, which is returned.
    fn follow(&mut self, io: &mut Io<'_>, number: usize, now: Time) -> Option<(AttemptId, Target)> {
        let mut dial = None;
        while dial.is_none()
            && let Some(output) = self.clients[number].attachment.poll_output(now)
        {
            match output {
                Output::Dial { attempt, router, .. } => dial = Some((attempt, router)),
                Output::Abandon { attempt } => {
                    let client = &mut self.clients[number];
                    if let Some(control) = client.control.take_if(|_| client.attempt == attempt) {
                        self.pending = self.pending.saturating_sub(1);
                        self.by_id.remove(&control.id());
                        io.close(control.id(), CloseCode::Timeout.code(), b"");
                    }
                }
                Output::GaveUp { failure } => {
                    if let Cause::Failed(_, reason) = failure.cause {
                        self.refused = Some(reason);
                    }
                }
                // What is attached was welcomed a moment ago; a crowd does not follow a router's
                // advice to move.
                Output::Attached { .. }
                | Output::Resolve { .. }
                | Output::Leave { .. }
                | Output::Trouble { .. } => {}
            }
        }
        self.set_alarm(number);
        dial
    }

    fn socket(&mut self, io: &mut Io<'_>, remote: SocketAddr, number: usize) -> Option<SocketId> {
        if self.sockets.len() < SOCKETS_MAX.min(self.clients.len()) {
            let any: IpAddr = match remote {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            self.sockets.extend(io.add_socket(SocketAddr::new(any, 0)).ok());
        }
        let count = self.sockets.len().max(1);
        self.sockets.get(number % count).copied()
    }

    /// Dials for a client, if its attachment says so; whether it did.
    fn dial(&mut self, io: &mut Io<'_>, number: usize, receivers: u32, now: Time) -> bool {
        let Some((attempt, target)) = self.follow(io, number, now) else { return false };
        self.dials += 1;
        self.pending += 1;
        self.clients[number].attempt = attempt;
        let Target { address, server_name } = target;
        let Some(via) = self.socket(io, address, number) else {
            self.lost(number, CloseReason::Local, now);
            return true;
        };
        let client = Arc::clone(&self.settings);
        let Ok(id) = io.connect(&Dial { remote: address, server_name, client, via, shard: None }) else {
            self.lost(number, CloseReason::Local, now);
            return true;
        };
        self.by_id.insert(id, number);
        self.clients[number].control = Some(ControlStream::new(id, session(receivers, KEEP_ALIVE, now)));
        true
    }
}

/// What the end of a connection says about the next one.
fn verdict(reason: &CloseReason) -> Verdict {
    match reason {
        CloseReason::Application { code, .. } => Verdict::of_close(CloseCode::from_code(*code)),
        CloseReason::Remote { code, .. } | CloseReason::Protocol { code, .. } if *code >= TLS_ALERTS => {
            Verdict::Refused
        }
        CloseReason::Version => Verdict::Refused,
        _ => Verdict::Passing,
    }
}

/// The app on top of a crowd's loop.
pub(super) struct CrowdApp<B> {
    clients: Clients,
    behaviour: B,
    orders: Receiver<Order>,
    outcomes: Sender<Outcome>,
    ready: Arc<Ready>,
    clock: Epochs,
    tended_at: Instant,
    is_finished: bool,
}

impl<B: Behaviour> CrowdApp<B> {
    pub(super) fn new(
        targets: Vec<Target>,
        settings: Arc<ClientSettings>,
        clients: u32,
        behaviour: B,
        orders: Receiver<Order>,
        outcomes: Sender<Outcome>,
        ready: Arc<Ready>,
    ) -> Self {
        let (clock, tended_at) = (Epochs::now(), Instant::now());
        let config =
            AttachmentConfig { attempt_ns: CONNECT_NS, patience_ns: u64::MAX, ..AttachmentConfig::default() };
        let client = |number: u32| {
            let target = targets[number as usize % targets.len()].clone();
            let seed = rand::random();
            Client {
                attachment: Attachment::new(config, vec![target], seed, clock.time(tended_at)),
                control: None,
                attempt: AttemptId::default(),
                is_welcomed: false,
                dirty: false,
                alarm: None,
            }
        };
        let clients = Clients {
            clients: (0..clients).map(client).collect(),
            by_id: HashMap::default(),
            settings,
            sockets: Vec::new(),
            waiting: (0..clients as usize).collect(),
            alarms: BinaryHeap::new(),
            refused: None,
            dirty: Vec::new(),
            pending: 0,
            dials: 0,
            is_calm: true,
        };
        Self { clients, behaviour, orders, outcomes, ready, clock, tended_at, is_finished: false }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn obey(&mut self, io: &mut Io<'_>) {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Begin(disturbance)) => {
                    let now = self.clock.time(io.now());
                    self.behaviour.begin(disturbance, &mut self.clients, io, now);
                }
                Ok(Order::End) => self.behaviour.end(io.now()),
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => {
                    self.is_finished = true;
                    for control in self.clients.clients.iter().filter_map(|client| client.control.as_ref()) {
                        io.close(control.id(), CloseCode::Done.code(), b"");
                    }
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn dial(&mut self, io: &mut Io<'_>) {
        let now = self.clock.time(io.now());
        self.clients.ring(io, now);
        let mut begun = 0;
        while begun < DIALS_PER_TURN && !(self.clients.is_calm && self.clients.pending >= CALM_DIALS_MAX) {
            let Some(number) = self.clients.waiting.pop_front() else { return };
            begun += usize::from(self.clients.dial(io, number, self.behaviour.receivers(), now));
            if let Some(control) = &mut self.clients.clients[number].control {
                self.behaviour.open(number, &mut control.session);
            }
        }
    }

    fn events(&mut self, io: &mut Io<'_>, number: usize) {
        loop {
            let Some(control) = &mut self.clients.clients[number].control else { return };
            let Some(event) = control.session.poll_event() else { return };
            let id = control.id();
            match &event {
                ConnectionEvent::Welcomed(welcome) => {
                    let (now, client) = (self.clock.time(io.now()), &mut self.clients.clients[number]);
                    client.is_welcomed = true;
                    client.attachment.handle(Input::Welcomed { attempt: client.attempt, welcome }, now);
                    self.clients.pending = self.clients.pending.saturating_sub(1);
                    self.clients.follow(io, number, now);
                    self.behaviour.answered(number, &event, io.now());
                }
                ConnectionEvent::Subscribed(subscribed) if subscribed.stage == Stage::Cluster => {
                    self.behaviour.answered(number, &event, io.now());
                }
                ConnectionEvent::Refused(_) => self.behaviour.answered(number, &event, io.now()),
                ConnectionEvent::Dead { .. } => io.close(id, CloseCode::Timeout.code(), b"silent"),
                _ => {}
            }
        }
    }

    fn tend(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tended_at) < TEND_EVERY {
            return;
        }
        self.tended_at = now;
        let time = self.clock.time(now);
        for number in 0..self.clients.clients.len() {
            let Some(control) = &mut self.clients.clients[number].control else { continue };
            if control.session.poll_timeout().is_some_and(|due| due <= time) {
                control.session.handle_timeout(time);
                self.clients.mark(number);
            }
        }
    }
}

impl<B: Behaviour> App for CrowdApp<B> {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        let Some(&number) = self.clients.by_id.get(&conn) else { return };
        if let Some(control) = &mut self.clients.clients[number].control {
            control.connected(io);
        }
        self.clients.mark(number);
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&number) = self.clients.by_id.get(&conn) else { return };
        let time = self.clock.time(io.now());
        match &mut self.clients.clients[number].control {
            Some(control) if control.is(stream) => {
                if control::read(control, io, stream, time) {
                    self.events(io, number);
                    self.clients.mark(number);
                }
            }
            // Nothing matches what a crowd subscribes to: these are preambles.
            _ => {
                io.read(conn, stream, READ_BYTES, &mut |_| {});
            }
        }
    }

    fn writable(&mut self, _: &mut Io<'_>, conn: ConnId, _: StreamId) {
        if let Some(&number) = self.clients.by_id.get(&conn) {
            self.clients.mark(number);
        }
    }

    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}

    fn streams_available(&mut self, _: &mut Io<'_>, conn: ConnId, _: bool) {
        if let Some(&number) = self.clients.by_id.get(&conn) {
            self.clients.mark(number);
        }
    }

    fn closed(&mut self, io: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        if let Some(number) = self.clients.by_id.remove(&conn) {
            self.clients.lost(number, reason.clone(), self.clock.time(io.now()));
        }
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.obey(io);
        if self.is_finished {
            return;
        }
        self.dial(io);
        let now = io.now();
        self.tend(now);
        if let Some(outcome) = self.behaviour.turn(&mut self.clients, now) {
            // Whoever asked has gone away when nobody listens; Finish follows.
            let _ = self.outcomes.send(outcome);
        }
        for number in std::mem::take(&mut self.clients.dirty) {
            self.clients.clients[number].dirty = false;
            self.events(io, number);
            if let Some(control) = &mut self.clients.clients[number].control {
                control.flush(io);
            }
        }
        self.ready.count.store(self.behaviour.ready(), Ordering::Relaxed);
        if let Some(reason) = self.clients.refused.take() {
            let mut refused = self.ready.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(format!("{reason:?}"));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let now_or_never =
            (!self.clients.waiting.is_empty() && !self.clients.is_calm).then_some(self.tended_at);
        let alarm = self.clients.alarms.peek().map(|&Reverse((due, _))| self.clock.instant(due));
        let tend = self.tended_at + TEND_EVERY;
        [now_or_never, alarm, self.behaviour.deadline(), Some(tend)].into_iter().flatten().min()
    }
}
