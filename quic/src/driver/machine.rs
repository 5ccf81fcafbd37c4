//! The driver's state, its timers, and the queues between its parts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, Endpoint, EndpointConfig, EndpointEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::bucket::Bucket;
use super::door::Door;
use super::line::Line;
use super::prefixes::Prefixes;
use super::slots::Slots;
use super::timers::Timers;
use super::waiting::SetAside;
use crate::cid::CoreIds;
use crate::resumption::Counts;
use crate::settings::Jumbo;
use crate::{
    CidShape, ConnId, CoreSettings, ForeignSegment, Keys, Metrics, ServerSettings, SettingsError, StreamId,
    WideProtocol,
};

/// The largest UDP payload that remotes are told to send: receive buffers hold the largest there
/// is.
const UDP_PAYLOAD_BYTES_MAX: u16 = 65_527;

/// What a [`Driver`] is built from.
#[derive(Clone, Debug)]
pub struct DriverSettings {
    /// The loop's settings. The caller keeps the budgets of time.
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
    pub(super) endpoint: Endpoint,
    pub(super) slots: Slots,
    pub(super) timers: Timers,
    /// Connections with events for the app.
    pub(super) events: Line,
    /// Connections that may have packets to send, each at most once here or in `parked`.
    pub(super) transmit: Line,
    /// Connections whose socket takes nothing at the moment.
    pub(super) parked: Vec<u32>,
    /// Streams to report as readable in the next turn, and those of this one.
    pub(super) woken: Vec<(ConnId, StreamId)>,
    pub(super) waking: VecDeque<(ConnId, StreamId)>,
    /// Segments of siblings, to be handed to the app; bounded by one receive batch.
    pub(super) foreign: VecDeque<(u16, ForeignSegment)>,
    /// Packets that wait while this core is behind.
    pub(super) aside: SetAside,
    pub(super) door: Option<Door>,
    pub(super) prefixes: Prefixes,
    /// Handshakes under way with clients that have not proven their address.
    pub(super) strangers: usize,
    /// Accepted connections in the order in which their handshakes must end. The rate of handshakes
    /// bounds it, because it has one entry for each that was accepted within the timeout.
    pub(super) handshakes: VecDeque<(Instant, ConnId)>,
    /// What connections over jumbo frames are accepted with.
    pub(super) jumbo: Option<Jumbo<Arc<quinn_proto::ServerConfig>>>,
    /// The accepted connections that get wider windows.
    pub(super) wide: Option<WideProtocol>,
    pub(super) answers: Bucket,
    /// What became of tickets.
    pub(super) resumptions: Arc<Counts>,
    pub(super) core: u16,
    pub(super) cores: u16,
    pub(super) cids: CidShape,
    pub(super) gso_segments: usize,
    pub(super) connections_max: usize,
    /// Where quinn writes packets.
    pub(super) scratch: Vec<u8>,
    pub(super) rng: StdRng,
    pub(super) metrics: Metrics,
}

impl Driver {
    /// # Errors
    /// A setting that is out of its range; see [`SettingsError`].
    pub fn new(settings: &DriverSettings) -> Result<Self, SettingsError> {
        let core = &settings.core;
        core.check()?;
        let mut rng = StdRng::from_seed(settings.seed);
        let (number, cores, cids, id_seed) = (core.core, core.cores, core.cids, rng.random());
        let keys = settings.server.as_ref().map_or_else(Keys::random, |server| server.keys.clone());
        let mut config = EndpointConfig::new(keys.reset_key());
        config
            .cid_generator(move || Box::new(CoreIds::new(number, cores, cids, id_seed)))
            // Answers have a budget of their own.
            .min_reset_interval(std::time::Duration::ZERO);
        config
            .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX)
            .map_err(|_| SettingsError::OutOfRange { name: "max_udp_payload_size" })?;
        let resumptions = Arc::new(Counts::default());
        let server = settings.server.as_ref().map(|server| server.build(&resumptions)).transpose()?;
        let (server, jumbo) = server.map(|server| (server.config, server.jumbo)).unzip();
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
            events: Line::default(),
            transmit: Line::default(),
            parked: Vec::new(),
            woken: Vec::new(),
            waking: VecDeque::new(),
            foreign: VecDeque::new(),
            aside: SetAside::default(),
            door,
            prefixes,
            strangers: 0,
            handshakes: VecDeque::new(),
            jumbo: jumbo.flatten(),
            wide: settings.server.as_ref().and_then(|server| server.wide.clone()),
            resumptions,
            answers: Bucket::new(core.answers_per_second, core.answers_per_second),
            core: number,
            cores,
            cids,
            gso_segments: core.gso_segments,
            connections_max: core.connections_max,
            scratch: Vec::with_capacity(1 << 16),
            rng,
            metrics: Metrics::default(),
        })
    }

    /// Replaces what new connections are accepted with, e.g. renewed certificates; existing ones
    /// keep theirs.
    ///
    /// # Errors
    /// [`SettingsError`]; the old settings stay.
    pub fn set_server(
        &mut self,
        server: Option<&ServerSettings>,
        handshakes_per_turn: usize,
    ) -> Result<(), SettingsError> {
        let built = server.map(|server| server.build(&self.resumptions)).transpose()?;
        let (config, jumbo) = built.map(|server| (server.config, server.jumbo)).unzip();
        self.endpoint.set_server_config(config);
        self.jumbo = jumbo.flatten();
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
            // The timer has moved since the entry was made, as a loss timer does whose packet is
            // acknowledged in time.
            Some(at) if at > now => self.timers.arm(index, at),
            _ => {
                live.conn.handle_timeout(now);
                self.mark_events(index);
                self.mark_transmit(index);
            }
        }
        true
    }

    /// Looks whether the first timers have moved since their entries were made, as loss timers do
    /// whose packets were acknowledged in time, so that the core does not wake up for them. Call it
    /// before a rest. An entry moves at most once for each time that it was made.
    pub fn settle_timers(&mut self) {
        while let Some((at, index)) = self.timers.first() {
            match self.slots.get(index).map(|live| live.conn.poll_timeout()) {
                Some(Some(later)) if later > at => self.timers.postpone(later),
                // The connection waits for nothing, or is gone.
                None | Some(None) => self.timers.disarm(index),
                Some(Some(_)) => break,
            }
        }
    }

    /// The time at which [`Driver::fire_next`], or [`Driver::begin_turn`] at the door, is due next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let door = self.door.as_ref().and_then(Door::next);
        let handshake = self.handshakes.front().map(|(end, _)| *end);
        [self.timers.next(), door, handshake].into_iter().flatten().min()
    }

    /// Whether there is work before time passes or datagrams arrive.
    pub fn has_work(&self) -> bool {
        !self.events.is_empty()
            || !self.transmit.is_empty()
            || !self.woken.is_empty()
            || !self.waking.is_empty()
            || !self.foreign.is_empty()
            || !self.aside.is_empty()
            || self.door.as_ref().is_some_and(Door::is_ready)
    }

    /// Counters; the owner of the sockets adds theirs.
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

    pub(super) fn mark_events(&mut self, index: u32) {
        if let Some(live) = self.slots.get(index).filter(|live| !live.in_events) {
            live.in_events = true;
            self.events.join(index, live.is_aside());
        }
    }

    pub(super) fn mark_transmit(&mut self, index: u32) {
        if let Some(live) = self.slots.get(index).filter(|live| !live.in_transmit) {
            live.in_transmit = true;
            self.transmit.join(index, live.is_aside());
        }
    }

    /// Passes a connection's events on to the endpoint. The last such event stays until the app has
    /// heard of the end.
    pub(super) fn forward_endpoint_events(&mut self, index: u32) {
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
    pub(super) fn free(&mut self, index: u32) {
        let Some(live) = self.slots.remove(index) else { return };
        self.endpoint.handle_event(ConnectionHandle(index as usize), EndpointEvent::drained());
        self.timers.disarm(index);
        self.prefixes.end(live.prefix, live.is_complete);
        self.strangers -= usize::from(live.is_stranger);
        self.metrics.freed += 1;
        self.metrics.packets_lost += live.conn.stats().path.lost_packets;
    }
}
