//! Settings of control: who this router is, and the times and bounds of its mesh.

use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::{Incarnation, RouterId};

/// Routers known at once, linked or not. A full mesh is for about a hundred.
pub const PEERS_MAX: usize = 256;
/// Addresses dialled for lane 0: seeds and advertised addresses. A name may resolve to several addresses per router.
pub const TARGETS_MAX: usize = 4 * PEERS_MAX;
/// Bytes of an address that is dialled: a DNS name (253), a colon and a port, with room for brackets.
pub const ADDRESS_BYTES_MAX: usize = 320;
/// Changes of interest that wait to be acknowledged. Past it the oldest is answered early and says who is left out.
pub const WAITING_MAX: usize = 1 << 20;
/// Bytes that one frame of interest or gossip is filled up to: leaves room below
/// [`CONTROL_FRAME_BYTES_MAX`](millrace_proto::limits::CONTROL_FRAME_BYTES_MAX) for framing.
pub const MESH_FRAME_BYTES: usize = 56 * 1024;
/// Shortest time between two snapshots on one link: a peer that keeps asking must not keep this router busy.
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
    /// Cores of this router, 1 to [`CORES_MAX`](millrace_proto::limits::CORES_MAX).
    pub cores: u16,
    /// What this router's lane readers hold.
    pub tables: TableCapacity,
    /// Seed of the directory's hashes and of jitter.
    pub seed: u64,
    /// How long publishers wait for credit until every known router's interest is applied. Default 2 s.
    pub join_timeout: Duration,
    /// How long a suspect peer's interest is kept. Default 30 s; longer than any pause that a peer should survive.
    pub forget_after: Duration,
    /// How long a dial may take until a peer has said hello. Default 5 s.
    pub dial_timeout: Duration,
    /// First pause before dialling again; doubles up to `redial_max`, with jitter. Default 100 ms.
    pub redial_min: Duration,
    /// Longest pause before dialling again. Default 5 s.
    pub redial_max: Duration,
    /// How often a digest of the own interest goes to each peer. Default 10 s.
    pub digest_every: Duration,
    /// Shortest time between two versions of the directory, and of the interest told to peers. Default 10 ms; the first
    /// change after a pause goes out at once.
    pub batch: Duration,
    /// Shortest time between two tellings of whom this router knows. Default 100 ms.
    pub gossip_every: Duration,
    /// Interest entries of one peer; a peer that tells more loses its link. Default 4,000,000, about 1 GB.
    pub interest_per_peer_max: usize,
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
            cores,
            tables: TableCapacity::LANE,
            seed: incarnation.0,
            join_timeout: Duration::from_secs(2),
            forget_after: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            redial_min: Duration::from_millis(100),
            redial_max: Duration::from_secs(5),
            digest_every: Duration::from_secs(10),
            batch: Duration::from_millis(10),
            gossip_every: Duration::from_millis(100),
            interest_per_peer_max: 4_000_000,
        }
    }
}
