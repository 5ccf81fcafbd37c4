//! What control says when it accepts a lane.

use millrace_proto::RouterId;
use millrace_proto::control::TableCapacity;
use millrace_proto::mesh::PeerHello;

use crate::message::PeerIndex;

/// What control has said of an accepted lane.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Accepted {
    pub(in crate::core) peer: PeerIndex,
    pub(in crate::core) router: RouterId,
    /// It has proven its id.
    pub(in crate::core) is_proven: bool,
    pub(in crate::core) outgoing: bool,
    /// Whether the peer has an owner whose runs arrive on it.
    pub(in crate::core) incoming: bool,
    /// Which dial of the lane this is: the peer's stream of runs repeats it.
    pub(in crate::core) epoch: u64,
}

/// What control says when it accepts a lane.
#[derive(Debug)]
pub(in crate::core) struct Acceptance {
    pub(in crate::core) accepted: Accepted,
    pub(in crate::core) hello: Option<PeerHello>,
    pub(in crate::core) tables: TableCapacity,
    /// Whether the peer may have missed runs that this core routed before.
    pub(in crate::core) missed: bool,
    /// Whether runs that entered through an earlier life of the peer may be missing.
    pub(in crate::core) lost: bool,
}
