//! What control knows, for `/status`, `/readyz` and tests.

use millrace_proto::feature::Features;
use millrace_proto::{Incarnation, RouterId};

use super::balance::Rebalance;
use super::trouble::Trouble;

/// The state of a known router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerState {
    /// Others have told of it, and it was not linked in its present life.
    Known,
    /// Its first lane is up, others are not yet.
    Linking,
    /// All lanes are up and heard.
    Linked,
    /// It was linked; a lane is lost or silent. Its interest stays until it is forgotten.
    Suspect,
    /// It said that it leaves.
    Leaving,
}

impl PeerState {
    /// All states, from known to leaving.
    pub const ALL: [Self; 5] = [Self::Known, Self::Linking, Self::Linked, Self::Suspect, Self::Leaving];

    /// Its name in metrics and `/status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Linking => "linking",
            Self::Linked => "linked",
            Self::Suspect => "suspect",
            Self::Leaving => "leaving",
        }
    }
}

/// One known router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The router.
    pub router: RouterId,
    /// The life of its process, once it said hello.
    pub incarnation: Option<Incarnation>,
    /// Its name for people.
    pub name: String,
    /// Where it says that it is; empty: nowhere in particular.
    pub zone: String,
    /// How to reach it.
    pub advertise: String,
    /// How it stands.
    pub state: PeerState,
    /// Whether a dial to it is under way.
    pub dialling: bool,
    /// Lanes up.
    pub lanes_up: usize,
    /// Lanes that the link has when complete; 0 without a link.
    pub lanes: usize,
    /// Entries of its interest that are held here.
    pub interest: usize,
    /// Version of its interest that is held here.
    pub interest_version: u64,
    /// Version of this router's interest that it has acknowledged.
    pub acked_version: u64,
    /// Linked routers that say they are linked to it.
    pub reached_by: usize,
    /// Whether it asks its peers to tell nobody of it.
    pub hidden: bool,
    /// Whether a route of this router's settings leads to it.
    pub route: bool,
    /// How many clients it says it has; `None`: it has not said.
    pub clients: Option<u64>,
    /// Features of the protocol that both sides know; none without a link.
    pub features: Features,
}

/// A picture of control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Known routers, by id.
    pub peers: Vec<PeerStatus>,
    /// Newest version of the directory.
    pub directory_version: u64,
    /// Version that every core routes by; some may be further.
    pub directory_applied: u64,
    /// Entries of the directory: pairs of selector and location.
    pub directory_entries: usize,
    /// Version of the own interest that was told to peers.
    pub interest_version: u64,
    /// Selectors of the own interest.
    pub interest_entries: usize,
    /// Changes of interest that are not yet effective in the cluster.
    pub waiting: usize,
    /// Outputs that nobody has taken yet.
    pub outputs: usize,
    /// Whether publishers may be granted credit.
    pub synced: bool,
    /// Whether `synced` came from the timeout rather than from all known routers.
    pub join_timed_out: bool,
    /// Whether this router was ready once: linked with enough others, or done with waiting for
    /// them.
    pub joined: bool,
    /// Linked routers that it needs for that.
    pub peers_needed: usize,
    /// Whether something is wrong with this router's place in the mesh.
    pub degraded: bool,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
    /// Whether another process was met lately that has this router's id.
    pub twin: bool,
    /// Addresses of routers, and names of seeds, at which nobody has answered.
    pub unanswered: u64,
    /// Whether this router asks its peers for every event, because it has more selectors than it
    /// tells them.
    pub coarse: bool,
    /// Whether this router is going away.
    pub draining: bool,
    /// Whether its peers are asked to tell nobody of it.
    pub hidden: bool,
    /// Whether this router asks clients to move when it has more than others.
    pub rebalance: Rebalance,
    /// Whether it does so now.
    pub rebalancing: bool,
}

impl Status {
    /// Whether to send clients here. A router that was ready and loses its peers stays ready, and
    /// is degraded.
    #[must_use]
    pub const fn ready(&self) -> bool {
        self.synced && self.joined && !self.twin && !self.draining
    }
}
