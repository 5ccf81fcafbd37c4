//! What grows, and the two sides of it.

use std::time::Duration;

use clap::ValueEnum;
use millrace_verify::workload::Workload;

use crate::disturb::Background;
use crate::scenario::{Placement, Preset, Scenario};

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Selectors that match nothing, 1 to 100,000, over 100,000 tag sets, while the directory
    /// changes 1,000 times a second.
    Selectors,
    /// Publishing connections, 10 to 10,000, at the same rate and batch size.
    Connections,
    /// Routers, 1 to 8, when every event crosses the mesh once.
    Routers,
}

/// One side.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) scenario: Scenario,
    pub(super) background: Background,
}

/// Two sides, and how much more the grown one may cost.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) base: Side,
    pub(super) grown: Side,
    pub(super) ratio_max: f64,
    pub(super) aim: f64,
}

/// Tag sets that route caches hold in the case of selectors.
const TAG_SETS: u32 = 100_000;
/// Selectors subscribed per second, and as many unsubscribed: 1,000 changes.
const CHURN_PER_SECOND: u32 = 500;
/// Events that a connection sends at once in the case of connections: about a packet.
const EVENTS_PER_WRITE: u32 = 10;

impl What {
    /// Everything that can be measured.
    pub const ALL: [Self; 3] = [Self::Selectors, Self::Connections, Self::Routers];

    pub(super) fn case(self, rate: u64, duration: Duration) -> Case {
        match self {
            Self::Selectors => selectors(rate, duration),
            Self::Connections => connections(rate, duration),
            Self::Routers => routers(rate, duration),
        }
    }
}

/// One receiver that takes everything, with this many emitters.
fn pipe(emitters: u32, rate: u64, duration: Duration) -> Scenario {
    let mut scenario = Scenario::preset(Preset::P2p);
    scenario.preset = "growth";
    scenario.workload.emitters = emitters;
    scenario.workload.events_per_run = 1;
    scenario.duration = duration;
    scenario.settle(Some(rate));
    scenario
}

fn selectors(rate: u64, duration: Duration) -> Case {
    let mut scenario = pipe(TAG_SETS, rate, duration);
    // Receiver and changes are on another router than the publishers: what changes is its
    // directory.
    (scenario.routers, scenario.placement) = (2, Placement::Apart);
    let side = |name, held_selectors| Side {
        name,
        scenario: scenario.clone(),
        background: Background { held_selectors, churn_per_second: CHURN_PER_SECOND },
    };
    Case {
        what: "non-matching selectors, 100,000 tag sets, 1,000 directory changes/s",
        base: side("1", 1),
        grown: side("100,000", 100_000),
        ratio_max: 1.25,
        aim: 1.10,
    }
}

fn connections(rate: u64, duration: Duration) -> Case {
    let side = |name, connections| {
        let mut scenario = pipe(10_000, rate, duration);
        scenario.workload.events_per_run = EVENTS_PER_WRITE;
        scenario.publisher_connections = connections;
        // Over before the connection's next run, longer than a run takes at the rates that are
        // measured.
        scenario.publish_linger = Duration::from_micros(500);
        scenario.receive_linger = Duration::from_millis(1);
        scenario.lone_emitters = true;
        Side { name, scenario, background: Background::default() }
    };
    Case {
        what: "publishing connections, ten events per write",
        base: side("10", 10),
        grown: side("10,000", 10_000),
        ratio_max: 1.25,
        aim: 1.10,
    }
}

fn routers(rate: u64, duration: Duration) -> Case {
    let side = |name, routers| {
        let mut scenario = Scenario::preset(Preset::Mesh);
        scenario.preset = "growth";
        scenario.workload = Workload::blocks(7_000, 7);
        (scenario.routers, scenario.duration) = (routers, duration);
        (scenario.publisher_connections, scenario.receiver_connections) = (7, 7);
        scenario.settle(Some(rate));
        Side { name, scenario, background: Background::default() }
    };
    Case {
        what: "routers, every event for one receiver, one mesh hop",
        base: side("1", 1),
        grown: side("8", 8),
        ratio_max: 2.2,
        aim: 1.8,
    }
}
