//! What to run: a workload, the connections that carry it, and where they lead.

use millrace_measure::figures::whole;
use std::time::Duration;

use clap::ValueEnum;
use millrace_verify::workload::Workload;

use crate::chaos::Weather;

/// Scenarios with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 100,000 emitters, 10,000 receivers, a million events per second through two linked routers.
    Million,
    /// One publisher, one receiver.
    P2p,
    /// Four publishers, one receiver.
    FanIn,
    /// One publisher, four receivers of everything.
    FanOut,
    /// Four publishers, four receivers of everything.
    AllToAll,
    /// Publishers on one router, receivers on the others.
    Mesh,
    /// 100,000 selectors, most of which match nothing that is published.
    MatchHeavy,
    /// 100,000 emitters and 10,000 receivers, each on a QUIC connection of its own, lone packets.
    Fleet,
    /// One publisher, one receiver, 10,000 tag sets in turn: every run is one event.
    P2pTags,
}

impl Preset {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Million => "million",
            Self::P2p => "p2p",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::AllToAll => "all-to-all",
            Self::Mesh => "mesh",
            Self::MatchHeavy => "match-heavy",
            Self::Fleet => "fleet",
            Self::P2pTags => "p2p-tags",
        }
    }
}

/// What plays publishers and receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// The client's sessions on our own QUIC loop: cheap beside the routers.
    Fleet,
    /// The public client library, on tokio.
    Client,
}

impl Driver {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Client => "client",
        }
    }
}

/// How events reach the receivers of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deliveries {
    /// On one stream for all of them: a run that several want crosses the connection once.
    Connection,
    /// On a stream for each: what one stream loses delays no other.
    Receiver,
}

impl Deliveries {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Receiver => "receiver",
        }
    }
}

/// Which router a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Publishers and receivers go round all routers: with two, half of the deliveries cross the
    /// mesh.
    RoundRobin,
    /// Publishers on the first router, receivers on the others.
    Apart,
}

/// What clients of the library do with several routers, and with links between clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ways {
    /// Between the last subscription and the first event: links to other clusters hear a moment
    /// later what is wanted.
    pub lead: Duration,
    /// Each receiver is on two routers at once.
    pub redundant: bool,
    /// Each publisher goes to another router when its own is lost, and sends again there what is
    /// not confirmed.
    pub failover: bool,
}

/// Everything that one run needs to know.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Name of the preset that it began as.
    pub preset: &'static str,
    /// Tags, selectors and payloads.
    pub workload: Workload,
    /// Connections that publish; emitters are dealt out to them.
    pub publisher_connections: u32,
    /// Connections that receive; receivers are dealt out to them, each with its own stream.
    pub receiver_connections: u32,
    /// Routers to embed, when none are given.
    pub routers: u16,
    /// Cores of each embedded router.
    pub cores_per_router: u16,
    /// Which connections lead where.
    pub placement: Placement,
    /// Shortest time between two looks at the schedule, which bounds what waking up costs.
    pub look_every: Duration,
    /// How long a publisher gathers events.
    pub publish_linger: Duration,
    /// How long a router gathers events for a receiver.
    pub receive_linger: Duration,
    /// How long publishers can wait to be told what was received; zero leaves it to the router.
    pub received_within: Duration,
    /// Bytes that a receiver lets come ahead of its application.
    pub receive_window_bytes: u64,
    /// Bytes that a router may queue for a receiver; beyond them it drops the oldest events.
    pub receive_queue_bytes: u64,
    /// How events reach the receivers of a connection.
    pub deliveries: Deliveries,
    /// Publishing connections send a packet now and then: small windows, no path discovery,
    /// acknowledgements that may wait.
    pub lone_emitters: bool,
    /// Every receiver takes everything, whatever the number of emitters.
    pub everything: bool,
    /// Each emitter and each receiver has a connection of its own, whatever their number.
    pub own_connections: bool,
    /// Idle connections say something this often.
    pub keep_alive: Duration,
    /// Handshakes per second at set-up, at most, over all threads.
    pub handshakes_per_second: u32,
    /// So many receivers of the first connection have small queues, so that they overflow when they
    /// stall.
    pub slow_receivers: u32,
    /// Length of the measured part.
    pub duration: Duration,
    /// Threads of the fleet.
    pub fleet_threads: u16,
    /// What plays publishers and receivers.
    pub driver: Driver,
    /// What they do with several routers.
    pub ways: Ways,
    /// The network between receivers and own routers.
    pub weather: Weather,
}

/// What waking up costs the generator is bounded by this, and what a schedule is late.
const LOOK_EVERY: Duration = Duration::from_micros(50);
/// Each connection gets a few events a turn: gathered, they share datagrams.
const RECEIVE_LINGER: Duration = Duration::from_millis(1);
/// The same for the million, whose bar is 20 ms for 99 of 100 events: what they cost counts more
/// than when they come.
const MILLION_RECEIVE_LINGER: Duration = Duration::from_millis(3);
/// Emitters of the million publish in beats, as programs do that work once per tick.
const MILLION_BEAT: Duration = Duration::from_millis(1);

/// Events per second and emitter of a fleet, unless a rate is given: each is a lone packet.
const FLEET_EVENTS_PER_EMITTER: f64 = 0.6;

impl Scenario {
    /// The scenario of a preset, before the command line changes it.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let million = Self::million(preset);
        let pipes = |publishers: u32, receivers: u32| Self {
            workload: Workload {
                name: preset.name().to_owned(),
                events_per_second: 1_000_000,
                ..Workload::everything(publishers, receivers)
            },
            publisher_connections: publishers,
            receiver_connections: receivers,
            routers: 1,
            receive_linger: Duration::ZERO,
            receive_window_bytes: 4 << 20,
            deliveries: Deliveries::Receiver,
            everything: true,
            ..million.clone()
        };
        match preset {
            Preset::Million => {
                Self { look_every: MILLION_BEAT, receive_linger: MILLION_RECEIVE_LINGER, ..million }
            }
            Preset::P2p => pipes(1, 1),
            Preset::FanIn => pipes(4, 1),
            Preset::FanOut => pipes(1, 4),
            Preset::AllToAll => pipes(4, 4),
            Preset::Mesh => Self { placement: Placement::Apart, ..million },
            Preset::MatchHeavy => Self {
                workload: Workload {
                    name: preset.name().to_owned(),
                    events_per_second: 200_000,
                    ..Workload::million().scaled(10_000, 10_000)
                },
                routers: 1,
                receive_linger: Duration::ZERO,
                ..million
            },
            Preset::Fleet => Self {
                workload: Workload { name: preset.name().to_owned(), ..Workload::blocks(100_000, 10_000) },
                routers: 1,
                publish_linger: Duration::from_secs(1),
                receive_linger: Duration::from_secs(1),
                // Less than the keep-alive: one packet does for both.
                received_within: Duration::from_secs(8),
                receive_window_bytes: 64 * 1024,
                receive_queue_bytes: 1 << 20,
                deliveries: Deliveries::Receiver,
                lone_emitters: true,
                own_connections: true,
                ..million
            },
            Preset::P2pTags => {
                let mut pipe = pipes(1, 1);
                (pipe.workload.emitters, pipe.workload.events_per_run) = (10_000, 1);
                pipe.workload.events_per_second = 500_000;
                pipe
            }
        }
    }

    /// What most presets have in common: a hundred thousand emitters of a million events a second.
    fn million(preset: Preset) -> Self {
        Self {
            preset: preset.name(),
            workload: Workload::million(),
            publisher_connections: 32,
            receiver_connections: 32,
            routers: 2,
            cores_per_router: 1,
            placement: Placement::RoundRobin,
            look_every: LOOK_EVERY,
            publish_linger: Duration::from_millis(5),
            receive_linger: RECEIVE_LINGER,
            received_within: Duration::ZERO,
            receive_window_bytes: 256 * 1024,
            receive_queue_bytes: 4 << 20,
            deliveries: Deliveries::Connection,
            lone_emitters: false,
            everything: false,
            own_connections: false,
            keep_alive: Duration::from_secs(10),
            handshakes_per_second: 2_000,
            slow_receivers: 0,
            duration: Duration::from_secs(10),
            fleet_threads: 1,
            driver: Driver::Fleet,
            ways: Ways::default(),
            weather: Weather::default(),
        }
    }

    /// Brings numbers that depend on others in line with them, once all that was chosen is in
    /// place: no connection without an emitter or receiver, no thread without a connection, and
    /// `rate` or what suits the preset.
    pub fn settle(&mut self, rate: Option<u64>) {
        let workload = &mut self.workload;
        workload.emitters = workload.emitters.max(1);
        workload.receivers = workload.receivers.max(1);
        if self.everything {
            let (shape, selectors) = Workload::everything_by(workload.emitters);
            (workload.shape, workload.selectors_per_receiver) = (shape, selectors);
        }
        if let Some(rate) = rate {
            workload.events_per_second = rate;
        } else if self.own_connections {
            let rate = f64::from(workload.emitters) * FLEET_EVENTS_PER_EMITTER;
            workload.events_per_second = whole(rate).max(1);
        }
        if self.own_connections {
            self.publisher_connections = workload.emitters;
            self.receiver_connections = workload.receivers;
        }
        self.publisher_connections = self.publisher_connections.clamp(1, workload.emitters);
        self.receiver_connections = self.receiver_connections.clamp(1, workload.receivers);
        let connections = self.publisher_connections.min(self.receiver_connections);
        self.fleet_threads = self.fleet_threads.clamp(1, u16::try_from(connections).unwrap_or(u16::MAX));
    }

    /// Connections in all.
    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::from(self.publisher_connections) + u64::from(self.receiver_connections)
    }

    /// The router, of `routers`, that a publishing connection leads to.
    #[must_use]
    pub fn publisher_router(&self, connection: u32, routers: u32) -> u32 {
        match self.placement {
            Placement::RoundRobin => connection % routers,
            Placement::Apart => 0,
        }
    }

    /// The router, of `routers`, that a receiving connection leads to.
    #[must_use]
    pub fn receiver_router(&self, connection: u32, routers: u32) -> u32 {
        match self.placement {
            Placement::Apart if routers > 1 => 1 + connection % (routers - 1),
            _ => connection % routers,
        }
    }

    /// The routers, of `routers`, that receiving connections lead to.
    #[must_use]
    pub fn receiving_routers(&self, routers: u32) -> std::ops::Range<u32> {
        match self.placement {
            Placement::Apart if routers > 1 => 1..routers,
            _ => 0..routers,
        }
    }

    /// The connection that an emitter publishes on.
    #[must_use]
    pub const fn emitter_connection(&self, emitter: u32) -> u32 {
        emitter % self.publisher_connections
    }

    /// The connection that a receiver is on.
    #[must_use]
    pub const fn receiver_connection(&self, receiver: u32) -> u32 {
        receiver % self.receiver_connections
    }
}
