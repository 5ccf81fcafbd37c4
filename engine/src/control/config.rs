//! Settings of control: who this router is, and the times and bounds of its mesh.

use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::feature::{self, Features};
use millrace_proto::{Incarnation, RouterId};

/// Routers known at once, linked or not. A full mesh is for about a hundred.
pub const PEERS_MAX: usize = 256;
/// Addresses dialled for lane 0: seeds and advertised addresses. A name may resolve to several
/// addresses per router.
pub const TARGETS_MAX: usize = 4 * PEERS_MAX;
/// Bytes of an address that is dialled: a DNS name (253), a colon and a port, with room for
/// brackets.
pub const ADDRESS_BYTES_MAX: usize = 320;
/// Changes of interest that wait to be acknowledged. Past it the oldest is answered early and says
/// who is left out.
pub const WAITING_MAX: usize = 1 << 20;
/// Bytes that one frame of interest or gossip is filled up to: leaves room below
/// [`CONTROL_FRAME_BYTES_MAX`](millrace_proto::limits::CONTROL_FRAME_BYTES_MAX) for framing.
pub const MESH_FRAME_BYTES: usize = 56 * 1024;
/// Routers of which a single peer may be the only one to tell, before any of them has proven that
/// it is there: half of the table, so that one peer's word never fills it.
pub const INTRODUCED_MAX: usize = PEERS_MAX / 2;
/// Longest pause before dialling an address again of which only others have told: who answers there
/// has proven nothing, and whoever lives there may want nothing of it.
pub(super) const HEARSAY_REDIAL_MAX: Duration = Duration::from_secs(60);
/// A seed that leads to a router which advertises another address may be a virtual address, with
/// more routers behind it. It is dialled again after this time.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(30);
/// A lane that has been silent for this long is dialled again beside itself: another path may work.
/// Longer than the pauses that a lane survives by waiting, because a new lane is a gap.
pub(super) const SILENT_REDIAL_AFTER: Duration = Duration::from_secs(10);
/// How long a router remembers that another one has its id or its address.
pub(super) const TWIN_MEMORY: Duration = Duration::from_secs(30);
/// Shortest time between two snapshots on one link: a peer that keeps asking must not keep this
/// router busy.
pub const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// Settings of [`Control`](super::Control). [`ControlConfig::new`] fills in the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlConfig {
    /// This router.
    pub router: RouterId,
    /// This process life.
    pub incarnation: Incarnation,
    /// A name for people.
    pub name: String,
    /// How peers reach this router: `host:port`.
    pub advertise: String,
    /// This software, for operators.
    pub software: String,
    /// What this router lists in PeerHello, and does: everything that it knows by default. With
    /// less it is as a router that does not know the rest.
    pub features: Features,
    /// Cores of this router, 1 to [`CORES_MAX`](millrace_proto::limits::CORES_MAX).
    pub cores: u16,
    /// What this router's lane readers hold.
    pub tables: TableCapacity,
    /// Seed of the directory's hashes and of jitter.
    pub seed: u64,
    /// How long publishers wait for credit until every known router's interest is applied, and how
    /// long a router that should be linked may take before that is told as a fault. Default 2
    /// s.
    pub sync_timeout: Duration,
    /// Linked routers that this one needs before it is ready for the first time. `None`, the
    /// default: half of those that it knows or is told of, rounded down, and at least one where
    /// there are any.
    pub min_peers: Option<usize>,
    /// How long it waits for them; then it is ready without, and says so. Default 30 s.
    pub join_timeout: Duration,
    /// How long a suspect peer's interest is kept. Default 30 s; longer than any pause that a peer
    /// should survive.
    pub forget_after: Duration,
    /// How long a dial may take until a peer has said hello. Default 5 s.
    pub dial_timeout: Duration,
    /// First pause before dialling again; doubles up to `redial_max`, with jitter. Default 100 ms.
    pub redial_min: Duration,
    /// Longest pause before dialling again. Default 5 s.
    pub redial_max: Duration,
    /// How often a digest of the own interest goes to each peer. Default 10 s.
    pub digest_every: Duration,
    /// Shortest time between two versions of the directory, and of the interest told to peers.
    /// Default 10 ms; the first change after a pause goes out at once.
    pub batch: Duration,
    /// Shortest time between two tellings of whom this router knows. Default 100 ms.
    pub gossip_every: Duration,
    /// Interest entries of one peer; a peer that tells more loses its link. Default 4,000,000,
    /// about 1 GB.
    pub interest_per_peer_max: usize,
    /// Selectors that this router tells its peers; with more of its own it tells them one that
    /// matches everything. Default 2,000,000, half of what a peer takes.
    pub interest_told_max: usize,
    /// Bytes of frames of the selectors that this router tells its peers, with the same
    /// consequence. Default 128 MiB, half of what a core keeps for a lane that is slow to take
    /// it.
    pub interest_told_bytes_max: usize,
}

impl ControlConfig {
    /// Defaults for a router with this identity.
    #[must_use]
    pub fn new(router: RouterId, incarnation: Incarnation, advertise: String, cores: u16) -> Self {
        Self {
            router,
            incarnation,
            name: advertise.clone(),
            advertise,
            software: concat!("millrace-router/", env!("CARGO_PKG_VERSION")).to_owned(),
            features: Features::default().with(feature::CONFIRMS).with(feature::LITERALS),
            cores,
            tables: TableCapacity::LANE,
            seed: incarnation.0,
            sync_timeout: Duration::from_secs(2),
            min_peers: None,
            join_timeout: Duration::from_secs(30),
            forget_after: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            redial_min: Duration::from_millis(100),
            redial_max: Duration::from_secs(5),
            digest_every: Duration::from_secs(10),
            batch: Duration::from_millis(10),
            gossip_every: Duration::from_millis(100),
            interest_per_peer_max: 4_000_000,
            interest_told_max: 2_000_000,
            interest_told_bytes_max: 128 << 20,
        }
    }
}
