//! What to run: a workload, the connections that carry it, and where they lead.

use std::time::Duration;

use clap::ValueEnum;
use millrace_verify::workload::Workload;

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
        }
    }
}

/// Which router a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Publishers and receivers go round all routers: with two, half of the deliveries cross the mesh.
    RoundRobin,
    /// Publishers on the first router, receivers on the others.
    Apart,
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
    /// How long a publisher gathers events.
    pub publish_linger: Duration,
    /// How long a router gathers events for a receiver.
    pub receive_linger: Duration,
    /// Bytes that a receiver lets come ahead of its application.
    pub receive_window_bytes: u64,
    /// Length of the measured part.
    pub duration: Duration,
    /// Threads of the fleet.
    pub fleet_threads: u16,
}

impl Scenario {
    /// The scenario of a preset, before the command line changes it.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let million = Self {
            preset: preset.name(),
            workload: Workload::million(),
            publisher_connections: 32,
            receiver_connections: 32,
            routers: 2,
            cores_per_router: 1,
            placement: Placement::RoundRobin,
            publish_linger: Duration::from_millis(5),
            receive_linger: Duration::ZERO,
            receive_window_bytes: 256 * 1024,
            duration: Duration::from_secs(10),
            fleet_threads: 1,
        };
        let pipes = |publishers: u32, receivers: u32| Self {
            workload: Workload {
                name: preset.name().to_owned(),
                events_per_second: 1_000_000,
                ..Workload::pipes(publishers, receivers)
            },
            publisher_connections: publishers,
            receiver_connections: receivers,
            routers: 1,
            receive_window_bytes: 4 << 20,
            fleet_threads: 1,
            ..million.clone()
        };
        match preset {
            Preset::Million => million,
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
                ..million
            },
        }
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
