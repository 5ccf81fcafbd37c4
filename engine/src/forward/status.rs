//! What a link shows of itself.

use std::time::Duration;

use millrace_proto::{ClusterId, RouterId};

/// Why events that a link selects did not cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum LinkDrop {
    /// The far cluster is in their path: they have been there.
    ClusterPath,
    /// They have crossed as many clusters as the rule allows.
    MaxHops,
    /// The far cluster could not be reached, or did not keep up, and the spool was full.
    Shed,
    /// A core had more for the link than could be handed over.
    Busy,
    /// With the tags that the rule sets, they have too many, or too long ones.
    TooLarge,
}

impl LinkDrop {
    /// All reasons, in the order of [`LinkCounters::dropped`].
    pub const ALL: [Self; 5] = [Self::ClusterPath, Self::MaxHops, Self::Shed, Self::Busy, Self::TooLarge];

    /// Its name as a metrics label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterPath => "cluster_path",
            Self::MaxHops => "max_hops",
            Self::Shed => "shed",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
        }
    }
}

crate::metrics! {
    /// What a link has done.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct LinkCounters {
        /// Events written to the far cluster, those that were written again counted again.
        sent: counter "forward_events_sent",
        /// Events written again, because their connection was lost before the far router had said
        /// that it has them.
        resent: counter "forward_events_resent",
        /// Events that the far cluster has confirmed, of those that it was asked to confirm.
        confirmed: counter "forward_events_confirmed",
        /// Events that the far cluster has not taken, or not delivered to all who want them, of
        /// those that it was asked to confirm.
        unconfirmed: counter "forward_events_unconfirmed",
        /// Tag sets, or selectors of the link, that the far cluster has refused.
        refused: counter "forward_refused",
        /// Times that the link was connected.
        connects: counter "forward_connects",
        /// Bytes of frames for the far cluster, before they are packed.
        frame_bytes: counter "forward_frame_bytes",
        /// Bytes written to the far cluster: fewer than those of frames where the link packs them.
        stream_bytes: counter "forward_stream_bytes",
        /// Level: bytes that wait for the far cluster.
        spooled_bytes: level "forward_spooled_bytes",
        /// Level: 1 while the link is connected.
        up: level "forward_link_up",
        /// Events that were selected and did not cross, by reason.
        dropped: counter "forward_events_dropped" by "reason" in LinkDrop,
    }
}

crate::metrics! {
    /// What has come from other clusters on one path.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Arrived {
        /// Events that came on this path, at routers that they entered.
        events: counter "arrived_events",
        /// Events that had come to this router before, on another path or on this one: receivers'
        /// libraries remove such copies.
        removed: counter "dup_removed",
    }
}

impl Arrived {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { events: self.events + other.events, removed: self.removed + other.removed }
    }
}

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It looks for a router of the far cluster.
    Connecting,
    /// It is connected.
    Up {
        /// The far router.
        router: RouterId,
    },
    /// The far cluster does not want it; it tries again.
    Refused,
}

impl LinkState {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up { .. } => "up",
            Self::Refused => "refused",
        }
    }
}

/// A link at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: LinkState,
    /// The far cluster, once it was met.
    pub cluster: Option<ClusterId>,
    /// What the rule selects.
    pub select: Vec<String>,
    /// What of that is taken at the moment.
    pub interest: Vec<String>,
    /// Selectors of the rule of which the far cluster lets nothing in.
    pub refused_selectors: Vec<String>,
    /// What the far cluster wants; none: it has not said, or is not asked.
    pub demand: Option<Vec<String>>,
    /// Why it is not connected, or the last refusal.
    pub trouble: Option<String>,
    /// How long it has stood so.
    pub since: Duration,
    /// How long it keeps what waits, at most, although it is connected: for receivers of the far
    /// cluster to come back. None: it does not.
    pub keeps_for: Option<Duration>,
    /// Runs that wait.
    pub spooled_runs: usize,
    /// Counters.
    pub counters: LinkCounters,
}
