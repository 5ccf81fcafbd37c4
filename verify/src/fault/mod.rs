//! Fault schedules: what breaks when, as data, and a seeded generator of them.
//!
//! Routers are numbered from 0, receivers as in their workload. Times are virtual ns since the
//! start of a run.

mod plan;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use plan::Plan;

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
    /// A router's wall clock jumps once.
    ClockJump {
        /// The router.
        router: u32,
        /// By how much, in ns; negative is back.
        by_ns: i64,
    },
}

impl Fault {
    /// The names of all kinds, as in serialized schedules.
    pub const KINDS: [&str; 10] = [
        "loss",
        "delay",
        "partition_one_way",
        "partition_two_way",
        "crash",
        "restart",
        "drain",
        "pause",
        "slow_receiver",
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
            Self::ClockJump { .. } => "clock_jump",
        }
    }

    /// The router whose process it stops, for a while or for good.
    const fn stopped(&self) -> Option<u32> {
        match *self {
            Self::Crash { router }
            | Self::Restart { router }
            | Self::Drain { router }
            | Self::Pause { router } => Some(router),
            _ => None,
        }
    }
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// When it begins.
    pub at_ns: u64,
    /// When it ends; none for those that do not (crash, clock jump).
    pub until_ns: Option<u64>,
    /// What it is.
    pub fault: Fault,
}

/// Faults in order of their beginnings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Scheduled>,
}

/// Whether a fault begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It ends.
    End,
    /// It begins.
    Begin,
}

impl Schedule {
    /// Beginnings and ends in order of time; at one time, ends come first.
    #[must_use]
    pub fn changes(&self) -> Vec<(u64, Phase, Fault)> {
        let mut changes = Vec::with_capacity(self.faults.len() * 2);
        for item in &self.faults {
            changes.push((item.at_ns, Phase::Begin, item.fault));
            changes.extend(item.until_ns.map(|until| (until, Phase::End, item.fault)));
        }
        changes.sort_by_key(|&(at, phase, _)| (at, phase));
        changes
    }

    /// How many faults there are of each kind that occurs.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for item in &self.faults {
            *counts.entry(item.fault.kind()).or_default() += 1;
        }
        counts
    }
}
