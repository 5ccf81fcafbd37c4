//! Settings of control: this router's identity, and the times and bounds of its mesh.

use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::feature::{self, Features};
use millrace_proto::{ClusterId, Incarnation, RouterId};

use super::balance::Rebalance;

/// Most routers known at once, linked or not. A full mesh is meant for about a hundred.
pub const PEERS_MAX: usize = 256;
/// Most addresses dialled for lane 0: seeds and advertised addresses. One router's name may resolve
/// to several addresses.
pub const TARGETS_MAX: usize = 4 * PEERS_MAX;
/// Most bytes of an address that is dialled: a DNS name (253), a colon and a port, with room for
/// brackets.
pub const ADDRESS_BYTES_MAX: usize = 320;
/// Most changes of interest that wait for acknowledgements. Beyond it control answers the oldest
/// early, and says which routers are left out.
pub const WAITING_MAX: usize = 1 << 20;
/// Bytes up to which control fills one frame of interest or gossip: it leaves room for framing
/// below [`CONTROL_FRAME_BYTES_MAX`](millrace_proto::limits::CONTROL_FRAME_BYTES_MAX).
pub const MESH_FRAME_BYTES: usize = 56 * 1024;
/// Most routers that a single peer alone tells of, before any of them has proven that it exists:
/// half of the table, so that one peer's word never fills it.
pub const INTRODUCED_MAX: usize = PEERS_MAX / 2;
/// Longest pause before dialling an address again of which only others have told: its host may have
/// nothing to do with this cluster.
pub(super) const HEARSAY_REDIAL_MAX: Duration = Duration::from_secs(60);
/// Time after which control dials a seed again that leads to a router which advertises another
/// address. The seed may be a virtual address with more routers behind it.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(30);
/// Silence after which control dials a second lane beside a silent one, because another path may
/// work. Longer than the pauses that a lane survives by waiting, because a new lane is a gap.
pub(super) const SILENT_REDIAL_AFTER: Duration = Duration::from_secs(10);
/// How long control remembers another process with this router's id or address.
pub(super) const TWIN_MEMORY: Duration = Duration::from_secs(30);
/// Shortest time between two snapshots on one link, so that a peer that keeps asking does not keep
/// this router busy.
pub const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// Settings of [`Control`](super::Control). [`ControlConfig::new`] fills in the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlConfig {
    /// This router.
    pub router: RouterId,
    /// This life of its process.
    pub incarnation: Incarnation,
    /// A name for people.
    pub name: String,
    /// How peers reach this router: `host:port`.
    pub advertise: String,
    /// Where this router is, for clients that prefer routers near them; empty: nowhere in
    /// particular. At most [`TEXT_BYTES_MAX`](millrace_proto::limits::TEXT_BYTES_MAX) bytes.
    pub zone: String,
    /// Whether peers keep this router to themselves: they tell neither clients nor other routers of
    /// it. [`Control::set_hidden`](super::Control::set_hidden) changes it. Default: no.
    pub hidden: bool,
    /// Whether this router asks clients to move when it has more than others.
    /// [`Control::set_rebalance`](super::Control::set_rebalance) changes it. Default: it does.
    pub rebalance: Rebalance,
    /// Name and version of its software, for operators.
    pub software: String,
    /// Features that this router lists in PeerHello and acts on. Default: all that it knows. With
    /// fewer it behaves as a router that does not know the others.
    pub features: Features,
    /// Its cluster; 0: it has no id.
    pub cluster: ClusterId,
    /// Cores of this router, 1 to [`CORES_MAX`](millrace_proto::limits::CORES_MAX).
    pub cores: u16,
    /// Tag sets and publishers that this router's lane readers hold.
    pub tables: TableCapacity,
    /// Seed of the directory's hashes and of jitter.
    pub seed: u64,
    /// How long publishers wait for credit until every known router's interest is applied. It is
    /// also the time after which a router that is not linked, but should be, counts as a fault.
    /// Default 2 s.
    pub sync_timeout: Duration,
    /// Linked routers that this one needs before it is ready for the first time. `None`, the
    /// default: half of those that it knows or is told of, rounded down, and at least one where
    /// there are any.
    pub min_peers: Option<usize>,
    /// How long it waits for them; then it is ready without them, and says so. Default 30 s.
    pub join_timeout: Duration,
    /// How long it keeps a suspect peer's interest. Default 30 s; longer than any pause that a peer
    /// should survive.
    pub forget_after: Duration,
    /// How long a dial may take until the peer says hello. Default 5 s.
    pub dial_timeout: Duration,
    /// First pause before dialling again; it doubles up to `redial_max`, with jitter. Default 100
    /// ms.
    pub redial_min: Duration,
    /// Longest pause before dialling again. Default 5 s.
    pub redial_max: Duration,
    /// Time between two digests of the own interest to each peer. Default 10 s.
    pub digest_every: Duration,
    /// Shortest time between two versions of the directory, and of the interest told to peers.
    /// Default 10 ms; the first change after a pause goes out at once.
    pub batch: Duration,
    /// Shortest time between two lists of known routers to peers. Default 100 ms.
    pub gossip_every: Duration,
    /// Most interest entries of one peer; a peer that tells more loses its link. Default 4,000,000,
    /// about 1 GB.
    pub interest_per_peer_max: usize,
    /// Most selectors that this router tells its peers. With more of its own it tells them one that
    /// matches everything. Default 2,000,000, half of what a peer takes.
    pub interest_told_max: usize,
    /// Most bytes of frames of the selectors that this router tells its peers, with the same
    /// consequence. Default 128 MiB, half of what a core keeps for a slow lane.
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
            zone: String::new(),
            hidden: false,
            rebalance: Rebalance::Auto,
            software: concat!("millrace-router/", env!("CARGO_PKG_VERSION")).to_owned(),
            features: Features::default()
                .with(feature::CONFIRMS)
                .with(feature::GROUPS)
                .with(feature::NAMES)
                .with(feature::RULES)
                .with(feature::STANDBY)
                .with(feature::LITERALS)
                .with(feature::MOVES)
                .with(feature::PACING),
            cluster: ClusterId(0),
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
