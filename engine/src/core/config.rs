//! Settings of a core: those that are fixed for its life, and limits that may change while it runs.
//! Every bound has its reason here.

use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::feature::{self, Features};
use millrace_proto::{Incarnation, PublisherSecret, RouterId};

use super::account::SelectorLimits;
use crate::groups::GroupLimits;
use crate::history::HistoryLimits;
use crate::ledger::LedgerLimits;
use crate::payload::ScanLimits;
use crate::routes::RouteCacheLimits;

/// What one core is, for its life. All cores of a router have the same values but for `core`.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// This core, below `cores`.
    pub core: u16,
    /// Cores of this router, at least 1.
    pub cores: u16,
    /// This router.
    pub router: RouterId,
    /// This life of the router's process.
    pub incarnation: Incarnation,
    /// What Welcome says of the router.
    pub about: RouterAbout,
    /// Seed of hash tables; equal seeds and inputs give equal outputs. It must be control's
    /// [`seed`](crate::control::ControlConfig::seed), because one hash of a tag set serves the
    /// directory and the core's own index.
    pub seed: u64,
    /// The secret from which publisher ids of clients follow that show none: the same on all cores
    /// of a router. [`CoreConfig::new`] sets one that can be guessed; a shell sets random bytes.
    pub secret: PublisherSecret,
    /// Tag sets and publishers that this core's readers of publish streams hold.
    pub client_tables: TableCapacity,
    /// Most tag sets and publishers for which this core keeps numbers per receiver's stream,
    /// whatever a client announces.
    pub receiver_tables: TableCapacity,
    /// Tag sets and publishers that this core's readers of lanes hold, and the most for which it
    /// keeps numbers towards a peer.
    pub lane_tables: TableCapacity,
    /// Bytes of encoded frames that wait for a stream above QUIC's own buffer: two full batches of
    /// segments.
    pub out_bytes: usize,
    /// Silence after which a client's session counts as dead. Welcome tells it, and QUIC's idle
    /// timeout enforces it.
    pub client_silence: Duration,
    /// Features that this core lists in Welcome and acts on. Default: all that it knows. With fewer
    /// it behaves as a router that does not know the others.
    pub features: Features,
    /// When lanes are pinged, and when they count as silent.
    pub lane_times: LaneTimes,
    /// Bounds of the route cache.
    pub routes: RouteCacheLimits,
    /// Its limits at the start.
    pub limits: CoreLimits,
}

/// What a router says of itself.
#[derive(Debug, Clone)]
pub struct RouterAbout {
    /// Name and version of its software.
    pub software: String,
    /// Where it is; empty: nowhere in particular.
    pub zone: String,
}

/// Limits of one core. They may change while it runs
/// ([`Core::set_limits`](super::Core::set_limits)); changed limits of queues hold for receivers and
/// lanes that open later.
#[derive(Debug, Clone)]
pub struct CoreLimits {
    /// Most receivers on one connection. Bounds the streams that a router opens.
    pub receivers_per_connection_max: u32,
    /// Most receivers on this core. Bounds the memory of queues together with `queues`.
    pub receivers_max: u32,
    /// Bounds of receivers' queues.
    pub queues: QueueLimits,
    /// Most bytes that wait for one lane or one sibling core. Beyond it the oldest runs give way,
    /// and a gap stands for them.
    pub link_queue_bytes: u64,
    /// How far a stream may run ahead of its reader's host.
    pub ahead: AheadLimits,
    /// How far a publisher may write ahead of what the core has read, in bytes: with the round trip
    /// it bounds the throughput of one publisher. It is below the window of the connection, so that
    /// control frames pass while the core leaves the stream unread.
    pub credit_bytes: u64,
    /// How long a publisher waits at a time for a receiver whose queue is half full. It does not
    /// wait for a receiver that took nothing for as long. Zero: publishers never wait.
    pub pace_max: Duration,
    /// Most bytes that the core reads from one stream before other streams have their turn.
    pub read_bytes: usize,
    /// Most bytes of control frames that wait for one client. The core closes a client that does
    /// not read them.
    pub control_out_bytes: usize,
    /// Most bytes of mesh frames that wait for one lane. The core closes a lane whose peer does not
    /// read them, and the peer gets a snapshot when it comes back. A snapshot of four million
    /// selectors of 60 bytes stays below this.
    pub lane_out_bytes: usize,
    /// When the core tells a publisher what was received.
    pub received: ReceivedLimits,
    /// How long a connection may take to say hello before the core closes it.
    pub hello_timeout: Duration,
    /// Bounds of clients' selectors.
    pub selectors: SelectorLimits,
    /// Bounds of the scans of payloads.
    pub scans: ScanLimits,
    /// How many runs the ledger follows for publishers that ask how they end, and for how long.
    pub ledger: LedgerLimits,
    /// Runs that a core keeps besides those in queues.
    pub kept: KeptLimits,
}

/// What a core keeps of runs besides those in queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptLimits {
    /// What this core keeps of the runs that it owns. Default: nothing.
    pub history: HistoryLimits,
    /// Runs of groups that no member has acknowledged.
    pub groups: GroupLimits,
}

/// When the core pings lanes, and when a lane counts as silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneTimes {
    /// Time between pings. Default 250 ms.
    pub ping: Duration,
    /// Silence on a lane that makes its peer suspect. Default 1 s.
    pub silence: Duration,
}

impl Default for LaneTimes {
    fn default() -> Self {
        Self { ping: Duration::from_millis(250), silence: Duration::from_secs(1) }
    }
}

/// How far a receiver's stream may run ahead of what its host has acknowledged: twice the
/// congestion window of its connection, within these bounds. The last frame may cross the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadLimits {
    /// Least bytes: enough for bursts on a path that is not known yet.
    pub bytes_min: usize,
    /// Most bytes, because the overflow policy does not reach bytes in a stream.
    pub bytes_max: usize,
}

/// Bounds of the queues of receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of a receiver's queue whose client asks for none.
    pub bytes_default: u64,
    /// Most bytes of a receiver's queue.
    pub bytes_max: u64,
    /// Fewest bytes of the queue of a receiver that blocks, because half of it is for what is on
    /// its way when publishers are stopped. Never more than `bytes_max`.
    pub blocking_bytes_min: u64,
    /// Most bytes that wait for all receivers of this core together. Beyond it the largest queues
    /// give way first, each by its policy, until a sixteenth of the budget is free.
    pub budget_bytes: u64,
    /// Copies of runs that this core makes in a second for receivers that take nothing. Those for
    /// which none is left are passed over until they take something.
    pub stalled_copies_per_second: u64,
}

/// When the core tells a publisher what was received, and what nobody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedLimits {
    /// Time after which it tells at the latest, unless the publisher can wait longer.
    pub after: Duration,
    /// Longest time that a publisher may ask to wait.
    pub after_max: Duration,
    /// Bytes after which it tells at the latest.
    pub bytes: u64,
    /// How long nobody may want a tag set before its publisher is told so. Zero: never. Default 2
    /// s.
    pub quench_after: Duration,
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
            about: RouterAbout {
                software: concat!("millrace-router/", env!("CARGO_PKG_VERSION")).to_owned(),
                zone: String::new(),
            },
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
                .with(feature::CONFIRMS)
                .with(feature::GROUPS)
                .with(feature::NAMES)
                .with(feature::RULES)
                .with(feature::STANDBY)
                .with(feature::MOVES)
                .with(feature::PACING)
                .with(feature::QUENCH),
            lane_times: LaneTimes::default(),
            routes: RouteCacheLimits::default(),
            limits: CoreLimits::default(),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            bytes_default: 16 << 20,
            bytes_max: 64 << 20,
            blocking_bytes_min: 0,
            budget_bytes: 1 << 30,
            stalled_copies_per_second: 500_000,
        }
    }
}

impl Default for AheadLimits {
    fn default() -> Self {
        Self { bytes_min: 32 * 1024, bytes_max: 1 << 20 }
    }
}

impl Default for ReceivedLimits {
    fn default() -> Self {
        Self {
            after: Duration::from_millis(20),
            after_max: Duration::from_secs(10),
            bytes: 64 * 1024,
            quench_after: Duration::from_secs(2),
        }
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
            kept: KeptLimits::default(),
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
