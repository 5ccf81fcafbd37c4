//! The sans-IO middle of a core: connections, their timers and queues, admission and the steering guard.
//!
//! The caller owns the clock, the [`Network`] and the [`App`], and repeats, with the same `now` within a step:
//!
//! 1. [`Driver::handle_buffer`] for what arrived, [`Driver::inject`] for what siblings passed on;
//! 2. [`Driver::begin_turn`]: begins some of the handshakes that wait;
//! 3. [`Driver::fire_next`] until no timer is due;
//! 4. [`Driver::dispatch_next`] until no connection has events: calls the app;
//! 5. [`Driver::transmit_next`] until no connection has packets: gives them to the network;
//! 6. sleep until [`Driver::next_timeout`], unless [`Driver::has_work`].
//!
//! Steps 3 to 5 do the work of one connection per call, so the caller can stop at any point and go on later; queues are
//! first in, first out, which makes every round a round robin. The same inputs give the same outputs: time, and the seed
//! of all randomness except that inside of TLS, come from outside.

mod admission;
mod bucket;
mod dispatch;
mod prefixes;
mod receive;
mod slots;
mod streams;
mod timers;
mod transmit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, Endpoint, EndpointConfig, EndpointEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::admission::Door;
use self::bucket::Bucket;
use self::prefixes::Prefixes;
use self::slots::{Phase, Slots};
use self::timers::Timers;
use crate::cid::{self, CoreIds};
use crate::io::ConnectError;
use crate::{
    ConnId, CoreSettings, Dial, ForeignSegment, Io, Keys, Metrics, Network, ServerSettings, SettingsError,
    StreamId, WideProtocol,
};

#[cfg(doc)]
use crate::App;

/// Streams that wait for [`crate::Io::wake`] per turn; more than one core can have open streams that are read in parts.
const WAKES_MAX: usize = 1 << 20;

/// What a [`Driver`] is made from.
#[derive(Clone, Debug)]
pub struct DriverSettings {
    /// The loop's settings. Budgets in time are the caller's business.
    pub core: CoreSettings,
    /// Accepts connections on [`crate::SocketId::SHARED`] when given.
    pub server: Option<ServerSettings>,
    /// Seed of connection ids and everything else random; must be unpredictable in production.
    pub seed: [u8; 32],
    /// Whether the network never fragments, so that MTU discovery works.
    pub mtu_discovery: bool,
}

/// One core's connections without sockets and clock; see the module's page for the order of calls.
#[derive(Debug)]
pub struct Driver {
    endpoint: Endpoint,
    slots: Slots,
    timers: Timers,
    /// Connections with events for the app, each at most once.
    events: VecDeque<u32>,
    /// Connections that may have packets to send, each at most once here or in `parked`.
    transmit: VecDeque<u32>,
    /// Connections whose socket takes nothing at the moment.
    parked: Vec<u32>,
    /// Streams to report as readable in the next turn, and those of this one.
    woken: Vec<(ConnId, StreamId)>,
    waking: VecDeque<(ConnId, StreamId)>,
    /// Segments of siblings, to be handed to the app; bounded by one receive batch.
    foreign: VecDeque<(u16, ForeignSegment)>,
    door: Option<Door>,
    prefixes: Prefixes,
    /// Accepted connections in the order in which their handshakes must end. One entry for each that was accepted within
    /// the timeout, so bounded by the rate of handshakes.
    handshakes: VecDeque<(Instant, ConnId)>,
    /// Which of the accepted connections get wider windows.
    wide: Option<WideProtocol>,
    answers: Bucket,
    /// Counted inside of handshakes.
    resumptions_refused: Arc<AtomicU64>,
    core: u16,
    cores: u16,
    gso_segments: usize,
    connections_max: usize,
    /// Where quinn writes packets.
    scratch: Vec<u8>,
    rng: StdRng,
    metrics: Metrics,
}

impl Driver {
    /// # Errors
    /// A setting that is out of its range; see [`SettingsError`].
    pub fn new(settings: &DriverSettings) -> Result<Self, SettingsError> {
        let core = &settings.core;
        core.check()?;
        let mut rng = StdRng::from_seed(settings.seed);
        let (number, cores, id_seed) = (core.core, core.cores, rng.random());
        let keys = settings.server.as_ref().map_or_else(Keys::random, |server| server.keys.clone());
        let mut config = EndpointConfig::new(keys.reset_key());
        config
            .cid_generator(move || Box::new(CoreIds::new(number, cores, id_seed)))
            // Answers have a budget of their own.
            .min_reset_interval(std::time::Duration::ZERO);
        if let Some(server) = &settings.server {
            let payload = server.transport.udp_payload_max().max(1472);
            config
                .max_udp_payload_size(payload)
                .map_err(|_| SettingsError::OutOfRange { name: "mtu_upper_bound" })?;
        }
        let refused = Arc::new(AtomicU64::new(0));
        let server = settings.server.as_ref().map(|server| server.build(&refused)).transpose()?;
        let door =
            settings.server.as_ref().map(|server| Door::new(server.admission, core.handshakes_per_turn));
        let mut prefixes = Prefixes::default();
        if let Some(server) = &settings.server {
            prefixes.set_limits(server.newcomers.clone());
        }
        Ok(Self {
            endpoint: Endpoint::new(Arc::new(config), server, settings.mtu_discovery, Some(rng.random())),
            slots: Slots::default(),
            timers: Timers::default(),
            events: VecDeque::new(),
            transmit: VecDeque::new(),
            parked: Vec::new(),
            woken: Vec::new(),
            waking: VecDeque::new(),
            foreign: VecDeque::new(),
            door,
            prefixes,
            handshakes: VecDeque::new(),
            wide: settings.server.as_ref().and_then(|server| server.wide.clone()),
            resumptions_refused: refused,
            answers: Bucket::new(core.answers_per_second, core.answers_per_second),
            core: number,
            cores,
            gso_segments: core.gso_segments,
            connections_max: core.connections_max,
            scratch: Vec::with_capacity(1 << 16),
            rng,
            metrics: Metrics::default(),
        })
    }

    /// Replaces what new connections are accepted with, e.g. renewed certificates; existing ones keep theirs.
    ///
    /// # Errors
    /// [`SettingsError`]; the old settings stay.
    pub fn set_server(
        &mut self,
        server: Option<&ServerSettings>,
        handshakes_per_turn: usize,
    ) -> Result<(), SettingsError> {
        let config = server.map(|server| server.build(&self.resumptions_refused)).transpose()?;
        self.endpoint.set_server_config(config);
        self.wide = server.and_then(|server| server.wide.clone());
        let waiting = self.door.take().map(Door::into_waiting).unwrap_or_default();
        match server {
            Some(server) => {
                self.door = Some(Door::reopened(server.admission, handshakes_per_turn, waiting));
                self.prefixes.set_limits(server.newcomers.clone());
            }
            None => waiting.into_iter().for_each(|newcomer| self.ignore(newcomer)),
        }
        Ok(())
    }

    /// Fires the timers of one connection that are due at `now`; `false` when none is.
    pub fn fire_next(&mut self, now: Instant) -> bool {
        let Some(index) = self.timers.pop_due(now) else { return false };
        let Some(live) = self.slots.get(index) else { return true };
        match live.conn.poll_timeout() {
            // It has moved since the entry was made: the usual fate of a loss timer, whose packet was acknowledged in time.
            Some(at) if at > now => self.timers.arm(index, at),
            _ => {
                live.conn.handle_timeout(now);
                self.mark_events(index);
                self.mark_transmit(index);
            }
        }
        true
    }

    /// When [`Driver::fire_next`], or [`Driver::begin_turn`] at the door, has something to do next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let door = self.door.as_ref().and_then(Door::next);
        let handshake = self.handshakes.front().map(|(end, _)| *end);
        [self.timers.next(), door, handshake].into_iter().flatten().min()
    }

    /// Whether anything is left to do before time passes or datagrams arrive.
    pub fn has_work(&self) -> bool {
        !self.events.is_empty()
            || !self.transmit.is_empty()
            || !self.woken.is_empty()
            || !self.waking.is_empty()
            || !self.foreign.is_empty()
            || self.door.as_ref().is_some_and(Door::is_ready)
    }

    /// Counters; those of sockets are added by whoever owns the sockets.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    /// Connections at this moment, including those that are closing.
    pub fn connections(&self) -> usize {
        self.slots.count()
    }

    /// Packets declared lost so far, on connections past and present. Walks all connections.
    pub fn packets_lost(&self) -> u64 {
        let live: u64 = self.slots.iter().map(|live| live.conn.stats().path.lost_packets).sum();
        self.metrics.packets_lost + live
    }

    pub(crate) fn connect(
        &mut self,
        now: Instant,
        net: &dyn Network,
        dial: &Dial,
    ) -> Result<ConnId, ConnectError> {
        if self.slots.count() >= self.connections_max {
            return Err(ConnectError::TooMany);
        }
        let local = net.local_addr(dial.via).ok_or(ConnectError::NoSocket)?;
        let remote = transmit::reachable(local, dial.remote).ok_or(ConnectError::AddressFamily)?;
        let mut config = dial.client.config();
        let destination = cid::initial_destination(dial.shard, &mut self.rng);
        config.initial_dst_cid_provider(Arc::new(move || destination));
        let (handle, conn) = self
            .endpoint
            .connect(now, config, remote, &dial.server_name)
            .map_err(ConnectError::from_proto)?;
        let index = self.slots.insert(handle, conn, dial.via, Phase::Dialling);
        self.metrics.dials += 1;
        self.mark_transmit(index);
        Ok(self.slots.id(index))
    }

    /// Runs something with the app and its I/O outside of its callbacks.
    pub fn with_io<A, R>(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        app: &mut A,
        f: impl FnOnce(&mut A, &mut Io<'_>) -> R,
    ) -> R {
        f(app, &mut Io::new(self, net, now))
    }

    fn mark_events(&mut self, index: u32) {
        if let Some(live) = self.slots.get(index).filter(|live| !live.in_events) {
            live.in_events = true;
            self.events.push_back(index);
        }
    }

    fn mark_transmit(&mut self, index: u32) {
        if let Some(live) = self.slots.get(index).filter(|live| !live.in_transmit) {
            live.in_transmit = true;
            self.transmit.push_back(index);
        }
    }

    /// Passes on what a connection has for the endpoint. The last such event is kept back until the app has been told.
    fn forward_endpoint_events(&mut self, index: u32) {
        let Some(live) = self.slots.get(index) else { return };
        let handle = ConnectionHandle(index as usize);
        while let Some(event) = live.conn.poll_endpoint_events() {
            if event.is_drained() {
                live.drained = true;
            } else if let Some(answer) = self.endpoint.handle_event(handle, event) {
                live.conn.handle_event(answer);
            }
        }
    }

    /// Returns the memory of a drained connection; its slot may be used again at once.
    fn free(&mut self, index: u32) {
        let Some(live) = self.slots.remove(index) else { return };
        self.endpoint.handle_event(ConnectionHandle(index as usize), EndpointEvent::drained());
        self.timers.disarm(index);
        self.prefixes.end(live.prefix, live.is_complete);
        self.metrics.freed += 1;
        self.metrics.packets_lost += live.conn.stats().path.lost_packets;
    }
}
