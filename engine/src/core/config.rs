//! What a core is told: what it is, for its life, and its limits, which may change while it runs.
//! Every bound has its reason here.

use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::feature::{self, Features};
use millrace_proto::{Incarnation, PublisherSecret, RouterId};

use super::account::SelectorLimits;
use crate::ledger::LedgerLimits;
use crate::payload::ScanLimits;
use crate::routes::RouteCacheLimits;

/// What one core is, for its life. All cores of a router have the same but for `core`.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// This core, below `cores`.
    pub core: u16,
    /// Cores of this router, at least 1.
    pub cores: u16,
    /// This router.
    pub router: RouterId,
    /// Its process life.
    pub incarnation: Incarnation,
    /// Its software, for Welcome and hello.
    pub software: String,
    /// Seed of hash tables; the same seed and inputs give the same outputs. It must be control's
    /// [`seed`](crate::control::ControlConfig::seed): a route is looked up in the directory and in
    /// the core's own index by one hash.
    pub seed: u64,
    /// What the publisher ids follow from of clients that show no secret: the same on all cores of
    /// a router. What [`CoreConfig::new`] sets can be guessed; a shell sets random bytes.
    pub secret: PublisherSecret,
    /// What this core's readers of publish streams hold.
    pub client_tables: TableCapacity,
    /// Tag sets and publishers for which this core keeps numbers per receiver's stream, at most: a
    /// client that announces more is not given more.
    pub receiver_tables: TableCapacity,
    /// What this core's readers of lanes hold, and the most that it keeps numbers for towards a
    /// peer.
    pub lane_tables: TableCapacity,
    /// Bytes of encoded frames that wait for a stream above QUIC's own buffer: two full batches of
    /// segments.
    pub out_bytes: usize,
    /// Silence after which a client's session counts as dead; told in Welcome, enforced by QUIC's
    /// idle timeout.
    pub client_silence: Duration,
    /// What this core lists in Welcome, and does: everything that it knows by default. With less it
    /// is as a router that does not know the rest.
    pub features: Features,
    /// When lanes are pinged, and when they count as silent.
    pub lane_times: LaneTimes,
    /// Bounds of the route cache.
    pub routes: RouteCacheLimits,
    /// Its limits at the start.
    pub limits: CoreLimits,
}

/// Limits of one core. They may change while it runs
/// ([`Core::set_limits`](super::Core::set_limits)); those of queues hold for receivers and lanes
/// that come later.
#[derive(Debug, Clone)]
pub struct CoreLimits {
    /// Receivers on one connection, at most. Bounds the streams that a router opens.
    pub receivers_per_connection_max: u32,
    /// Receivers on this core, at most. Bounds queue memory together with `queues`.
    pub receivers_max: u32,
    /// What may wait for receivers.
    pub queues: QueueLimits,
    /// Bytes that wait for one lane or one sibling core, at most; beyond it the oldest go, and a
    /// gap stands for them.
    pub link_queue_bytes: u64,
    /// How far a stream may run ahead of its reader's host.
    pub ahead: AheadLimits,
    /// How far a publisher may write ahead of what was read: with the round trip it bounds the
    /// throughput of one publisher. Below the window of its connection, so that control frames
    /// pass while it is left unread.
    pub credit_bytes: u64,
    /// A publisher waits for a receiver whose queue is half full at most this long at a time, and
    /// not for one that took nothing for as long; zero: never.
    pub pace_max: Duration,
    /// Bytes read from one stream before other streams get their turn.
    pub read_bytes: usize,
    /// Bytes of control frames that wait for one client, at most; a client that does not read them
    /// is closed.
    pub control_out_bytes: usize,
    /// Bytes of mesh frames that wait for one lane, at most; a peer that does not read them is
    /// closed, and gets a snapshot when it comes back. Above a snapshot of four million
    /// selectors of 60 bytes.
    pub lane_out_bytes: usize,
    /// When a publisher is told what was received.
    pub received: ReceivedLimits,
    /// A connection that has not said hello after this time is closed.
    pub hello_timeout: Duration,
    /// What clients' selectors may take.
    pub selectors: SelectorLimits,
    /// What scanning payloads may take.
    pub scans: ScanLimits,
    /// How many runs are followed for publishers that want to be told how they end, and how long.
    pub ledger: LedgerLimits,
}

/// When lanes are pinged, and when they count as silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneTimes {
    /// Pings are sent this often. Default 250 ms.
    pub ping: Duration,
    /// A lane that was silent for this long makes its peer suspect. Default 1 s.
    pub silence: Duration,
}

impl Default for LaneTimes {
    fn default() -> Self {
        Self { ping: Duration::from_millis(250), silence: Duration::from_secs(1) }
    }
}

/// How far a receiver's stream may run ahead of what its host has acknowledged: twice the
/// congestion window of its connection, within these bounds. The last frame may cross the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadLimits {
    /// Bytes, at least: enough for bursts on a path that is not known yet.
    pub bytes_min: usize,
    /// Bytes, at most, because what is in a stream is beyond the overflow policy.
    pub bytes_max: usize,
}

/// What may wait for the receivers of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of a receiver's queue unless it asks for less.
    pub bytes_default: u64,
    /// Bytes of a receiver's queue, at most.
    pub bytes_max: u64,
    /// Bytes that wait for all receivers of this core together. Beyond, the largest queues give way
    /// first, each by its policy, until a sixteenth is free.
    pub budget_bytes: u64,
}

/// When a publisher is told what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedLimits {
    /// After this time at the latest, unless the publisher can wait longer.
    pub after: Duration,
    /// The longest that a publisher may wait.
    pub after_max: Duration,
    /// After this many bytes at the latest.
    pub bytes: u64,
}

impl CoreConfig {
    /// Defaults for a core of a router.
    #[must_use]
    pub fn new(router: RouterId, incarnation: Incarnation, core: u16, cores: u16) -> Self {
        Self {
            core,
            cores: cores.max(1),
            router,
            incarnation,
            software: concat!("millrace-router/", env!("CARGO_PKG_VERSION")).to_owned(),
            seed: incarnation.0,
            secret: PublisherSecret([0; 32]).derive("router", u128::from(router.0)),
            client_tables: TableCapacity::CLIENT,
            receiver_tables: TableCapacity::CLIENT,
            lane_tables: TableCapacity::LANE,
            out_bytes: 128 * 1024,
            client_silence: Duration::from_secs(30),
            features: Features::default()
                .with(feature::DELIVERIES)
                .with(feature::PROOF)
                .with(feature::CONFIRMS),
            lane_times: LaneTimes::default(),
            routes: RouteCacheLimits::default(),
            limits: CoreLimits::default(),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { bytes_default: 16 << 20, bytes_max: 64 << 20, budget_bytes: 1 << 30 }
    }
}

impl Default for AheadLimits {
    fn default() -> Self {
        Self { bytes_min: 32 * 1024, bytes_max: 1 << 20 }
    }
}

impl Default for ReceivedLimits {
    fn default() -> Self {
        Self { after: Duration::from_millis(20), after_max: Duration::from_secs(10), bytes: 64 * 1024 }
    }
}

impl Default for CoreLimits {
    fn default() -> Self {
        Self {
            receivers_per_connection_max: millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX,
            receivers_max: 1 << 20,
            queues: QueueLimits::default(),
            link_queue_bytes: 64 << 20,
            ahead: AheadLimits::default(),
            credit_bytes: 2 << 20,
            pace_max: Duration::from_millis(250),
            read_bytes: 256 * 1024,
            control_out_bytes: 1 << 20,
            lane_out_bytes: 256 << 20,
            received: ReceivedLimits::default(),
            hello_timeout: Duration::from_secs(5),
            selectors: SelectorLimits::default(),
            scans: ScanLimits::default(),
            ledger: LedgerLimits::default(),
        }
    }
}

/// What the other side announced that it holds, as far as this router is willing to keep track of
/// it.
pub(super) fn at_most(announced: TableCapacity, most: TableCapacity) -> TableCapacity {
    TableCapacity {
        tag_sets: announced.tag_sets.min(most.tag_sets),
        tag_bytes: announced.tag_bytes.min(most.tag_bytes),
        publishers: announced.publishers.min(most.publishers),
    }
}
