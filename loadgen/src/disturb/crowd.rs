//! Many light clients on one thread: they dial, subscribe, and dial again when they lose their connection, as the client
//! library does. What they do besides is their [`Behaviour`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use millrace_client::session::{ConnectionEvent, ConnectionSession};
use millrace_proto::CloseCode;
use millrace_proto::control::Stage;
use millrace_quic::{App, ClientSettings, CloseReason, ConnId, ConnectedInfo, Dial, Io, SocketId, StreamId};

use super::{Order, Outcome};
use crate::fleet::control::{Control, READ_BYTES};
use crate::fleet::dial::session;
use crate::fleet::{Epochs, Target};

/// Sockets that a crowd shares.
const SOCKETS_MAX: usize = 256;
/// Handshakes begun per turn: each costs some 100 µs here, and nobody is heard meanwhile.
const DIALS_PER_TURN: usize = 16;
/// Handshakes under way while a crowd first connects, which is no storm.
const CALM_DIALS_MAX: usize = 16;
/// How long a connection may take to be made: twice as long as in the client library, because one thread plays all clients,
/// and what thousands of hosts do at once it does one after the other.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// First pause before a client dials again, as in the client library; doubles, and is drawn between zero and its bound.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Idle clients ping this often.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often sessions' clocks are looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// How many clients are ready, for whoever waits for them.
#[derive(Debug, Default)]
pub(super) struct Ready(AtomicU64);

impl Ready {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
    fn begin(&mut self, order: super::Disturbance, clients: &mut Clients, io: &mut Io<'_>);
    /// The disturbance is over.
    fn end(&mut self, now: Instant);
    /// Once per turn; what came of the disturbance, when that is known after its end.
    fn turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Outcome>;
    /// When it has something to do.
    fn deadline(&self) -> Option<Instant>;
}

#[derive(Debug)]
struct Client {
    control: Option<Control>,
    is_welcomed: bool,
    dirty: bool,
    /// Dials so far: tells an old time limit from the present one.
    dials: u64,
    /// Dials that failed in a row.
    failed: u32,
}

/// The connections of a crowd.
#[derive(Debug)]
pub(super) struct Clients {
    clients: Vec<Client>,
    by_id: HashMap<ConnId, usize, ahash::RandomState>,
    targets: Vec<Target>,
    settings: Arc<ClientSettings>,
    sockets: Vec<SocketId>,
    waiting: VecDeque<usize>,
    backing_off: BinaryHeap<Reverse<(Instant, usize)>>,
    limits: VecDeque<(Instant, usize, u64)>,
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
    pub(super) fn reconnect(&mut self, io: &mut Io<'_>) {
        self.is_calm = false;
        for (number, client) in self.clients.iter_mut().enumerate() {
            if let Some(control) = client.control.take() {
                self.by_id.remove(&control.id);
                io.close(control.id, CloseCode::Done.code(), b"");
            }
            client.is_welcomed = false;
            client.failed = 0;
            self.waiting.push_back(number);
        }
    }

    fn mark(&mut self, client: usize) {
        if !std::mem::replace(&mut self.clients[client].dirty, true) {
            self.dirty.push(client);
        }
    }

    /// A client has no connection any more; it dials again after a pause.
    fn lost(&mut self, number: usize, now: Instant) {
        let client = &mut self.clients[number];
        if !client.is_welcomed {
            self.pending = self.pending.saturating_sub(1);
        }
        client.control = None;
        client.is_welcomed = false;
        let bound = (BACKOFF_MIN * 2u32.saturating_pow(client.failed)).min(BACKOFF_MAX);
        client.failed = (client.failed + 1).min(16);
        self.backing_off.push(Reverse((now + bound.mul_f64(rand::random::<f64>()), number)));
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

    fn dial(&mut self, io: &mut Io<'_>, number: usize, receivers: u32, clock: Epochs) {
        let Target { address, server_name } = self.targets[number % self.targets.len()].clone();
        self.dials += 1;
        self.pending += 1;
        let Some(via) = self.socket(io, address, number) else { return self.lost(number, io.now()) };
        let client = Arc::clone(&self.settings);
        let dial = Dial { remote: address, server_name, client, via, shard: None };
        let Ok(id) = io.connect(&dial) else { return self.lost(number, io.now()) };
        self.by_id.insert(id, number);
        let session = session(receivers, KEEP_ALIVE, clock.time(io.now()));
        let client = &mut self.clients[number];
        client.control = Some(Control::new(id, session));
        client.dials += 1;
        self.limits.push_back((io.now() + CONNECT_MAX, number, client.dials));
    }

    /// Gives up connections that take too long to be made.
    fn give_up(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        while let Some(&(limit, number, dials)) = self.limits.front()
            && limit <= now
        {
            self.limits.pop_front();
            let client = &self.clients[number];
            if client.dials == dials
                && !client.is_welcomed
                && let Some(control) = &client.control
            {
                let id = control.id;
                self.by_id.remove(&id);
                io.close(id, CloseCode::Timeout.code(), b"");
                self.lost(number, now);
            }
        }
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
        let client = || Client { control: None, is_welcomed: false, dirty: false, dials: 0, failed: 0 };
        let clients = Clients {
            clients: (0..clients).map(|_| client()).collect(),
            by_id: HashMap::default(),
            targets,
            settings,
            sockets: Vec::new(),
            waiting: (0..clients as usize).collect(),
            backing_off: BinaryHeap::new(),
            limits: VecDeque::new(),
            dirty: Vec::new(),
            pending: 0,
            dials: 0,
            is_calm: true,
        };
        let (clock, tended_at) = (Epochs::now(), Instant::now());
        Self { clients, behaviour, orders, outcomes, ready, clock, tended_at, is_finished: false }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn obey(&mut self, io: &mut Io<'_>) {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Begin(disturbance)) => self.behaviour.begin(disturbance, &mut self.clients, io),
                Ok(Order::End) => self.behaviour.end(io.now()),
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => {
                    self.is_finished = true;
                    for control in self.clients.clients.iter().filter_map(|client| client.control.as_ref()) {
                        io.close(control.id, CloseCode::Done.code(), b"");
                    }
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn dial(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        while let Some(&Reverse((due, number))) = self.clients.backing_off.peek()
            && due <= now
        {
            self.clients.backing_off.pop();
            self.clients.waiting.push_back(number);
        }
        for _ in 0..DIALS_PER_TURN {
            if self.clients.is_calm && self.clients.pending >= CALM_DIALS_MAX {
                return;
            }
            let Some(number) = self.clients.waiting.pop_front() else { return };
            self.clients.dial(io, number, self.behaviour.receivers(), self.clock);
            if let Some(control) = &mut self.clients.clients[number].control {
                self.behaviour.open(number, &mut control.session);
            }
        }
    }

    fn events(&mut self, io: &mut Io<'_>, number: usize) {
        loop {
            let Some(control) = &mut self.clients.clients[number].control else { return };
            let Some(event) = control.session.poll_event() else { return };
            let id = control.id;
            match &event {
                ConnectionEvent::Welcomed(_) => {
                    let client = &mut self.clients.clients[number];
                    (client.is_welcomed, client.failed) = (true, 0);
                    self.clients.pending = self.clients.pending.saturating_sub(1);
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
                if control.read(io, stream, time) {
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

    fn closed(&mut self, io: &mut Io<'_>, conn: ConnId, _: &CloseReason) {
        if let Some(number) = self.clients.by_id.remove(&conn) {
            self.clients.lost(number, io.now());
        }
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.obey(io);
        if self.is_finished {
            return;
        }
        self.clients.give_up(io);
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
                control.write(io);
            }
        }
        self.ready.0.store(self.behaviour.ready(), Ordering::Relaxed);
    }

    fn deadline(&self) -> Option<Instant> {
        let now_or_never =
            (!self.clients.waiting.is_empty() && !self.clients.is_calm).then_some(self.tended_at);
        let backoff = self.clients.backing_off.peek().map(|&Reverse((due, _))| due);
        let tend = self.tended_at + TEND_EVERY;
        [now_or_never, backoff, self.behaviour.deadline(), Some(tend)].into_iter().flatten().min()
    }
}
