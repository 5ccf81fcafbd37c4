//! What may break.

use serde::{Deserialize, Serialize};

/// Packets between whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Between two routers, both ways.
    Routers {
        /// One.
        a: u32,
        /// The other.
        b: u32,
    },
    /// Between a router and all its clients, both ways.
    Clients {
        /// The router.
        router: u32,
    },
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Packets are lost at random.
    Loss {
        /// Whose.
        path: Path,
        /// How many of a thousand.
        per_mille: u32,
    },
    /// Packets take longer.
    Delay {
        /// Whose.
        path: Path,
        /// By how much at least, in ns.
        extra_ns: u64,
        /// By how much more at most, at random, in ns.
        jitter_ns: u64,
    },
    /// Nothing arrives in one direction.
    PartitionOneWay {
        /// The router whose packets are lost.
        from: u32,
        /// The router that they are for.
        to: u32,
    },
    /// Nothing arrives in either direction.
    PartitionTwoWay {
        /// One router.
        a: u32,
        /// The other.
        b: u32,
    },
    /// A router's process dies and does not come back.
    Crash {
        /// The router.
        router: u32,
    },
    /// A router's process dies; at the end of the fault it starts again, as a new incarnation.
    Restart {
        /// The router.
        router: u32,
    },
    /// A router goes away in order: it tells everyone, ends half-way through the fault, and starts
    /// again at its end, as a new incarnation.
    Drain {
        /// The router.
        router: u32,
    },
    /// A router's process stands still (SIGSTOP) and then goes on as if nothing had happened.
    Pause {
        /// The router.
        router: u32,
    },
    /// A receiver's application takes no events.
    SlowReceiver {
        /// The receiver.
        receiver: u32,
    },
    /// A publisher's process dies, in the middle of a write if it spools; at the end of the fault
    /// it starts again.
    KillPublisher {
        /// The publisher.
        publisher: u32,
        /// Its host loses its power, too, and what was not synced.
        power_lost: bool,
    },
    /// A router's wall clock jumps once.
    ClockJump {
        /// The router.
        router: u32,
        /// By how much, in ns; negative is back.
        by_ns: i64,
    },
}

/// A process that a fault may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Process {
    Router(u32),
    Publisher(u32),
}

impl Fault {
    /// The names of all kinds, as in serialized schedules.
    pub const KINDS: [&str; 11] = [
        "loss",
        "delay",
        "partition_one_way",
        "partition_two_way",
        "crash",
        "restart",
        "drain",
        "pause",
        "slow_receiver",
        "kill_publisher",
        "clock_jump",
    ];

    /// The name of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Loss { .. } => "loss",
            Self::Delay { .. } => "delay",
            Self::PartitionOneWay { .. } => "partition_one_way",
            Self::PartitionTwoWay { .. } => "partition_two_way",
            Self::Crash { .. } => "crash",
            Self::Restart { .. } => "restart",
            Self::Drain { .. } => "drain",
            Self::Pause { .. } => "pause",
            Self::SlowReceiver { .. } => "slow_receiver",
            Self::KillPublisher { .. } => "kill_publisher",
            Self::ClockJump { .. } => "clock_jump",
        }
    }

    /// Whose process it stops, for a while or for good.
    pub(super) const fn stopped(&self) -> Option<Process> {
        match *self {
            Self::Crash { router }
            | Self::Restart { router }
            | Self::Drain { router }
            | Self::Pause { router } => Some(Process::Router(router)),
            Self::KillPublisher { publisher, .. } => Some(Process::Publisher(publisher)),
            _ => None,
        }
    }
}
